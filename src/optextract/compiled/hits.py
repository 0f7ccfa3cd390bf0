"""Another look at the outliers that lie on a source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .lanes import backward, factor, fluxes_of, forward
from .linear import invert, normal
from .middle import middle_of_first

__all__ = ["count_hits", "reconsider"]

FloatArray = NDArray[np.float64]

_LONGEST = 6  # pixels of a column that one hit takes
_AROUND = 5  # columns to either side that tell the level of a column's flux
_SURPRISE = 16.0  # highest cost of a flux far from its neighbours': it decides where explanations fit alike
_NO_LINE = 40.0  # cost of a flux that only a line without flanks could have
_ALONE = 8.0  # sigma above both neighbours, for a column in which nothing looks wrong
_WELL = 4.0  # sigma of chi2 up to which a column fits its profile


@compiled
def count_hits(
    terms: FloatArray,
    n_source: int,
    pixels: NDArray[np.bool_],
    wing: float,
    core: float,
    near: NDArray[np.intp],
    inside: NDArray[np.intp],
) -> None:
    """Count the outliers on the sources in each column.

    Parameters
    ----------
    terms : ndarray, shape (n_disp, n_profile, n_cross)
    n_source : int
        Sources among the profiles: they come first.
    pixels : ndarray of bool, shape (n_disp, n_cross)
    wing, core : float
        Part of the profile that a pixel must hold more of.
    near, inside : ndarray of int, shape (n_disp,)
        Filled: outliers beyond the one and beyond the other.
    """
    n_disp, _, n_cross = terms.shape
    for x in range(n_disp):
        near[x], inside[x] = 0, 0
        if not _any(pixels, x):
            continue
        for y in range(n_cross):
            if pixels[x, y]:
                light = _light(terms, n_source, x, y)
                near[x] += light > wing
                inside[x] += light > core


@compiled
def _any(pixels: NDArray[np.bool_], x: int) -> bool:
    """Whether column x has such pixels."""
    found = False
    for y in range(pixels.shape[1]):
        found |= pixels[x, y]
    return found


@compiled
def _light(terms: FloatArray, n_source: int, x: int, y: int) -> float:
    """Most of a source's profile that a pixel holds."""
    light = 0.0
    for k in range(n_source):
        light = max(light, abs(terms[x, k, y]))
    return light


@compiled
def reconsider(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    coefficients: FloatArray,
    covariance: FloatArray,
    tolerance: FloatArray,
    threshold: float,
    noise: float,
    wing: float,
    flank: float,
    near: NDArray[np.intp],
    pixels: NDArray[np.bool_],
    alone: NDArray[np.bool_],
) -> None:
    """Look for a smaller explanation where pixels of a core went: see `optextract.reject`.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
    terms : ndarray, shape (n_disp, n_profile, n_cross)
    coefficients : ndarray, shape (n_disp, n_profile)
    covariance : ndarray, shape (n_disp, n_profile, n_profile)
        Of the fit to all pixels.
    tolerance : ndarray, shape (n_disp, n_source, n_cross)
        Error of the sources' profiles.
    threshold, noise : float
        As for `optextract.reject.reject`.
    wing : float
        Part of the profile above which a pixel tells of the flux.
    flank : float
        Of a line's peak in the next column.
    near : ndarray of int, shape (n_disp,)
        Outliers of each column on such pixels.
    pixels : ndarray of bool, shape (n_disp, n_cross)
        Outliers; changed where another explanation is better.
    alone : ndarray of bool, shape (n_disp,)
        False, to be set for columns that stand alone and fit the profile.
    """
    n_disp, n_term, n_cross = terms.shape
    n_source = tolerance.shape[1]
    matrix, inverse = np.zeros((n_term, n_term)), np.zeros((n_term, n_term))
    lower, vector, seen = np.zeros((n_term + 1, n_term)), np.zeros(n_term), np.zeros(n_term, dtype=np.bool_)
    values, left, one = np.zeros((1, n_cross)), np.zeros((1, n_cross)), np.zeros((1, n_term, n_cross))
    flux, error = np.empty((n_disp, n_source)), np.empty(n_disp)
    level, around = np.empty(n_source), np.empty(2 * _AROUND + 1)
    # what the pixels give that are left
    for x in range(n_disp):
        for k in range(n_source):
            flux[x, k] = coefficients[x, k]
        error[x] = np.sqrt(covariance[x, 0, 0])
        if _any(pixels, x):
            _take_column(data, terms, x, values, one)
            for y in range(n_cross):
                left[0, y] = 0.0 if pixels[x, y] else weight[x, y]
            normal(values, left, one, 0, matrix, vector)
            invert(matrix, inverse, seen, lower)
            for k in range(n_source):
                flux[x, k] = _coefficient(inverse, vector, k)
            error[x] = np.sqrt(inverse[0, 0]) if seen[0] else np.inf
    for x in range(n_disp):
        if near[x] == 0 and not _stands_alone(flux, error, noise, x):
            continue
        for k in range(n_source):
            n = 0
            for i in range(max(x - _AROUND, 0), min(x + _AROUND + 1, n_disp)):
                around[n] = flux[i, k]
                n += 1
            level[k] = max(middle_of_first(around, n), 0.0)
        most = _brightest(flux, error, x, level[0], flank)
        if near[x] < 2 and not flux[x, 0] > most + 3.0 * noise * error[x]:
            continue
        low, high = n_cross, -1
        for y in range(n_cross):
            if _light(terms, n_source, x, y) > wing:
                low, high = min(low, y), y
        if high < 0:
            continue
        _take_column(data, terms, x, values, one)
        if near[x] == 0:
            _usable(weight, tolerance, flux[x], noise, x, left)
            normal(values, left, one, 0, matrix, vector)
            invert(matrix, inverse, seen, lower)
            free, chi2 = -n_term, 0.0
            for y in range(low, high + 1):
                if _light(terms, n_source, x, y) > wing:
                    residual = values[0, y]
                    for t in range(n_term):
                        residual -= _coefficient(inverse, vector, t) * one[0, t, y]
                    chi2 += residual * residual * left[0, y]
                    free += left[0, y] != 0.0
            free = max(free, 1)
            if chi2 < free + _WELL * np.sqrt(2.0 * free):
                alone[x] = True
                continue
        _usable(weight, tolerance, level, noise, x, left)
        _best_run(
            values, left, one, pixels, x, max(low - 1, 0), min(high + 2, n_cross), 0.5 * threshold**2, level[0], most
        )


