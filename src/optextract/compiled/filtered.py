"""Rows of bins as the search for a source sees them: hot or tilted, and the S/N of a source centred on each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .middle import middle_of_first

__all__ = [
    "brightest_rows",
    "common_curve",
    "common_slope",
    "lay_above",
    "mark_hot",
    "quiet_part",
    "score_rows",
    "snr_of_rows",
]

FloatArray = NDArray[np.float64]

_PARTS = (2, 4, 8, 16)  # of the bins: how few of them may hold all of the light
_LEAST_PART = 3  # bins
_TWIN = (-3.0, 10.0)  # S/N: the least and the most that a negative twin counts for
_STEPS = 12  # of the robust slope
_LEAST_SEEN, _LEAST_ROWS = 0.3, 6  # of the bins that a row must have, and rows that tell a slope


@compiled
def mark_hot(
    data: FloatArray, weight: FloatArray, middle: FloatArray, least: float, spread: float, hot: NDArray[np.bool_]
) -> bool:
    """Mark rows whose neighbours share nothing of their signal; tell whether there is one.

    Parameters
    ----------
    data, weight : ndarray, shape (n_bin, n_cross)
    middle : ndarray, shape (n_bin,)
        Background of each bin.
    least : float
        S/N of all bins together from which a row stands out.
    spread : float
        Part of its signal that the brighter neighbour must have.
    hot : ndarray of bool, shape (n_cross,)
        Filled.
    """
    n_bin, n_cross = data.shape
    mean, error = np.zeros(n_cross), np.zeros(n_cross)
    count = np.zeros(n_cross)
    for b in range(n_bin):
        for y in range(n_cross):
            good = weight[b, y] > 0
            count[y] += good
            mean[y] += data[b, y] - middle[b] if good else 0.0
            error[y] += 1.0 / weight[b, y] if good else 0.0
    for y in range(n_cross):
        mean[y] /= max(count[y], 1.0)
        error[y] = np.sqrt(error[y]) / max(count[y], 1.0)
    found = False
    for y in range(n_cross):
        side = -np.inf
        if y > 0:
            side = mean[y - 1]
        if y + 1 < n_cross:
            side = max(side, mean[y + 1])
        hot[y] = mean[y] > least * error[y] and side < spread * mean[y]
        found = found or hot[y]
    return found


@compiled
def common_slope(data: FloatArray, weight: FloatArray, middle: FloatArray, least: float) -> tuple[float, bool]:
    """Robust slope of all bins together along cross-dispersion, per row; and whether it leaves much of the rows.

    Parameters
    ----------
    data, weight : ndarray, shape (n_bin, n_cross)
    middle : ndarray, shape (n_bin,)
        Background of each bin.
    least : float
        Times the error of a row's mean: what is much.
    """
    n_bin, n_cross = data.shape
    count, total, mean = np.zeros(n_cross), np.zeros(n_cross), np.zeros(n_cross)
    for b in range(n_bin):
        for y in range(n_cross):
            good = weight[b, y] > 0
            count[y] += good
            total[y] += weight[b, y]
            mean[y] += data[b, y] - middle[b] if good else 0.0
    row, share, scratch = np.empty(n_cross), np.ones(n_cross), np.empty(n_cross)
    n = 0
    for y in range(n_cross):
        if count[y] > _LEAST_SEEN * n_bin:
            mean[n], row[n], total[n] = mean[y] / count[y], y - 0.5 * (n_cross - 1), total[y]
            n += 1
    if n < _LEAST_ROWS:
        return 0.0, False
    slope, scale = 0.0, 0.0
    for _ in range(_STEPS):  # Cauchy weights: the source itself must not tilt the line
        whole, at, level = 0.0, 0.0, 0.0
        for k in range(n):
            whole += share[k]
            at += share[k] * row[k]
            level += share[k] * mean[k]
        at /= whole
        level /= whole
        top, bottom = 0.0, 0.0
        for k in range(n):
            away = row[k] - at
            top += share[k] * away * (mean[k] - level)
            bottom += share[k] * away * away
        slope = top / bottom
        for k in range(n):
            scratch[k] = abs(mean[k] - level - slope * (row[k] - at))
            share[k] = scratch[k]
        scale = middle_of_first(scratch, n)
        if scale == 0:
            break
        for k in range(n):
            share[k] = 1.0 / (1.0 + (share[k] / (2.0 * scale)) ** 2)
    for k in range(n):
        scratch[k] = 1.0 / np.sqrt(total[k])
    return slope, scale > least * middle_of_first(scratch, n)


@compiled
def common_curve(level: FloatArray, terms: FloatArray, steps: int, coefficients: FloatArray) -> float:
    """Robust fit of a few terms to what rows have in common; gives the median of what it leaves.

    Parameters
    ----------
    level : ndarray, shape (n_row,)
    terms : ndarray, shape (n_term, n_row)
    steps : int
        Of Cauchy weights.
    coefficients : ndarray, shape (n_term,)
        Filled.
    """
    n_term, n = terms.shape
    share, left, scratch = np.ones(n), np.empty(n), np.empty(n)
    matrix, vector = np.empty((n_term, n_term)), np.empty(n_term)
    scale = 0.0
    for _ in range(steps):
        for i in range(n_term):
            vector[i] = 0.0
            for k in range(n):
                vector[i] += share[k] * terms[i, k] * level[k]
            for j in range(n_term):
                matrix[i, j] = 0.0
                for k in range(n):
                    matrix[i, j] += share[k] * terms[i, k] * terms[j, k]
        _solve(matrix, vector, coefficients)
        for k in range(n):
            value = level[k]
            for i in range(n_term):
                value -= coefficients[i] * terms[i, k]
            left[k] = abs(value)
            scratch[k] = left[k]
        scale = middle_of_first(scratch, n)
        if scale == 0:
            break
        for k in range(n):
            share[k] = 1.0 / (1.0 + (left[k] / (2.0 * scale)) ** 2)
    return scale


@compiled
def _solve(matrix: FloatArray, vector: FloatArray, out: FloatArray) -> None:
    """Solve the normal equations of a few terms that differ, by elimination; both are used up."""
    n = len(vector)
    for i in range(n):
        for j in range(i + 1, n):
            share = matrix[j, i] / matrix[i, i]
            vector[j] -= share * vector[i]
            for k in range(i, n):
                matrix[j, k] -= share * matrix[i, k]
    for i in range(n - 1, -1, -1):
        value = vector[i]
        for k in range(i + 1, n):
            value -= matrix[i, k] * out[k]
        out[i] = value / matrix[i, i]


@compiled
def lay_above(
    data: FloatArray,
    weight: FloatArray,
    middle: FloatArray,
    level: FloatArray,
    values: FloatArray,
    variance: FloatArray,
    seen: NDArray[np.bool_],
    usable: NDArray[np.bool_],
) -> None:
    """Good pixels above a level of each bin and one of each row, their variances, and which they are.

    Parameters
    ----------
    data, weight : ndarray, shape (n_bin, n_cross)
    middle : ndarray, shape (n_bin,)
    level : ndarray, shape (n_cross,)
    values, variance : ndarray, shape (n_bin, n_cross)
        Filled; zero where bad.
    seen : ndarray of bool, shape (n_bin, n_cross)
        Filled.
    usable : ndarray of bool, shape (n_cross,)
        Filled: rows that are seen, between others that are.
    """
    n_bin, n_cross = data.shape
    count = np.zeros(n_cross)
    for b in range(n_bin):
        for y in range(n_cross):
            good = weight[b, y] > 0
            values[b, y] = data[b, y] - (middle[b] + level[y]) if good else 0.0
            variance[b, y] = 1.0 / weight[b, y] if good else 0.0
            seen[b, y] = good
            count[y] += good
    for y in range(n_cross):
        usable[y] = 0 < y < n_cross - 1 and min(count[y - 1], count[y], count[y + 1]) > _LEAST_SEEN * n_bin


@compiled
def snr_of_rows(
    values: FloatArray, variance: FloatArray, seen: NDArray[np.bool_], kernel: FloatArray, out: FloatArray
) -> None:
    """S/N of a kernel of odd length centred on each row of each bin; zero where that is not seen.

    Parameters
    ----------
    values, variance : ndarray, shape (n_bin, n_cross)
        Zero where bad.
    seen : ndarray of bool, shape (n_bin, n_cross)
    kernel : ndarray
    out : ndarray, shape (n_bin, n_cross)
        Filled.
    """
    n_bin, n_cross = values.shape
    half = len(kernel) // 2
    # zeros beyond the ends, so that no row asks how far it may reach
    line, noise = np.zeros(n_cross + 2 * half), np.zeros(n_cross + 2 * half)
    top, bottom = np.empty(n_cross), np.empty(n_cross)
    for b in range(n_bin):
        for y in range(n_cross):
            line[half + y], noise[half + y] = values[b, y], variance[b, y]
            top[y], bottom[y] = 0.0, 0.0
        for k in range(len(kernel)):
            share = kernel[k]
            for y in range(n_cross):
                top[y] += share * line[y + k]
                bottom[y] += share * share * noise[y + k]
        for y in range(n_cross):
            use = seen[b, y] and bottom[y] > 0
            out[b, y] = top[y] / np.sqrt(bottom[y]) if use else 0.0


@compiled
def score_rows(snr: FloatArray, most: float, sure: float, score: FloatArray) -> None:
    """S/N of each row over all bins; or, where no row's is sure, over those neighbouring ones that say most.

    Parameters
    ----------
    snr : ndarray, shape (n_bin, n_cross)
    most : float
        What one bin can count for.
    sure : float
        S/N over all bins above which no part of them is looked at.
    score : ndarray, shape (n_cross,)
        Filled.
    """
    n_bin, n_cross = snr.shape
    seen, whole = np.zeros(n_cross), np.zeros(n_cross)
    for y in range(n_cross):
        score[y] = 0.0
    for b in range(n_bin):
        for y in range(n_cross):
            seen[y] += snr[b, y] != 0
            whole[y] += snr[b, y]
            score[y] += min(max(snr[b, y], -most), most)
    top = -np.inf
    for y in range(n_cross):
        seen[y] = max(seen[y], 1.0)
        score[y] /= np.sqrt(seen[y])
        top = max(top, score[y])
    if top < sure:
        _best_part(snr, most, score)
    for y in range(n_cross):
        # where the cap makes neighbouring rows equal, the brighter one is the source
        score[y] += 1e-3 * min(max(whole[y] / seen[y], -1e3), 1e3)


@compiled
def _best_part(snr: FloatArray, most: float, score: FloatArray) -> None:
    """Raise the score of each row to that over those neighbouring bins that say most, freed of having been chosen.

    The best of m windows of noise alone is the root of 2 ln m (scan statistic); half of a window apart, there are 2 m.
    """
    n_bin, n_cross = snr.shape
    total, brightest, best = np.empty(n_cross), np.empty(n_cross), np.empty(n_cross)
    for part in _PARTS:
        size = n_bin // part
        if size < _LEAST_PART:
            break
        best[:] = 0.0
        for first in range(n_bin - size + 1):
            total[:] = 0.0
            brightest[:] = -np.inf
            for b in range(first, first + size):
                for y in range(n_cross):
                    value = min(max(snr[b, y], -most), most)
                    total[y] += value
                    brightest[y] = max(brightest[y], value)
            for y in range(n_cross):
                # without its brightest bin, or a single hot one would do
                best[y] = max(best[y], (total[y] - brightest[y]) / np.sqrt(size - 1))
        for y in range(n_cross):
            score[y] = max(score[y], np.sqrt(max(best[y] ** 2 - 2.0 * np.log(2.0 * part), 0.0)))


@compiled
def add_twin(score: FloatArray, offset: float, added: FloatArray) -> None:
    """Add what a negative twin says for a source on each row: as much as is dark there, within limits.

    Parameters
    ----------
    score : ndarray, shape (n_cross,)
        S/N of each row.
    offset : float
        Rows from a source to its twin.
    added : ndarray, shape (n_cross,)
        Added to.
    """
    n_cross = len(score)
    for y in range(n_cross):
        at = y + offset
        if at < 0 or at > n_cross - 1:
            continue
        low = min(int(at), n_cross - 2) if n_cross > 1 else 0
        high = min(low + 1, n_cross - 1)
        there = score[low] + (at - low) * (score[high] - score[low])
        added[y] += min(max(-there, _TWIN[0]), _TWIN[1])


@compiled
def brightest_rows(snr: FloatArray, usable: NDArray[np.bool_], least: float, lit: NDArray[np.intp]) -> int:
    """Count in how many bins each row is the brightest of the usable ones; gives the number of bins that show one.

    Parameters
    ----------
    snr : ndarray, shape (n_bin, n_cross)
    usable : ndarray of bool, shape (n_cross,)
    least : float
        S/N from which a bin shows where its source is.
    lit : ndarray of int, shape (n_cross,)
        Added to.
    """
    shown = 0
    for b in range(len(snr)):
        best, at = least, -1
        for y in range(snr.shape[1]):
            if usable[y] and snr[b, y] > best:
                best, at = snr[b, y], y
        if at >= 0:
            lit[at] += 1
            shown += 1
    return shown


@compiled
def quiet_part(row: FloatArray, snr: FloatArray, still: float) -> tuple[int, int]:
    """First bin, and the one after the last, of the part of highest S/N in which a source keeps its row.

    Parameters
    ----------
    row, snr : ndarray, shape (n_bin,)
        Where the source is in each bin, and its S/N.
    still : float
        Rows that it may move.
    """
    n_bin = len(row)
    total = np.zeros(n_bin + 1)
    for b in range(n_bin):
        total[b + 1] = total[b] + snr[b]
    best, start, stop = -np.inf, 0, n_bin
    size = n_bin
    while size >= 1:
        for first in range(0, n_bin - size + 1, max(1, size // 2)):
            low, high = np.inf, -np.inf
            for b in range(first, first + size):
                low, high = min(low, row[b]), max(high, row[b])
            if high - low > still:
                continue
            # a little in favour of the larger part: it holds more of the trace
            score = (total[first + size] - total[first]) / np.sqrt(size) * (1 + 0.02 * size / n_bin)
            if score > best:
                best, start, stop = score, first, first + size
        size //= 2
    return start, stop
