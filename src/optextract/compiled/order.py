"""Medians of bins and filters of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled

__all__ = ["correlate_rows", "median_all", "middle", "middle_of_first", "middle_of_rows", "middle_two"]

FloatArray = NDArray[np.float64]

_LINES = 256  # that are sorted together
_SAMPLE = 64  # values that tell where the middle one lies, and sigma of what they tell
_SURE = 3.0


@compiled
def middle(values: FloatArray, magnitude: bool) -> float:
    """Median of the values, or of their absolute values: see `optextract.robust`.

    Parameters
    ----------
    values : ndarray, shape (n,)
        One value at least.
    magnitude : bool
        Whether their signs do not count.
    """
    room = np.empty(len(values))
    for i in range(len(values)):
        room[i] = abs(values[i]) if magnitude else values[i]
    return middle_of_first(room, len(values))


@compiled
def middle_of_first(room: FloatArray, n: int) -> float:
    """Median of the first n values, one at least, which are put into another order."""
    lower, upper = middle_two(room, n)
    return 0.5 * (lower + upper)


@compiled
def middle_two(room: FloatArray, n: int) -> tuple[float, float]:
    """The two in the middle of the first n values, or the middle one twice; numpy takes many times as long.

    A few of them tell between which two values the middle lies, and only those in between are looked at again. No
    branch depends on a value: it would be guessed wrong half of the time. (Floyd and Rivest 1975, CACM 18, 165.)

    Parameters
    ----------
    room : ndarray, shape (n or more,)
        Put into another order.
    n : int
        One at least.
    """
    sample = np.empty(_SAMPLE)
    lower, upper = (n - 1) // 2, n // 2
    wide = 0.5 * _SURE * np.sqrt(_SAMPLE)
    while n > _SAMPLE:
        for i in range(_SAMPLE):
            sample[i] = room[i * n // _SAMPLE]
        _sort_first(sample, _SAMPLE)
        about = _SAMPLE * (lower / n)
        least = sample[max(int(about - wide), 0)]
        most = sample[min(int(about + wide) + 1, _SAMPLE - 1)]
        below, kept = 0, 0
        for i in range(n):
            value = room[i]
            room[i], room[kept] = room[kept], value
            below += value < least
            kept += (value >= least) & (value <= most)
        if lower < below or upper >= below + kept or (kept == n and least < most):
            break  # the few have misled, or there are just a few different values
        if least == most:
            return least, least
        lower, upper, n = lower - below, upper - below, kept
    _sort_first(room, n)
    return room[lower], room[upper]


@compiled
def _sort_first(values: FloatArray, n: int) -> None:
    """Sort the first n values, few as a rule (Shell 1959, CACM 2, 30): a sort of numpy's takes seconds to compile."""
    gap = 1
    while gap < n // 9:
        gap = 3 * gap + 1
    while gap >= 1:
        for i in range(gap, n):
            value, k = values[i], i - gap
            while k >= 0 and values[k] > value:
                values[k + gap] = values[k]
                k -= gap
            values[k + gap] = value
        gap //= 3


@compiled
def _sort(block: FloatArray, n: int) -> None:
    """Sort the first n rows of each column, by Batcher's network: no branch depends on a value, so it runs in vectors.

    Knuth, The Art of Computer Programming 3, algorithm 5.2.2M.
    """
    n_column = block.shape[1]
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                for i in range(j, min(j + k, n - k)):
                    if i // (2 * p) == (i + k) // (2 * p):
                        for y in range(n_column):
                            a, b = block[i, y], block[i + k, y]
                            block[i, y] = a if a < b else b
                            block[i + k, y] = b if a < b else a
            k //= 2
        p *= 2


@compiled
def median_all(
    data: FloatArray, weight: FloatArray, edges: NDArray[np.intp], out: FloatArray, inverse: FloatArray
) -> None:
    """Medians of the good pixels of each row of each bin: see `optextract.bins.median_bins`."""
    n_cross = data.shape[1]
    longest = 0
    for b in range(len(edges) - 1):
        longest = max(longest, edges[b + 1] - edges[b])
    block = np.empty((longest, n_cross))
    count, spread = np.empty(n_cross), np.empty(n_cross)
    for b in range(len(edges) - 1):
        n = edges[b + 1] - edges[b]
        for y in range(n_cross):
            count[y], spread[y] = 0.0, 0.0
        for k in range(n):
            x = edges[b] + k
            for y in range(n_cross):
                good = weight[x, y] > 0
                block[k, y] = data[x, y] if good else np.inf
                count[y] += 1.0 if good else 0.0
                # the mean variance, not the mean weight: where the variance follows its pixel's own noise, low pixels
                # would weigh more
                spread[y] += 1.0 / weight[x, y] if good else 0.0
        _sort(block, n)
        for y in range(n_cross):
            m = int(count[y])
            if m == 0:
                out[b, y], inverse[b, y] = 0.0, 0.0
                continue
            out[b, y] = 0.5 * (block[(m - 1) // 2, y] + block[m // 2, y])
            inverse[b, y] = m * m / spread[y] * (2.0 / np.pi if m > 2 else 1.0)


@compiled
def middle_of_rows(data: FloatArray, use: NDArray[np.bool_], least: int, out: FloatArray) -> None:
    """The middle one of the values of each line that are to be used, the lower of two; zero where they are too few."""
    n_line, n = data.shape
    together = min(_LINES, n_line)
    block, count = np.zeros((n, together)), np.empty(together, dtype=np.intp)
    for first in range(0, n_line, together):
        size = min(together, n_line - first)
        for k in range(together):
            count[k] = 0
        for k in range(size):
            for y in range(n):
                used = use[first + k, y]
                block[y, k] = data[first + k, y] if used else np.inf
                count[k] += 1 if used else 0
        _sort(block, n)
        for k in range(size):
            out[first + k] = block[(count[k] - 1) // 2, k] if count[k] >= max(least, 1) else 0.0


@compiled
def correlate_rows(
    values: FloatArray, variance: FloatArray, kernel: FloatArray, top: FloatArray, bottom: FloatArray
) -> None:
    """Correlation of each line with a kernel of odd length, and the variance of that; zero beyond the ends."""
    n_line, n_cross = values.shape
    half = len(kernel) // 2
    for b in range(n_line):
        for y in range(n_cross):
            total, spread = 0.0, 0.0
            for k in range(max(-half, -y), min(half, n_cross - 1 - y) + 1):
                weight = kernel[k + half]
                total += weight * values[b, y + k]
                spread += weight * weight * variance[b, y + k]
            top[b, y] = total
            bottom[b, y] = spread
