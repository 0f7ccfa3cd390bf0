"""Weighted linear least squares in each column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled

__all__ = ["combine", "invert", "invert_all", "normal", "normal_all", "reduce_all", "solve_one"]

FloatArray = NDArray[np.float64]

#: What is added to the unit diagonal: it matters only where terms are degenerate, and turns a singular matrix into a
#: huge variance there.
_RIDGE = 1e-12
_LEAST = 1e-250  # of a normal matrix's diagonal: the inverse of less overflows


@compiled
def normal(
    data: FloatArray, weight: FloatArray, terms: FloatArray, x: int, matrix: FloatArray, vector: FloatArray
) -> float:
    """Normal equations of column x; gives the weighted sum of squares.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
    terms : ndarray, shape (n_disp, n_term, n_cross)
    x : int
        The column: cut out here, it would cost as much as the sums.
    matrix : ndarray, shape (n_term, n_term)
        Filled.
    vector : ndarray, shape (n_term,)
        Filled.
    """
    n_term, n_cross = terms.shape[1], terms.shape[2]
    for t in range(n_term):
        # rows are few: sums that are taken together cost little more than one
        right, own = 0.0, 0.0
        for y in range(n_cross):
            part = weight[x, y] * terms[x, t, y]
            right += part * data[x, y]
            own += part * terms[x, t, y]
        vector[t], matrix[t, t] = right, own
        for s in range(t):
            total = 0.0
            for y in range(n_cross):
                total += terms[x, t, y] * weight[x, y] * terms[x, s, y]
            matrix[t, s] = total
            matrix[s, t] = total
    square = 0.0
    for y in range(n_cross):
        square += data[x, y] * weight[x, y] * data[x, y]
    return square


@compiled
def _invert_three(matrix: FloatArray, inverse: FloatArray, lower: FloatArray) -> None:
    """The same steps for three by three, as a source with a constant and a slope has it, without loops."""
    a, b, c = lower[3, 0], lower[3, 1], lower[3, 2]
    first = 1.0 / np.sqrt(1.0 + _RIDGE)
    ba, ca = matrix[1, 0] * b * a * first, matrix[2, 0] * c * a * first
    second = 1.0 / np.sqrt(max(1.0 + _RIDGE - ba * ba, 1e-16))
    cb = (matrix[2, 1] * c * b - ca * ba) * second
    third = 1.0 / np.sqrt(max(1.0 + _RIDGE - ca * ca - cb * cb, 1e-16))
    # the inverse of the factor
    turned_ba, turned_cb = -ba * first * second, -cb * second * third
    turned_ca = -(ca * first + cb * turned_ba) * third
    inverse[0, 0] = (first * first + turned_ba * turned_ba + turned_ca * turned_ca) * a * a
    inverse[1, 1] = (second * second + turned_cb * turned_cb) * b * b
    inverse[2, 2] = third * third * c * c
    inverse[0, 1] = inverse[1, 0] = (turned_ba * second + turned_ca * turned_cb) * a * b
    inverse[0, 2] = inverse[2, 0] = turned_ca * third * a * c
    inverse[1, 2] = inverse[2, 1] = turned_cb * third * b * c


@compiled
def invert(matrix: FloatArray, inverse: FloatArray, seen: NDArray[np.bool_], lower: FloatArray) -> None:
    """Inverse of one normal matrix, scaled to unit diagonal: closed form up to two by two, else Cholesky's factor.

    Parameters
    ----------
    matrix : ndarray, shape (n_term, n_term)
    inverse : ndarray, shape (n_term, n_term)
        Filled; zero rows and columns for terms that no good pixel sees.
    seen : ndarray of bool, shape (n_term,)
        Filled: whether a good pixel sees the term.
    lower : ndarray, shape (n_term + 1, n_term)
        Room to work in.
    """
    n = matrix.shape[0]
    top = 0.0
    for i in range(n):
        top = max(top, matrix[i, i])
    # what is left of a profile's wing 15 decades down says nothing, and its inverse overflows
    least = max(1e-30 * top, _LEAST)
    for i in range(n):
        seen[i] = matrix[i, i] > least
        lower[n, i] = 1.0 / np.sqrt(matrix[i, i]) if seen[i] else 0.0
    if n == 1:
        inverse[0, 0] = 1.0 / matrix[0, 0] if seen[0] else 0.0
        return
    if n == 2:
        off = matrix[0, 1] * lower[n, 0] * lower[n, 1]
        determinant = 1.0 / ((1.0 + _RIDGE) ** 2 - off * off)
        inverse[0, 0] = (1.0 + _RIDGE) * determinant * lower[n, 0] ** 2
        inverse[1, 1] = (1.0 + _RIDGE) * determinant * lower[n, 1] ** 2
        inverse[0, 1] = inverse[1, 0] = -off * determinant * lower[n, 0] * lower[n, 1]
        return
    if n == 3:
        _invert_three(matrix, inverse, lower)
        return
    # the factor, with the inverses of its diagonal where that would stand
    for i in range(n):
        for j in range(i):
            value = matrix[i, j] * lower[n, i] * lower[n, j]
            for k in range(j):
                value -= lower[i, k] * lower[j, k]
            lower[i, j] = value * lower[j, j]
        value = 1.0 + _RIDGE
        for k in range(i):
            value -= lower[i, k] * lower[i, k]
        lower[i, i] = 1.0 / np.sqrt(max(value, 1e-16))
    # its own inverse in place, then the square of that
    for j in range(n):
        for i in range(j + 1, n):
            value = 0.0
            for k in range(j, i):
                value -= lower[i, k] * lower[k, j]
            lower[i, j] = value * lower[i, i]
    for i in range(n):
        for j in range(i + 1):
            value = 0.0
            for k in range(i, n):
                value += lower[k, i] * lower[k, j]
            value *= lower[n, i] * lower[n, j]
            inverse[i, j] = value
            inverse[j, i] = value


@compiled
def normal_all(
    data: FloatArray, weight: FloatArray, terms: FloatArray, matrix: FloatArray, vector: FloatArray, square: FloatArray
) -> None:
    """Normal equations of all columns: see `optextract.solve.normal_equations`."""
    n = terms.shape[1]
    one, right = np.zeros((n, n)), np.zeros(n)
    for x in range(len(data)):
        square[x] = normal(data, weight, terms, x, one, right)
        for i in range(n):
            vector[x, i] = right[i]
            for j in range(n):
                matrix[x, i, j] = one[i, j]


@compiled
def invert_all(matrix: FloatArray, inverse: FloatArray, seen: NDArray[np.bool_]) -> None:
    """Inverses of all columns: see `optextract.solve.invert_normal`."""
    n = matrix.shape[1]
    one, turned = np.zeros((n, n)), np.zeros((n, n))
    lower, visible = np.zeros((n + 1, n)), np.zeros(n, dtype=np.bool_)
    for x in range(len(matrix)):
        for i in range(n):
            for j in range(n):
                one[i, j] = matrix[x, i, j]
        invert(one, turned, visible, lower)
        for i in range(n):
            seen[x, i] = visible[i]
            for j in range(n):
                inverse[x, i, j] = turned[i, j]


@compiled
def solve_one(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    coefficients: FloatArray,
    covariance: FloatArray,
    chi2: FloatArray,
) -> None:
    """Solution of all columns for a single term: see `optextract.solve.solve_columns`."""
    n_disp, _, n_cross = terms.shape
    for x in range(n_disp):
        right, own, square = 0.0, 0.0, 0.0
        for y in range(n_cross):
            part = weight[x, y] * terms[x, 0, y]
            right += part * data[x, y]
            own += part * terms[x, 0, y]
            square += data[x, y] * weight[x, y] * data[x, y]
        seen = own > _LEAST
        flux = right / own if seen else 0.0
        coefficients[x, 0] = flux
        covariance[x, 0, 0] = 1.0 / own if seen else np.inf
        chi2[x] = max(square - flux * right, 0.0)


@compiled
def combine(terms: FloatArray, coefficients: FloatArray, image: FloatArray) -> None:
    """Sum of terms times coefficients, shape (n_disp, n_cross)."""
    n_disp, n_term, n_cross = terms.shape
    for x in range(n_disp):
        first = coefficients[x, 0] if n_term else 0.0
        for y in range(n_cross):
            image[x, y] = first * terms[x, 0, y] if n_term else 0.0
        for t in range(1, n_term):
            value = coefficients[x, t]
            for y in range(n_cross):
                image[x, y] += value * terms[x, t, y]


@compiled
def known_part(covariance: FloatArray, x: int, t: int, s: int) -> float:
    """Covariance of two terms of column x; zero for what no good pixel sees, whose variance is infinite."""
    value = covariance[x, t, s]
    return value if value < np.inf else 0.0


@compiled
def coefficient(covariance: FloatArray, x: int, vector: FloatArray, t: int) -> float:
    """Solution for term t of column x, from the covariance (n_disp, n_term, n_term) and the equations' right side."""
    total = 0.0
    for s in range(len(vector)):
        total += known_part(covariance, x, t, s) * vector[s]
    return total


