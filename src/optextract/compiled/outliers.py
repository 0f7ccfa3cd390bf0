"""The search for outliers in each column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .linear import invert, normal

__all__ = ["leave_one_out"]

FloatArray = NDArray[np.float64]

_MOST_LEVERAGE = 0.98  # a pixel that alone carries its flux cannot be judged by the others


@compiled
def leave_one_out(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    n_source: int,
    threshold: float,
    tolerance: FloatArray,
    noise: float,
    rounds: int,
    pixels: NDArray[np.bool_],
) -> None:
    """Mark the worst pixel of each column as long as it is more than `threshold` sigma off: see `optextract.reject`.

    A pixel is ranked by the drop of chi2 without it, ``r^2 W / (1 - h)`` with h its leverage, and judged by its
    residual over its error against the fit of the others, of which the model's error is a part.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
    terms : ndarray, shape (n_disp, n_profile, n_cross)
    n_source : int
        Sources among the profiles: they come first.
    threshold, noise : float
        As for `optextract.reject.reject`.
    tolerance : ndarray, shape (n_disp, n_source, n_cross)
        Error of the sources' profiles.
    rounds : int
        Most pixels of a column.
    pixels : ndarray of bool, shape (n_disp, n_cross)
        Filled.
    """
    n_disp, n_term, n_cross = terms.shape
    matrix, inverse = np.zeros((n_term, n_term)), np.zeros((n_term, n_term))
    lower, vector = np.zeros((n_term + 1, n_term)), np.zeros(n_term)
    linear, seen = np.zeros(n_term), np.zeros(n_term, dtype=np.bool_)
    left, residual, leverage = np.empty(weight.shape), np.zeros(n_cross), np.zeros(n_cross)
    limit = (threshold * noise) ** 2  # the model's error can only lower the rank
    for x in range(n_disp):
        for y in range(n_cross):
            pixels[x, y] = False
        # nearly no column has an outlier, and where none stands out it need not be found which one does so most
        if n_term == 1 and not _stands_out(data, weight, terms, x, limit):
            continue
        for y in range(n_cross):
            left[x, y] = weight[x, y]
        for _ in range(rounds):
            normal(data, left, terms, x, matrix, vector)
            invert(matrix, inverse, seen, lower)
            for y in range(n_cross):
                residual[y], leverage[y] = data[x, y], 0.0
            for t in range(n_term):
                value = 0.0
                for s in range(n_term):
                    value += inverse[t, s] * vector[s]
                linear[t] = value
                for y in range(n_cross):
                    residual[y] -= value * terms[x, t, y]
                for s in range(n_term):
                    value = inverse[t, s]
                    for y in range(n_cross):
                        leverage[y] += value * terms[x, t, y] * terms[x, s, y]
            found = 0
            for y in range(n_cross):
                # from here on what is left of each pixel's own say
                leverage[y] = 1.0 - min(max(leverage[y] * left[x, y], 0.0), _MOST_LEVERAGE)
                found += residual[y] * residual[y] * left[x, y] > limit * leverage[y]
            if found == 0:
                break
            worst, highest = -1, 0.0
            for y in range(n_cross):
                rank = residual[y] * residual[y] * left[x, y] / leverage[y]
                if rank > highest:
                    worst, highest = y, rank
            if worst < 0 or highest <= limit:
                break
            free = leverage[worst]
            outside = residual[worst] / free
            # by the flux that the others see: f without pixel i, f_i = f - C p w r / (1 - h)
            wrong = 0.0
            for k in range(n_source):
                turned = 0.0
                for s in range(n_term):
                    turned += inverse[k, s] * terms[x, s, worst]
                wrong += tolerance[x, k, worst] * max(linear[k] - turned * left[x, worst] * outside, 0.0)
            spread = noise * noise / (left[x, worst] * free) + wrong**2
            if not abs(outside) > threshold * np.sqrt(spread):
                break
            pixels[x, worst] = True
            left[x, worst] = 0.0


@compiled
def _stands_out(data: FloatArray, weight: FloatArray, terms: FloatArray, x: int, limit: float) -> bool:
    """Whether a pixel of column x ranks above the limit, of a fit with a single term."""
    n_cross = data.shape[1]
    right, own = 0.0, 0.0
    for y in range(n_cross):
        part = weight[x, y] * terms[x, 0, y]
        right += part * data[x, y]
        own += part * terms[x, 0, y]
    inverse = 1.0 / own if own > 1e-250 else 0.0
    flux, found = right * inverse, 0
    for y in range(n_cross):
        residual = data[x, y] - flux * terms[x, 0, y]
        leverage = inverse * terms[x, 0, y] * terms[x, 0, y] * weight[x, y]
        free = 1.0 - min(max(leverage, 0.0), _MOST_LEVERAGE)
        found += residual * residual * weight[x, y] > limit * free
    return found > 0
