"""Spectra in a few numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .middle import middle_of_first

__all__ = ["compare"]

FloatArray = NDArray[np.float64]


@compiled
def _median(values: FloatArray) -> float:
    """Median of the finite ones of some values; NaN without any."""
    room = np.empty(len(values) + 1)
    n = 0
    for value in values:
        room[n] = value
        n += int(np.isfinite(value))
    return middle_of_first(room, n)


@compiled
def _total(snr: FloatArray) -> float:
    """Root of the summed squared S/N above what noise gives; NaN without any.

    The loop writes nothing: where one does, the compiler keeps two of it, and where the arrays lie in memory tells
    which is taken, and with it the last bits of the sum.
    """
    total, n_finite = 0.0, 0
    for value in snr:
        if np.isfinite(value):
            total += value * value - 1.0
            n_finite += 1
    return np.sqrt(max(total, 0.0)) if n_finite else np.nan


@compiled
def _ratio(flux: FloatArray, other: FloatArray, other_error: FloatArray) -> tuple[float, float]:
    """Ratio of two spectra by weighted sums, and its error."""
    top, bottom = 0.0, 0.0
    for x in range(len(flux)):
        if np.isfinite(flux[x]) and np.isfinite(other[x]) and other_error[x] > 0:
            weight = 1.0 / other_error[x] ** 2
            top += weight * flux[x] * other[x]
            bottom += weight * flux[x] * flux[x]
    if bottom <= 0 or top == 0:
        return np.nan, np.nan
    ratio = top / bottom
    return 1.0 / ratio, 1.0 / np.sqrt(bottom) / ratio**2


@compiled
def compare(
    flux: FloatArray,
    error: FloatArray,
    unrejected: FloatArray,
    box_flux: FloatArray,
    box_error: FloatArray,
    first: int,
    inside: FloatArray,
    inverse: FloatArray,
    covariance: FloatArray,
    good: FloatArray,
    out: FloatArray,
) -> int:
    """Figures of each source's spectrum, and the number of columns in which one of the sources has no flux.

    Parameters
    ----------
    flux, error, unrejected, box_flux, box_error : ndarray, shape (n_source, n_column)
        Spectra along the columns of the frame, and the plain sums.
    first : int
        Column with which the window begins.
    inside : ndarray, shape (n_source, n_disp)
        Part of each profile in the plain sum.
    inverse : ndarray, shape (n_disp, n_term, n_term)
        Covariance with the background known.
    covariance : ndarray, shape (n_disp, n_source, n_source)
        With the background's in it.
    good : ndarray, shape (n_disp, n_source)
        Part of each profile on good pixels.
    out : ndarray, shape (n_source, 8)
        Filled: root of the summed squared S/N above what noise gives; medians of S/N, of the errors of the plain sums
        over these, of the bound over the errors, of `good`, and of the fluxes without rejection over those with it; the
        ratio of the spectrum to the plain sums, and its error.
    """
    n_source, n_disp = inside.shape
    snr, gain, bound, effect = np.empty(n_disp), np.empty(n_disp), np.empty(n_disp), np.empty(n_disp)
    box, own = np.empty(n_disp), np.empty(n_disp)
    without = np.zeros(n_disp, dtype=np.bool_)
    for k in range(n_source):
        for x in range(n_disp):
            at = first + x
            snr[x] = flux[k, at] / error[k, at]
            effect[x] = unrejected[k, at] / flux[k, at]
            bound[x] = np.sqrt(inverse[x, k, k]) / np.sqrt(covariance[x, k, k])
            box[x], own[x] = box_flux[k, at] / inside[k, x], box_error[k, at] / inside[k, x]
            gain[x] = abs(1.0 / error[k, at]) * own[x] if inside[k, x] > 0 else np.nan
            without[x] |= not np.isfinite(snr[x])
        out[k, 0] = _total(snr)
        out[k, 1], out[k, 2], out[k, 3] = _median(snr), _median(gain), _median(bound)
        out[k, 4], out[k, 5] = _median(good[:, k].copy()), _median(effect)
        out[k, 6], out[k, 7] = _ratio(flux[k, first : first + n_disp], box, own)
    return int(without.sum())
