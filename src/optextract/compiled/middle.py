"""The middle of many values, or another one, without sorting them: numpy's own way takes ten times as long."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled

__all__ = ["middle", "middle_of_first", "middle_two", "ranked", "root_middle"]

FloatArray = NDArray[np.float64]


@compiled
def middle(values: FloatArray, magnitude: bool) -> float:
    """Median of the values, or of their absolute values: see `optextract.robust`.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Without NaN.
    magnitude : bool
        Whether their signs do not count.
    """
    room = np.empty(len(values))
    for i in range(len(values)):
        room[i] = abs(values[i]) if magnitude else values[i]
    return middle_of_first(room, len(values))


@compiled
def middle_of_first(room: FloatArray, n: int) -> float:
    """Median of the first n values, which are used up; NaN of none."""
    if n == 0:
        return np.nan
    lower, upper = middle_two(room, n)
    return 0.5 * (lower + upper)


@compiled
def middle_two(room: FloatArray, n: int) -> tuple[float, float]:
    """The two in the middle of the first n values, one at least, or the middle one twice; they are used up."""
    lower, upper = ranked(room, n, (n - 1) // 2)
    return lower, lower if n % 2 else upper


@compiled
def ranked(room: FloatArray, n: int, k: int) -> tuple[float, float]:
    """The k-th smallest of the first n values, from zero, and the one after it.

    Quickselect (Hoare 1961, CACM 4, 321), which keeps the side of a pivot that it needs without a branch on any value:
    that would be guessed wrong half of the time. The pivot is not taken from the ends and the middle only: where a
    spectrum rises and falls evenly these are its extremes, of which one would be put away at a time.

    Parameters
    ----------
    room : ndarray, shape (n or more,)
        Without NaN; used up.
    n, k : int
        Of one value at least.

    Returns
    -------
    value, above : float
        Infinite where none comes after it.
    """
    above = np.inf  # the least of what was put away above
    while n > 1:
        a, b, c = room[n // 5], room[n // 2], room[n - 1 - n // 3]
        pivot = max(min(a, b), min(max(a, b), c))
        below, same, left = 0, 0, 0
        for i in range(n):
            below += room[i] < pivot
            same += room[i] == pivot
        if below <= k < below + same:
            if k + 1 < below + same:
                return pivot, pivot
            for i in range(n):
                above = min(above, room[i] if room[i] > pivot else np.inf)
            return pivot, above
        if k < below:
            above = pivot
            for i in range(n):
                value = room[i]
                room[left] = value
                left += value < pivot
        else:
            for i in range(n):
                value = room[i]
                room[left] = value
                left += value > pivot
            k -= below + same
        n = left
    return room[0], above


@compiled
def root_middle(room: FloatArray, n: int) -> float:
    """Median of the roots of the first n values, one at least: only those of the middle ones are taken; used up."""
    lower, upper = middle_two(room, n)
    return 0.5 * (np.sqrt(lower) + np.sqrt(upper))
