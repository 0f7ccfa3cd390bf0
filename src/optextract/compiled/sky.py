"""Which pixels are free of sources, the sources' light in them, and what they say of the background."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .linear import invert, normal

__all__ = [
    "both_sides",
    "cover",
    "free_in_all",
    "free_pixels",
    "polynomials",
    "raise_bins",
    "slow_pulls",
    "spread",
    "wings",
]

FloatArray = NDArray[np.float64]


@compiled
def cover(
    centre: FloatArray,
    fwhm: FloatArray,
    offsets: FloatArray,
    times: FloatArray,
    more: float,
    least: float,
    covered: NDArray[np.bool_],
) -> None:
    """Mark the pixels within some distance of any trace.

    Parameters
    ----------
    centre, fwhm : ndarray, shape (n_source, n_disp)
        Row and width of each source in each column.
    offsets, times : ndarray, shape (n_offset,)
        From each source to a trace of its width, pixel, and how many FWHM it reaches there,
    more, least : float
        with what is added to that, and what it reaches at least, pixel.
    covered : ndarray of bool, shape (n_disp, n_cross)
        Set where a pixel's middle is no further from a trace than that; else left as it is.
    """
    n_disp, n_cross = covered.shape
    for x in range(n_disp):
        for k in range(len(centre)):
            for o in range(len(offsets)):
                middle, reach = centre[k, x] + offsets[o], max(times[o] * fwhm[k, x] + more, least)
                if not np.isfinite(middle + reach):
                    continue
                first = int(min(max(np.ceil(middle - reach), 0.0), float(n_cross)))
                last = int(min(max(np.floor(middle + reach) + 1.0, 0.0), float(n_cross)))
                for y in range(first, last):
                    covered[x, y] = True


@compiled
def free_in_all(clear: NDArray[np.bool_], out: NDArray[np.bool_]) -> None:
    """Rows, shape (n_cross,), that are true in all columns of an image of shape (n_disp, n_cross)."""
    for y in range(clear.shape[1]):
        out[y] = True
    for x in range(clear.shape[0]):
        for y in range(clear.shape[1]):
            out[y] &= clear[x, y]


@compiled
def free_pixels(
    weight: FloatArray,
    rows: NDArray[np.bool_],
    clear: NDArray[np.bool_],
    apart: FloatArray,
    usable: FloatArray,
    free: FloatArray,
    per_row: FloatArray,
) -> int:
    """Weights of the pixels that are free of sources, and how many there are; gives the columns with any good pixel.

    Parameters
    ----------
    weight : ndarray, shape (n_disp, n_cross)
    rows : ndarray of bool, shape (n_cross,)
        Rows that may carry background.
    clear : ndarray of bool, shape (n_disp, n_cross)
        Pixels free of sources.
    apart : ndarray, shape (n_disp, n_cross)
        Filled: the weights, zero where a row may not or a pixel is not free.
    usable, free : ndarray, shape (n_disp,)
        Filled up to the number that is given back: in each column with a good pixel in these rows, how many there are,
        and how many of them are free.
    per_row : ndarray, shape (n_cross,)
        Filled: free pixels of each row.
    """
    n_disp, n_cross = weight.shape
    allowed = np.empty(n_cross)
    for y in range(n_cross):
        allowed[y] = 1.0 if rows[y] else 0.0
        per_row[y] = 0.0
    n = 0
    for x in range(n_disp):
        good, alone = 0.0, 0.0
        for y in range(n_cross):
            own = weight[x, y] * allowed[y]
            left = own if clear[x, y] else 0.0
            apart[x, y] = left
            is_free = 1.0 if left > 0.0 else 0.0
            good += 1.0 if own > 0.0 else 0.0
            alone += is_free
            per_row[y] += is_free
        # written in any case: a column of no good pixel is overwritten by the next
        usable[n], free[n] = good, alone
        n += 1 if good > 0.0 else 0
    return n


@compiled
def raise_bins(level: FloatArray, edges: NDArray[np.intp], shared: FloatArray, image: FloatArray) -> None:
    """The level of each column's bin, plus what all rows of the column share.

    Parameters
    ----------
    level : ndarray, shape (n_bin, n_cross)
    edges : ndarray of int, shape (n_bin + 1,)
    shared : ndarray, shape (n_disp,)
    image : ndarray, shape (n_disp, n_cross)
        Filled.
    """
    for b in range(len(level)):
        for x in range(edges[b], edges[b + 1]):
            for y in range(image.shape[1]):
                image[x, y] = level[b, y] + shared[x]


@compiled
def wings(
    data: FloatArray, weight: FloatArray, profiles: FloatArray, apart: FloatArray, light: FloatArray
) -> tuple[float, float]:
    """The sources' light in every pixel, from a fit without background.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
    apart : ndarray, shape (n_disp, n_cross)
        Weights of the pixels free of sources, zero elsewhere.
    light : ndarray, shape (n_disp, n_cross)
        Filled.

    Returns
    -------
    most : float
        Light on a pixel that is free of sources, at most.
    heaviest : float
        Largest of all weights.
    """
    n_disp, n_profile, n_cross = profiles.shape
    matrix, inverse = np.zeros((n_profile, n_profile)), np.zeros((n_profile, n_profile))
    lower, seen = np.zeros((n_profile + 1, n_profile)), np.zeros(n_profile, dtype=np.bool_)
    vector = np.zeros(n_profile)
    # row by row: the largest of a line would be looked for one after the other
    heaviest, most = np.zeros(n_cross), np.zeros(n_cross)
    for x in range(n_disp):
        if n_profile == 1:
            top, norm = 0.0, 0.0
            for y in range(n_cross):
                share = profiles[x, 0, y] * weight[x, y]
                top += share * data[x, y]
                norm += share * profiles[x, 0, y]
            flux = top / norm if norm > 1e-250 else 0.0
            for y in range(n_cross):
                light[x, y] = flux * profiles[x, 0, y]
        else:
            normal(data, weight, profiles, x, matrix, vector)
            invert(matrix, inverse, seen, lower)
            for y in range(n_cross):
                light[x, y] = 0.0
            for t in range(n_profile):
                flux = 0.0
                for s in range(n_profile):
                    flux += inverse[t, s] * vector[s]
                for y in range(n_cross):
                    light[x, y] += flux * profiles[x, t, y]
        for y in range(n_cross):
            alone = abs(light[x, y]) if apart[x, y] > 0.0 else 0.0
            most[y] = alone if alone > most[y] else most[y]
            heaviest[y] = weight[x, y] if weight[x, y] > heaviest[y] else heaviest[y]
    return most.max(), heaviest.max()


@compiled
def both_sides(
    data: FloatArray,
    model: FloatArray,
    weight: FloatArray,
    below: NDArray[np.bool_],
    above: NDArray[np.bool_],
    out: FloatArray,
    error: FloatArray,
    column: NDArray[np.intp],
) -> int:
    """Mean residual over its error of the rows on either side, in the columns that have weight on both.

    Parameters
    ----------
    data, model, weight : ndarray, shape (n_disp, n_cross)
    below, above : ndarray of bool, shape (n_cross,)
        The rows.
    out, error : ndarray, shape (2, n_disp + 1)
        Filled up to the number that is given back; the errors are those of the means.
    column : ndarray of int, shape (n_disp + 1,)
        Filled so far: which columns they are.
    """
    n_disp, n_cross = data.shape
    # as factors they leave the loop without a branch
    first, second = np.where(below, 1.0, 0.0), np.where(above, 1.0, 0.0)
    n = 0
    for x in range(n_disp):
        first_top, first_bottom, second_top, second_bottom = 0.0, 0.0, 0.0, 0.0
        for y in range(n_cross):
            pull = weight[x, y] * (data[x, y] - model[x, y])
            first_top += first[y] * pull
            first_bottom += first[y] * weight[x, y]
            second_top += second[y] * pull
            second_bottom += second[y] * weight[x, y]
        # written in any case: what does not count is overwritten by the next column
        error[0, n], error[1, n] = 1.0 / np.sqrt(first_bottom), 1.0 / np.sqrt(second_bottom)
        out[0, n], out[1, n], column[n] = first_top * error[0, n], second_top * error[1, n], x
        n += 1 if first_bottom > 0.0 and second_bottom > 0.0 else 0
    return n


@compiled
def slow_pulls(matrix: FloatArray, vector: FloatArray, level: FloatArray, size: int, out: FloatArray) -> int:
    """What a background leaves of the constant's normal equation in bins of columns, over its error.

    Parameters
    ----------
    matrix : ndarray, shape (n_disp, n_background, n_background)
    vector : ndarray, shape (n_disp, n_background)
        Normal equations of each column; the constant is the first term.
    level : ndarray, shape (n_disp, n_background)
        The background.
    size : int
        Columns of a bin.
    out : ndarray, shape (n_disp // size + 1,)
        Filled up to the number that is given back: bins with any weight.
    """
    n = 0
    for b in range(len(vector) // size):
        top, bottom = 0.0, 0.0
        for x in range(b * size, (b + 1) * size):
            top += vector[x, 0]
            bottom += matrix[x, 0, 0]
            for i in range(level.shape[1]):
                top -= matrix[x, 0, i] * level[x, i]
        out[n] = top / np.sqrt(bottom)
        n += 1 if bottom > 0.0 else 0
    return n


@compiled
def polynomials(out: FloatArray) -> None:
    """Legendre polynomials on as many points from -1 to 1 as there are columns, shape (degree + 1, n_disp)."""
    n = out.shape[1]
    step = 2.0 / max(n - 1, 1)
    for x in range(n):
        out[0, x] = 1.0
    if len(out) > 1:
        for x in range(n):
            out[1, x] = x * step - 1.0 if n > 1 else 0.0
    for k in range(2, len(out)):
        first, second = (2.0 * k - 1.0) / k, (k - 1.0) / k
        for x in range(n):
            out[k, x] = first * out[1, x] * out[k - 1, x] - second * out[k - 2, x]


@compiled
def spread(level: FloatArray, basis: FloatArray, image: FloatArray) -> None:
    """Sum over the terms along cross-dispersion, times what each counts in a column.

    Parameters
    ----------
    level : ndarray, shape (n_disp, n_background)
    basis : ndarray, shape (n_background, n_cross)
    image : ndarray, shape (n_disp, n_cross)
        Filled.
    """
    n_disp, n_cross = image.shape
    for x in range(n_disp):
        for y in range(n_cross):
            image[x, y] = level[x, 0] * basis[0, y]
        for i in range(1, len(basis)):
            for y in range(n_cross):
                image[x, y] += level[x, i] * basis[i, y]
