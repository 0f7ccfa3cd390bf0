"""From an entry of the host's data collection back to the file's own planes, and from a `Frame` to such an entry."""

from __future__ import annotations

import logging
import os
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from numpy.typing import NDArray

from .. import io
from ..errors import OptextractError
from ..frame import Frame
from ..recipe import Input

if TYPE_CHECKING:
    from specutils import Spectrum

__all__ = ["KEY", "completed", "frame_of", "origin_of", "read", "slit_names", "slits_of", "spectra_of", "spectrum_of"]

#: Key of an entry's meta under which its file and slit stand: ``{"path": ..., "slit": ...}``.
KEY = "optextract_source"

_log = logging.getLogger(__name__)
_frames: OrderedDict[tuple[Any, ...], Frame] = OrderedDict()
_KEPT = 32


def read(path: str | os.PathLike[str], slit: str | int | None, settings: Input) -> Frame:
    """Read a slit of a file; what has been read before and not changed since comes from memory.

    Raises
    ------
    OptextractError
        As `optextract.read`.
    """
    stat = os.stat(path)
    key = (os.path.abspath(path), stat.st_mtime_ns, stat.st_size, slit, settings)
    if key not in _frames:
        _frames[key] = io.read(path, slit=slit, settings=settings)
        while len(_frames) > _KEPT:
            _frames.popitem(last=False)
    _frames.move_to_end(key)
    return _frames[key]


def frame_of(data: Any, settings: Input) -> Frame:
    """Return the frame behind an entry of the host's data collection.

    The file's own planes, where the entry came from a file; what the entry itself holds, where it did not.

    Parameters
    ----------
    data : glue.core.Data
        Entry of the data collection.
    settings : Input
        How the file is read.

    Raises
    ------
    OptextractError
        If the file is gone, cannot be read, or is not understood.
    """
    origin = data.meta.get(KEY)
    if origin is not None:
        if not os.path.isfile(origin["path"]):
            raise OptextractError(f"the file of {data.label!r} is gone: {origin['path']} (load it again)")
        return read(origin["path"], origin.get("slit"), settings)
    from specutils import Spectrum

    key = (data.uuid, settings)
    if key not in _frames:
        _frames[key] = io.read(data.get_object(cls=Spectrum, statistic=None), settings=settings)
    return _frames[key]


def origin_of(importer: Any) -> dict[str, Any] | None:
    """Return path and slit of what one of the host's 2D importers is about to load, or None where there is no file.

    An HDU that holds no flux (the host offers WHT too) has no frame behind it.
    """
    path: Any = getattr(importer._resolver, "filepath", None)
    if not is_fits(path):
        path = getattr(importer._parser, "input", None)
    if not is_fits(path):
        return None
    hdu = importer.extension.selected_item if importer.input_type == "fits:hdulist" else {}
    if hdu.get("name", "SCI") not in ("", "SCI", "FLUX", "PRIMARY"):
        return None
    names = slit_names(path)
    slit = None
    if len(names) > 1:
        versions = sorted(item["ver"] for item in importer.extension_items if item.get("name") == "SCI")
        slit = versions.index(hdu["ver"]) if hdu.get("ver") in versions else 0
    return {"path": os.path.abspath(path), "slit": slit}


def completed(data: Spectrum, origin: Mapping[str, Any]) -> Spectrum:
    """Return a 2D spectrum of the host's loader with everything that the file has: errors, wavelength, unit.

    Where the file is not understood (a unit has to be given first, for example) it is returned as it is.
    """
    try:
        frame = read(origin["path"], origin.get("slit"), Input())
    except (OptextractError, OSError) as error:
        _log.info("%s stays as the host has read it: %s", origin["path"], error)
        return data
    return spectrum_of(frame, data.meta)


def spectra_of(given: Any) -> Any:
    """Return 2D spectra for paths of files, each slit of a file one, as long as they are understood.

    Parameters
    ----------
    given : path, sequence of paths, or anything else
        What a user hands to Mosviz; what is no path, or is not understood, is returned as it is.
    """
    if is_fits(given):
        try:
            return [_loaded(given, slit.index if len(slits_of(given)) > 1 else None) for slit in slits_of(given)]
        except (OptextractError, OSError) as error:
            _log.info("%s is left to the host: %s", given, error)
            return given
    if isinstance(given, list | tuple):
        found = [spectra_of(item) for item in given]
        return [item[0] if isinstance(item, list) and len(item) == 1 else item for item in found]
    return given


