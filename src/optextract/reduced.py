"""Normal equations of the background with the sources' fluxes eliminated in each column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .compiled import contiguous
from .compiled.known import differing
from .compiled.linear import reduce_all
from .solve import Known, known_of

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
    data, weight, profiles, basis : ndarray
        What they were made of, as given to `reduced_by`.
    """

    matrix: FloatArray
    vector: FloatArray
    used: NDArray[np.bool_]
    data: FloatArray
    weight: FloatArray
    profiles: FloatArray
    basis: FloatArray


def reduced_by(
    data: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    basis: FloatArray,
    known: Known | None = None,
    before: Reduced | None = None,
) -> Reduced:
    """Eliminate the sources.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Pixel values and inverse variances (zero where bad).
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
        Sources, whose fluxes are free.
    basis : ndarray, shape (n_background, n_cross)
        Background terms.
    known : Known, optional
        What is known of these profiles for nearly the same weights.
    before : Reduced, optional
        The same of nearly the same pixels: only the columns that differ are made anew.

    Returns
    -------
    Reduced
    """
    if before is not None and _of_the_same_terms(before, profiles, basis):
        return _made_anew(data, weight, profiles, basis, before)
    (n_disp, n_profile), n = profiles.shape[:2], len(basis)
    covariance = known_of(weight, profiles, known).covariance if n_profile else np.empty((n_disp, 0, 0))
    out = Reduced(
        np.empty((n_disp, n, n)), np.empty((n_disp, n)), np.empty(n_disp, dtype=bool), data, weight, profiles, basis
    )
    reduce_all(
        contiguous(data),
        contiguous(weight),
        contiguous(profiles),
        covariance,
        contiguous(basis),
        out.matrix,
        out.vector,
        out.used,
    )
    return out


def _of_the_same_terms(before: Reduced, profiles: FloatArray, basis: FloatArray) -> bool:
    """Whether all terms are among those of the others."""
    same = before.profiles is profiles or before.profiles.shape[1] == profiles.shape[1] == 0
    return same and np.array_equal(before.basis[: len(basis)], basis)


def _made_anew(
    data: FloatArray, weight: FloatArray, profiles: FloatArray, basis: FloatArray, before: Reduced
) -> Reduced:
    """The normal equations, those of columns in which pixels differ anew."""
    differ, n = np.zeros(len(data), dtype=bool), len(basis)
    differing(contiguous(weight), contiguous(before.weight), differ)
    if data is not before.data:
        differing(contiguous(data), contiguous(before.data), differ)
    at = np.flatnonzero(differ)
    matrix, vector = before.matrix[:, :n, :n].copy(), before.vector[:, :n].copy()
    used = before.used.copy()
    if len(at):
        some = reduced_by(data[at], weight[at], profiles[at], basis)
        matrix[at], vector[at], used[at] = some.matrix, some.vector, some.used
    return Reduced(matrix, vector, used, data, weight, profiles, basis)
