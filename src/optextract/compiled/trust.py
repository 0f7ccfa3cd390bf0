"""What a fit to bins says of the bins themselves, of wings that the profile lacks, and of the degrees that it needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .fit import dropped
from .linear import invert, normal
from .middle import middle_of_first, ranked

__all__ = ["cheapest", "common_shifts", "lower_part", "lowered_by_misfit", "lowered_by_pull", "wings"]

FloatArray = NDArray[np.float64]

_MAD = 1.4826  # MAD to standard deviation of a normal distribution


@compiled
def _solve(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    x: int,
    matrix: FloatArray,
    inverse: FloatArray,
    coefficients: FloatArray,
    residual: FloatArray,
) -> None:
    """Solve bin x: the inverse normal matrix, the coefficients and what they leave."""
    n_term, n_cross = terms.shape[1], terms.shape[2]
    vector, seen, lower = np.empty(n_term), np.empty(n_term, dtype=np.bool_), np.empty((n_term + 1, n_term))
    normal(data, weight, terms, x, matrix, vector)
    invert(matrix, inverse, seen, lower)
    for y in range(n_cross):
        residual[y] = data[x, y]
    for t in range(n_term):
        value = 0.0
        for s in range(n_term):
            value += inverse[t, s] * vector[s]
        coefficients[t] = value
        for y in range(n_cross):
            residual[y] -= value * terms[x, t, y]


@compiled
def lowered_by_misfit(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    n_source: int,
    tolerance: float,
    most: float,
    least_bins: int,
    factor: FloatArray,
) -> bool:
    """Find factors on the weights of bins that are fitted worse than most others; gives whether there are any.

    Parameters
    ----------
    data, weight : ndarray, shape (n_bin, n_cross)
    terms : ndarray, shape (n_bin, n_term, n_cross)
        Sources first.
    n_source : int
        Their number.
    tolerance : float
        Part of the sources' light that counts as a further error.
    most : float
        Reduced chi2, over the median of the bins where that is larger than one, from which a bin is lowered.
    least_bins : int
        Bins that it takes to tell.
    factor : ndarray, shape (n_bin,)
        Filled.
    """
    n_bin, n_term, n_cross = terms.shape
    matrix, inverse = np.empty((n_term, n_term)), np.empty((n_term, n_term))
    coefficients, residual, light = np.empty(n_term), np.empty(n_cross), np.empty(n_cross)
    ordered, n = np.empty(n_bin), 0
    for x in range(n_bin):
        _solve(data, weight, terms, x, matrix, inverse, coefficients, residual)
        light[:] = 0.0
        for t in range(n_source):
            for y in range(n_cross):
                light[y] += coefficients[t] * terms[x, t, y]
        misfit, count = 0.0, 0
        for y in range(n_cross):
            allowed = tolerance * light[y]
            # a bin without weight has no part in this: zero times what it leaves
            misfit += weight[x, y] * residual[y] ** 2 / (1.0 + weight[x, y] * allowed**2)
            count += 1 if weight[x, y] > 0 else 0
        factor[x] = misfit / max(count - n_term, 1)
        ordered[n] = factor[x]
        n += 1 if factor[x] > 0 else 0
    limit = most * max(middle_of_first(ordered, n), 1.0) if n >= max(least_bins, 1) else np.inf
    some = False
    for x in range(n_bin):
        some |= factor[x] > limit
        factor[x] = (limit / factor[x]) ** 2 if factor[x] > limit else 1.0
    return some


@compiled
def lowered_by_pull(local: FloatArray, factor: FloatArray) -> float:
    """Find factors (Cauchy) on the weights of bins whose own shift or width is far off; gives the least of them.

    Parameters
    ----------
    local : ndarray, shape (n_bin, 4)
        See `optextract.geometry.Fit`.
    factor : ndarray, shape (n_bin,)
        Filled.
    """
    n_bin, least = len(local), 1.0
    pull, ordered = np.empty(n_bin), np.empty(n_bin)
    factor[:] = 1.0
    for k in range(0, 4, 2):
        n = 0
        for x in range(n_bin):
            error = local[x, k + 1]
            pull[x] = local[x, k] / error if np.isfinite(error) and error > 0 else 0.0
            if pull[x] != 0.0:
                ordered[n] = abs(pull[x])
                n += 1
        # in units of the bins' scatter
        scale = max(1.0, _MAD * middle_of_first(ordered, n)) if n else 1.0
        for x in range(n_bin):
            factor[x] = min(factor[x], 1.0 / (1.0 + (pull[x] / (3.0 * scale)) ** 2))
            least = min(least, factor[x])
    return least


@compiled
def common_shifts(local: FloatArray, least_bins: int, most: float) -> float:
    """Significance of what neighbouring bins' own shifts have in common; zero with too few bins.

    Parameters
    ----------
    local : ndarray, shape (n_bin, 4)
        See `optextract.geometry.Fit`.
    least_bins : int
        Bins that it takes to tell.
    most : float
        Sigma that a shift counts at most.
    """
    pull, ordered, n = np.empty(len(local)), np.empty(len(local)), 0
    for x in range(len(local)):
        value = local[x, 0] / local[x, 1]
        if np.isfinite(value):
            pull[n], ordered[n] = value, abs(value)
            n += 1
    if n < least_bins:
        return 0.0
    scale = max(_MAD * middle_of_first(ordered, n), 1.0)
    square, product, before = 0.0, 0.0, 0.0
    for x in range(n):
        value = min(max(pull[x] / scale, -most), most)
        square += value * value
        product += value * before
        before = value
    return product / square * np.sqrt(n) if square > 0 else np.nan


@compiled
def lower_part(amplitude: FloatArray, error: FloatArray, part: float) -> float:
    """S/N of the first source that a part of the bins does not reach, interpolated; zero without any.

    Parameters
    ----------
    amplitude, error : ndarray, shape (n_bin, n_source)
    part : float
        Between zero and one.
    """
    snr, n = np.empty(len(amplitude)), 0
    for x in range(len(amplitude)):
        value = abs(amplitude[x, 0]) / error[x, 0]
        if np.isfinite(value) and error[x, 0] > 0:
            snr[n] = value
            n += 1
    if n == 0:
        return 0.0
    place = part * (n - 1)
    first = int(place)
    low, high = ranked(snr, n, first)
    return low + (place - first) * (high - low) if place > first else low


@compiled
def wings(
    data: FloatArray, weight: FloatArray, terms: FloatArray, winged: FloatArray, wider: FloatArray, step: float
) -> float:
    """Drop of chi2 that wings promise to first order: one evaluation instead of a fit (a score test).

    Parameters
    ----------
    data, weight : ndarray, shape (n_bin, n_cross)
    terms : ndarray, shape (n_bin, n_term, n_cross)
        Profiles first.
    winged : ndarray, shape (n_bin, n_profile, n_cross)
        The profiles with wings.
    wider : ndarray, shape (n_bin, n_profile, n_cross)
        The profiles wider by `step`: a change of width looks much like wings, and is projected out with the fluxes.
    step : float
    """
    n_bin, n_term, n_cross = terms.shape
    matrix, inverse = np.empty((n_term, n_term)), np.empty((n_term, n_term))
    coefficients, residual = np.empty(n_term), np.empty(n_cross)
    fields, weighted, cross = np.empty((2, n_cross)), np.empty((2, n_cross)), np.empty((2, n_term))
    total, power = np.zeros(2), np.zeros((2, 2))
    for x in range(n_bin):
        _solve(data, weight, terms, x, matrix, inverse, coefficients, residual)
        fields[:] = 0.0
        for t in range(winged.shape[1]):
            for y in range(n_cross):
                fields[0, y] += coefficients[t] * (winged[x, t, y] - terms[x, t, y])
                fields[1, y] += coefficients[t] * (wider[x, t, y] - terms[x, t, y]) / step
        for f in range(2):
            value = 0.0
            for y in range(n_cross):
                weighted[f, y] = fields[f, y] * weight[x, y]
                value += weighted[f, y] * residual[y]
            total[f] += value
            for t in range(n_term):
                value = 0.0
                for y in range(n_cross):
                    value += weighted[f, y] * terms[x, t, y]
                cross[f, t] = value
            for g in range(f + 1):
                value = 0.0
                for y in range(n_cross):
                    value += weighted[f, y] * fields[g, y]
                for t in range(n_term):
                    for s in range(n_term):
                        value -= cross[f, t] * inverse[t, s] * cross[g, s]
                power[f, g] += value
    if power[0, 0] <= 0 or power[1, 1] <= 0:
        return 0.0
    left = total[0] - power[1, 0] / power[1, 1] * total[1]
    own = power[0, 0] - power[1, 0] ** 2 / power[1, 1]
    return left**2 / own if own > 0 and left > 0 else 0.0


@compiled
def _covariance(hessian: FloatArray) -> FloatArray:
    """Inverse of a curvature, its diagonal raised by a part in 1e9: what is degenerate is very uncertain."""
    n = len(hessian)
    matrix, inverse = np.empty((n, n)), np.empty((n, n))
    seen, lower = np.empty(n, dtype=np.bool_), np.empty((n + 1, n))
    root = np.empty(n)
    for p in range(n):
        root[p] = np.sqrt(hessian[p, p] * (1.0 + 1e-9) + 1e-300)
    for p in range(n):
        for q in range(n):
            matrix[p, q] = 1.0 if p == q else hessian[p, q] / (root[p] * root[q])
    invert(matrix, inverse, seen, lower)
    for p in range(n):
        for q in range(n):
            inverse[p, q] /= root[p] * root[q]
    return inverse


@compiled
def cheapest(
    hessian: FloatArray,
    centre: FloatArray,
    log_fwhm: FloatArray,
    free_centre: NDArray[np.bool_],
    free_width: NDArray[np.bool_],
    degrees: tuple[int, int],
    width_degrees: tuple[int, int],
    noise: float,
    price: float,
    extra: float,
) -> tuple[int, int]:
    """Degrees of trace and width whose criterion is the lowest, by what dropping the coefficients beyond them costs.

    That cost is read off the covariance, ``t^T C^-1 t`` of those dropped.

    Parameters
    ----------
    hessian : ndarray, shape (n_free, n_free)
        Of the largest fit: free coefficients of the centre, those of each width, then what else is free.
    centre : ndarray, shape (n_centre,)
    log_fwhm : ndarray, shape (n_width, n_each)
        Its coefficients.
    free_centre, free_width : ndarray of bool, shape (n_centre,) and (n_each,)
        Which of them are free.
    degrees, width_degrees : tuple of int
        Least and greatest to choose from.
    noise : float
        Empirical factor on the errors.
    price : float
        Of each parameter.
    extra : float
        Of each degree beyond one.
    """
    n_free, n_width = len(hessian), len(log_fwhm)
    values = np.zeros(n_free)
    of_centre, of_width = np.full(n_free, -1), np.full(n_free, -1)
    n = 0
    for k in range(len(centre)):
        if free_centre[k]:
            values[n], of_centre[n] = centre[k], k
            n += 1
    for width in range(n_width):
        for k in range(log_fwhm.shape[1]):
            if free_width[k]:
                values[n], of_width[n] = log_fwhm[width, k], k
                n += 1
    covariance, beyond = _covariance(hessian), np.empty(n_free, dtype=np.bool_)
    best, found, found_width = np.inf, degrees[1], width_degrees[1]
    for degree in range(degrees[0], degrees[1] + 1):
        for width_degree in range(width_degrees[0], width_degrees[1] + 1):
            for p in range(n_free):
                beyond[p] = of_centre[p] > degree or of_width[p] > width_degree
            number = degree + 1 + (width_degree + 1) * n_width
            criterion = dropped(covariance, values, beyond) / noise**2 + number * price
            criterion += extra * (max(degree - 1, 0) + max(width_degree - 1, 0))
            if criterion < best:
                best, found, found_width = criterion, degree, width_degree
    return found, found_width