def _loaded(path: str, slit: int | None) -> Spectrum:
    spectrum = spectrum_of(read(path, slit, Input()))
    spectrum.meta[KEY] = {"path": os.path.abspath(path), "slit": slit}
    return spectrum


def spectrum_of(frame: Frame, meta: Mapping[str, Any] | None = None) -> Spectrum:
    """Return a frame as the host shows it: one wavelength a column, strictly monotonic, or pixels where there is none.

    Parameters
    ----------
    frame : Frame
        The frame, shape (n_cross, n_disp).
    meta : mapping, optional
        Meta of the spectrum; absent: the header and the names that the frame carries.

    Returns
    -------
    specutils.Spectrum
        Shape (n_cross, n_disp); the uncertainty is a standard deviation where the frame has a variance.
    """
    from astropy.nddata import StdDevUncertainty
    from specutils import Spectrum

    if meta is None:
        meta = _meta_of(frame)
    variance: Any = frame.variance
    if variance is None and frame.variance_parts:
        variance = sum(frame.variance_parts.values())
    uncertainty = None
    if variance is not None:
        with np.errstate(invalid="ignore"):
            uncertainty = StdDevUncertainty(np.sqrt(variance), unit=frame.unit)
    axis = column_wavelength(frame)
    kwargs = {"spectral_axis": axis} if axis is not None else {"spectral_axis": np.arange(frame.n_disp) * u.pix}
    return Spectrum(
        flux=u.Quantity(frame.flux, frame.unit),
        uncertainty=uncertainty,
        mask=np.array(frame.mask),
        meta=dict(meta),
        **kwargs,
    )


def _meta_of(frame: Frame) -> dict[str, Any]:
    known: Mapping[str, Any] = frame.meta if frame.meta is not None else {}
    meta = {**known.get("header", {}), **{key: known[key] for key in ("slit", "source_name") if key in known}}
    if "pixel_area_sr" in known:
        meta["PIXAR_SR"] = known["pixel_area_sr"]
    return meta


def column_wavelength(frame: Frame) -> u.Quantity | None:
    """Return one wavelength a column for display, shape (n_disp,); None where there is none or it is not monotonic."""
    if frame.wavelength is None:
        return None
    values = np.asarray(frame.wavelength.value)
    if values.ndim == 2:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a column without any wavelength
            values = np.nanmedian(values, axis=0)
    filled = _filled(values)
    return None if filled is None else u.Quantity(filled, frame.wavelength.unit)


def _filled(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Gaps bridged and ends continued linearly; None where what results is not strictly monotonic."""
    good = np.flatnonzero(np.isfinite(values))
    if good.size < 2:
        return None
    columns = np.arange(values.size)
    filled = np.interp(columns, good, values[good])
    for edge, other, outside in ((good[0], good[1], columns < good[0]), (good[-1], good[-2], columns > good[-1])):
        slope = (values[edge] - values[other]) / (edge - other)
        filled[outside] = values[edge] + slope * (columns[outside] - edge)
    steps = np.diff(filled)
    return filled if (steps > 0).all() or (steps < 0).all() else None


def slit_names(path: str | os.PathLike[str]) -> list[str]:
    """Return what the slits of a file are called, by index; empty where there is one, or no format fits."""
    try:
        found = slits_of(path)
    except (OptextractError, OSError):
        return []
    if len(found) < 2:
        return []
    names = [slit.name if slit.name else str(slit.index) for slit in found]
    names = [
        f"{name} ({slit.source_name})" if slit.source_name else name for name, slit in zip(names, found, strict=True)
    ]
    return (
        names
        if len(set(names)) == len(names)
        else [f"{slit.index}: {name}" for name, slit in zip(names, found, strict=True)]
    )


def slits_of(path: str | os.PathLike[str]) -> tuple[io.Slit, ...]:
    """List the slits of a file; a file that has not changed is not looked at twice.

    Raises
    ------
    ReadError
        As `optextract.io.slits`.
    """
    stat = os.stat(path)
    return _slits(os.path.abspath(path), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=32)
def _slits(path: str, _modified: int, _size: int) -> tuple[io.Slit, ...]:
    return io.slits(path)


def is_fits(path: Any) -> bool:
    """Tell from the first bytes whether something is the path of a FITS file (gzip allowed)."""
    if not isinstance(path, str | os.PathLike) or not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        start = file.read(10)
    if start.startswith(b"SIMPLE  ="):
        return True
    if not start.startswith(b"\x1f\x8b"):
        return False
    try:
        with fits.open(path) as hdus:
            return len(hdus) > 0
    except OSError:
        return False
