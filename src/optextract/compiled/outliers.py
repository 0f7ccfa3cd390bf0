"""The search for outliers in each column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .linear import invert, normal

__all__ = ["best_run", "leave_one_out"]

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
    left, residual, leverage = weight.copy(), np.zeros(n_cross), np.zeros(n_cross)
    for x in range(n_disp):
        for y in range(n_cross):
            pixels[x, y] = False
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
            worst, highest = -1, 0.0
            for y in range(n_cross):
                # from here on what is left of each pixel's own say
                leverage[y] = 1.0 - min(max(leverage[y] * left[x, y], 0.0), _MOST_LEVERAGE)
                rank = residual[y] * residual[y] * left[x, y] / leverage[y]
                if rank > highest:
                    worst, highest = y, rank
            if worst < 0 or highest <= (threshold * noise) ** 2:  # the model's error can only lower it
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
def best_run(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    pixels: NDArray[np.bool_],
    low: int,
    high: int,
    longest: int,
    price: float,
    level: float,
    most: float,
    surprise: float,
    no_line: float,
) -> None:
    """Put the cheapest explanation of one column into `pixels`: as they are, or a run between two rows instead.

    Parameters
    ----------
    data, weight : ndarray, shape (1, n_cross)
        Pixel values, and inverse variances with the model's error in them.
    terms : ndarray, shape (1, n_profile, n_cross)
    pixels : ndarray of bool, shape (n_cross,)
        Outliers so far; replaced.
    low, high : int
        Rows, the last one excluded, in which runs of up to `longest` pixels are tried.
    longest : int
    price : float
        Chi2 that leaving a pixel out must save.
    level, most : float
        Flux of the neighbours, and the highest that a line may have.
    surprise, no_line : float
        Highest cost of a flux far from `level`, and the cost of one above `most`.
    """
    _, n_term, n_cross = terms.shape
    matrix, inverse = np.zeros((n_term, n_term)), np.zeros((n_term, n_term))
    lower, vector, seen = np.zeros((n_term + 1, n_term)), np.zeros(n_term), np.zeros(n_term, dtype=np.bool_)
    left, best = np.zeros((1, n_cross)), np.inf
    first, last = -1, -1
    for length in range(longest + 1):
        for start in range(low, high - length + 1) if length else range(1):
            removed = 0
            for y in range(n_cross):
                if length and low <= y < high:
                    out = start <= y < start + length
                else:
                    out = pixels[y]
                left[0, y] = 0.0 if out else weight[0, y]
                removed += out and weight[0, y] > 0
            cost = normal(data, left, terms, 0, matrix, vector)
            invert(matrix, inverse, seen, lower)
            flux = 0.0
            for t in range(n_term):
                value = 0.0
                for s in range(n_term):
                    value += inverse[t, s] * vector[s]
                cost -= value * vector[t]
                if t == 0:
                    flux = value
            cost = max(cost, 0.0) + price * removed
            if seen[0]:
                spread = inverse[0, 0] + (0.5 * level) ** 2
                if spread > 0:
                    cost += min((flux - level) ** 2 / spread, surprise)
                if flux > most + 3.0 * np.sqrt(inverse[0, 0]):
                    cost += no_line
            if cost < best:
                best = cost
                first, last = (start, start + length) if length else (-1, -1)
    for y in range(n_cross):
        if first >= 0 and low <= y < high:
            pixels[y] = first <= y < last
        pixels[y] = pixels[y] and weight[0, y] > 0
