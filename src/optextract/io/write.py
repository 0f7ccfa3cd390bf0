"""The door through which results go out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..combine import Combined
from ..errors import bad_value
from ..results import Extraction
from ._files import check_target, replacing

__all__ = ["write"]


def write(
    result: Extraction | Combined | Iterable[Extraction],
    path: str | Path,
    *,
    overwrite: bool = False,
) -> Path:
    """Write one result or several; the suffix says how.

    ``.fits``: JWST x1d (MultiSpecModel), one spectrum for each source of each result. ``.ecsv``: one table of all
    spectra. ``.asdf``: one whole result, which `Extraction.read` reads back. A combination of exposures goes into the
    first two. The file appears whole or not at all.

    Parameters
    ----------
    result : Extraction, Combined or iterable of Extraction
        What to write.
    path : path
        Where to.
    overwrite : bool, optional
        Replace an existing file. The input of a result is never replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OptextractError
        If the file exists and `overwrite` is not set, is an input, its folder is absent, or its suffix is unknown.
    """
    path = Path(path)
    if isinstance(result, Combined):
        return _write_combined(result, path, overwrite=overwrite)
    results = [result] if isinstance(result, Extraction) else list(result)
    if not results or not all(isinstance(one, Extraction) for one in results):
        raise bad_value("result", "write", "an Extraction or several, or a Combined", result)
    suffix = path.suffix.lower()
    if suffix not in (".fits", ".ecsv", ".asdf"):
        raise bad_value("path", "write", "a file name that ends in .fits, .ecsv or .asdf", str(path))
    if suffix == ".asdf" and len(results) > 1:
        raise bad_value("result", "write", "a single Extraction where the file is ASDF", f"{len(results)} of them")
    check_target(path, _inputs(results), overwrite=overwrite)
    with replacing(path) as part:
        if suffix == ".fits":
            from .x1d import write_x1d

            write_x1d(results, part, path.name)
        elif suffix == ".ecsv":
            from .ecsv import write_ecsv

            write_ecsv(results, part)
        else:
            from .asdf import write_asdf

            write_asdf(results[0], part)
    return path


def _write_combined(result: Combined, path: Path, *, overwrite: bool) -> Path:
    suffix = path.suffix.lower()
    if suffix not in (".fits", ".ecsv"):
        raise bad_value("path", "write", "a file name that ends in .fits or .ecsv for a Combined", str(path))
    check_target(path, result.provenance.get("paths", ()), overwrite=overwrite)
    from .combined import write_combined_ecsv, write_combined_x1d

    with replacing(path) as part:
        if suffix == ".fits":
            write_combined_x1d(result, part, path.name)
        else:
            write_combined_ecsv(result, part)
    return path


def _inputs(results: list[Extraction]) -> list[Any]:
    return [one.meta["path"] for one in results if one.meta.get("path") is not None]
