"""Scatter over stated errors: of source-free pixels, of spectra extracted where there is no source, and of peaks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .middle import middle_of_first, root_middle

__all__ = ["blank_pulls", "peak_pulls", "pixel_pulls", "pulls_along"]

FloatArray = NDArray[np.float64]

_MAD = 1.4826  # MAD to standard deviation of a normal distribution
_CORE = 0.05  # of the mean profile's peak: rows with more are moved about
_FULL = 0.3  # of the median weight of a blank spectrum's columns: those with less miss much of the profile
_FEW = 20  # columns or sums of them that are too few


@compiled
def _quadratic(vector: FloatArray, matrix: FloatArray, x: int) -> float:
    """Product of a vector with the x-th matrix and itself."""
    total = 0.0
    for i in range(len(vector)):
        for j in range(len(vector)):
            total += vector[i] * matrix[x, i, j] * vector[j]
    return total


@compiled
def _left_of(taken: float, least: float) -> float:
    """What is left of a variance if a fit takes a part of it, which may be unknown."""
    return min(max(1.0 - taken, least), 1.0) if np.isfinite(taken) else 1.0


@compiled
def pixel_pulls(
    residual: FloatArray,
    weight: FloatArray,
    clear: NDArray[np.bool_],
    basis: FloatArray,
    covariance: FloatArray,
    least: float,
) -> tuple[float, int]:
    """Robust scatter of residuals over their errors, of clear pixels that have a weight, and how many they are.

    Parameters
    ----------
    residual, weight : ndarray, shape (n_disp, n_cross)
    clear : ndarray of bool, shape (n_disp, n_cross)
    basis : ndarray, shape (n_term, n_cross)
        Background terms that these pixels decided in each column: they scatter less about them. None is allowed.
    covariance : ndarray, shape (n_disp, n_term, n_term)
        Of their coefficients.
    least : float
        Part of its variance that is left of any pixel.
    """
    square, terms = np.empty(residual.size), np.ascontiguousarray(basis.T)
    n = 0
    for x in range(len(residual)):
        n = _squares_of(residual, weight, clear, terms, covariance, least, x, square, n)
    return (_MAD * root_middle(square, n) if n else np.nan), n


@compiled
def _squares_of(
    residual: FloatArray,
    weight: FloatArray,
    clear: NDArray[np.bool_],
    terms: FloatArray,
    covariance: FloatArray,
    least: float,
    x: int,
    square: FloatArray,
    n: int,
) -> int:
    """Squares of the pulls of a column's clear pixels, written from the n-th place on; gives the next place."""
    for y in range(residual.shape[1]):
        if clear[x, y] and weight[x, y] > 0:
            square[n] = residual[x, y] * weight[x, y] * residual[x, y]
            if terms.shape[1]:
                square[n] /= _left_of(weight[x, y] * _quadratic(terms[y], covariance, x), least)
            n += 1
    return n


@compiled
def pulls_along(
    residual: FloatArray,
    weight: FloatArray,
    clear: NDArray[np.bool_],
    basis: FloatArray,
    covariance: FloatArray,
    least: float,
    edges: NDArray[np.intp],
    most: float,
    found: FloatArray,
    number: NDArray[np.intp],
) -> None:
    """Scatter over their errors of the clear pixels of some columns after the other.

    It is the root of the mean square: medians jump from value to value where there are few counts.

    Parameters
    ----------
    residual, weight, clear, basis, covariance, least
        As for `pixel_pulls`.
    edges : ndarray of int, shape (n_part + 1,)
        Columns between which each part lies.
    most : float
        What a pixel counts for at most: hits that stay are not noise.
    found : ndarray, shape (n_part,)
        Filled: scatter; NaN of no pixel.
    number : ndarray of int, shape (n_part,)
        Filled: pixels.
    """
    square, terms = np.empty(residual.shape[1]), np.ascontiguousarray(basis.T)
    for part in range(len(found)):
        total, n = 0.0, 0
        for x in range(edges[part], edges[part + 1]):
            here = _squares_of(residual, weight, clear, terms, covariance, least, x, square, 0)
            for i in range(here):
                total += min(square[i], most * most)
            n += here
        found[part], number[part] = (np.sqrt(total / n) if n else np.nan), n


