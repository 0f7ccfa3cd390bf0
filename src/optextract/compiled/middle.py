"""The middle of many values without sorting them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled

__all__ = ["middle_of", "root_middle"]

FloatArray = NDArray[np.float64]

_SAMPLE = 63  # values that tell between which two the middle lies
_REACH = 9  # of them to either side: 2.3 times the scatter of the middle's place


@compiled
def _sort(values: FloatArray, n: int) -> None:
    """Sort the first n values, which are few."""
    for i in range(1, n):
        value, k = values[i], i
        while k > 0 and values[k - 1] > value:
            values[k] = values[k - 1]
            k -= 1
        values[k] = value


@compiled
def _neighbours(values: FloatArray, n: int, border: float) -> tuple[float, float]:
    """The largest value below a border and the smallest above it."""
    below, above = -np.inf, np.inf
    for i in range(n):
        if values[i] < border:
            below = max(below, values[i])
        elif values[i] > border:
            above = min(above, values[i])
    return below, above


@compiled
def _two(values: FloatArray, n: int, j: int, k: int) -> tuple[float, float]:
    """The j-th and the k-th of the first n values in order of size, from zero; k is j or the next. They are used up.

    What lies outside two values of a sample is left out, again and again: no branch depends on a single value.
    """
    sample = np.empty(_SAMPLE)
    while n > _SAMPLE:
        for i in range(_SAMPLE):
            sample[i] = values[i * n // _SAMPLE]
        _sort(sample, _SAMPLE)
        place = k * _SAMPLE // n
        low, high = sample[max(place - _REACH, 0)], sample[min(place + _REACH, _SAMPLE - 1)]
        less_low, upto_low, less_high, upto_high = 0, 0, 0, 0
        for i in range(n):
            less_low += int(values[i] < low)
            upto_low += int(values[i] <= low)
            less_high += int(values[i] < high)
            upto_high += int(values[i] <= high)
        m = 0
        if k < less_low:
            for i in range(n):
                value = values[i]
                values[m] = value
                m += int(value < low)
        elif j >= less_low and k < upto_low:
            return low, low
        elif j >= upto_low and k < less_high:
            for i in range(n):
                value = values[i]
                values[m] = value
                m += int((value > low) & (value < high))
            j, k = j - upto_low, k - upto_low
        elif j >= less_high and k < upto_high:
            return high, high
        elif j >= upto_high:
            for i in range(n):
                value = values[i]
                values[m] = value
                m += int(value > high)
            j, k = j - upto_high, k - upto_high
        else:  # one on either side of a border, or upon it
            border = low if k <= upto_low else high
            below, above = _neighbours(values, n, border)
            return (border, above) if k in (upto_low, upto_high) else (below, border)
        n = m
    _sort(values, n)
    return values[j], values[k]


@compiled
def middle_of(values: FloatArray, n: int) -> tuple[float, float]:
    """The two in the middle of the first n values, one or more, without NaN; the same one twice of an odd number.

    Parameters
    ----------
    values : ndarray, shape (n or more,)
    n : int
    """
    room = np.empty(n)
    for i in range(n):
        room[i] = values[i]
    return _two(room, n, (n - 1) // 2, n // 2)


@compiled
def root_middle(values: FloatArray, n: int) -> float:
    """Median of the roots of the first n values: only those of the middle ones are taken."""
    lower, upper = middle_of(values, n)
    return 0.5 * (np.sqrt(lower) + np.sqrt(upper))
