"""One file, start to end: read, extract, write. Never raises for a bad file, in whatever process it runs."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optextract.errors import OptextractError, ReadError
from optextract.frame import Frame
from optextract.recipe import Recipe
from optextract.report.compare import Comparison
from optextract.results import Extraction

from .jobs import Job
from .manifest import Record
from .names import input_stem, product_name
from .quality import figures_of, rate

__all__ = ["CARDS", "DISK_FULL", "FAILURES", "Settings", "check_trust", "checksum", "failure", "work", "work_all"]

_log = logging.getLogger(__name__)

#: Folder of what the report shows of each spectrum.
CARDS = "cards"

#: Errors that mean that nothing more can be written.
DISK_FULL = errno.ENOSPC
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

#: What a damaged file or an impossible recipe can raise, here or in a library; one bad file never stops the rest.
FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    Warning,
)


@dataclass(frozen=True)
class Settings:
    """What holds for every job of a batch.

    Attributes
    ----------
    out : Path
        Output folder.
    recipe : Recipe
        For every spectrum that no override changes.
    overwrite : bool
        Whether products that exist are replaced.
    figures : bool
        Whether to write a PNG beside each product.
    compare : str or None
        An x1d file, a folder of them, or ``auto``: the file beside the input with ``_x1d`` in place of ``_s2d``.
    trust : bool
        Whether recipes may name Python code.
    inputs : frozenset of str
        Inputs that lie in the output folder; they are never written to.
    """

    out: Path
    recipe: Recipe
    overwrite: bool = False
    figures: bool = False
    compare: str | None = None
    trust: bool = False
    inputs: frozenset[str] = field(default=frozenset(), repr=False)


def checksum(path: str | Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def work(job: Job, settings: Settings) -> list[Record]:
    """Extract every slit that a job asks for.

    Parameters
    ----------
    job : Job
        File, slits, changes of the recipe.
    settings : Settings
        What holds for every job.

    Returns
    -------
    list of dict
        One record a spectrum; one with ``slit`` None where the file failed as a whole.
    """
    from optextract.io._fits import FitsFile
    from optextract.io._records import choose
    from optextract.io._registry import identify

    started = time.monotonic()
    try:
        about = _about(job)
        records: list[Record] = []
        with FitsFile(job.path) as file:
            common = job.recipe_for((), settings.recipe).input
            known = identify(file, common)
            slits = known.slits(file, common)
            wanted = range(len(slits)) if job.slits is None else [choose(slits, name, job.path) for name in job.slits]
            labels = _labels([slit.name for slit in slits])
            about["n_slits"] = len(slits)
            for index in dict.fromkeys(wanted):
                label = labels[index] if len(slits) > 1 else None
                told = (label, slits[index].name, slits[index].source_name, str(index))
                names = {name for name in told if name}
                records.append(_one(job, settings, about, file, known, index, label, names))
    except FAILURES as error:
        _log.debug("%s failed", job.path, exc_info=True)
        records = [failure(job, None, error)]
    if records:
        # opening and checking the file is part of its first spectrum
        rest = time.monotonic() - started - sum(record.get("seconds", 0.0) for record in records)
        records[0]["seconds"] = round(records[0].get("seconds", 0.0) + rest, 4)
    return records


def work_all(jobs: Sequence[Job], settings: Settings) -> list[tuple[Job, list[Record]]]:
    """Several jobs, one after another."""
    return [(job, work(job, settings)) for job in jobs]


def _about(job: Job) -> dict[str, Any]:
    """What the manifest keeps of the input.

    Raises
    ------
    ReadError
        If there is no such file.
    """
    try:
        found = os.stat(job.path)
        return {
            "file": job.key,
            "stem": job.stem,
            "input_size": found.st_size,
            "input_mtime_ns": found.st_mtime_ns,
            "input_sha256": checksum(job.path),
        }
    except FileNotFoundError as error:
        raise ReadError(f"{job.path}: there is no such file") from error
    except IsADirectoryError as error:
        raise ReadError(f"{job.path} is a folder, not a file") from error


def _labels(names: Sequence[str]) -> list[str]:
    """One label a slit, different from each other also where a file system ignores case."""
    plain = [name if name else str(index) for index, name in enumerate(names)]
    seen = [product_name("", label).lower() for label in plain]
    return [
        label if seen.count(key) == 1 else f"{label}-{index}"
        for index, (label, key) in enumerate(zip(plain, seen, strict=True))
    ]


def _one(
    job: Job,
    settings: Settings,
    about: dict[str, Any],
    file: Any,
    known: Any,
    index: int,
    label: str | None,
    names: set[str],
) -> Record:
    """Extract one slit; a failure becomes its record."""
    from optextract import __version__

    started = time.monotonic()
    base: Record = {**about, "slit": label, "names": sorted(names), "index": index, "version": __version__}
    try:
        recipe = job.recipe_for(names, settings.recipe)
        base["recipe"], base["recipe_text"] = recipe.digest(), recipe.to_yaml()
        target = settings.out / product_name(job.stem, label)
        _check_target(target, job, settings)
        frame = known.frame(file, index, recipe.input)
        done = _products(frame, recipe, target, settings, job)
        return {**base, "status": "done", **done, "seconds": round(time.monotonic() - started, 4)}
    except Refused as error:
        return {**base, "status": "refused", "reason": str(error), "error": "Refused", "products": []}
    except FAILURES as error:
        _log.debug("%s [%s] failed", job.path, label, exc_info=True)
        return {**failure(job, label, error), **base}


class Refused(OptextractError):
    """A product exists and may not be replaced."""


def _check_target(target: Path, job: Job, settings: Settings) -> None:
    """Refuse to write where something is that is not ours to replace."""
    if target.name in job.existing:
        raise Refused(f"{target} exists: --overwrite replaces it, --resume does only what is missing")
    resolved = str(target.resolve())
    if resolved == str(Path(job.path).resolve()) or resolved in settings.inputs:
        raise OptextractError(f"{target} is an input and is never written to; choose another output folder")
    if target.exists() and not _is_ours(target):
        raise OptextractError(
            f"{target} is no product of optextract and is never replaced; choose another output folder"
        )


def _is_ours(path: Path) -> bool:
    """Whether a file is an earlier product of optextract: its primary header says so."""
    with path.open("rb") as stream:
        return b"OXVERS  =" in stream.read(64 * 2880)


def _products(frame: Frame, recipe: Recipe, target: Path, settings: Settings, job: Job) -> dict[str, Any]:
    """Extract and write; returns what the record says of it."""
    from optextract.io import write
    from optextract.io._files import replacing
    from optextract.pipeline import extract
    from optextract.report.card import card_of

    check_trust(recipe, settings.trust)
    result = extract(frame, recipe)
    others = _others(job, settings, frame, result)
    quality = figures_of(frame, result, others)
    rating = rate(quality)
    products = [target.name]
    write(result, target, overwrite=True)
    if settings.figures:
        from optextract.report.figures import save_summary

        figure = target.with_suffix(".png")
        save_summary(frame, result, figure, others)
        products.append(figure.name)
    card = settings.out / CARDS / f"{target.stem}.json"
    card.parent.mkdir(exist_ok=True)
    with replacing(card) as part:
        part.write_text(json.dumps(card_of(frame, result, others), separators=(",", ":")), encoding="utf-8")
    return {
        "products": products,
        "source_name": str(frame.meta.get("source_name", "")),
        # JSON knows no NaN
        "quality": {name: None if value != value else value for name, value in quality.items()},
        "score": rating.score,
        "flags": list(rating.flags),
        "compared": [sentence for other in others if other is not None for sentence in other.words()],
        "notes": [str(text) for text in frame.meta.get("notes", ())],
        "warnings": [str(text) for text in result.quality.get("warnings", ())],
        "versions": {str(name): str(text) for name, text in result.provenance.get("versions", {}).items()},
    }


def _others(job: Job, settings: Settings, frame: Frame, result: Extraction) -> list[Comparison | None]:
    """The x1d to compare with, for the first source: a file does not say which of several it would be."""
    if settings.compare is None:
        return []
    from optextract.io import read_x1d
    from optextract.report.compare import compare, find_aperture

    path = x1d_beside(job.path, settings.compare)
    if path is None:
        return []
    other = read_x1d(path, _which(path, frame))
    flux = other.flux.to_value(frame.flux_unit)
    aperture = find_aperture(frame, flux) if flux.shape == (frame.n_disp,) else None
    return [compare(result, other, label=path.name, aperture=aperture)]


def _which(path: Path, frame: Frame) -> int | str | None:
    """Which spectrum of an x1d file belongs to a frame: the only one, or the one of that source or slit."""
    from optextract.errors import ReadError
    from optextract.io import read_x1d

    try:
        read_x1d(path)
    except ReadError as error:
        names = [frame.meta.get(key) for key in ("source_name", "slit")]
        for name in (str(name) for name in names if name is not None):
            if repr(name) in str(error):
                return name
        raise
    return None


def x1d_beside(path: str, wanted: str) -> Path | None:
    """The x1d file that belongs to an input.

    Parameters
    ----------
    path : str
        The input.
    wanted : str
        A file; a folder that holds ``<stem>_x1d.fits``; or ``auto``: the input's own folder.

    Returns
    -------
    Path or None
        None where there is none.
    """
    given = Path(wanted)
    if wanted != "auto" and not given.is_dir():
        return given
    folder = Path(path).parent if wanted == "auto" else given
    name = f"{input_stem(path).removesuffix('_s2d')}_x1d.fits"
    return folder / name if (folder / name).is_file() else None


def check_trust(recipe: Recipe, trust: bool) -> None:
    """Refuse a recipe that names Python code, unless it is trusted.

    Raises
    ------
    OptextractError
        With the field and the code's name.
    """
    if recipe.profile.model is not None and not trust:
        raise OptextractError(
            f"the recipe names Python code, profile.model: {recipe.profile.model!r}, which would be run; "
            "--trust allows it where you trust the recipe"
        )


def failure(job: Job, slit: str | None, error: BaseException) -> Record:
    """Return the record of what failed, with the reason in words."""
    from optextract import __version__

    reason = " ".join(str(error).split())
    record: Record = {
        "file": job.key,
        "stem": job.stem,
        "slit": slit,
        "status": "failed",
        "error": type(error).__name__,
        "reason": reason if reason else f"{type(error).__name__} without a message",
        "products": [],
        "version": __version__,
        "score": 100.0,
        "flags": ["failed"],
    }
    # astropy tells of a full disk in words of its own, without a number
    if isinstance(error, OSError) and (error.errno in _NO_SPACE or "space on dis" in reason.lower()):
        record["errno"] = DISK_FULL
    return record
