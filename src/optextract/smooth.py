"""Normal equations of a background that is smooth along dispersion, and what they tell of its terms."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.polynomial.legendre import legmul
from numpy.typing import NDArray
from scipy.linalg import lapack

from .bins import runs_of
from .compiled import contiguous
from .compiled.fit import nested_drops
from .compiled.sky import polynomials, slow_pulls
from .reduced import Reduced
from .robust import robust_rms

__all__ = ["assemble", "assemble_all", "drops_of", "find_gaps", "slow_noise", "solve_symmetric"]

FloatArray = NDArray[np.float64]

_GAP = 0.01  # fraction of the columns that must be empty in a row to make a detector gap
_CLEAR = 1e-6  # least part of a term that no other one holds, for a plain solution
_BIN, _LEAST_BINS = 20, 10  # columns whose mean tells of correlated noise, and means that tell a scatter


def find_gaps(used: NDArray[np.bool_]) -> list[int]:
    """Find the detector gaps: runs of empty columns between columns with data.

    Parameters
    ----------
    used : ndarray of bool, shape (n_disp,)
        Columns that tell something.

    Returns
    -------
    list of int
        First column after each.
    """
    if used.all():
        return []
    n_disp = len(used)
    least = max(4, int(_GAP * n_disp))
    return [end for start, end in runs_of(~used) if end - start >= least and start > 0 and end < n_disp]


@lru_cache(maxsize=16)
def _products(degree: int) -> FloatArray:
    """Products of two Legendre polynomials as sums of such, shape ((degree + 1)^2, 2 degree + 1)."""
    each = np.eye(degree + 1)
    out = np.zeros((degree + 1, degree + 1, 2 * degree + 1))
    for p in range(degree + 1):
        for q in range(degree + 1):
            terms = legmul(each[p], each[q])
            out[p, q, : len(terms)] = terms
    return out.reshape(-1, 2 * degree + 1)


def assemble(reduced: Reduced, along: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Normal equations of the coefficients, ordered (cross term, dispersion term).

    Parameters
    ----------
    reduced : Reduced
        Those of each column.
    along : ndarray, shape (n_disp, n_along)
        Terms along dispersion.

    Returns
    -------
    matrix : ndarray, shape (n_background n_along, same)
    vector : ndarray, shape (n_background n_along,)
    """
    n_background, n_along = reduced.matrix.shape[1], along.shape[1]
    matrix = np.empty((n_background, n_along, n_background, n_along))
    for i in range(n_background):
        for j in range(i, n_background):
            block = along.T @ (reduced.matrix[:, i, j][:, None] * along)
            matrix[i, :, j, :] = block
            matrix[j, :, i, :] = block.T
    size = n_background * n_along
    return matrix.reshape(size, size), (reduced.vector.T @ along).ravel()


def assemble_all(reduced: Reduced, degree: int, gaps: list[int]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Polynomials along dispersion up to a degree, and steps at the gaps, with their normal equations.

    Parameters
    ----------
    reduced : Reduced
        The normal equations of each column.
    degree : int
        Highest degree.
    gaps : list of int
        First column after each gap.

    Returns
    -------
    along : ndarray, shape (n_disp, degree + 1 + n_gap)
    matrix, vector
        As from `assemble`.
    """
    n_disp, n_background = reduced.vector.shape
    polynomial = np.empty((2 * degree + 1, n_disp))
    polynomials(polynomial)
    along = polynomial[: degree + 1].T
    if gaps:
        steps = [(np.arange(n_disp) >= gap).astype(float) - 0.5 for gap in gaps]
        along = np.concatenate([along, *[step[:, None] for step in steps]], axis=1)
        return along, *assemble(reduced, along)
    # the product of two polynomials is a sum of polynomials, so that a few moments tell all elements
    blocks = _products(degree) @ (polynomial @ reduced.matrix.reshape(n_disp, -1))
    matrix = blocks.reshape(degree + 1, degree + 1, n_background, n_background).transpose(2, 0, 3, 1)
    size = n_background * (degree + 1)
    return along, matrix.reshape(size, size), (reduced.vector.T @ along).ravel()


def solve_symmetric(matrix: FloatArray, vector: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Solve; directions that the data do not see stay zero.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
    vector : ndarray, shape (n,)
        Normal equations.

    Returns
    -------
    solution : ndarray, shape (n,)
    covariance : ndarray, shape (n, n)
    """
    diagonal = matrix.diagonal()
    seen = diagonal > 0
    root = 1.0 / np.sqrt(np.where(seen, diagonal, 1.0))
    scaled = matrix * root * root[:, None]
    scaled.flat[:: len(scaled) + 1] = 1.0
    inverse = _inverse(scaled)
    root = np.where(seen, root, 0.0)
    inverse *= root
    inverse *= root[:, None]
    return inverse @ vector, inverse


def _inverse(scaled: FloatArray) -> FloatArray:
    """Inverse of a matrix of unit diagonal, by its directions where some are seen by next to nothing."""
    if len(scaled):
        factor, inverse, failed = lapack.dposv(scaled, np.eye(len(scaled)))
        if not failed and factor.diagonal().min() ** 2 > _CLEAR:
            return np.asarray(inverse)  # as nearly always, and in a tenth of the time
    values, vectors = np.linalg.eigh(scaled)
    return np.asarray(
        (vectors * np.where(values > 1e-10 * values[-1:], 1.0 / np.maximum(values, 1e-300), 0.0)) @ vectors.T
    )


def drops_of(matrix: FloatArray, vector: FloatArray, index: NDArray[np.intp]) -> list[float]:
    """Drop of chi2 of each leading part of some coefficients.

    Parameters
    ----------
    matrix, vector
        Normal equations.
    index : ndarray of int, shape (n,)
        The coefficients, in the order in which they are added.

    Returns
    -------
    list of float
    """
    drops = np.empty(len(index))
    nested_drops(contiguous(matrix), vector, index, drops)
    return [float(drop) for drop in drops.tolist()]


def slow_noise(reduced: Reduced, along: FloatArray, matrix: FloatArray, vector: FloatArray) -> float:
    """Empirical factor on the errors of the mean background over 20 columns.

    Parameters
    ----------
    reduced, along, matrix, vector
        Given to and from `assemble_all`: what all terms together leave is noise.

    Returns
    -------
    float
        At least one.
    """
    n_disp, n_background = reduced.vector.shape
    if n_disp // _BIN < _LEAST_BINS:
        return 1.0
    level = along @ _rough_solution(matrix, vector).reshape(n_background, -1).T
    pulls = np.empty(n_disp // _BIN + 1)
    count = slow_pulls(reduced.matrix, reduced.vector, contiguous(level), _BIN, pulls)
    return max(1.0, robust_rms(pulls[:count])) if count >= _LEAST_BINS else 1.0


def _rough_solution(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    """Solution where all that counts is what it leaves."""
    diagonal = matrix.diagonal()
    root = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = matrix * root * root[:, None]
    scaled.flat[:: len(scaled) + 1] = 1.0 + 1e-9
    return np.asarray(np.linalg.solve(scaled, vector * root) * root)
