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

from .compiled import contiguous, linear
from .compiled.known import covariances, solve_known

__all__ = [
    "Known",
    "Solution",
    "condition",
    "invert_normal",
    "known_of",
    "model_of",
    "normal_equations",
    "solve_columns",
]

FloatArray = NDArray[np.float64]


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


@dataclass(frozen=True, eq=False)
class Known:
    """Covariances of the coefficients for some weights: they hold for any pixel values, and in each column by itself.

    Attributes
    ----------
    weight : ndarray, shape (n_disp, n_cross)
        Inverse variances.
    covariance : ndarray, shape (n_disp, n_term, n_term)
        As in `Solution`.
    """

    weight: FloatArray
    covariance: FloatArray


def known_of(weight: FloatArray, terms: FloatArray, other: Known | None = None) -> Known:
    """Find the covariances of all columns.

    Parameters
    ----------
    weight : ndarray, shape (n_disp, n_cross)
        Inverse variances (zero where masked).
    terms : ndarray, shape (n_disp, n_term, n_cross)
        Model per unit coefficient.
    other : Known, optional
        Of the same terms: taken over in the columns in which its weights are the same.

    Returns
    -------
    Known
    """
    n_disp, n_term, n_cross = terms.shape
    if other is None:
        other = Known(np.empty((0, n_cross)), np.empty((0, n_term, n_term)))
    elif other.weight is weight:
        return other
    covariance = np.empty((n_disp, n_term, n_term))
    covariances(contiguous(weight), contiguous(terms), contiguous(other.weight), other.covariance, covariance)
    return Known(weight, covariance)


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
    n_disp, n_term = terms.shape[:2]
    matrix, vector, square = np.empty((n_disp, n_term, n_term)), np.empty((n_disp, n_term)), np.empty(n_disp)
    linear.normal_all(contiguous(data), contiguous(weight), contiguous(terms), matrix, vector, square)
    return matrix, vector, square


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
    inverse, seen = np.empty(matrix.shape), np.empty(matrix.shape[:2], dtype=bool)
    linear.invert_all(contiguous(matrix), inverse, seen)
    return inverse, seen


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


def solve_columns(data: FloatArray, weight: FloatArray, terms: FloatArray, known: Known | None = None) -> Solution:
    """Solve every column by weighted linear least squares.

    Parameters
    ----------
    data, weight, terms
        As for `normal_equations`.
    known : Known, optional
        What is known of the same terms for the same or nearly the same weights.

    Returns
    -------
    Solution
        Coefficients, covariance ``(A^T N^-1 A)^-1`` and chi2.
    """
    n_disp, n_term = terms.shape[:2]
    data, weight, terms = contiguous(data), contiguous(weight), contiguous(terms)
    coefficients, chi2 = np.empty((n_disp, n_term)), np.empty(n_disp)
    if n_term == 1 and known is None:  # all in one, in half the time
        covariance = np.empty((n_disp, 1, 1))
        linear.solve_one(data, weight, terms, coefficients, covariance, chi2)
    else:
        covariance = known_of(weight, terms, known).covariance
        solve_known(data, weight, terms, covariance, coefficients, chi2)
    return Solution(coefficients, covariance, chi2)


def model_of(terms: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Sum of the terms of each column times their coefficients.

    Parameters
    ----------
    terms : ndarray, shape (n_disp, n_term, n_cross)
        Model per unit coefficient.
    coefficients : ndarray, shape (n_disp, n_term)
        What each counts.

    Returns
    -------
    ndarray, shape (n_disp, n_cross)
    """
    image = np.empty((terms.shape[0], terms.shape[2]))
    linear.combine(contiguous(terms), contiguous(coefficients), image)
    return image
