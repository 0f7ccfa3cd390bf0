"""Bins of columns freed of their background, and the S/N that a source of a given width would have in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray

from .bins import Binned, median_bins
from .compiled import contiguous, filtered, order
from .profiles import Gaussian

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
_STEPS = 30  # of the robust fits that tell it
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
    usable : ndarray of bool, shape (n_cross,)
        Rows that have neighbours with data on both sides.
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
    usable: NDArray[np.bool_]
    column: FloatArray
    edges: NDArray[np.intp]
    bowl: FloatArray | None = None

    @classmethod
    def of(cls, binned: Binned) -> Filtered:
        """The bins without hot rows, above their medians and a common gradient or bowl."""
        middle = _row_median(binned)
        kept = _without_hot_rows(binned, middle)
        if kept is not binned:
            binned, middle = kept, _row_median(kept)
        n_cross = binned.data.shape[1]
        slope, rough = filtered.common_slope(contiguous(binned.data), contiguous(binned.weight), middle, _ROUGH)
        bowl = _bowl(binned, middle) if rough else None
        level = slope * (np.arange(n_cross) - 0.5 * (n_cross - 1)) if bowl is None else bowl
        return cls.above(binned, middle, level, bowl)

    @classmethod
    def above(cls, binned: Binned, middle: FloatArray, level: FloatArray, bowl: FloatArray | None = None) -> Filtered:
        """The bins above the sum of a level of each bin and one of each row."""
        values, variance = np.empty((2, *binned.data.shape))
        seen, usable = np.empty(binned.data.shape, dtype=bool), np.empty(binned.data.shape[1], dtype=bool)
        data, weight = contiguous(binned.data), contiguous(binned.weight)
        filtered.lay_above(data, weight, middle, level, values, variance, seen, usable)
        return cls(values, variance, seen, usable, binned.column, binned.edges, bowl)

    @property
    def n_cross(self) -> int:
        """Rows."""
        return self.values.shape[1]

    def snr(self, fwhm: float) -> FloatArray:
        """S/N of a source of this width centred on each row of each bin."""
        out = np.empty(self.values.shape)
        filtered.snr_of_rows(self.values, self.variance, self.seen, filter_kernel(fwhm), out)
        return out


def _row_median(binned: Binned) -> FloatArray:
    """Median of each bin's good pixels: the background that the search subtracts."""
    middle = np.empty(len(binned.data))
    order.middle_of_rows(contiguous(binned.data), np.ascontiguousarray(binned.weight > 0), 1, middle)
    return middle


def _bowl(binned: Binned, middle: FloatArray) -> FloatArray | None:
    """A background that rises to both ends in all bins, above their medians; None where there is none.

    A search blind to slopes takes its ends for sources. Medians of rows, which a trace that moves is never in for long;
    domes are left alone, since an extended source is one.
    """
    use = np.count_nonzero(binned.weight, axis=0) > 0.5 * len(binned.weight)
    if np.count_nonzero(use) < _LEAST_ROWS:
        return None
    above = median_bins(binned.data - middle[:, None], binned.weight, np.array([0, len(middle)])).data[0]
    level, terms = above[use], legvander(np.linspace(-1.0, 1.0, len(use)), 2).T
    line, curve = np.empty(2), np.empty(3)
    before = filtered.common_curve(level, np.ascontiguousarray(terms[:2, use]), _STEPS, line)
    after = filtered.common_curve(level, np.ascontiguousarray(terms[:, use]), _STEPS, curve)
    if curve[2] <= 0 or after > _BETTER * before:
        return None
    return np.asarray(curve @ terms, dtype=float)


def _without_hot_rows(binned: Binned, middle: FloatArray) -> Binned:
    """Rows masked whose neighbours share nothing of their signal; the same bins where there are none.

    A real source spreads: even at a FWHM of 1.1 pixels each neighbour holds a tenth of the flux, a hot row's hold none.
    """
    hot = np.empty(binned.data.shape[1], dtype=bool)
    found = filtered.mark_hot(contiguous(binned.data), contiguous(binned.weight), middle, 3 * STANDS_OUT, SPREAD, hot)
    return replace(binned, weight=np.where(hot, 0.0, binned.weight)) if found else binned
