"""What each command does: a generator of lines for the terminal that returns the exit code."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from types import MappingProxyType

from optextract.errors import OptextractError

__all__ = ["COMMANDS", "Command"]

_log = logging.getLogger(__name__)

#: Yields lines, returns the exit code.
Command = Callable[[argparse.Namespace], Generator[str, None, int]]


def _app(args: argparse.Namespace) -> Generator[str, None, int]:
    from optextract.panel.standalone import main

    yield "Starting the app, which takes some seconds; closing its page ends this command."
    main(list(args.files), args.layout, theme=args.theme, port=args.port, browser=not args.no_browser)
    return 0


def _init(args: argparse.Namespace) -> Generator[str, None, int]:
    from .template import recipe_template

    text = recipe_template()
    if args.path == "-":
        yield text.rstrip("\n")
        return 0
    path = Path(args.path)
    try:
        with path.open("w" if args.overwrite else "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise OptextractError(f"{path} exists; --overwrite replaces it") from error
    yield f"{path}: every setting with its default and what it is for"
    return 0


def _info(args: argparse.Namespace) -> Generator[str, None, int]:
    from optextract.io import info

    refused = 0
    for path in args.files:
        found = info(path)
        if found.refused:
            refused += 1
            told = found.refused.startswith(str(Path(path)))
            _log.error("%s", found.refused if told else f"{path}: {found.refused}")
        else:
            yield str(found).rstrip("\n")
    return 0 if not refused else 2 if refused == len(args.files) else 1


def _simulate(args: argparse.Namespace) -> Generator[str, None, int]:
    from optextract.simulate import make_scene, write_s2d, write_survey, write_truth

    if args.survey is not None:
        written = write_survey(args.path, args.survey, args.seed, overwrite=args.overwrite)
        yield f"{args.path}: {len(written)} files, their truth in {Path(args.path) / 'truth'}"
        return 0
    names = args.scene if args.scene else ["emission"]
    path = Path(args.path)
    if path.exists() and not args.overwrite:
        raise OptextractError(f"{path} exists; --overwrite replaces it")
    if args.truth is not None and Path(args.truth).exists() and not args.overwrite:
        raise OptextractError(f"{args.truth} exists; --overwrite replaces it")
    path.parent.mkdir(parents=True, exist_ok=True)
    scenes = [make_scene(name, args.seed + k, planned_sigma=0.1) for k, name in enumerate(names)]
    write_s2d(scenes[0] if len(scenes) == 1 else scenes, path, wcsaxes=args.wcsaxes, overwrite=args.overwrite)
    yield f"{path}: {', '.join(names)}, seed {args.seed}"
    if args.truth is not None:
        write_truth(scenes[0], args.truth)
        yield f"{args.truth}: the true spectrum of {names[0]}"
    return 0


def _review(args: argparse.Namespace) -> Generator[str, None, int]:
    from optextract.batch import Review

    review = Review(args.folder, least=args.least, decided=args.decided)
    if not len(review):
        yield f"{args.folder}: nothing needs a look"
        return 0
    if args.list:
        for item in review.items:
            decided = f" ({item.decision})" if item.decision else ""
            yield f"{item.score:5.1f}  {item.name}{decided}: {'; '.join(item.flags)}"
        return 0
    from optextract.panel.review import main

    yield f"{len(review)} spectra to look at, worst first; closing the page ends this command."
    main(review, theme=args.theme, port=args.port, browser=not args.no_browser)
    yield f"{review.undecided} left undecided; optextract run --resume -o {args.folder} does the adjusted ones again"
    return 0


def _run(args: argparse.Namespace) -> Generator[str, None, int]:
    from .run import run

    return run(args)


def _report(args: argparse.Namespace) -> Generator[str, None, int]:
    from optextract.batch.report import write_report

    path = write_report(args.folder, args.page, title=args.title)
    yield f"{path}: open it in a browser; the table is {Path(args.folder) / 'table.ecsv'}"
    return 0


def _calibrate(args: argparse.Namespace) -> Generator[str, None, int]:
    from .calibrate import run

    return run(args)


def _validate(args: argparse.Namespace) -> Generator[str, None, int]:
    from .validate import run

    return run(args)


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "app": _app,
        "info": _info,
        "init": _init,
        "report": _report,
        "review": _review,
        "run": _run,
        "simulate": _simulate,
        "validate": _validate,
        "calibrate": _calibrate,
    }
)
