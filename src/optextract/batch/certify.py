"""Injection and recovery for files, and for the spectra of an output folder, each by its own recipe."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optextract.errors import OptextractError, bad_value
from optextract.recipe import Recipe
from optextract.validate import LEVELS, Certificate, combine, validate

from .manifest import Record, read_manifest
from .worker import FAILURES, check_trust

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Certified", "certified_table", "certify_file", "certify_folder"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Certified:
    """The certificate of one spectrum, or why there is none.

    Attributes
    ----------
    file : str
        Its file.
    slit : str or None
        Its slit, where the file has several.
    certificate : Certificate or None
        What injection and recovery said.
    reason : str
        Why it could not be done.
    """

    file: str
    slit: str | None
    certificate: Certificate | None
    reason: str = ""

    @property
    def name(self) -> str:
        """File and slit."""
        return self.file if self.slit is None else f"{self.file} [{self.slit}]"


def certify_file(
    path: str | Path,
    recipe: Recipe | None = None,
    *,
    slit: str | int | None = None,
    levels: Sequence[float] = LEVELS,
    places: int = 8,
) -> Certificate:
    """Validate one spectrum of a file; see `optextract.validate.validate`.

    Parameters
    ----------
    path : path
        A file that `optextract.read` takes.
    recipe : Recipe, optional
        The settings; absent: the defaults.
    slit : str or int, optional
        Which spectrum of a file of several.
    levels : sequence of float, optional
        S/N per column of the injected sources.
    places : int, optional
        Injections a level.

    Returns
    -------
    Certificate

    Raises
    ------
    OptextractError
        If the file cannot be read or extracted, or has no row to inject into.
    """
    from optextract.io import read

    recipe = Recipe() if recipe is None else recipe
    frame = read(path, slit, settings=recipe.input)
    named = Path(path).name if slit is None else f"{Path(path).name} [{slit}]"
    return validate(frame, recipe, levels=levels, places=places, name=named)


def certify_folder(
    folder: str | Path,
    *,
    levels: Sequence[float] = LEVELS,
    places: int = 3,
    n_jobs: int = 1,
    trust: bool = False,
) -> Iterator[Certified]:
    """Validate every spectrum of an output folder by the recipe that it was extracted with.

    Parameters
    ----------
    folder : str or Path
        The output folder of a run.
    levels, places
        See `optextract.validate.validate`.
    n_jobs : int, optional
        Processes.
    trust : bool, optional
        Let recipes name Python code.

    Yields
    ------
    Certified
        One a spectrum that was extracted, as they end.

    Raises
    ------
    OptextractError
        If the folder holds no spectrum.
    """
    records = [record for record in read_manifest(folder) if record["status"] == "done"]
    if not records:
        raise bad_value("folder", "certify_folder", "the output folder of a run with a spectrum in it", str(folder))
    arguments = [(record, tuple(levels), places, trust) for record in records]
    if n_jobs == 1:
        yield from (_one(*argument) for argument in arguments)
        return
    try:
        from joblib import Parallel, delayed
    except ImportError as error:
        raise OptextractError("several processes need joblib: pip install 'optextract[batch]'") from error
    parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered", pre_dispatch="3*n_jobs")
    yield from parallel(delayed(_one)(*argument) for argument in arguments)


def _one(record: Record, levels: Sequence[float], places: int, trust: bool) -> Certified:
    try:
        recipe = Recipe.from_yaml(record["recipe_text"], name="the recipe in the manifest")
        check_trust(recipe, trust)
        certificate = certify_file(
            record["file"],
            recipe,
            slit=None if record["slit"] is None else record["index"],
            levels=levels,
            places=places,
        )
        return Certified(record["file"], record["slit"], certificate)
    except FAILURES as error:
        _log.debug("%s could not be validated", record["file"], exc_info=True)
        return Certified(record["file"], record["slit"], None, " ".join(str(error).split()))


def certified_table(found: Sequence[Certified]) -> Table:
    """Put the certificates of a folder into a table.

    Parameters
    ----------
    found : sequence of Certified
        As `certify_folder` gives them.

    Returns
    -------
    Table
        One row a spectrum: pull rms and its error, flux bias at the highest S/N, completeness at the lowest, words;
        ``meta["words"]`` says it for all of them together.
    """
    from astropy.table import Table

    rows: list[dict[str, Any]] = []
    for one in sorted(found, key=lambda c: (c.file, c.slit is not None, str(c.slit))):
        row: dict[str, Any] = {"file": one.file, "slit": "" if one.slit is None else one.slit}
        nothing = float("nan")
        row.update(pull_rms=nothing, pull_rms_error=nothing, bias=nothing, bias_error=nothing, completeness=nothing)
        row.update(honest=False, place="", words=one.reason)
        if one.certificate is not None:
            rms, error = one.certificate.pull_rms
            faint, bright = (
                one.certificate.at(level) for level in (min(one.certificate.levels), max(one.certificate.levels))
            )
            row.update(pull_rms=rms, pull_rms_error=error, bias=bright["bias"], bias_error=bright["bias_error"])
            row.update(completeness=faint["completeness"], honest=one.certificate.honest)
            row.update(place=one.certificate.place, words=" ".join(one.certificate.words()))
        rows.append(row)
    table = Table(rows=rows)
    known = [one.certificate for one in found if one.certificate is not None]
    if known:
        table.meta = {"words": list(combine(known).words())}
    return table
