"""The formats, in the order in which they are tried, and the door through which files and objects come in."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import ReadError, bad_value
from ..frame import Frame
from ..recipe import Input
from ._fits import FitsFile
from ._records import Format, Slit, choose
from .deimos import TableSlit
from .general import MappedImages, NamedImages, PrimaryImage
from .jwst import Jwst
from .msaexp import Msaexp

__all__ = ["FORMATS", "identify", "read", "read_all", "settings_of", "slits"]

#: From the most particular to the most general.
FORMATS: tuple[Format, ...] = (Jwst(), Msaexp(), TableSlit(), NamedImages(), PrimaryImage())


def settings_of(settings: Input | None, unit: str | None) -> Input:
    """Merge ``unit=`` into the settings."""
    settings = Input() if settings is None else settings
    if not isinstance(settings, Input):
        raise bad_value("settings", "read", "the input section of a recipe (recipe.Input)", settings, ReadError)
    return settings if unit is None else settings.model_copy(update={"unit": unit})


def identify(file: FitsFile, settings: Input, formats: Sequence[Format] = FORMATS) -> Format:
    """Return the format of a file.

    Raises
    ------
    ReadError
        If no format recognises it; the message lists what was tried and why it did not fit.
    """
    if settings.mapping is not None and settings.mapping.flux is not None:
        return MappedImages()
    tried = []
    for known in formats:
        reason = known.refusal(file)
        if not reason:
            return known
        tried.append(f"{known.name}: {reason}")
    raise ReadError(f"{file.path} {_contents(file)} Tried:\n  " + "\n  ".join(tried))


def _contents(file: FitsFile) -> str:
    """Why a file that nobody recognises is no 2D spectrum, as far as can be seen."""
    flat = [k for k in range(len(file.hdus)) if file.is_image(k) and len([n for n in file.shape(k) if n != 1]) == 2]
    if flat:
        listed = ", ".join(file.label(index) for index in flat)
        return f"is of no known format. Its images are {listed}; input.mapping in the recipe can say which is what."
    extracted = [k for k in file.tables() if len(file.columns(k)) > 1 and file.name(k) != "ASDF"]
    if extracted:
        listed = ", ".join(file.label(index) for index in extracted)
        return f"holds no 2D spectrum but tables ({listed}): an extracted spectrum is read by read_x1d."
    return "holds no image of two axes."


def _is_path(source: object) -> bool:
    return isinstance(source, str | PathLike)


def read(
    path: str | Path | Any, slit: str | int | None = None, *, settings: Input | None = None, unit: str | None = None
) -> Frame:
    """Read one 2D spectrum.

    Parameters
    ----------
    path : path, Spectrum or NDData
        A FITS file (plain, gzip, bzip2, xz or tile-compressed), a 2D `specutils.Spectrum`, or an
        `~astropy.nddata.NDData`.
    slit : str or int, optional
        Name of the slit, name or identifier of the source, or 0-based index. Needed where the file has several.
    settings : recipe.Input, optional
        Section ``input`` of the recipe.
    unit : str, optional
        Unit of the pixels; short for ``settings.unit``.

    Returns
    -------
    Frame
        Dispersion along axis 1.

    Raises
    ------
    ReadError
        If the file is absent, truncated, of no known format, holds no such slit, or its unit cannot be known.
    """
    merged = settings_of(settings, unit)
    if not _is_path(path):
        from .objects import from_object

        return from_object(path, merged)
    with FitsFile(path) as file:
        known = identify(file, merged)
        records = known.slits(file, merged)
        return known.frame(file, choose(records, slit, file.path), merged)


def read_all(path: str | Path, *, settings: Input | None = None) -> list[Frame]:
    """Read every 2D spectrum of a file, in the order of `slits`.

    Parameters
    ----------
    path : path
        A FITS file.
    settings : recipe.Input, optional
        Section ``input`` of the recipe.

    Returns
    -------
    list of Frame

    Raises
    ------
    ReadError
        As `read`.
    """
    merged = settings_of(settings, None)
    if not _is_path(path):
        return [read(path, settings=settings)]
    with FitsFile(path) as file:
        known = identify(file, merged)
        return [known.frame(file, record.index, merged) for record in known.slits(file, merged)]


def slits(path: str | Path, *, settings: Input | None = None) -> tuple[Slit, ...]:
    """List the 2D spectra of a file without reading wavelengths.

    Parameters
    ----------
    path : path
        A FITS file.
    settings : recipe.Input, optional
        Section ``input`` of the recipe.

    Returns
    -------
    tuple of Slit

    Raises
    ------
    ReadError
        As `read`.
    """
    merged = settings_of(settings, None)
    with FitsFile(path) as file:
        return identify(file, merged).slits(file, merged)
