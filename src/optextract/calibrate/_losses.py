"""Light that the slit or an aperture misses, from the PSF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray

from ..errors import OptextractError, bad_value
from ..results import Extraction
from ..templates import Template

__all__ = ["aperture_fraction", "profile_fraction", "slit_throughput"]

FloatArray = NDArray[np.float64]


def slit_throughput(
    path: str | Path, wavelength: ArrayLike | u.Quantity, *, offset: float = 0.0, source_size: float = 0.0
) -> FloatArray:
    """Fraction of a source's light that passes a slit, from the table of losses in an empirical PSF file.

    Dividing a spectrum by it undoes the slit loss. The pipeline's own path-loss step (S_PTHLOS) does the same: one of
    the two, not both.

    Parameters
    ----------
    path : path
        FITS file with HDUs LOSS of shape (n_wave, n_size, n_offset), WAVE (micron), SIGMA (1 sigma of the source,
        pixel) and LOSS_XOFFSET (offset of the source from the middle across the slit, fraction of its width).
    wavelength : array_like or Quantity, shape (n,)
        Micron, or with a unit; NaN stays NaN.
    offset : float, optional
        Offset across the slit as a fraction of its width (SRCXPOS); either sign.
    source_size : float, optional
        1 sigma of the source, pixel.

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    OptextractError
        If the file has no such table, or a value lies outside it.
    """
    from astropy.io import fits
    from scipy.interpolate import RegularGridInterpolator

    try:
        with fits.open(path, memmap=False) as hdus:
            missing = [name for name in ("LOSS", "WAVE", "SIGMA", "LOSS_XOFFSET") if name not in hdus]
            if missing:
                raise bad_value("path", "slit_throughput", f"a file with an HDU {missing[0]}", str(path))
            loss, waves, sizes, offsets = (
                np.asarray(hdus[name].data, float) for name in ("LOSS", "WAVE", "SIGMA", "LOSS_XOFFSET")
            )
    except OSError as error:
        raise OptextractError(f"the table of slit losses {path} cannot be read: {error}") from error
    where = np.atleast_1d(u.Quantity(wavelength, u.um, copy=False).value if isinstance(wavelength, u.Quantity) else
                          np.asarray(wavelength, float))  # fmt: skip
    seen = np.isfinite(where)
    for name, value, grid in (("offset", abs(offset), offsets), ("source_size", source_size, sizes)):
        if not grid[0] <= value <= grid[-1]:
            raise bad_value(name, "slit_throughput", f"between {grid[0]:g} and {grid[-1]:g}", value)
    if seen.any() and not (waves[0] <= where[seen].min() and where[seen].max() <= waves[-1]):
        limits = (float(where[seen].min()), float(where[seen].max()))
        raise bad_value("wavelength", "slit_throughput", f"between {waves[0]:g} and {waves[-1]:g} um", limits)
    table = RegularGridInterpolator((waves, sizes, offsets), loss)
    out = np.full(where.shape, np.nan)
    points = np.stack([where[seen], np.full(seen.sum(), source_size), np.full(seen.sum(), abs(offset))], axis=1)
    out[seen] = table(points)
    return out


def aperture_fraction(
    template: Template,
    wavelength: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    centre: ArrayLike,
    *,
    pixel_scale: float | None = None,
    fwhm: float | None = None,
) -> FloatArray:
    """Fraction of a point source's light between two cross-dispersion edges.

    Dividing a plain sum by it gives the total flux.

    Parameters
    ----------
    template : Template
        The PSF.
    wavelength : array_like, shape (n,)
        Micron.
    lower, upper, centre : float or array_like, shape (n,)
        Edges of the aperture and position of the source, pixel.
    pixel_scale, fwhm
        As for `Template.image`.

    Returns
    -------
    ndarray, shape (n,)
    """
    waves = np.atleast_1d(np.asarray(wavelength, float))
    shape = template.shape(waves, pixel_scale, broaden=fwhm is not None)
    width = np.full(len(waves), shape.native if fwhm is None else float(fwhm))
    low, high, middle = (np.broadcast_to(np.asarray(v, float), waves.shape) for v in (lower, upper, centre))
    if not (low < high).all():
        raise bad_value("lower, upper", "aperture_fraction", "lower below upper", (lower, upper))
    return shape.at(np.arange(len(waves), dtype=float)).fraction(low, high, middle, width)


def profile_fraction(result: Extraction, lower: float, upper: float, source: int = 0) -> FloatArray:
    """Fraction of an extraction's own fitted profile between two edges, in each column.

    Parameters
    ----------
    result : Extraction
        The extraction.
    lower, upper : float
        Edges, rows of the frame; fractions of a pixel count.
    source : int, optional
        Which source.

    Returns
    -------
    ndarray, shape (n_disp,)
        NaN where the source has no flux.

    Raises
    ------
    OptextractError
        If there is no such source.
    """
    if not 0 <= source < result.n_source:
        raise bad_value("source", "profile_fraction", f"between 0 and {result.n_source - 1}", source)
    rows = np.arange(result.profile.shape[1])
    part = np.clip(np.minimum(rows + 0.5, upper) - np.maximum(rows - 0.5, lower), 0.0, 1.0)
    inside = part @ result.profile[source]
    return np.where(np.isfinite(result.flux[source]), inside, np.nan)