@compiled
def _sum_products(
    data: FloatArray, weight: FloatArray, basis: FloatArray, matrix: FloatArray, vector: FloatArray
) -> None:
    """Normal equations of each column, of terms that are the same in all: see `reduce_all`."""
    n, n_cross = basis.shape
    if n == 3:
        # a parabola, as the choice begins with: rows are few, and all sums together cost little more than one
        for x in range(len(data)):
            m00, m10, m11, m20, m21, m22, v0, v1, v2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for y in range(n_cross):
                b0, b1, b2 = basis[0, y], basis[1, y], basis[2, y]
                w0, w1, w2 = weight[x, y] * b0, weight[x, y] * b1, weight[x, y] * b2
                m00 += w0 * b0
                m10 += w1 * b0
                m11 += w1 * b1
                m20 += w2 * b0
                m21 += w2 * b1
                m22 += w2 * b2
                v0 += w0 * data[x, y]
                v1 += w1 * data[x, y]
                v2 += w2 * data[x, y]
            matrix[x, 0, 0], matrix[x, 0, 1], matrix[x, 0, 2] = m00, m10, m20
            matrix[x, 1, 0], matrix[x, 1, 1], matrix[x, 1, 2] = m10, m11, m21
            matrix[x, 2, 0], matrix[x, 2, 1], matrix[x, 2, 2] = m20, m21, m22
            vector[x, 0], vector[x, 1], vector[x, 2] = v0, v1, v2
        return
    for x in range(len(data)):
        for i in range(n):
            right, own = 0.0, 0.0
            for y in range(n_cross):
                part = weight[x, y] * basis[i, y]
                right += part * data[x, y]
                own += part * basis[i, y]
            vector[x, i], matrix[x, i, i] = right, own
            for j in range(i):
                total = 0.0
                for y in range(n_cross):
                    total += weight[x, y] * basis[i, y] * basis[j, y]
                matrix[x, i, j] = matrix[x, j, i] = total