@compiled
def _clear_rows(clear: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows that are clear in all columns."""
    rows = np.ones(clear.shape[1], dtype=np.bool_)
    for x in range(clear.shape[0]):
        for y in range(clear.shape[1]):
            rows[y] &= clear[x, y]
    return rows


@compiled
def _core_rows(profile: FloatArray) -> tuple[int, int]:
    """First row of the mean profile's core, and how many rows it has."""
    n_disp, n_cross = profile.shape
    mean = np.zeros(n_cross)
    for x in range(n_disp):
        for y in range(n_cross):
            mean[y] += profile[x, y]
    least = _CORE * mean.max()
    start, size = 0, 0
    for y in range(n_cross):
        if mean[y] > least:
            start = y if size == 0 else start
            size += 1
    return start, size


@compiled
def blank_pulls(
    residual: FloatArray,
    weight: FloatArray,
    profile: FloatArray,
    clear: NDArray[np.bool_],
    basis: FloatArray,
    covariance: FloatArray,
    least: float,
    widths: NDArray[np.intp],
    found: FloatArray,
    number: NDArray[np.intp],
) -> None:
    """Robust scatter over their errors of spectra extracted side by side where no source is, and of sums of columns.

    The profile is moved by whole rows, to rows that are clear in all columns.

    Parameters
    ----------
    residual, weight, profile, clear, basis, covariance, least
        As for `pixel_pulls`; the profile is of shape (n_disp, n_cross).
    widths : ndarray of int, shape (n_width,)
        How many columns are summed.
    found : ndarray, shape (n_width,)
        Filled: scatter; NaN of fewer than 20 sums.
    number : ndarray of int, shape (n_width,)
        Filled: sums.
    """
    n_disp, n_cross = residual.shape
    free = _clear_rows(clear)
    start, size = _core_rows(profile)
    square = np.empty((len(widths), n_disp * (n_cross // max(size, 1)) + 1))
    number[:] = 0
    above, norm, left, seen = np.empty(n_disp), np.empty(n_disp), np.empty(n_disp), np.empty(n_disp)
    shared = np.empty(len(basis))
    position = 0
    while size > 0 and position + size <= n_cross:
        if not free[position : position + size].all():
            position += 1
            continue
        n_seen = 0
        for x in range(n_disp):
            top, bottom = 0.0, 0.0
            for y in range(size):
                share = profile[x, start + y] * weight[x, position + y]
                top += share * residual[x, position + y]
                bottom += share * profile[x, start + y]
            above[x], norm[x], left[x] = top, bottom, 1.0
            seen[n_seen] = bottom
            n_seen += int(bottom > 0)
            if len(basis):
                # d = D - B C B^T W D: what the fit takes of p^T W d / p^T W p is s^T C s with s = B^T W p / p^T W p
                for i in range(len(basis)):
                    shared[i] = 0.0
                    for y in range(size):
                        shared[i] += profile[x, start + y] * weight[x, position + y] * basis[i, position + y]
                    shared[i] /= bottom
                left[x] = _left_of(_quadratic(shared, covariance, x) * bottom, least)
        position += size
        if n_seen == 0:
            continue
        usual = middle_of_first(seen, n_seen)
        n_full = 0
        for x in range(n_disp):
            if norm[x] > _FULL * usual:
                above[n_full], norm[n_full] = above[x] / left[x], norm[x] / left[x]
                n_full += 1
        if n_full >= _FEW:
            _add_squares(above, norm, n_full, widths, square, number)
    for k in range(len(widths)):
        enough = number[k] >= _FEW
        found[k] = _MAD * root_middle(square[k], number[k]) if enough else np.nan


@compiled
def _add_squares(
    above: FloatArray,
    norm: FloatArray,
    n: int,
    widths: NDArray[np.intp],
    square: FloatArray,
    number: NDArray[np.intp],
) -> None:
    """Append squared pulls of sums of as many of the n columns as each width says; what is left over is not used."""
    for k in range(len(widths)):
        for first in range(0, n - widths[k] + 1, widths[k]):
            top, bottom = 0.0, 0.0
            for x in range(first, first + widths[k]):
                top += above[x]
                bottom += norm[x]
            square[k, number[k]] = top * top / bottom
            number[k] += 1


@compiled
def peak_pulls(
    residual: FloatArray,
    weight: FloatArray,
    profile: FloatArray,
    variance: FloatArray,
    centre: FloatArray,
    step: int,
    least: float,
) -> tuple[float, int]:
    """Robust scatter of the pixels at a source's peak over their errors, in every `step`-th column, and their number.

    Parameters
    ----------
    residual, weight, profile : ndarray, shape (n_disp, n_cross)
    variance : ndarray, shape (n_disp,)
        Of the source's flux.
    centre : ndarray, shape (n_disp,)
        Row of the trace.
    step : int
        Distance of the columns that are looked at.
    least : float
        Part of its variance that a pixel must have for itself to be judged.
    """
    n_disp, n_cross = residual.shape
    square = np.empty(3 * n_disp)
    n = 0
    for x in range(0, n_disp, step):
        peak = int(np.rint(centre[x]))
        flux_variance = variance[x] if np.isfinite(variance[x]) else 0.0
        for y in range(max(peak - 1, 0), min(peak + 2, n_cross)):
            free = 1.0 - profile[x, y] ** 2 * weight[x, y] * flux_variance
            if weight[x, y] > 0 and free > least:
                square[n] = residual[x, y] * weight[x, y] * residual[x, y] / free
                n += 1
    return (_MAD * root_middle(square, n) if n else np.nan), n