@compiled
def _take_column(data: FloatArray, terms: FloatArray, x: int, values: FloatArray, one: FloatArray) -> None:
    """Copy pixel values and terms of column x."""
    for y in range(data.shape[1]):
        values[0, y] = data[x, y]
        for t in range(terms.shape[1]):
            one[0, t, y] = terms[x, t, y]


@compiled
def _usable(weight: FloatArray, tolerance: FloatArray, flux: FloatArray, noise: float, x: int, out: FloatArray) -> None:
    """Inverse variances of column x with noise and the profile's error at these fluxes in them."""
    for y in range(weight.shape[1]):
        wrong = 0.0
        for k in range(len(flux)):
            wrong += max(flux[k], 0.0) * tolerance[x, k, y]
        out[0, y] = weight[x, y] / (noise * noise + weight[x, y] * wrong * wrong)


@compiled
def _coefficient(inverse: FloatArray, vector: FloatArray, t: int) -> float:
    """Coefficient of a term."""
    value = 0.0
    for s in range(len(vector)):
        value += inverse[t, s] * vector[s]
    return value


@compiled
def _stands_alone(flux: FloatArray, error: FloatArray, noise: float, x: int) -> bool:
    """Whether a column is far brighter than both neighbours: an evenly covered core looks like the source itself."""
    n_disp = len(flux)
    if n_disp < 3 or not np.isfinite(error[x]):
        return False
    higher, spread = -np.inf, 0.0
    for k in (x - 1, x + 1):
        if 0 <= k < n_disp:
            if not np.isfinite(error[k]):
                return False  # a neighbour without data does not say that there is no light
            higher, spread = max(higher, flux[k, 0]), max(spread, error[k])
    return flux[x, 0] > higher + _ALONE * noise * np.sqrt(error[x] ** 2 + spread**2)


@compiled
def _brightest(flux: FloatArray, error: FloatArray, x: int, level: float, flank: float) -> float:
    """Flux that a line in a column may have, given how little of it the next columns hold; any if one has no data."""
    higher = -np.inf
    for k in (x - 1, x + 1):
        if 0 <= k < len(flux):
            if not np.isfinite(error[k]):
                return np.inf
            higher = max(higher, flux[k, 0])
    return level + max(higher - level, 0.0) / flank if higher > -np.inf else np.inf


@compiled
def _add_row(
    data: FloatArray, weight: FloatArray, terms: FloatArray, y: int, matrix: FloatArray, vector: FloatArray, slot: int
) -> float:
    """Add what row y adds to the normal equations; gives what it adds to the weighted sum of squares."""
    for i in range(len(vector)):
        part = weight[0, y] * terms[0, i, y]
        vector[i, slot] += part * data[0, y]
        for j in range(i + 1):
            matrix[i, j, slot] += part * terms[0, j, y]
    return weight[0, y] * data[0, y] * data[0, y]


