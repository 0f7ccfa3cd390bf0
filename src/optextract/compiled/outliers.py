"""The search for outliers in each column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .linear import invert, known_part, normal

__all__ = ["leave_one_out"]

FloatArray = NDArray[np.float64]

_MOST_LEVERAGE = 0.98  # a pixel that alone carries its flux cannot be judged by the others
_SURE = 1.0 + 1e-6  # on a limit, for what rounding takes from it


@compiled
def leave_one_out(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    coefficients: FloatArray,
    covariance: FloatArray,
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
    coefficients : ndarray, shape (n_disp, n_profile)
    covariance : ndarray, shape (n_disp, n_profile, n_profile)
        Of the fit to all pixels.
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
    turned = np.empty(n_cross)
    limit = (threshold * noise) ** 2  # the model's error can only lower the rank
    # nearly no column has an outlier, and where none stands out it need not be found which one does so most
    suspect = np.empty(n_disp, dtype=np.bool_)
    if n_term == 1:
        _suspect_one(data, weight, terms, coefficients, covariance, limit, suspect)
    else:
        _suspect(data, weight, terms, coefficients, covariance, limit, suspect)
    for x in range(n_disp):
        for y in range(n_cross):
            pixels[x, y] = False
        if not suspect[x]:
            continue
        for y in range(n_cross):
            left[x, y] = weight[x, y]
        for t in range(n_term):
            linear[t] = coefficients[x, t]
            for s in range(n_term):
                inverse[t, s] = known_part(covariance, x, t, s)
        for turn in range(rounds):
            if turn > 0:
                normal(data, left, terms, x, matrix, vector)
                invert(matrix, inverse, seen, lower)
                for t in range(n_term):
                    value = 0.0
                    for s in range(n_term):
                        value += inverse[t, s] * vector[s]
                    linear[t] = value
            for y in range(n_cross):
                residual[y], leverage[y] = data[x, y], 0.0
            for t in range(n_term):
                for y in range(n_cross):
                    turned[y] = inverse[t, t] * terms[x, t, y]
                for s in range(t):
                    value = 2.0 * inverse[t, s]
                    for y in range(n_cross):
                        turned[y] += value * terms[x, s, y]
                value = linear[t]
                for y in range(n_cross):
                    residual[y] -= value * terms[x, t, y]
                    leverage[y] += turned[y] * terms[x, t, y]
            worst, highest = -1, 0.0
            for y in range(n_cross):
                # from here on what is left of each pixel's own say
                leverage[y] = 1.0 - min(max(leverage[y] * left[x, y], 0.0), _MOST_LEVERAGE)
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
                drawn = 0.0
                for s in range(n_term):
                    drawn += inverse[k, s] * terms[x, s, worst]
                wrong += tolerance[x, k, worst] * max(linear[k] - drawn * left[x, worst] * outside, 0.0)
            spread = noise * noise / (left[x, worst] * free) + wrong**2
            if not abs(outside) > threshold * np.sqrt(spread):
                break
            pixels[x, worst] = True
            left[x, worst] = 0.0


@compiled
def _suspect_one(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    coefficients: FloatArray,
    covariance: FloatArray,
    limit: float,
    suspect: NDArray[np.bool_],
) -> None:
    """Columns with a pixel that ranks above the limit, of a fit with a single term."""
    n_disp, n_cross = data.shape
    for x in range(n_disp):
        flux = coefficients[x, 0]
        own = known_part(covariance, x, 0, 0)
        found = 0
        for y in range(n_cross):
            residual = data[x, y] - flux * terms[x, 0, y]
            leverage = own * terms[x, 0, y] * terms[x, 0, y] * weight[x, y]
            free = 1.0 - min(max(leverage, 0.0), _MOST_LEVERAGE)
            found += residual * residual * weight[x, y] > limit * free
        suspect[x] = found > 0


@compiled
def _suspect(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    coefficients: FloatArray,
    covariance: FloatArray,
    limit: float,
    suspect: NDArray[np.bool_],
) -> None:
    """The same of a fit with any number of terms.

    A pixel's leverage is at most ``W (sum_t s_t |P_t|)^2``, where s_t is a coefficient's error: where that leaves a
    pixel below the limit, which is nearly everywhere, the leverage need not be known.
    """
    n_disp, n_term, n_cross = terms.shape
    residual, most = np.empty(n_cross), np.empty(n_cross)
    for x in range(n_disp):
        for y in range(n_cross):
            residual[y], most[y] = data[x, y], 0.0
        for t in range(n_term):
            error = np.sqrt(max(known_part(covariance, x, t, t), 0.0))
            flux = coefficients[x, t]
            for y in range(n_cross):
                residual[y] -= flux * terms[x, t, y]
                most[y] += error * abs(terms[x, t, y])
        found = 0
        for y in range(n_cross):
            power = residual[y] * residual[y] * weight[x, y]
            free = 1.0 - min(_SURE * most[y] * most[y] * weight[x, y], _MOST_LEVERAGE)
            residual[y] = power - limit * free
            most[y] = power
            found += power > limit * free
        suspect[x] = False
        for y in range(n_cross if found > 0 else 0):
            if residual[y] > 0.0:
                free = 1.0 - min(max(_leverage(terms, covariance, x, y) * weight[x, y], 0.0), _MOST_LEVERAGE)
                suspect[x] |= most[y] > limit * free


@compiled
def _leverage(terms: FloatArray, covariance: FloatArray, x: int, y: int) -> float:
    """Variance that a fit has in a pixel."""
    total = 0.0
    for t in range(terms.shape[1]):
        turned = 0.0
        for s in range(terms.shape[1]):
            turned += known_part(covariance, x, t, s) * terms[x, s, y]
        total += turned * terms[x, t, y]
    return total
