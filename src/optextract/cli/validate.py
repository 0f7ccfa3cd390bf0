"""``optextract validate``: injection and recovery in files or in the spectra of an output folder."""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Generator, Mapping
from pathlib import Path

from optextract.batch.names import input_stem, safe_name
from optextract.errors import OptextractError, bad_value
from optextract.recipe import Recipe

__all__ = ["run"]

_log = logging.getLogger(__name__)


def _levels(text: str | None) -> tuple[float, ...]:
    from optextract.validate import LEVELS

    if text is None:
        return LEVELS
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise bad_value("levels", "optextract validate", "numbers with commas between", text) from error


def run(args: argparse.Namespace) -> Generator[str, None, int]:
    """Validate files or a folder; exit code 1 where errors are not honest."""
    levels = _levels(args.levels)
    folder = Path(args.target[0])
    if len(args.target) == 1 and folder.is_dir():
        return (yield from _folder(folder, args, levels))
    return (yield from _files(args, levels))


def _line(row: Mapping[str, float]) -> str:
    def told(name: str, factor: float, form: str) -> str:
        value, error = factor * row[name], factor * row[f"{name}_error"]
        return f"{value:{form}} +- {error:{form.lstrip('+')}}" if math.isfinite(value) else "none found"

    return (
        f"  S/N {row['snr']:<5g} bias {told('bias', 100, '+.2f')} %   pull rms {told('pull_rms', 1, '.3f')}   "
        f"found {100 * row['completeness']:.0f} % of {row['n']:.0f}"
    )


def _files(args: argparse.Namespace, levels: tuple[float, ...]) -> Generator[str, None, int]:
    from optextract.batch.certify import certify_file
    from optextract.report.certificate import save_certificate

    recipe = Recipe() if args.recipe is None else Recipe.load(args.recipe)
    out = Path("optextract" if args.out is None else args.out)
    out.mkdir(parents=True, exist_ok=True)
    honest, done = True, 0
    for path in args.target:
        try:
            places = 8 if args.places is None else args.places
            certificate = certify_file(path, recipe, slit=args.slit, levels=levels, places=places)
        except (OptextractError, OSError) as error:
            _log.error("%s", str(error) if str(error).startswith(path) else f"{path}: {error}")
            continue
        done += 1
        honest &= certificate.honest
        stem = safe_name(input_stem(path)) + ("" if args.slit is None else f"_{safe_name(args.slit)}")
        table, figure = out / f"{stem}_validate.ecsv", out / f"{stem}_validate.png"
        certificate.table().write(table, format="ascii.ecsv", overwrite=True)
        save_certificate(certificate, figure)
        yield f"{certificate.name}: injected into {certificate.place}"
        for level in certificate.levels:
            yield _line(certificate.at(level))
        for sentence in certificate.words():
            yield f"  {sentence}"
        yield f"  -> {table}, {figure.name}"
    if not done:
        return 2
    return 0 if honest and done == len(args.target) else 1


def _folder(folder: Path, args: argparse.Namespace, levels: tuple[float, ...]) -> Generator[str, None, int]:
    from optextract.batch.certify import certified_table, certify_folder
    from optextract.report.certificate import save_certificate
    from optextract.validate import combine

    if args.recipe is not None or args.slit is not None:
        raise OptextractError("--recipe and --slit are for files: the spectra of a folder have their own recipes")
    places = 3 if args.places is None else args.places
    found = []
    for one in certify_folder(folder, levels=levels, places=places, n_jobs=args.jobs, trust=args.trust):
        found.append(one)
        if one.certificate is None:
            _log.error("%s: %s", one.name, one.reason)
        elif not one.certificate.honest or args.verbose:
            yield f"{one.name}: {' '.join(one.certificate.words())}"
    known = [one.certificate for one in found if one.certificate is not None]
    if not known:
        return 2
    out = folder if args.out is None else Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    certified_table(found).write(out / "validate.ecsv", format="ascii.ecsv", overwrite=True)
    whole = combine(known, f"{len(known)} spectra of {folder.resolve().name}")
    save_certificate(whole, out / "validate.png")
    yield f"{whole.name}:"
    for level in whole.levels:
        yield _line(whole.at(level))
    for sentence in whole.words():
        yield f"  {sentence}"
    wrong = sum(not one.honest for one in known)
    missing = len(found) - len(known)
    yield f"  {len(known) - wrong} have honest errors, {wrong} have not, {missing} could not be validated"
    yield f"  -> {out / 'validate.ecsv'}, validate.png"
    return 0 if not wrong and len(known) == len(found) else 1
