"""Where the profiles of a fit are, the step from one point to the next, and what dropping parameters costs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .lanes import Sizes

__all__ = ["centres_and_widths", "damped_step", "dropped", "nested_drops", "place"]

FloatArray = NDArray[np.float64]


@compiled
def place(
    vector: FloatArray,
    sizes: Sizes,
    basis: FloatArray,
    given: FloatArray,
    nods: FloatArray,
    spacing: float,
    centre: FloatArray,
    fwhm: FloatArray,
) -> None:
    """Centre and FWHM of each profile, negative twins included, in each bin.

    Parameters
    ----------
    vector : ndarray, shape (n_parameter,)
        Coefficients of the centre, of the logarithm of each FWHM, offsets of the further sources, and what follows.
    sizes : tuple of int
        See `Sizes`.
    basis : ndarray, shape (n_parameter, n_bin)
        Value of each parameter's polynomial in each bin.
    given : ndarray, shape (n_bin,)
        What the polynomial of the centre is added to.
    nods : ndarray, shape (n_profile / n_source,)
        Offset of each set of profiles from the sources: zero for the sources' own, which come first.
    spacing : float
        Factor on these offsets where it is not a parameter.
    centre, fwhm : ndarray, shape (n_profile, n_bin)
        Filled.
    """
    n_centre, n_each, n_width, n_source, n_spacing, _ = sizes
    first_offset = n_centre + n_width * n_each - 1
    factor = vector[first_offset + n_source] if n_spacing else spacing
    n_bin = len(given)
    for slot in range(len(centre)):
        source = slot % n_source
        first_width = n_centre + n_each * (source if n_width > 1 else 0)
        away = nods[slot // n_source] * factor + (vector[first_offset + source] if source > 0 else 0.0)
        for x in range(n_bin):
            centre[slot, x] = given[x] + away
        for k in range(n_centre):
            for x in range(n_bin):
                centre[slot, x] += vector[k] * basis[k, x]
        if slot >= n_source or (source > 0 and n_width == 1):
            for x in range(n_bin):
                fwhm[slot, x] = fwhm[source if n_width > 1 else 0, x]  # as wide as one that comes before
            continue
        for x in range(n_bin):
            fwhm[slot, x] = 0.0
        for k in range(first_width, first_width + n_each):
            for x in range(n_bin):
                fwhm[slot, x] += vector[k] * basis[k, x]
        for x in range(n_bin):
            fwhm[slot, x] = np.exp(fwhm[slot, x])


@compiled
def _solve(matrix: FloatArray, vector: FloatArray) -> None:
    """Solve a positive system in place by Cholesky's factor: `vector` becomes the solution."""
    n = len(vector)
    for i in range(n):
        for j in range(i + 1):
            value = matrix[i, j]
            for k in range(j):
                value -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = np.sqrt(max(value, 1e-300)) if i == j else value / matrix[j, j]
        for k in range(i):
            vector[i] -= matrix[i, k] * vector[k]
        vector[i] /= matrix[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            vector[i] -= matrix[k, i] * vector[k]
        vector[i] /= matrix[i, i]


@compiled
def _part(matrix: FloatArray, vector: FloatArray, which: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Rows and columns of a matrix that are marked, and the same part of a vector."""
    index = np.flatnonzero(which)
    n = len(index)
    part, right = np.empty((n, n)), np.empty(n)
    for i in range(n):
        right[i] = vector[index[i]]
        for j in range(n):
            part[i, j] = matrix[index[i], index[j]]
    return part, right


@compiled
def damped_step(
    hessian: FloatArray, gradient: FloatArray, moving: NDArray[np.bool_], damping: float, step: FloatArray
) -> float:
    """Step of Levenberg and Marquardt; gives its product with the gradient, twice the drop of chi2 / 2 it promises.

    Parameters
    ----------
    hessian : ndarray, shape (n, n)
    gradient : ndarray, shape (n,)
    moving : ndarray of bool, shape (n,)
        The parameters that move.
    damping : float
        Relative to the diagonal.
    step : ndarray, shape (n,)
        Filled; zero where nothing moves.
    """
    matrix, right = _part(hessian, gradient, moving)
    n = len(right)
    top = 0.0
    for i in range(n):
        top = max(top, matrix[i, i])
    root = np.empty(n)
    for i in range(n):
        root[i] = np.sqrt(matrix[i, i] * (1.0 + damping) + 1e-12 * top + 1e-300)
    for i in range(n):
        right[i] /= root[i]
        for j in range(n):
            matrix[i, j] = 1.0 if i == j else matrix[i, j] / (root[i] * root[j])
    _solve(matrix, right)
    promise, k = 0.0, 0
    for i in range(len(step)):
        step[i] = 0.0
        if moving[i]:
            step[i] = right[k] / root[k]
            promise += step[i] * gradient[i]
            k += 1
    return promise


@compiled
def dropped(covariance: FloatArray, theta: FloatArray, which: NDArray[np.bool_]) -> float:
    """Rise of chi2 where the marked parameters are set to zero and the others follow, ``t^T C^-1 t`` of those."""
    matrix, right = _part(covariance, theta, which)
    n = len(right)
    root, value = np.empty(n), 0.0
    for i in range(n):
        root[i] = np.sqrt(max(matrix[i, i], 1e-300))
    for i in range(n):
        right[i] /= root[i]
        for j in range(n):
            matrix[i, j] = 1.0 + 1e-12 if i == j else matrix[i, j] / (root[i] * root[j])
    before = right.copy()
    _solve(matrix, right)
    for i in range(n):
        value += before[i] * right[i]
    return value


@compiled
def nested_drops(matrix: FloatArray, vector: FloatArray, index: NDArray[np.intp], drops: FloatArray) -> None:
    """Drop of chi2 of each leading part of some parameters: running sums of ``(L^-1 v)^2``, L the Cholesky factor.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
    vector : ndarray, shape (n,)
        Normal equations.
    index : ndarray of int, shape (m,)
        The parameters, in the order in which they are added.
    drops : ndarray, shape (m,)
        Filled.
    """
    m = len(index)
    lower, root, turned = np.zeros((m, m)), np.empty(m), np.empty(m)
    for i in range(m):
        diagonal = matrix[index[i], index[i]]
        root[i] = 1.0 / np.sqrt(diagonal) if diagonal > 0 else 1.0
    running = 0.0
    for i in range(m):
        value = vector[index[i]] * root[i]
        for j in range(i + 1):
            # the ridge keeps terms that are nearly the same apart
            element = 1.0 + 1e-9 if i == j else matrix[index[i], index[j]] * root[i] * root[j]
            for k in range(j):
                element -= lower[i, k] * lower[j, k]
            lower[i, j] = np.sqrt(max(element, 1e-16)) if i == j else element / lower[j, j]
        for k in range(i):
            value -= lower[i, k] * turned[k]
        turned[i] = value / lower[i, i]
        running += turned[i] * turned[i]
        drops[i] = running


@compiled
def centres_and_widths(
    column: FloatArray,
    first: float,
    last: float,
    centre: FloatArray,
    offsets: FloatArray,
    log_fwhm: FloatArray,
    given: FloatArray,
    row: FloatArray,
    fwhm: FloatArray,
) -> None:
    """Centre and FWHM of each source: see `optextract.geometry.evaluate`.

    Parameters
    ----------
    column : ndarray, shape (n_column,)
    first, last : float
        Columns mapped to -1 and 1.
    centre, offsets, log_fwhm
        See `optextract.geometry.Geometry`.
    given : ndarray, shape (n_column,) or (0,)
        What the polynomial of the centre is added to.
    row, fwhm : ndarray, shape (n_source, n_column)
        Filled.
    """
    n_width, n_each = log_fwhm.shape
    most = max(len(centre), n_each)
    values = np.ones(most)
    for x in range(len(column)):
        if most > 1:
            values[1] = (2 * column[x] - first - last) / max(last - first, 1.0)
        for k in range(2, most):
            values[k] = ((2 * k - 1) * values[1] * values[k - 1] - (k - 1) * values[k - 2]) / k
        place_of = given[x] if len(given) else 0.0
        for k in range(len(centre)):
            place_of += centre[k] * values[k]
        for source in range(len(row)):
            row[source, x] = place_of + (offsets[source - 1] if source > 0 else 0.0)
            if x > 0 and n_each == 1:
                fwhm[source, x] = fwhm[source, 0]
            elif source < n_width:
                width = 0.0
                for k in range(n_each):
                    width += log_fwhm[source, k] * values[k]
                fwhm[source, x] = np.exp(width)
            else:
                fwhm[source, x] = fwhm[0, x]