@compiled
def _best_run(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    pixels: NDArray[np.bool_],
    x: int,
    low: int,
    high: int,
    price: float,
    level: float,
    most: float,
) -> None:
    """Put the cheapest explanation of one column into `pixels`: as they are, or a run between two rows instead.

    All explanations are solved side by side; what is left beside a run is the rows before it and those after it.

    Parameters
    ----------
    data, weight : ndarray, shape (1, n_cross)
        Pixel values, and inverse variances with the model's error in them.
    terms : ndarray, shape (1, n_profile, n_cross)
    pixels : ndarray of bool, shape (n_disp, n_cross)
        Outliers so far; those of column x are replaced.
    x : int
    low, high : int
        Rows, the last one excluded, in which runs of a few pixels are tried.
    price : float
        Chi2 that leaving a pixel out must save.
    level, most : float
        Flux of the neighbours, and the highest that a line may have.
    """
    _, n_term, n_cross = terms.shape
    # normal equations up to a row and from a row on, of rows that are kept in any case the first
    n_edge = high - low + 1
    before, after = np.zeros((n_term, n_term, n_edge)), np.zeros((n_term, n_term, n_edge))
    up_to, from_on = np.zeros((n_term, n_edge)), np.zeros((n_term, n_edge))
    square_to, square_on, good = np.zeros(n_edge), np.zeros(n_edge), np.zeros(n_edge)
    outside, n_inside = 0, 0
    for y in range(n_cross):
        if not low <= y < high:
            if pixels[x, y]:
                outside += weight[0, y] > 0
            else:
                square_to[0] += _add_row(data, weight, terms, y, before, up_to, 0)
        n_inside += low <= y < high and pixels[x, y] and weight[0, y] > 0
    for e in range(1, n_edge):
        for i in range(n_term):
            up_to[i, e] = up_to[i, e - 1]
            from_on[i, n_edge - 1 - e] = from_on[i, n_edge - e]
            for j in range(i + 1):
                before[i, j, e] = before[i, j, e - 1]
                after[i, j, n_edge - 1 - e] = after[i, j, n_edge - e]
        y, z = low + e - 1, high - e
        square_to[e] = square_to[e - 1] + _add_row(data, weight, terms, y, before, up_to, e)
        here = _add_row(data, weight, terms, z, after, from_on, n_edge - 1 - e)
        square_on[n_edge - 1 - e] = square_on[n_edge - e] + here
        good[e] = good[e - 1] + (weight[0, y] > 0)
    n_run = 1
    for length in range(1, _LONGEST + 1):
        n_run += max(n_edge - length, 0)
    matrix, scale = np.zeros((n_term, n_term, n_run)), np.empty((n_term + 1, n_run))
    vector, left = np.zeros((n_term, n_run)), np.zeros(n_run)
    removed, start_of, length_of = np.empty(n_run), np.zeros(n_run, dtype=np.intp), np.zeros(n_run, dtype=np.intp)
    # as they are
    left[0], removed[0] = square_to[0], outside + n_inside
    for i in range(n_term):
        vector[i, 0] = up_to[i, 0]
        for j in range(i + 1):
            matrix[i, j, 0] = before[i, j, 0]
    for y in range(low, high):
        if not pixels[x, y]:
            left[0] += _add_row(data, weight, terms, y, matrix, vector, 0)
    r = 1
    for length in range(1, _LONGEST + 1):
        for start in range(n_edge - length):
            end = start + length
            for i in range(n_term):
                vector[i, r] = up_to[i, start] + from_on[i, end]
                for j in range(i + 1):
                    matrix[i, j, r] = before[i, j, start] + after[i, j, end]
            left[r], removed[r] = square_to[start] + square_on[end], outside + good[end] - good[start]
            start_of[r], length_of[r] = low + start, length
            r += 1
    factor(matrix, scale)
    for t in range(n_term):
        for k in range(n_run):
            vector[t, k] *= scale[t, k]
    forward(matrix, vector)
    for t in range(n_term):
        for k in range(n_run):
            left[k] -= vector[t, k] * vector[t, k]
    backward(matrix, vector)
    for k in range(n_run):
        vector[0, k] *= scale[0, k]
    flux, error = np.empty((1, n_run)), np.empty((1, n_run))
    fluxes_of(matrix, scale, vector, flux, error)
    first, last, best = -1, -1, np.inf
    for k in range(n_run):
        cost = max(left[k], 0.0) + price * removed[k]
        if scale[0, k] > 0.0:
            spread = error[0, k] ** 2 + (0.5 * level) ** 2
            if spread > 0:
                cost += min((flux[0, k] - level) ** 2 / spread, _SURPRISE)
            if flux[0, k] > most + 3.0 * error[0, k]:
                cost += _NO_LINE
        if cost < best:
            best = cost
            first, last = (start_of[k], start_of[k] + length_of[k]) if k > 0 else (-1, -1)
    for y in range(n_cross):
        if first >= 0 and low <= y < high:
            pixels[x, y] = first <= y < last
        pixels[x, y] = pixels[x, y] and weight[0, y] > 0
