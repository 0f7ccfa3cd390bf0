"""Plain sums between two cross-dispersion edges, with fractional rows."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray

from .compiled import contiguous, sums
from .errors import bad_value
from .frame import Frame
from .noise import choose_variance
from .recipe import Noise
from .results import Boxcar, Flag, freeze

__all__ = ["boxcar", "coverage", "sum_aperture", "wavelength_along"]

FloatArray = NDArray[np.float64]


def coverage(n_cross: int, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Fraction of each pixel between two edges.

    Parameters
    ----------
    n_cross : int
        Number of cross-dispersion pixels; pixel i covers i - 0.5 to i + 0.5.
    lower, upper : ndarray of any shape
        Edges, pixel.

    Returns
    -------
    ndarray, shape (n_cross, ...)
    """
    row = np.arange(n_cross).reshape((-1,) + (1,) * np.ndim(lower))
    return np.clip(np.minimum(upper, row + 0.5) - np.maximum(lower, row - 0.5), 0.0, 1.0)


def wavelength_along(frame: Frame, centre: FloatArray) -> u.Quantity:
    """Wavelength along a trace; the column number in pixels where the frame has none.

    A wavelength image is interpolated linearly between the pixels above and below the trace.

    Parameters
    ----------
    frame : Frame
        The frame.
    centre : ndarray, shape (n_disp,)
        The trace, frame row.

    Returns
    -------
    Quantity, shape (n_disp,)
    """
    if frame.wavelength is None:
        return u.Quantity(np.arange(frame.n_disp, dtype=float), u.pix)
    if frame.wavelength.ndim == 1:
        return frame.wavelength
    image = frame.wavelength.value
    column = np.arange(frame.n_disp)
    position = np.clip(centre, 0, frame.n_cross - 1)
    low = np.minimum(position.astype(int), max(frame.n_cross - 2, 0))
    high = np.minimum(low + 1, frame.n_cross - 1)
    part = position - low
    below, above = image[low, column], image[high, column]
    value = below * (1 - part) + above * part
    # one neighbour without wavelength: the other one's is within half a pixel's tilt
    value = np.where(np.isfinite(value), value, np.where(np.isfinite(below), below, above))
    return u.Quantity(value, frame.wavelength.unit)


def sum_aperture(
    flux: FloatArray,
    good: NDArray[np.bool_],
    variances: dict[str, FloatArray],
    lower: FloatArray,
    upper: FloatArray,
    scale: float,
) -> tuple[FloatArray, dict[str, FloatArray], NDArray[np.uint32], FloatArray]:
    """Sum the good pixels between two edges in each column.

    Parameters
    ----------
    flux : ndarray, shape (n_disp, n_cross)
        Pixel values.
    good : ndarray of bool, shape (n_disp, n_cross)
        Pixels to use.
    variances : dict of str to ndarray, shape (n_disp, n_cross)
        Variances to carry through the same sum.
    lower, upper : ndarray, shape (n_disp,)
        Edges, pixel.
    scale : float
        Factor from pixel values to the spectrum's unit.

    Returns
    -------
    total : ndarray, shape (n_disp,)
        NaN where no pixel is good, as are its variances.
    spread : dict of str to ndarray, shape (n_disp,)
        The variances of the sum.
    flags : ndarray of uint32, shape (n_disp,)
        `Flag` bits.
    n_pixels : ndarray, shape (n_disp,)
        Good pixels (fractional).
    """
    lower, upper, good = contiguous(lower), contiguous(upper), np.ascontiguousarray(good)
    total, n_pixels = np.empty((2, len(flux)))
    partial = np.empty(len(flux), dtype=bool)
    sums.aperture(contiguous(flux), good, lower, upper, 1, total, n_pixels, partial)
    total *= scale
    empty = n_pixels == 0
    total[empty] = np.nan
    spread = {}
    for name, variance in variances.items():
        spread[name], count = np.empty((2, len(flux)))
        sums.aperture(contiguous(variance), good, lower, upper, 2, spread[name], count, partial)
        spread[name] *= scale**2
        spread[name][empty] = np.nan
    flags = np.zeros(len(flux), dtype=np.uint32)
    flags[empty] |= np.uint32(Flag.NO_DATA)
    flags[~empty & partial] |= np.uint32(Flag.PARTIAL_PROFILE)
    flags[(lower < -0.5) | (upper > flux.shape[1] - 0.5)] |= np.uint32(Flag.EDGE)
    return total, spread, flags, n_pixels


def boxcar(frame: Frame, lower: ArrayLike, upper: ArrayLike, noise: Noise | None = None) -> Boxcar:
    """Sum the good pixels between two cross-dispersion edges, with fractional rows.

    Parameters
    ----------
    frame : Frame
        The frame, of shape (n_cross, n_disp).
    lower, upper : float or array_like, shape (n_disp,)
        Edges in pixels; pixel i covers i - 0.5 to i + 0.5, so that ``boxcar(frame, 20.5, 28.5)`` sums rows 21 to 28.
    noise : Noise, optional
        Where the variance comes from, as in a recipe.

    Returns
    -------
    Boxcar
        In `Frame.flux_unit`. Columns without a good pixel are NaN and flagged; where only part of the aperture is good,
        the sum is that of the good part, and flagged.

    Raises
    ------
    OptextractError
        If an edge is not finite, lower is not below upper, or the aperture misses the frame.
    FrameError
        If the frame has no variance.
    """
    try:
        low, high = (np.broadcast_to(np.asarray(v, dtype=float), (frame.n_disp,)) for v in (lower, upper))
    except ValueError as error:
        raise bad_value(
            "lower, upper", "boxcar", f"numbers or arrays of shape ({frame.n_disp},)", (lower, upper)
        ) from error
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise bad_value("lower, upper", "boxcar", "finite, with lower below upper", (lower, upper))
    if (high <= -0.5).all() or (low >= frame.n_cross - 0.5).all():
        raise bad_value("lower, upper", "boxcar", f"inside the frame (-0.5 to {frame.n_cross - 0.5})", (lower, upper))
    chosen = choose_variance(frame, Noise() if noise is None else noise)
    variances = {name: image.T for name, image in {"total": chosen.total, **chosen.parts}.items()}
    flux, spread, flags, n_pixels = sum_aperture(frame.flux.T, frame.good.T, variances, low, high, frame.flux_scale)
    wavelength = wavelength_along(frame, 0.5 * (low + high))
    flags[~np.isfinite(wavelength.value)] |= np.uint32(Flag.NO_WAVELENGTH)
    total = spread.pop("total")
    return Boxcar(
        flux=freeze(flux),
        uncertainty=freeze(np.sqrt(total)),
        variance_parts=MappingProxyType({name: freeze(part) for name, part in spread.items()}),
        flags=freeze(flags),
        lower=freeze(low),
        upper=freeze(high),
        n_pixels=freeze(n_pixels),
        wavelength=wavelength,
        unit=frame.flux_unit,
    )
