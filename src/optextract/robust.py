"""Medians, of values that are no arrays of images: numpy's own take longer to begin than these take."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import order

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
    own = np.array(values, dtype=np.float64).ravel()
    return float(order.median_of(own, own.size)) if own.size else float("nan")


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
