"""Bins of columns freed of their background, and the S/N that a source of a given width would have in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray

from .bins import Binned
from .compiled import contiguous, order
from .profiles import Gaussian
from .robust import median

__all__ = ["BIN_CLIP", "SPREAD", "STANDS_OUT", "WIDTHS", "Filtered", "filter_kernel", "widths_for"]

FloatArray = NDArray[np.float64]

#: FWHM of the filters, pixel.
WIDTHS = (1.3, 2.0, 3.2, 5.0, 8.0)
#: S/N of a source that stands out of the noise.
STANDS_OUT = 5.0
#: S/N that one bin can add to a detection: a hot bin must not outvote the others.
BIN_CLIP = 12.0
#: Of a row's signal: what a source puts into the brighter neighbour at least.
SPREAD = 0.06
_LEAST_ROWS = 12
_ROUGH = 2.0  # times the error of a row's mean: what a slope leaves of most rows before a bowl is looked for
_BETTER = 0.6  # of what a slope leaves: what a bowl must leave at most


def widths_for(n_cross: int) -> tuple[float, ...]:
    """Filter widths that leave room for background.

    Parameters
    ----------
    n_cross : int
        Rows.

    Returns
    -------
    tuple of float
        FWHM, pixel.
    """
    return tuple(w for w in WIDTHS if w <= 0.25 * n_cross or w == WIDTHS[0])


@lru_cache(maxsize=32)
def filter_kernel(fwhm: float) -> FloatArray:
    """Profile freed of its mean and slope over a window of two FWHM to each side: blind to background and gradient.

    Parameters
    ----------
    fwhm : float
        Pixel.

    Returns
    -------
    ndarray
        Of odd length, the profile in its middle.
    """
    half = max(2, int(np.ceil(2 * fwhm)))
    profile = Gaussian().integrate(2 * half + 1, np.array([float(half)]), np.array([fwhm]))[0]
    return np.asarray(profile - profile.mean(), dtype=float)


@dataclass(frozen=True, eq=False)
class Filtered:
    """Bins freed of their background.

    Attributes
    ----------
    values, variance : ndarray, shape (n_bin, n_cross)
        Good pixels' values above the background and their variances (zero where bad).
    seen : ndarray of bool, shape (n_bin, n_cross)
        Good pixels.
    column : ndarray, shape (n_bin,)
        Centre column of each bin.
    edges : ndarray of int, shape (n_bin + 1,)
        Column edges of the bins.
    bowl : ndarray, shape (n_cross,), optional
        Background that rises to both ends, where there is one: it was subtracted.
    """

    values: FloatArray
    variance: FloatArray
    seen: NDArray[np.bool_]
    column: FloatArray
    edges: NDArray[np.intp]
    bowl: FloatArray | None = None

    @classmethod
    def of(cls, binned: Binned) -> Filtered:
        """The bins without hot rows, above their medians and a common gradient or bowl."""
        binned = _without_hot_rows(binned)
        middle = _row_median(binned)
        slope, rough = _gradient(binned, middle)
        if not rough:
            return cls.above(binned, middle[:, None] + slope)
        bowl = _bowl(binned, middle)
        level = slope if bowl is None else bowl
        return replace(cls.above(binned, middle[:, None] + level), bowl=bowl)

    @classmethod
    def above(cls, binned: Binned, level: FloatArray) -> Filtered:
        """The bins above a level."""
        seen = binned.weight > 0
        variance = np.divide(1.0, binned.weight, out=np.zeros_like(binned.weight), where=seen)
        return cls(np.where(seen, binned.data - level, 0.0), variance, seen, binned.column, binned.edges)

    @property
    def n_cross(self) -> int:
        """Rows."""
        return self.values.shape[1]

    def snr(self, fwhm: float) -> FloatArray:
        """S/N of a source of this width centred on each row of each bin."""
        top, bottom = np.empty((2, *self.values.shape))
        order.correlate_rows(contiguous(self.values), contiguous(self.variance), filter_kernel(fwhm), top, bottom)
        use = (bottom > 0) & self.seen
        return np.divide(top, np.sqrt(bottom), out=np.zeros_like(top), where=use)

    def usable_rows(self) -> NDArray[np.bool_]:
        """Rows that have neighbours with data on both sides."""
        covered = self.seen.mean(axis=0) > 0.3
        inside = covered & np.roll(covered, 1) & np.roll(covered, -1)
        inside[0] = inside[-1] = False
        return inside


def _row_median(binned: Binned) -> FloatArray:
    """Median of each bin's good pixels: the background that the search subtracts."""
    middle = np.empty(len(binned.data))
    order.middle_of_rows(contiguous(binned.data), np.ascontiguousarray(binned.weight > 0), 1, middle)
    return middle


