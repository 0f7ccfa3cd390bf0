"""Variable projection of many bins at once: fluxes and background eliminated, and what is left of the curvature.

Bins lie side by side in memory, as the last axis of every array: whatever is done is done to all of them in one loop,
which runs in vectors, and the rows that a profile does not reach are left out. The same sums taken over the rows of one
bin after the other take four times as long.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled

__all__ = ["Sizes", "backward", "factor", "fluxes_of", "forward", "project", "square_inverse", "sums_of_background"]

FloatArray = NDArray[np.float64]

#: How the parameters of a fit are laid out: numbers of coefficients of the centre and of each width, of widths (1, or
#: one each), of sources, of factors on the spacing of the twins and of indices of the shape (0 or 1).
Sizes = tuple[int, int, int, int, int, int]

_RIDGE, _LEAST = 1e-12, 1e-250  # see `optextract.compiled.linear`


@compiled
def sums_of_background(data: FloatArray, weight: FloatArray, background: FloatArray, fixed: FloatArray) -> None:
    """Sums of the normal equations that are the same at each step: of the background's terms alone, and with the data.

    Parameters
    ----------
    data, weight : ndarray, shape (n_cross, n_bin)
    background : ndarray, shape (n_background, n_cross)
    fixed : ndarray, shape (n_background, n_background + 1, n_bin)
        Filled: products with the terms up to this one, in the last place that with the data.
    """
    n_background = len(background)
    n_cross, n_bin = data.shape
    fixed[:] = 0.0
    for b in range(n_background):
        for y in range(n_cross):
            for x in range(n_bin):
                fixed[b, n_background, x] += background[b, y] * weight[y, x] * data[y, x]
            for c in range(b + 1):
                product = background[b, y] * background[c, y]
                for x in range(n_bin):
                    fixed[b, c, x] += product * weight[y, x]


@compiled
def _sum_rows(first: int, last: int, left: FloatArray, right: FloatArray, total: FloatArray) -> None:
    """Sum of the products of two images (n_cross, n_bin) over some rows, for each bin; four rows at a time."""
    for x in range(len(total)):
        total[x] = 0.0
    y = first
    while y + 4 <= last:
        for x in range(len(total)):
            one, two = left[y, x] * right[y, x], left[y + 1, x] * right[y + 1, x]
            total[x] += one + two + left[y + 2, x] * right[y + 2, x] + left[y + 3, x] * right[y + 3, x]
        y += 4
    while y < last:
        for x in range(len(total)):
            total[x] += left[y, x] * right[y, x]
        y += 1


@compiled
def _sum_scaled(first: int, last: int, scale: FloatArray, image: FloatArray, total: FloatArray) -> None:
    """Sum of an image (n_cross, n_bin) over some rows, each times a number, for each bin; four rows at a time."""
    for x in range(len(total)):
        total[x] = 0.0
    y = first
    while y + 4 <= last:
        a, b, c, d = scale[y], scale[y + 1], scale[y + 2], scale[y + 3]
        for x in range(len(total)):
            total[x] += a * image[y, x] + b * image[y + 1, x] + c * image[y + 2, x] + d * image[y + 3, x]
        y += 4
    while y < last:
        for x in range(len(total)):
            total[x] += scale[y] * image[y, x]
        y += 1


@compiled
def _sum_products(
    data: FloatArray,
    weight: FloatArray,
    fixed: FloatArray,
    terms: FloatArray,
    reach: NDArray[np.intp],
    background: FloatArray,
    weighted: FloatArray,
    matrix: FloatArray,
    vector: FloatArray,
) -> None:
    """Normal equations: `matrix` up to its diagonal, (n_term, n_term, n_bin), and `vector`, (n_term, n_bin)."""
    n_profile, n_background, n_bin = len(terms), len(background), terms.shape[2]
    for t in range(n_profile):
        first, last = reach[t, 0], reach[t, 1]
        for y in range(first, last):
            for x in range(n_bin):
                weighted[y, x] = weight[y, x] * terms[t, y, x]
        _sum_rows(first, last, weighted, data, vector[t])
        for s in range(t + 1):
            _sum_rows(max(first, reach[s, 0]), min(last, reach[s, 1]), weighted, terms[s], matrix[t, s])
        for b in range(n_background):
            _sum_scaled(first, last, background[b], weighted, matrix[n_profile + b, t])
    for b in range(n_background):
        for x in range(n_bin):
            vector[n_profile + b, x] = fixed[b, n_background, x]
        for c in range(b + 1):
            for x in range(n_bin):
                matrix[n_profile + b, n_profile + c, x] = fixed[b, c, x]


@compiled
def factor(matrix: FloatArray, scale: FloatArray) -> None:
    """Cholesky's factor of each matrix, scaled to unit diagonal: see `optextract.compiled.linear.invert`.

    Parameters
    ----------
    matrix : ndarray, shape (n_term, n_term, n_bin)
        Positive matrices up to their diagonals, which become the factors, with the inverses of their own diagonals
        there.
    scale : ndarray, shape (n_term + 1, n_bin)
        Filled: of each term, zero for those that no good pixel sees; the last row is room to work in.
    """
    n_term, n_bin = len(matrix), matrix.shape[2]
    for i in range(n_term):
        for x in range(n_bin):
            scale[i, x] = 0.0
    for i in range(n_term):
        for x in range(n_bin):
            scale[0, x] = max(scale[0, x], matrix[i, i, x])
    for x in range(n_bin):
        scale[n_term, x] = max(1e-30 * scale[0, x], _LEAST)
    for i in range(n_term):
        for x in range(n_bin):
            value = matrix[i, i, x]
            scale[i, x] = 1.0 / np.sqrt(value) if value > scale[n_term, x] else 0.0
    for i in range(n_term):
        for j in range(i):
            for x in range(n_bin):
                matrix[i, j, x] *= scale[i, x] * scale[j, x]
            for k in range(j):
                for x in range(n_bin):
                    matrix[i, j, x] -= matrix[i, k, x] * matrix[j, k, x]
            for x in range(n_bin):
                matrix[i, j, x] *= matrix[j, j, x]
        for x in range(n_bin):
            matrix[i, i, x] = 1.0 + _RIDGE
        for k in range(i):
            for x in range(n_bin):
                matrix[i, i, x] -= matrix[i, k, x] * matrix[i, k, x]
        for x in range(n_bin):
            matrix[i, i, x] = 1.0 / np.sqrt(max(matrix[i, i, x], 1e-16))


@compiled
def square_inverse(lower: FloatArray, scale: FloatArray) -> None:
    """Inverse of each matrix up to its diagonal, in the place of what `factor` made of it.

    Parameters
    ----------
    lower : ndarray, shape (n_term, n_term, n_bin)
        Factors, which become the inverses; zero rows and columns for terms that no good pixel sees.
    scale : ndarray, shape (n_term + 1, n_bin)
        From `factor`; the last row is room to work in.
    """
    n_term, n_bin = len(lower), lower.shape[2]
    # the factor's own inverse, then the square of that
    for j in range(n_term):
        for i in range(j + 1, n_term):
            for x in range(n_bin):
                scale[n_term, x] = lower[i, j, x] * lower[j, j, x]
            for k in range(j + 1, i):
                for x in range(n_bin):
                    scale[n_term, x] += lower[i, k, x] * lower[k, j, x]
            for x in range(n_bin):
                lower[i, j, x] = -scale[n_term, x] * lower[i, i, x]
    for i in range(n_term):
        for j in range(i + 1):
            for x in range(n_bin):
                lower[i, j, x] *= lower[i, i, x]
            for k in range(i + 1, n_term):
                for x in range(n_bin):
                    lower[i, j, x] += lower[k, i, x] * lower[k, j, x]
            for x in range(n_bin):
                lower[i, j, x] *= scale[i, x] * scale[j, x]


@compiled
def forward(lower: FloatArray, vector: FloatArray) -> None:
    """Solve with the factors, (n_term, n_term, n_bin), for a vector (n_term, n_bin), in place."""
    n_bin = vector.shape[1]
    for i in range(len(lower)):
        for k in range(i):
            for x in range(n_bin):
                vector[i, x] -= lower[i, k, x] * vector[k, x]
        for x in range(n_bin):
            vector[i, x] *= lower[i, i, x]


@compiled
def backward(lower: FloatArray, vector: FloatArray) -> None:
    """Solve with the factors turned over, in place."""
    n_bin = vector.shape[1]
    for i in range(len(lower) - 1, -1, -1):
        for k in range(i + 1, len(lower)):
            for x in range(n_bin):
                vector[i, x] -= lower[k, i, x] * vector[k, x]
        for x in range(n_bin):
            vector[i, x] *= lower[i, i, x]


@compiled
def _fields(
    fields: FloatArray,
    linear: FloatArray,
    shifts: FloatArray,
    widths: FloatArray,
    index: FloatArray,
    reach: NDArray[np.intp],
    nods: FloatArray,
    sizes: Sizes,
) -> None:
    """Model derivatives by shift, width (common or each), offsets, spacing and index, (n_field, n_cross, n_bin)."""
    _, _, n_width, n_source, n_spacing, _ = sizes
    n_index, first_offset, n_bin = len(index), 1 + n_width, shifts.shape[2]
    fields[:] = 0.0
    for slot in range(len(shifts)):
        source = slot % n_source
        width = 1 + (source if n_width > 1 else 0)
        away = nods[slot // n_source]
        for y in range(reach[slot, 0], reach[slot, 1]):
            for x in range(n_bin):
                fields[0, y, x] += linear[slot, x] * shifts[slot, y, x]
                fields[width, y, x] += linear[slot, x] * widths[slot, y, x]
            if source > 0:
                for x in range(n_bin):
                    fields[first_offset + source - 1, y, x] += linear[slot, x] * shifts[slot, y, x]
            if n_spacing and away != 0.0:
                for x in range(n_bin):
                    fields[first_offset + n_source - 1, y, x] += away * linear[slot, x] * shifts[slot, y, x]
            if n_index:
                for x in range(n_bin):
                    fields[len(fields) - 1, y, x] += linear[slot, x] * index[slot, y, x]


@compiled
def _hide(terms: FloatArray, reach: NDArray[np.intp], positive: NDArray[np.bool_]) -> bool:
    """Set the twins that came out positive to zero; gives whether there are any."""
    n_source, some = len(terms) - len(positive), False
    for twin in range(len(positive)):
        for x in range(positive.shape[1]):
            if positive[twin, x]:
                some = True
                for y in range(reach[n_source + twin, 0], reach[n_source + twin, 1]):
                    terms[n_source + twin, y, x] = 0.0
    return some


@compiled
def _solve(
    data: FloatArray,
    weight: FloatArray,
    fixed: FloatArray,
    terms: FloatArray,
    reach: NDArray[np.intp],
    background: FloatArray,
    weighted: FloatArray,
    lower: FloatArray,
    scale: FloatArray,
    linear: FloatArray,
) -> None:
    """Coefficients of all terms, (n_term, n_bin), with the factor of their normal matrix and its scale."""
    n_term, n_bin = linear.shape
    _sum_products(data, weight, fixed, terms, reach, background, weighted, lower, linear)
    factor(lower, scale)
    for t in range(n_term):
        for x in range(n_bin):
            linear[t, x] *= scale[t, x]
    forward(lower, linear)
    backward(lower, linear)
    for t in range(n_term):
        for x in range(n_bin):
            linear[t, x] *= scale[t, x]


@compiled
def fluxes_of(
    lower: FloatArray, scale: FloatArray, linear: FloatArray, amplitude: FloatArray, error: FloatArray
) -> None:
    """Take fluxes of the sources, with their errors: the diagonal of the inverse is a sum of squares of the factor's.

    Parameters
    ----------
    lower, scale
        From `factor`.
    linear : ndarray, shape (n_term, n_bin)
        Coefficients.
    amplitude, error : ndarray, shape (n_source, n_bin)
        Filled for the first terms.
    """
    n_term, n_bin = linear.shape
    one = np.empty((n_term, n_bin))
    for k in range(len(amplitude)):
        for t in range(n_term):
            for x in range(n_bin):
                one[t, x] = 1.0 if t == k else 0.0
        forward(lower, one)
        _sum_rows(k, n_term, one, one, error[k])
        for x in range(n_bin):
            amplitude[k, x], error[k, x] = linear[k, x], scale[k, x] * np.sqrt(error[k, x])


@compiled
def _leave(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    reach: NDArray[np.intp],
    background: FloatArray,
    linear: FloatArray,
    residual: FloatArray,
) -> float:
    """What the terms leave of the data; gives its chi2."""
    n_profile, n_cross, n_bin = terms.shape
    for y in range(n_cross):
        for x in range(n_bin):
            residual[y, x] = data[y, x]
        for b in range(len(background)):
            value = background[b, y]
            for x in range(n_bin):
                residual[y, x] -= value * linear[n_profile + b, x]
    for t in range(n_profile):
        for y in range(reach[t, 0], reach[t, 1]):
            for x in range(n_bin):
                residual[y, x] -= linear[t, x] * terms[t, y, x]
    chi2 = 0.0
    for y in range(n_cross):
        for x in range(n_bin):
            chi2 += weight[y, x] * residual[y, x] * residual[y, x]
    return chi2


@compiled
def _bend(
    weight: FloatArray,
    terms: FloatArray,
    reach: NDArray[np.intp],
    background: FloatArray,
    lower: FloatArray,
    scale: FloatArray,
    residual: FloatArray,
    fields: FloatArray,
    weighted: FloatArray,
    gradient: FloatArray,
    curvature: FloatArray,
) -> None:
    """Gradient and curvature by the fields, the linear terms projected out."""
    n_profile, n_bin = len(terms), terms.shape[2]
    n_field, n_term = len(fields), len(lower)
    cross = np.empty((n_field, n_term, n_bin))
    top, bottom = reach[0, 0], reach[0, 1]  # rows that any profile reaches: there is no field beyond
    for t in range(n_profile):
        top, bottom = min(top, reach[t, 0]), max(bottom, reach[t, 1])
    for f in range(n_field):
        for y in range(top, bottom):
            for x in range(n_bin):
                weighted[y, x] = fields[f, y, x] * weight[y, x]
        _sum_rows(top, bottom, weighted, residual, gradient[f])
        for t in range(n_profile):
            _sum_rows(reach[t, 0], reach[t, 1], weighted, terms[t], cross[f, t])
        for b in range(len(background)):
            _sum_scaled(top, bottom, background[b], weighted, cross[f, n_profile + b])
        for t in range(n_term):
            for x in range(n_bin):
                cross[f, t, x] *= scale[t, x]
        forward(lower, cross[f])
        for g in range(f + 1):
            _sum_rows(top, bottom, weighted, fields[g], curvature[f, g])
            for t in range(n_term):
                for x in range(n_bin):
                    curvature[f, g, x] -= cross[f, t, x] * cross[g, t, x]
            for x in range(n_bin):
                curvature[g, f, x] = curvature[f, g, x]


@compiled
def project(
    data: FloatArray,
    weight: FloatArray,
    fixed: FloatArray,
    terms: FloatArray,
    shifts: FloatArray,
    widths: FloatArray,
    index: FloatArray,
    reach: NDArray[np.intp],
    background: FloatArray,
    positive: NDArray[np.bool_],
    decide: bool,
    nods: FloatArray,
    sizes: Sizes,
    amplitude: FloatArray,
    error: FloatArray,
    gradient: FloatArray,
    curvature: FloatArray,
) -> float:
    """Eliminate what is linear in each of some bins; gives their chi2.

    Parameters
    ----------
    data, weight : ndarray, shape (n_cross, n_bin)
        Bins and their inverse variances.
    fixed : ndarray, shape (n_background, n_background + 1, n_bin)
        See `sums_of_background`.
    terms : ndarray, shape (n_profile, n_cross, n_bin)
        Sources and their negative twins in these bins, on the rows that they reach. Twins that `positive` names are set
        to zero here.
    shifts, widths : ndarray, shape (n_profile, n_cross, n_bin)
        Derivatives of the profiles with respect to centre and log FWHM.
    index : ndarray, shape (n_profile, n_cross, n_bin) or (0, n_cross, n_bin)
        Derivatives with respect to the shape's index, where it is free.
    reach : ndarray of int, shape (n_profile, 2)
        First row that each profile reaches, and the one after the last.
    background : ndarray, shape (n_background, n_cross)
        Terms that follow the profiles in every bin.
    positive : ndarray of bool, shape (n_profile - n_source, n_bin)
        Twins that came out positive: what is bright there is something else, and must not shape the source. Filled
        where `decide` is set.
    decide : bool
        Whether to find those twins.
    nods : ndarray, shape (n_profile / n_source,)
        Offset of each set of profiles from the sources, as the file tells it: zero for the sources' own, which come
        first.
    sizes : tuple of int
        See `Sizes`.
    amplitude, error : ndarray, shape (n_source, n_bin)
        Filled: fluxes and their 1 sigma errors.
    gradient : ndarray, shape (n_field, n_bin)
        Filled: of -chi2 / 2 in each bin.
    curvature : ndarray, shape (n_field, n_field, n_bin)
        Filled: of chi2 / 2, fluxes and background projected out (Kaufman 1975).
    """
    n_profile, n_cross, n_bin = terms.shape
    n_background, n_source = len(background), sizes[3]
    n_term = n_profile + n_background
    lower, scale, linear = np.empty((n_term, n_term, n_bin)), np.empty((n_term + 1, n_bin)), np.empty((n_term, n_bin))
    weighted, residual = np.empty((n_cross, n_bin)), np.empty((n_cross, n_bin))
    fields = np.empty((len(gradient), n_cross, n_bin))
    if not decide:
        _hide(terms, reach, positive)
    _solve(data, weight, fixed, terms, reach, background, weighted, lower, scale, linear)
    if decide:
        for twin in range(n_profile - n_source):
            for x in range(n_bin):
                positive[twin, x] = linear[n_source + twin, x] > 0
        if _hide(terms, reach, positive):
            _solve(data, weight, fixed, terms, reach, background, weighted, lower, scale, linear)
    fluxes_of(lower, scale, linear, amplitude, error)
    chi2 = _leave(data, weight, terms, reach, background, linear, residual)
    _fields(fields, linear, shifts, widths, index, reach, nods, sizes)
    _bend(weight, terms, reach, background, lower, scale, residual, fields, weighted, gradient, curvature)
    return chi2
