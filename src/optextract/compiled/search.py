"""Columns as searches want them: without hits, a few at a time; what each holds along a path; sources one by one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled

__all__ = ["along_path", "has_holes", "mean_of_good", "try_alone", "without_lone"]

FloatArray = NDArray[np.float64]


@compiled
def without_lone(data: FloatArray, weight: FloatArray, least: float, spread: float, out: FloatArray) -> None:
    """Weights, zero for pixels that stand out of their column alone: a source's light is in their neighbours too.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
    least : float
        Sigma above the pixels two rows off from which a pixel stands out.
    spread : float
        Part of that excess which the brighter neighbour must have, but for one sigma.
    out : ndarray, shape (n_disp, n_cross)
        Filled.
    """
    n_disp, n_cross = data.shape
    for x in range(n_disp):
        for y in range(n_cross):
            out[x, y] = weight[x, y]
            if weight[x, y] <= 0:
                continue
            level, count, side = 0.0, 0, -np.inf
            for step in (-2, 2):
                if 0 <= y + step < n_cross and weight[x, y + step] > 0:
                    level += data[x, y + step]
                    count += 1
            if count == 0:
                continue
            level /= count
            above = data[x, y] - level
            if above * np.sqrt(weight[x, y]) < least:
                continue
            for step in (-1, 1):
                if 0 <= y + step < n_cross and weight[x, y + step] > 0:
                    side = max(side, data[x, y + step] - level)
            if side < spread * above + 1.0 / np.sqrt(weight[x, y]):
                out[x, y] = 0.0


@compiled
def mean_of_good(
    data: FloatArray, weight: FloatArray, edges: NDArray[np.intp], out: FloatArray, inverse: FloatArray
) -> None:
    """Mean of the good pixels of each row of each bin and its inverse variance; zero where none is good.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
    edges : ndarray of int, shape (n_bin + 1,)
    out, inverse : ndarray, shape (n_bin, n_cross)
        Filled.
    """
    n_cross = data.shape[1]
    count = np.zeros(n_cross)
    for b in range(len(edges) - 1):
        for y in range(n_cross):
            count[y] = 0.0
            out[b, y] = 0.0
            inverse[b, y] = 0.0
        for x in range(edges[b], edges[b + 1]):
            for y in range(n_cross):
                if weight[x, y] > 0:
                    count[y] += 1.0
                    out[b, y] += data[x, y]
                    inverse[b, y] += 1.0 / weight[x, y]
        for y in range(n_cross):
            if count[y] > 0:
                out[b, y] /= count[y]
                inverse[b, y] = count[y] * count[y] / inverse[b, y]


@compiled
def along_path(
    data: FloatArray, weight: FloatArray, rows: NDArray[np.intp], kernel: FloatArray, out: FloatArray
) -> None:
    """S/N of a kernel of odd length, centred on one row of each column; zero where that row lies outside.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
    rows : ndarray of int, shape (n_disp,)
    kernel : ndarray
    out : ndarray, shape (n_disp,)
        Filled.
    """
    n_cross, half = data.shape[1], len(kernel) // 2
    for x in range(len(data)):
        out[x] = 0.0
        if rows[x] < 0 or rows[x] >= n_cross:
            continue
        total, spread, level, part = 0.0, 0.0, 0.0, 0.0
        first, last = max(-half, -rows[x]), min(half, n_cross - 1 - rows[x])
        # the kernel's mean over the good pixels goes to zero again, or a missing pixel would let the background in
        count = 0
        for k in range(first, last + 1):
            if weight[x, rows[x] + k] > 0:
                level += kernel[k + half]
                count += 1
        if count < 2:
            continue
        level /= count
        for k in range(first, last + 1):
            y = rows[x] + k
            if weight[x, y] > 0:
                part = kernel[k + half] - level
                total += part * data[x, y]
                spread += part * part / weight[x, y]
        if spread > 0:
            out[x] = total / np.sqrt(spread)


@compiled
def try_alone(
    data: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    background: FloatArray,
    chi2: FloatArray,
    flux: FloatArray,
) -> None:
    """Fit each of several profiles, beside a background, to the same line; each by itself.

    Parameters
    ----------
    data, weight : ndarray, shape (1, n_cross)
    profiles : ndarray, shape (n_try, 1, n_cross)
    background : ndarray, shape (n_background, n_cross)
        Terms that the good pixels tell apart.
    chi2, flux : ndarray, shape (n_try,)
        Filled; the flux is zero where no good pixel sees the profile.
    """
    n_background, n_cross = background.shape
    # all over their errors; the background's terms at right angles to each other, and taken out of everything else
    root, left = np.empty(n_cross), np.empty(n_cross)
    terms, light = np.empty((n_background, n_cross)), np.empty(n_cross)
    for y in range(n_cross):
        root[y] = np.sqrt(weight[0, y])
        left[y] = data[0, y] * root[y]
    for i in range(n_background):
        for y in range(n_cross):
            terms[i, y] = background[i, y] * root[y]
        for j in range(i):
            _take_out(terms[j], terms[i])
        norm = 0.0
        for y in range(n_cross):
            norm += terms[i, y] * terms[i, y]
        for y in range(n_cross):
            terms[i, y] /= np.sqrt(norm)
        _take_out(terms[i], left)
    square = 0.0
    for y in range(n_cross):
        square += left[y] * left[y]
    for k in range(len(profiles)):
        for y in range(n_cross):
            light[y] = profiles[k, 0, y] * root[y]
        whole = 0.0
        for y in range(n_cross):
            whole += light[y] * light[y]
        for i in range(n_background):
            _take_out(terms[i], light)
        top, bottom = 0.0, 0.0
        for y in range(n_cross):
            top += light[y] * left[y]
            bottom += light[y] * light[y]
        seen = bottom > 1e-12 * whole
        flux[k] = top / bottom if seen else 0.0
        chi2[k] = max(square - flux[k] * top, 0.0)


@compiled
def has_holes(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    coefficients: FloatArray,
    rows: FloatArray,
    reach: float,
    part: float,
    sigma: float,
) -> bool:
    """Whether a line is far below its fit anywhere away from the sources.

    Parameters
    ----------
    data, weight : ndarray, shape (1, n_cross)
    terms : ndarray, shape (1, n_term, n_cross)
    coefficients : ndarray, shape (1, n_term)
    rows : ndarray, shape (n_source,)
        Of the sources.
    reach : float
        Rows from a source that are its own.
    part, sigma : float
        Of the highest value of any term, and errors: how far below.
    """
    n_term, n_cross = terms.shape[1:]
    peak = 0.0
    for t in range(n_term):
        for y in range(n_cross):
            peak = max(peak, abs(terms[0, t, y] * coefficients[0, t]))
    for y in range(n_cross):
        left = data[0, y]
        for t in range(n_term):
            left -= coefficients[0, t] * terms[0, t, y]
        away = np.inf
        for row in rows:
            away = min(away, abs(y - row))
        if away > reach and left < -part * peak and left * np.sqrt(weight[0, y]) < -sigma:
            return True
    return False


@compiled
def _take_out(term: FloatArray, values: FloatArray) -> None:
    """Leave nothing of a term of unit length in values."""
    share = 0.0
    for y in range(len(term)):
        share += term[y] * values[y]
    for y in range(len(term)):
        values[y] -= share * term[y]