def _gradient(binned: Binned, middle: FloatArray) -> tuple[FloatArray, bool]:
    """Robust slope of all bins together along cross-dispersion, zero at the middle; whether it leaves much of rows."""
    seen = binned.weight > 0
    count = seen.sum(axis=0)
    row = np.arange(len(count)) - 0.5 * (len(count) - 1)
    use = count > 0.3 * len(seen)
    if use.sum() < 6:
        return np.zeros(len(count)), False
    above = np.where(seen, binned.data - middle[:, None], 0.0)
    mean, where = above[:, use].sum(axis=0) / count[use], row[use]
    weight = np.ones(len(where))
    slope, scale = 0.0, 0.0
    for _ in range(12):  # Cauchy weights: the source itself must not tilt the line
        share = weight / weight.sum()
        away, level = where - share @ where, share @ mean
        slope = float((share * away) @ (mean - level) / ((share * away) @ away))
        left = mean - level - slope * away
        scale = median(np.abs(left))
        if scale == 0:
            break
        weight = 1.0 / (1.0 + (left / (2.0 * scale)) ** 2)
    error = 1.0 / np.sqrt(binned.weight[:, use].sum(axis=0))
    return np.asarray(slope * row, dtype=float), bool(scale > _ROUGH * median(error))


def _bowl(binned: Binned, middle: FloatArray) -> FloatArray | None:
    """A background that rises to both ends in all bins, above their medians; None where there is none.

    A search blind to slopes takes its ends for sources. Medians of rows, which a trace that moves is never in for long;
    domes are left alone, since an extended source is one.
    """
    seen = binned.weight > 0
    use = seen.mean(axis=0) > 0.5
    if use.sum() < _LEAST_ROWS:
        return None
    above = np.where(seen, binned.data - middle[:, None], np.nan)[:, use]
    level = np.nanmedian(above, axis=0)
    x = np.linspace(-1.0, 1.0, len(use))
    fits = []
    for degree in (1, 2):
        terms = legvander(x[use], degree)
        weight = np.ones(len(level))
        for _ in range(30):
            weighted = terms * weight[:, None]
            coefficients = np.linalg.solve(weighted.T @ terms, weighted.T @ level)
            left = level - terms @ coefficients
            scale = median(np.abs(left))
            if scale == 0:
                break
            weight = 1.0 / (1.0 + (left / (2.0 * scale)) ** 2)
        fits.append((scale, coefficients))
    (before, _), (after, curve) = fits
    if curve[2] <= 0 or after > _BETTER * before:
        return None
    return np.asarray(legvander(x, 2) @ curve, dtype=float)


def _without_hot_rows(binned: Binned) -> Binned:
    """Rows masked whose neighbours share nothing of their signal.

    A real source spreads: even at a FWHM of 1.1 pixels each neighbour holds a tenth of the flux, a hot row's hold none.
    """
    seen = binned.weight > 0
    count = np.maximum(seen.sum(axis=0), 1)
    above = np.where(seen, binned.data - _row_median(binned)[:, None], 0.0)
    mean = above.sum(axis=0) / count
    error = np.sqrt(np.where(seen, 1.0 / np.where(seen, binned.weight, 1.0), 0.0).sum(axis=0)) / count
    beside = np.pad(mean, 1, constant_values=-np.inf)
    side = np.maximum(beside[2:], beside[:-2])
    hot = (mean > 3 * STANDS_OUT * error) & (side < SPREAD * mean)
    return replace(binned, weight=np.where(hot, 0.0, binned.weight)) if hot.any() else binned
