"""Normal equations of the background with the sources' fluxes eliminated in each column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .compiled import contiguous
from .compiled.linear import reduce_all

__all__ = ["Reduced", "reduced_by"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reduced:
    """Normal equations of the background terms in each column after elimination of the sources.

    Attributes
    ----------
    matrix : ndarray, shape (n_disp, n_background, n_background)
        Left side.
    vector : ndarray, shape (n_disp, n_background)
        Right side.
    used : ndarray of bool, shape (n_disp,)
        Columns that tell something.
    """

    matrix: FloatArray
    vector: FloatArray
    used: NDArray[np.bool_]


def reduced_by(data: FloatArray, weight: FloatArray, profiles: FloatArray, basis: FloatArray) -> Reduced:
    """Eliminate the sources.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Pixel values and inverse variances (zero where bad).
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
        Sources, whose fluxes are free.
    basis : ndarray, shape (n_background, n_cross)
        Background terms.

    Returns
    -------
    Reduced
    """
    n_disp, n = len(data), len(basis)
    out = Reduced(np.empty((n_disp, n, n)), np.empty((n_disp, n)), np.empty(n_disp, dtype=bool))
    reduce_all(
        contiguous(data),
        contiguous(weight),
        contiguous(profiles),
        contiguous(basis),
        out.matrix,
        out.vector,
        out.used,
    )
    return out
