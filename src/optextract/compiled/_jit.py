"""How the loops are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["compiled", "contiguous"]

Function = TypeVar("Function", bound=Callable[..., Any])

#: Sums may be taken in another order, which is what lets them use vector instructions; NaN and infinity keep their
#: meaning. On one machine the order is always the same.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}, "nogil": True}


def compiled(function: Function) -> Function:
    """Compile at the first call and keep what was compiled beside the module, or in the user's folder for caches.

    Parameters
    ----------
    function : callable
        Of arrays and numbers.

    Returns
    -------
    callable
    """
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # there is no folder that can be written to: compiled anew in each session
        return njit(**_OPTIONS)(function)


def contiguous(array: NDArray[Any]) -> NDArray[np.float64]:
    """The array as the loops want it: any other layout or type would be compiled anew.

    Parameters
    ----------
    array : ndarray
        Of any numbers.

    Returns
    -------
    ndarray of float64, C-contiguous
        The same where it is so already.
    """
    same = np.ascontiguousarray(array, dtype=np.float64)
    return same if same.flags.writeable else same.copy()  # what may not be written to is another type