@compiled
def reduce_all(
    data: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    covariance: FloatArray,
    basis: FloatArray,
    reduced: FloatArray,
    right: FloatArray,
    used: NDArray[np.bool_],
) -> None:
    """Normal equations of background terms in each column after elimination of the profiles.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
        None at all is allowed.
    covariance : ndarray, shape (n_disp, n_profile, n_profile)
        Of their coefficients; infinite variance for one that no good pixel sees.
    basis : ndarray, shape (n_background, n_cross)
        The same in each column.
    reduced : ndarray, shape (n_disp, n_background, n_background)
        Filled: the normal matrix.
    right : ndarray, shape (n_disp, n_background)
        Filled: the right-hand side.
    used : ndarray of bool, shape (n_disp,)
        Filled: whether the column says anything; both are zero where not.
    """
    n_disp, n, n_cross = profiles.shape
    _sum_products(data, weight, basis, reduced, right)
    if n == 0:
        for x in range(n_disp):
            used[x] = reduced[x, 0, 0] > 0
        return
    n_background = len(basis)
    weighted, part = np.empty(n_cross), np.empty((n_background, n_cross))
    shared, vector, turned = np.zeros((n_background, n)), np.zeros(n), np.zeros((n_background, n))
    for x in range(n_disp):
        before = max(float(reduced[x, 0, 0]), 1e-300)
        for y in range(n_cross):
            weighted[y] = weight[x, y] * data[x, y]
        for i in range(n_background):
            for y in range(n_cross):
                part[i, y] = weight[x, y] * basis[i, y]
        for t in range(n):
            total = 0.0
            for y in range(n_cross):
                total += weighted[y] * profiles[x, t, y]
            vector[t] = total
            for i in range(n_background):
                total = 0.0
                for y in range(n_cross):
                    total += part[i, y] * profiles[x, t, y]
                shared[i, t] = total
        for i in range(n_background):
            for t in range(n):
                total = 0.0
                for s in range(n):
                    total += shared[i, s] * known_part(covariance, x, s, t)
                turned[i, t] = total
                right[x, i] -= total * vector[t]
        for i in range(n_background):
            for j in range(n_background):
                for t in range(n):
                    reduced[x, i, j] -= turned[i, t] * shared[j, t]
        # a column whose pixels the sources use up entirely says nothing of the background
        used[x] = reduced[x, 0, 0] > 1e-6 * before
        if not used[x]:
            for i in range(n_background):
                right[x, i] = 0.0
                for j in range(n_background):
                    reduced[x, i, j] = 0.0
