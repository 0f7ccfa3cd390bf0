"""The k-th smallest of some values, and their median."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled

__all__ = ["median_of", "select"]

FloatArray = NDArray[np.float64]


@compiled
def select(values: FloatArray, n: int, k: int) -> float:
    """Find the k-th smallest of the first n values, which are put into another order (Hoare's quickselect)."""
    low, high = 0, n - 1
    while low < high:
        pivot, i, j = values[(low + high) // 2], low, high
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
            break
    return values[k]


@compiled
def median_of(values: FloatArray, n: int) -> float:
    """Median of the first n values, one at least, which are put into another order."""
    upper = select(values, n, n // 2)
    if n % 2:
        return upper
    # what lies before the middle is no larger
    lower = values[0]
    for i in range(1, n // 2):
        lower = max(lower, values[i])
    return 0.5 * (lower + upper)
