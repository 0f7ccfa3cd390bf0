"""Variable projection in bins: fluxes and background eliminated, and what is left of the curvature."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .linear import invert, normal

__all__ = ["Sizes", "centres_and_widths", "damped_step", "dropped", "nested_drops", "place", "project"]

FloatArray = NDArray[np.float64]

#: How the parameters of a fit are laid out: numbers of coefficients of the centre and of each width, of widths (1, or
#: one each), of sources, of factors on the spacing of the twins and of indices of the shape (0 or 1).
Sizes = tuple[int, int, int, int, int, int]


@compiled
def _fields(
    fields: FloatArray,
    linear: FloatArray,
    shifts: FloatArray,
    widths: FloatArray,
    index: FloatArray,
    x: int,
    nods: FloatArray,
    sizes: Sizes,
) -> None:
    """Model derivatives of bin x by shift, width (common or each), offsets, spacing and index, (n_field, n_cross)."""
    n_profile, n_cross = shifts.shape[1], shifts.shape[2]
    _, _, n_width, n_source, n_spacing, _ = sizes
    n_index = index.shape[1]
    fields[:] = 0.0
    first_offset = 1 + n_width
    for slot in range(n_profile):
        source, amplitude = slot % n_source, linear[slot]
        width = 1 + (source if n_width > 1 else 0)
        for y in range(n_cross):
            moved = amplitude * shifts[x, slot, y]
            fields[0, y] += moved
            fields[width, y] += amplitude * widths[x, slot, y]
            if source > 0:
                fields[first_offset + source - 1, y] += moved
            if n_spacing:
                fields[first_offset + n_source - 1, y] += nods[slot // n_source] * moved
        if n_index:
            last = len(fields) - 1
            for y in range(n_cross):
                fields[last, y] += amplitude * index[x, slot, y]


@compiled
def project(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    shifts: FloatArray,
    widths: FloatArray,
    index: FloatArray,
    positive: NDArray[np.bool_],
    decide: bool,
    nods: FloatArray,
    sizes: Sizes,
    basis: FloatArray,
    field_of: NDArray[np.intp],
    amplitude: FloatArray,
    error: FloatArray,
    gradient: FloatArray,
    curvature: FloatArray,
    total: FloatArray,
    hessian: FloatArray,
) -> float:
    """Eliminate what is linear in each bin and gather gradient and curvature; gives chi2.

    Parameters
    ----------
    data, weight : ndarray, shape (n_bin, n_cross)
        Bins and their inverse variances.
    terms : ndarray, shape (n_bin, n_term, n_cross)
        Sources, their negative twins, background. Twins that `positive` names are set to zero here.
    shifts, widths : ndarray, shape (n_bin, n_profile, n_cross)
        Derivatives of the profiles with respect to centre and log FWHM.
    index : ndarray, shape (n_bin, n_profile, n_cross) or (n_bin, 0, n_cross)
        Derivatives with respect to the shape's index, where it is free.
    positive : ndarray of bool, shape (n_bin, n_profile - n_source)
        Twins that came out positive: what is bright there is something else, and must not shape the source. Filled
        where `decide` is set.
    decide : bool
        Whether to find those twins.
    nods : ndarray, shape (n_profile / n_source,)
        Offset of each set of profiles from the sources, as the file tells it: zero for the sources' own, which come
        first.
    sizes : tuple of int
        See `Sizes`.
    basis : ndarray, shape (n_bin, n_parameter)
        Value of each parameter's polynomial in each bin.
    field_of : ndarray of int, shape (n_parameter,)
        Derivative field that it multiplies.
    amplitude, error : ndarray, shape (n_bin, n_source)
        Filled: fluxes and their 1 sigma errors.
    gradient : ndarray, shape (n_bin, n_field)
        Filled: of -chi2 / 2 in each bin.
    curvature : ndarray, shape (n_bin, n_field, n_field)
        Filled: of chi2 / 2, fluxes and background projected out (Kaufman 1975).
    total : ndarray, shape (n_parameter,)
        Filled: gradient by the parameters.
    hessian : ndarray, shape (n_parameter, n_parameter)
        Filled: curvature by the parameters.
    """
    n_bin, n_term, n_cross = terms.shape
    n_field, n_parameter, n_source = gradient.shape[1], len(field_of), sizes[3]
    matrix, inverse = np.zeros((n_term, n_term)), np.zeros((n_term, n_term))
    lower, vector = np.zeros((n_term + 1, n_term)), np.zeros(n_term)
    linear, seen = np.zeros(n_term), np.zeros(n_term, dtype=np.bool_)
    fields, weighted = np.zeros((n_field, n_cross)), np.zeros((n_field, n_cross))
    cross, turned = np.zeros((n_field, n_term)), np.zeros((n_field, n_term))
    residual = np.zeros(n_cross)
    total[:] = 0.0
    hessian[:] = 0.0
    chi2 = 0.0
    for x in range(n_bin):
        if not decide:
            for twin in range(positive.shape[1]):
                if positive[x, twin]:
                    terms[x, n_source + twin] = 0.0
        for attempt in range(2):
            normal(data, weight, terms, x, matrix, vector)
            invert(matrix, inverse, seen, lower)
            for t in range(n_term):
                value = 0.0
                for s in range(n_term):
                    value += inverse[t, s] * vector[s]
                linear[t] = value
            if not decide or attempt == 1:
                break
            again = False
            for twin in range(positive.shape[1]):
                positive[x, twin] = linear[n_source + twin] > 0
                if positive[x, twin]:
                    terms[x, n_source + twin] = 0.0
                    again = True
            if not again:
                break
        for y in range(n_cross):
            residual[y] = data[x, y]
        for t in range(n_term):
            for y in range(n_cross):
                residual[y] -= linear[t] * terms[x, t, y]
        value = 0.0
        for y in range(n_cross):
            value += weight[x, y] * residual[y] * residual[y]
        chi2 += value
        for k in range(n_source):
            amplitude[x, k] = linear[k]
            error[x, k] = np.sqrt(inverse[k, k])
        _fields(fields, linear, shifts, widths, index, x, nods, sizes)
        for f in range(n_field):
            value = 0.0
            for y in range(n_cross):
                weighted[f, y] = fields[f, y] * weight[x, y]
                value += weighted[f, y] * residual[y]
            gradient[x, f] = value
            for t in range(n_term):
                value = 0.0
                for y in range(n_cross):
                    value += weighted[f, y] * terms[x, t, y]
                cross[f, t] = value
            for t in range(n_term):
                value = 0.0
                for s in range(n_term):
                    value += cross[f, s] * inverse[s, t]
                turned[f, t] = value
            for g in range(f + 1):
                value = 0.0
                for y in range(n_cross):
                    value += weighted[f, y] * fields[g, y]
                for t in range(n_term):
                    value -= turned[f, t] * cross[g, t]
                curvature[x, f, g] = value
                curvature[x, g, f] = value
        for p in range(n_parameter):
            total[p] += basis[x, p] * gradient[x, field_of[p]]
            for q in range(p + 1):
                hessian[p, q] += basis[x, p] * basis[x, q] * curvature[x, field_of[p], field_of[q]]
    for p in range(n_parameter):
        for q in range(p):
            hessian[q, p] = hessian[p, q]
    return chi2


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
    basis : ndarray, shape (n_bin, n_parameter)
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
    for slot in range(len(centre)):
        source = slot % n_source
        first_width = n_centre + n_each * (source if n_width > 1 else 0)
        away = nods[slot // n_source] * factor + (vector[first_offset + source] if source > 0 else 0.0)
        for x in range(len(given)):
            row, width = given[x] + away, 0.0
            for k in range(n_centre):
                row += vector[k] * basis[x, k]
            for k in range(first_width, first_width + n_each):
                width += vector[k] * basis[x, k]
            centre[slot, x] = row
            fwhm[slot, x] = np.exp(width)


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
