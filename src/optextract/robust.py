"""Medians: numpy's own function takes longer to begin than these take altogether."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["median", "robust_rms"]

_MAD = 1.4826  # MAD to standard deviation of a normal distribution


def median(values: NDArray[np.float64]) -> float:
    """Median of values of any shape, without NaN.

    Parameters
    ----------
    values : ndarray
        Finite or infinite.

    Returns
    -------
    float
        NaN without values.
    """
    n = values.size
    if n == 0:
        return float("nan")
    ordered = np.partition(values, n // 2, axis=None)
    upper = float(ordered[n // 2])
    # what lies before the middle is no larger
    return upper if n % 2 else 0.5 * (upper + float(ordered[: n // 2].max()))


def robust_rms(values: NDArray[np.float64]) -> float:
    """Estimate the standard deviation about zero from the median absolute value.

    Parameters
    ----------
    values : ndarray
        Values of any shape, without NaN.

    Returns
    -------
    float
        1.4826 times the median of the absolute values (exact for a normal distribution); NaN without values.
    """
    return _MAD * median(np.abs(values))
