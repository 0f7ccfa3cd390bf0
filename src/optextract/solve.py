"""Per-column weighted linear least squares: arrays in, arrays out.

Every array here is column-major: the first axis is the dispersion column, the last one the cross-dispersion pixel, and
``terms`` has shape (n_disp, n_term, n_cross): the sources' profiles first, then whatever else is free in each column.
Columns are independent, so all of them are solved at once; no column needs data.

For one source and nothing else the solution is Horne (1986, PASP 98, 609), ``f = sum(P D / V) / sum(P^2 / V)`` with
variance ``1 / sum(P^2 / V)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Solution", "condition", "invert_normal", "leverage", "normal_equations", "propagate", "solve_columns"]

FloatArray = NDArray[np.float64]

#: Terms whose correlation matrix has a smaller inverse condition than this are not told apart by the data.
_RIDGE = 1e-12


@dataclass(frozen=True, eq=False)
class Solution:
    """Solution of all columns.

    Attributes
    ----------
    coefficients : ndarray, shape (n_disp, n_term)
        Zero for a term that no good pixel sees.
    covariance : ndarray, shape (n_disp, n_term, n_term)
        Inverse of the normal matrix; infinite variance for an unseen term.
    chi2 : ndarray, shape (n_disp,)
        Weighted sum of squared residuals.
    """

    coefficients: FloatArray
    covariance: FloatArray
    chi2: FloatArray


def normal_equations(
    data: FloatArray, weight: FloatArray, terms: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Normal matrix, right-hand side and weighted sum of squares of each column.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Pixel values (finite everywhere) and inverse variances (zero where masked).
    terms : ndarray, shape (n_disp, n_term, n_cross)
        Model per unit coefficient.

    Returns
    -------
    matrix : ndarray, shape (n_disp, n_term, n_term)
    vector : ndarray, shape (n_disp, n_term)
    square : ndarray, shape (n_disp,)
    """
    weighted = terms * weight[:, None, :]
    if terms.shape[1] == 1:  # Horne's sums; a matrix product per column costs three times as much
        matrix = np.einsum("xty,xty->x", weighted, terms)[:, None, None]
        vector = np.einsum("xty,xy->xt", weighted, data)
    else:
        matrix = weighted @ terms.transpose(0, 2, 1)
        vector = (weighted @ data[:, :, None])[:, :, 0]
    return matrix, vector, np.einsum("xy,xy,xy->x", data, data, weight)


def invert_normal(matrix: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Invert the normal matrices, each scaled to unit diagonal.

    Parameters
    ----------
    matrix : ndarray, shape (n_disp, n_term, n_term)
        From `normal_equations`.

    Returns
    -------
    inverse : ndarray, shape (n_disp, n_term, n_term)
        Zero rows and columns for terms that no good pixel sees.
    seen : ndarray of bool, shape (n_disp, n_term)
        Whether the data see the term.
    """
    n_term = matrix.shape[1]
    diagonal = np.einsum("xtt->xt", matrix)
    # what is left of a profile's wing 15 decades down says nothing, and its inverse overflows
    seen = diagonal > np.maximum(1e-30 * diagonal.max(axis=1, keepdims=True), 1e-250)
    root = np.sqrt(np.where(seen, diagonal, 1.0))
    if n_term == 1:
        return (seen / np.where(seen, diagonal, 1.0))[:, :, None], seen
    scaled = matrix / (root[:, :, None] * root[:, None, :])
    index = np.arange(n_term)
    # the ridge only matters where terms are degenerate; there it turns a singular matrix into a huge variance
    scaled[:, index, index] = 1.0 + _RIDGE
    inverse = _symmetric_inverse(scaled) / (root[:, :, None] * root[:, None, :])
    return inverse * (seen[:, :, None] & seen[:, None, :]), seen


def _symmetric_inverse(matrix: FloatArray) -> FloatArray:
    """Inverse of symmetric positive matrices; two by two in closed form."""
    if matrix.shape[1] == 2:
        off = matrix[:, 0, 1]
        determinant = matrix[:, 0, 0] * matrix[:, 1, 1] - off * off
        inverse = np.empty_like(matrix)
        inverse[:, 0, 0] = matrix[:, 1, 1] / determinant
        inverse[:, 1, 1] = matrix[:, 0, 0] / determinant
        inverse[:, 0, 1] = inverse[:, 1, 0] = -off / determinant
        return inverse
    return np.asarray(np.linalg.inv(matrix))


def condition(matrix: FloatArray) -> FloatArray:
    """Condition number of each normal matrix after scaling to unit diagonal.

    Parameters
    ----------
    matrix : ndarray, shape (n_disp, n_term, n_term)
        From `normal_equations`.

    Returns
    -------
    ndarray, shape (n_disp,)
        Infinite where singular.
    """
    if matrix.shape[1] == 1:
        return np.where(matrix[:, 0, 0] > 0, 1.0, np.inf)
    diagonal = np.einsum("xtt->xt", matrix)
    root = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    eigen = np.linalg.eigvalsh(matrix / (root[:, :, None] * root[:, None, :]))
    with np.errstate(divide="ignore"):
        return np.where(eigen[:, 0] > 0, eigen[:, -1] / np.maximum(eigen[:, 0], 1e-300), np.inf)


def solve_columns(data: FloatArray, weight: FloatArray, terms: FloatArray) -> Solution:
    """Solve every column by weighted linear least squares.

    Parameters
    ----------
    data, weight, terms
        As for `normal_equations`.

    Returns
    -------
    Solution
        Coefficients, covariance ``(A^T N^-1 A)^-1`` and chi2.
    """
    matrix, vector, square = normal_equations(data, weight, terms)
    inverse, seen = invert_normal(matrix)
    coefficients = np.einsum("xts,xs->xt", inverse, vector)
    chi2 = square - np.einsum("xt,xt->x", vector, coefficients)
    index = np.arange(matrix.shape[1])
    inverse[:, index, index] = np.where(seen, inverse[:, index, index], np.inf)
    return Solution(coefficients, inverse, np.maximum(chi2, 0.0))


def leverage(weight: FloatArray, terms: FloatArray, inverse: FloatArray) -> FloatArray:
    """Leverage h of each pixel: the derivative of its fitted value with respect to its own.

    Parameters
    ----------
    weight : ndarray, shape (n_disp, n_cross)
        Inverse variances (zero where masked).
    terms : ndarray, shape (n_disp, n_term, n_cross)
        Model per unit coefficient.
    inverse : ndarray, shape (n_disp, n_term, n_term)
        Inverse normal matrix.

    Returns
    -------
    ndarray, shape (n_disp, n_cross)
    """
    if terms.shape[1] == 1:
        return terms[:, 0] ** 2 * inverse[:, 0] * weight
    return np.einsum("xty,xty->xy", inverse @ terms, terms) * weight


def propagate(weight: FloatArray, terms: FloatArray, inverse: FloatArray, variance: FloatArray) -> FloatArray:
    """Variance of each coefficient where the pixels' variance is `variance`, through weights made with another.

    Parameters
    ----------
    weight, terms, inverse
        The weights, terms and inverse normal matrix of the solution.
    variance : ndarray, shape (n_disp, n_cross)
        Variance (or one component of it) of each pixel.

    Returns
    -------
    ndarray, shape (n_disp, n_term)
    """
    linear = (inverse @ terms) * weight[:, None, :]
    return np.einsum("xty,xy->xt", linear * linear, variance)
