"""Which pixels of a window take part, and what each weighs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled

__all__ = ["suspect", "weigh"]

FloatArray = NDArray[np.float64]


@compiled
def weigh(
    data: FloatArray, variance: FloatArray, good: NDArray[np.bool_], factor: float, weight: FloatArray
) -> tuple[float, float, float]:
    """Pixels whose variance is a number above zero: values, variances and inverse variances; 0, 1 and 0 of all others.

    Parameters
    ----------
    data, variance : ndarray, shape (n_disp, n_cross)
        Of the frame; those of the window when it is done.
    good : ndarray of bool, shape (n_disp, n_cross)
        What the frame and the region hold good; what is good when it is done.
    factor : float
        On the variance.
    weight : ndarray, shape (n_disp, n_cross)
        Filled.

    Returns
    -------
    largest : float
        Greatest absolute value.
    least, most : float
        Least and greatest variance.
    """
    values, spread, use, inverse = data.ravel(), variance.ravel(), good.ravel(), weight.ravel()
    for i in range(len(values)):
        value = spread[i] * factor
        kept = use[i] and value > 0.0 and value < np.inf
        value = value if kept else 1.0
        values[i] = values[i] if kept else 0.0
        spread[i] = value
        inverse[i] = 1.0 / value if kept else 0.0
        use[i] = kept
    largest, least, most = 0.0, np.inf, 0.0
    for i in range(len(values)):
        largest = max(largest, abs(values[i]))
        least = min(least, spread[i] if use[i] else np.inf)
        most = max(most, spread[i] if use[i] else 0.0)
    return largest, least, most


@compiled
def suspect(
    variance: FloatArray,
    good: NDArray[np.bool_],
    huge: float,
    marked: NDArray[np.bool_],
    in_column: NDArray[np.bool_],
    in_row: NDArray[np.bool_],
) -> bool:
    """Mark good pixels whose variance is huge beside the least of all good ones; gives whether there are any.

    Parameters
    ----------
    variance : ndarray, shape (n_disp, n_cross)
    good : ndarray of bool, shape (n_disp, n_cross)
    huge : float
        Times the least variance.
    marked : ndarray of bool, shape (n_disp, n_cross)
        Filled.
    in_column, in_row : ndarray of bool, shape (n_disp,) and (n_cross,)
        Filled: whether there is one in this column or row.
    """
    n_disp, n_cross = variance.shape
    least = np.inf
    for x in range(n_disp):
        for y in range(n_cross):
            least = min(least, variance[x, y] if good[x, y] else np.inf)
    limit, some = huge * least, False
    for y in range(n_cross):
        in_row[y] = False
    for x in range(n_disp):
        count = 0
        for y in range(n_cross):
            marked[x, y] = good[x, y] and variance[x, y] > limit
            count += marked[x, y]
        in_column[x] = count > 0
        some |= in_column[x]
        if count:
            for y in range(n_cross):
                in_row[y] |= marked[x, y]
    return some
