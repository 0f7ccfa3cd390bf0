"""Medians of bins and filters of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled

__all__ = ["correlate_rows", "median_all", "median_of", "middle_of_rows"]

FloatArray = NDArray[np.float64]

_FEW = 24  # values that are sorted by insertion


@compiled
def _select(values: FloatArray, n: int, k: int) -> float:
    """The k-th smallest of the first n values, which change their order (Hoare's quickselect)."""
    low, high = 0, n - 1
    while high - low > _FEW:
        a, b, c = values[low], values[(low + high) // 2], values[high]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            return values[k]
    for i in range(low + 1, high + 1):
        value, j = values[i], i - 1
        while j >= low and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value
    return values[k]


@compiled
def median_of(values: FloatArray, n: int) -> float:
    """Median of the first n values, one or more of them and none NaN, which change their order."""
    upper = _select(values, n, n // 2)
    if n % 2:
        return upper
    lower = values[0]
    for i in range(1, n // 2):  # what lies before the k-th is no larger
        lower = max(lower, values[i])
    return 0.5 * (lower + upper)


@compiled
def median_all(
    data: FloatArray, weight: FloatArray, edges: NDArray[np.intp], out: FloatArray, inverse: FloatArray
) -> None:
    """Medians of the good pixels of each row of each bin: see `optextract.bins.median_bins`."""
    n_cross = data.shape[1]
    longest = 0
    for b in range(len(edges) - 1):
        longest = max(longest, edges[b + 1] - edges[b])
    values = np.zeros((n_cross, longest))
    count, spread = np.zeros(n_cross, dtype=np.intp), np.zeros(n_cross)
    for b in range(len(edges) - 1):
        count[:] = 0
        spread[:] = 0.0
        for x in range(edges[b], edges[b + 1]):
            for y in range(n_cross):
                if weight[x, y] > 0:
                    values[y, count[y]] = data[x, y]
                    count[y] += 1
                    spread[y] += 1.0 / weight[x, y]
        for y in range(n_cross):
            n = count[y]
            out[b, y] = median_of(values[y], n) if n else 0.0
            # the mean variance, not the mean weight: where the variance follows its pixel's own noise, low pixels would
            # weigh more
            inverse[b, y] = (n * n / spread[y]) * (2.0 / np.pi if n > 2 else 1.0) if n else 0.0


@compiled
def middle_of_rows(data: FloatArray, use: NDArray[np.bool_], least: int, out: FloatArray) -> None:
    """The middle one of the values of each line that are to be used, the lower of two; zero where they are too few."""
    values = np.zeros(data.shape[1])
    for x in range(len(data)):
        n = 0
        for y in range(data.shape[1]):
            if use[x, y]:
                values[n] = data[x, y]
                n += 1
        out[x] = _select(values, n, (n - 1) // 2) if n >= max(least, 1) else 0.0


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
