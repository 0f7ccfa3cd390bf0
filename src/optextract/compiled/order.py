"""Medians of bins and lines, by a network where values are few, by a selection where they are many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .middle import middle_of_first, middle_two

__all__ = ["any_beyond", "median_all", "middle_of_rows"]

FloatArray = NDArray[np.float64]

_LINES = 128  # that are sorted together
_LANES = 16  # columns of what is sorted, in multiples of which it runs in vectors
_SURE = 1.0 - 1e-9  # of a limit, for what rounding takes from it
_MANY, _FEW_ROWS = 100, 4  # values from which, and rows to which, a selection is sooner done than a network


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
            for j in range(k & (p - 1), n - k, 2 * k):
                for i in range(j, min(j + k, n - k)):
                    if (i ^ (i + k)) & (-2 * p) == 0:  # both in the same piece of 2 p rows
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
    least = _MANY if n_cross > _FEW_ROWS else 1
    few, many = 0, 0
    for b in range(len(edges) - 1):
        n = edges[b + 1] - edges[b]
        if n < least:
            few = max(few, n)
        else:
            many = max(many, n)
    block = np.zeros((few, -(-n_cross // _LANES) * _LANES))
    lines = np.empty((n_cross, many + 1))
    count, spread = np.empty(n_cross, dtype=np.intp), np.empty(n_cross)
    for b in range(len(edges) - 1):
        n = edges[b + 1] - edges[b]
        for y in range(n_cross):
            count[y], spread[y] = 0, 0.0
        for k in range(n):
            x = edges[b] + k
            if n < least:
                for y in range(n_cross):
                    block[k, y] = data[x, y] if weight[x, y] > 0 else np.inf
            else:
                for y in range(n_cross):
                    lines[y, count[y]] = data[x, y]  # a bad one is written over by the next
            for y in range(n_cross):
                good = weight[x, y] > 0
                count[y] += good
                # the mean variance, not the mean weight: where the variance follows its pixel's own noise, low pixels
                # would weigh more
                spread[y] += 1.0 / weight[x, y] if good else 0.0
        if n < least:
            _sort(block, n)
        for y in range(n_cross):
            m = count[y]
            if m == 0:
                out[b, y], inverse[b, y] = 0.0, 0.0
                continue
            if n < least:
                out[b, y] = 0.5 * (block[(m - 1) // 2, y] + block[m // 2, y])
            else:
                out[b, y] = middle_of_first(lines[y], m)
            inverse[b, y] = m * m / spread[y] * (2.0 / np.pi if m > 2 else 1.0)


@compiled
def any_beyond(data: FloatArray, weight: FloatArray, edges: NDArray[np.intp], limit: float) -> bool:
    """Whether a median of `median_all` may be further from zero than `limit` times its error; if not, none is.

    A median beyond a value has half of the values or more beyond it, and to count these is quicker than to select.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Pixel values and inverse variances (zero where bad).
    edges : ndarray of int, shape (n_bin + 1,)
    limit : float
        Sigma.
    """
    n_cross = data.shape[1]
    count, spread, above, below = (np.empty(n_cross), np.empty(n_cross), np.empty(n_cross), np.empty(n_cross))
    for b in range(len(edges) - 1):
        for y in range(n_cross):
            count[y], spread[y], above[y], below[y] = 0.0, 0.0, 0.0, 0.0
        for x in range(edges[b], edges[b + 1]):
            for y in range(n_cross):
                good = weight[x, y] > 0
                count[y] += 1.0 if good else 0.0
                spread[y] += 1.0 / weight[x, y] if good else 0.0
        for y in range(n_cross):
            error = np.sqrt(spread[y] * (np.pi / 2.0 if count[y] > 2 else 1.0)) / max(count[y], 1.0)
            spread[y] = limit * error * _SURE
        for x in range(edges[b], edges[b + 1]):
            for y in range(n_cross):
                good = weight[x, y] > 0
                above[y] += 1.0 if good and data[x, y] > spread[y] else 0.0
                below[y] += 1.0 if good and data[x, y] < -spread[y] else 0.0
        for y in range(n_cross):
            if count[y] > 0 and 2.0 * max(above[y], below[y]) >= count[y]:
                return True
    return False


@compiled
def middle_of_rows(data: FloatArray, use: NDArray[np.bool_], least: int, out: FloatArray) -> None:
    """The middle one of the values of each line that are to be used, the lower of two; zero where they are too few."""
    n_line, n = data.shape
    if n >= _MANY:
        line = np.empty(n + 1)
        for x in range(n_line):
            m = 0
            for y in range(n):
                line[m] = data[x, y]
                m += use[x, y]
            out[x] = middle_two(line, m)[0] if m >= max(least, 1) else 0.0
        return
    together = min(_LINES, -(-n_line // _LANES) * _LANES)
    block, count = np.zeros((n, together)), np.empty(together, dtype=np.intp)
    for first in range(0, n_line, together):
        size = min(together, n_line - first)
        for k in range(together):
            count[k] = 0
        for y in range(n):
            for k in range(size):
                used = use[first + k, y]
                block[y, k] = data[first + k, y] if used else np.inf
                count[k] += used
        _sort(block, n)
        for k in range(size):
            out[first + k] = block[(count[k] - 1) // 2, k] if count[k] >= max(least, 1) else 0.0
