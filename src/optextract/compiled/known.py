"""Covariances of each column's coefficients, which its pixel values have no part in, and solutions that use them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .lanes import factor, square_inverse
from .linear import coefficient

__all__ = ["covariances", "differing", "solve_known"]

FloatArray = NDArray[np.float64]

_BLOCK = 64  # columns whose matrices are inverted together: they stay in the processor's cache


@compiled
def _same(first: FloatArray, second: FloatArray, x: int) -> bool:
    """Whether two images hold the same in column x."""
    other = 0
    for y in range(first.shape[1]):
        other += first[x, y] != second[x, y]
    return other == 0


@compiled
def differing(first: FloatArray, second: FloatArray, out: NDArray[np.bool_]) -> None:
    """Mark the columns, shape (n_disp,), in which two images of shape (n_disp, n_cross) differ; others are left."""
    for x in range(len(first)):
        out[x] |= not _same(first, second, x)


@compiled
def _normal_matrix(
    weight: FloatArray, terms: FloatArray, x: int, part: FloatArray, matrix: FloatArray, slot: int
) -> None:
    """Normal matrix of column x up to its diagonal; two terms by two: sums that are taken together cost little more."""
    n_term, n_cross = terms.shape[1], terms.shape[2]
    for t in range(n_term):
        for y in range(n_cross):
            part[t, y] = weight[x, y] * terms[x, t, y]
    for t in range(0, n_term - 1, 2):
        first, both, second = 0.0, 0.0, 0.0
        for y in range(n_cross):
            first += part[t, y] * terms[x, t, y]
            both += part[t + 1, y] * terms[x, t, y]
            second += part[t + 1, y] * terms[x, t + 1, y]
        matrix[t, t, slot], matrix[t + 1, t, slot], matrix[t + 1, t + 1, slot] = first, both, second
        for s in range(t):
            first, second = 0.0, 0.0
            for y in range(n_cross):
                first += part[t, y] * terms[x, s, y]
                second += part[t + 1, y] * terms[x, s, y]
            matrix[t, s, slot], matrix[t + 1, s, slot] = first, second
    if n_term % 2:
        t = n_term - 1
        for s in range(n_term):
            first = 0.0
            for y in range(n_cross):
                first += part[t, y] * terms[x, s, y]
            matrix[t, s, slot] = first


@compiled
def covariances(
    weight: FloatArray, terms: FloatArray, other_weight: FloatArray, other: FloatArray, covariance: FloatArray
) -> None:
    """Covariance of the coefficients in each column.

    Parameters
    ----------
    weight : ndarray, shape (n_disp, n_cross)
    terms : ndarray, shape (n_disp, n_term, n_cross)
    other_weight : ndarray, shape (n_disp, n_cross) or (0, n_cross)
        Weights that `other` is known for; none where nothing is.
    other : ndarray, shape (n_disp, n_term, n_term) or (0, n_term, n_term)
        Covariances of the same terms, which hold in all columns in which the weights are the same.
    covariance : ndarray, shape (n_disp, n_term, n_term)
        Filled; infinite variance for a term that no good pixel sees.
    """
    n_disp, n_term, n_cross = terms.shape
    # matrices side by side are inverted in vectors
    most = min(_BLOCK, n_disp)
    matrix, scale = np.empty((n_term, n_term, most)), np.empty((n_term + 1, most))
    part, columns = np.empty((n_term, n_cross)), np.empty(most, dtype=np.intp)
    x = 0
    while x < n_disp:
        n = 0
        while x < n_disp and n < most:
            if len(other) and _same(weight, other_weight, x):
                for t in range(n_term):
                    for s in range(n_term):
                        covariance[x, t, s] = other[x, t, s]
            else:
                _normal_matrix(weight, terms, x, part, matrix, n)
                columns[n] = x
                n += 1
            x += 1
        if n == 0:
            break
        for t in range(n_term):
            for s in range(t + 1):
                for k in range(n, most):
                    matrix[t, s, k] = 0.0
        factor(matrix, scale)
        square_inverse(matrix, scale)
        for k in range(n):
            for t in range(n_term):
                for s in range(t + 1):
                    covariance[columns[k], t, s] = covariance[columns[k], s, t] = matrix[t, s, k]
                if scale[t, k] == 0.0:
                    covariance[columns[k], t, t] = np.inf


@compiled
def solve_known(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    covariance: FloatArray,
    coefficients: FloatArray,
    chi2: FloatArray,
) -> None:
    """Solution of all columns with what `covariances` gave: see `optextract.solve.solve_columns`."""
    n_disp, n_term, n_cross = terms.shape
    vector, weighted = np.zeros(n_term), np.empty(n_cross)
    for x in range(n_disp):
        left = 0.0
        for y in range(n_cross):
            value = weight[x, y] * data[x, y]
            weighted[y] = value
            left += value * data[x, y]
        for t in range(n_term):
            total = 0.0
            for y in range(n_cross):
                total += weighted[y] * terms[x, t, y]
            vector[t] = total
        for t in range(n_term):
            coefficients[x, t] = coefficient(covariance, x, vector, t)
            left -= coefficients[x, t] * vector[t]
        chi2[x] = max(left, 0.0)
