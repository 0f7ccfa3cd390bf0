"""What columns and rows hold of sources of known profiles: for bins that follow the S/N, for lines and for stripes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .linear import coefficient
from .middle import middle_of_first

__all__ = [
    "equal_shares",
    "light_of_columns",
    "lines_above",
    "means_of_light",
    "path_along",
    "spreads",
    "sums_of_rows",
]

FloatArray = NDArray[np.float64]


@compiled
def light_of_columns(
    data: FloatArray,
    background: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    covariance: FloatArray,
    n_source: int,
    least: float,
    coefficients: FloatArray,
    whole: NDArray[np.bool_],
    flux: FloatArray,
    strength: FloatArray,
) -> None:
    """Solve each column for its sources; those of which too little is seen are left out.

    Parameters
    ----------
    data, background, weight : ndarray, shape (n_disp, n_cross)
        Pixel values, their background and inverse variances (zero where bad).
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
        Sources first.
    covariance : ndarray, shape (n_disp, n_profile, n_profile)
        Of the coefficients for these weights; infinite variance of a profile that no pixel sees.
    n_source : int
        Their number.
    least : float
        Part of a profile that must lie on good pixels: where only a wing is left the flux is wild, and what it would
        fill the gaps with is wilder.
    coefficients : ndarray, shape (n_disp, n_profile)
        Filled; zero for profiles of which too little is seen.
    whole : ndarray of bool, shape (n_disp,)
        Filled: whether enough is seen of each source; the others of these columns are solved for nothing.
    flux : ndarray, shape (n_disp,)
        Filled: of the brightest source; zero in columns that are not whole.
    strength : ndarray, shape (n_disp,)
        Filled: its squared S/N above what noise alone gives, zero at least.
    """
    n_disp, n_profile, n_cross = profiles.shape
    vector, seen = np.empty(n_profile), np.empty(n_profile, dtype=np.bool_)
    weighted, good = np.empty(n_cross), np.empty(n_cross)
    for x in range(n_disp):
        whole[x], strength[x], flux[x] = True, 0.0, 0.0
        for y in range(n_cross):
            good[y] = 1.0 if weight[x, y] > 0 else 0.0
            weighted[y] = weight[x, y] * (data[x, y] - background[x, y]) if weight[x, y] > 0 else 0.0
        for t in range(n_profile):
            total, part, right = 0.0, 0.0, 0.0
            for y in range(n_cross):
                share = abs(profiles[x, t, y])
                total += share
                part += share * good[y]
                right += weighted[y] * profiles[x, t, y]
            vector[t] = right
            seen[t] = part > least * total
            whole[x] &= seen[t] or t >= n_source
        for t in range(n_profile):
            value = coefficient(covariance, x, vector, t) if whole[x] else 0.0
            coefficients[x, t] = value if seen[t] else 0.0
            if t < n_source and whole[x]:
                flux[x] = value if t == 0 else max(flux[x], value)
                if covariance[x, t, t] < np.inf:
                    strength[x] = max(strength[x], value * value / covariance[x, t, t] - 1.0)


@compiled
def means_of_light(
    data: FloatArray,
    background: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    coefficients: FloatArray,
    whole: NDArray[np.bool_],
    flux: FloatArray,
    edges: NDArray[np.intp],
    mean: FloatArray,
    inverse: FloatArray,
    column: FloatArray,
) -> None:
    """Means of each row of each bin above the background; what is not good is filled with the profiles' light.

    Parameters
    ----------
    data, background, weight, profiles, coefficients, whole, flux
        As for `light_of_columns`.
    edges : ndarray of int, shape (n_bin + 1,)
    mean, inverse : ndarray, shape (n_bin, n_cross)
        Filled: see `optextract.bins.mean_bins`.
    column : ndarray, shape (n_bin,)
        Filled: the mean column of the light in each bin.
    """
    n_cross = data.shape[1]
    # a floor keeps the mean inside the bin where the flux is all noise
    floor = 0.1 * np.abs(flux).mean() + 1e-300
    count = np.empty(n_cross)
    for b in range(len(mean)):
        count[:] = 0.0
        mean[b], inverse[b] = 0.0, 0.0
        total, moment = 0.0, 0.0
        for x in range(edges[b], edges[b + 1]):
            share = max(flux[x], 0.0) + floor
            total += share
            moment += share * x
            bad = 0 if whole[x] else n_cross
            if whole[x]:
                for y in range(n_cross):
                    good = weight[x, y] > 0
                    mean[b, y] += data[x, y] - background[x, y] if good else 0.0
                    inverse[b, y] += 1.0 / weight[x, y] if good else 0.0
                    count[y] += 1.0 if good else 0.0
                for y in range(n_cross):
                    bad += 0 if weight[x, y] > 0 else 1
            if bad == 0:
                continue
            for y in range(n_cross):
                if not (whole[x] and weight[x, y] > 0):
                    for t in range(profiles.shape[1]):
                        mean[b, y] += coefficients[x, t] * profiles[x, t, y]
        column[b] = moment / total
        for y in range(n_cross):
            mean[b, y] /= edges[b + 1] - edges[b]
            # the error of the good pixels' mean: a bin of which half is filled must not look better than its good half
            inverse[b, y] = count[y] * count[y] / inverse[b, y] if count[y] > 0 else 0.0


@compiled
def equal_shares(signal: FloatArray, most: float, least: float, edges: NDArray[np.intp]) -> int:
    """Edges of bins that gather the same signal: see `optextract.bins.edges_by_signal`; gives how many there are.

    Parameters
    ----------
    signal : ndarray, shape (n_disp,)
    most : float
        What a column counts at most.
    least : float
        Signal that a bin needs.
    edges : ndarray of int, shape (n_most + 1,)
        Filled up to the number that is given back; `n_most` is the most bins, no more than columns.
    """
    n = len(signal)
    total = np.empty(n + 1)
    total[0] = 0.0
    for x in range(n):
        total[x + 1] = total[x] + (min(signal[x], most) if np.isfinite(signal[x]) else 0.0)
    count = int(min(max(total[n] / least, 1.0), float(len(edges) - 1)))
    edges[0], found, x = 0, 1, 0
    for k in range(1, count):
        # a hair below, so that rounding does not decide where a share ends exactly at a column
        share = k * (total[n] / count) - 1e-6 * total[n] / count
        while total[x] < share:
            x += 1
        if x > edges[found - 1]:
            edges[found] = x
            found += 1
    if n > edges[found - 1]:
        edges[found] = n
        found += 1
    return found


@compiled
def path_along(centre: FloatArray, most: FloatArray, edges: NDArray[np.intp], path: FloatArray) -> bool:
    """Way that a trace has gone at each column, in units of what is allowed; gives whether a bin has more than one.

    Parameters
    ----------
    centre, most : ndarray, shape (n_disp,)
        The trace, and the most that it may move within a bin.
    edges : ndarray of int, shape (n_bin + 1,)
    path : ndarray, shape (n_disp,)
        Filled.
    """
    path[0] = 0.0
    for x in range(1, len(path)):
        path[x] = path[x - 1] + abs(centre[x] - centre[x - 1]) / most[x]
    some = False
    for b in range(len(edges) - 1):
        some |= path[edges[b + 1] - 1] - path[edges[b]] > 1.0
    return some


@compiled
def lines_above(
    snr: FloatArray, edges: NDArray[np.intp], least: float, above: float, middle: FloatArray, stands: NDArray[np.bool_]
) -> bool:
    """Find columns that stand out of their bin; gives whether there are any.

    Parameters
    ----------
    snr : ndarray, shape (n_disp,)
    edges : ndarray of int, shape (n_bin + 1,)
    least : float
        S/N that it takes in any case.
    above : float
        The same, times the median of the bin.
    middle : ndarray, shape (n_bin,)
        Filled where there are any: medians.
    stands : ndarray of bool, shape (n_disp,)
        Filled where there are any.
    """
    some, ordered = False, np.empty(len(snr))
    for x in range(len(snr)):
        some |= snr[x] > least
    if not some:
        return False
    some = False
    for b in range(len(middle)):
        first, last = edges[b], edges[b + 1]
        for x in range(first, last):
            ordered[x - first] = snr[x]
        middle[b] = middle_of_first(ordered, last - first)
        limit = max(least, above * middle[b])
        for x in range(first, last):
            stands[x] = snr[x] > limit
            some |= stands[x]
    return some


@compiled
def spreads(
    data: FloatArray,
    weight: FloatArray,
    columns: NDArray[np.intp],
    rows: NDArray[np.intp],
    fwhm: FloatArray,
    least: FloatArray,
    wide: NDArray[np.bool_],
) -> None:
    """Whether the brightest pixel near the trace has a neighbour that holds enough of what it holds itself.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
    columns : ndarray of int, shape (n,)
        Those that are looked at.
    rows : ndarray of int, shape (n_disp,)
        Of the trace.
    fwhm : ndarray, shape (n_disp,)
    least : ndarray, shape (n,)
        Part of its light, above the median of the column, that one of its neighbours must have.
    wide : ndarray of bool, shape (n,)
        Filled.
    """
    n_cross = data.shape[1]
    ordered = np.empty(n_cross)
    for k in range(len(columns)):
        x, n = columns[k], 0
        for y in range(n_cross):
            if weight[x, y] > 0:
                ordered[n] = data[x, y]
                n += 1
        level = middle_of_first(ordered, n)
        peak, most, beside = 0, -np.inf, -np.inf
        for y in range(n_cross):
            near = abs(y - rows[x]) <= np.ceil(fwhm[x]) + 1
            if near and weight[x, y] > 0 and data[x, y] - level > most:
                peak, most = y, data[x, y] - level
        for y in (peak - 1, peak + 1):
            if 0 <= y < n_cross and weight[x, y] > 0:
                beside = max(beside, data[x, y] - level)
        wide[k] = beside > least[k] * most


@compiled
def sums_of_rows(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    coefficients: FloatArray,
    n_source: int,
    residual: FloatArray,
    sums: FloatArray,
) -> None:
    """What a fit leaves, and weighted sums over the bins of each row.

    Parameters
    ----------
    data, weight : ndarray, shape (n_bin, n_cross)
    terms : ndarray, shape (n_bin, n_term, n_cross)
        Sources first.
    coefficients : ndarray, shape (n_bin, n_term)
    n_source : int
        Number of sources.
    residual : ndarray, shape (n_bin, n_cross)
        Filled; zero where there is no weight.
    sums : ndarray, shape (3, n_cross)
        Filled: of the weights, and of weights times residual and times light of the sources.
    """
    n_bin, n_term, n_cross = terms.shape
    light, others = np.empty(n_cross), np.empty(n_cross)
    sums[:] = 0.0
    for x in range(n_bin):
        light[:], others[:] = 0.0, 0.0
        for t in range(n_term):
            value = coefficients[x, t]
            for y in range(n_cross):
                if t < n_source:
                    light[y] += value * terms[x, t, y]
                else:
                    others[y] += value * terms[x, t, y]
        for y in range(n_cross):
            residual[x, y] = data[x, y] - light[y] - others[y] if weight[x, y] > 0 else 0.0
            sums[0, y] += weight[x, y]
            sums[1, y] += weight[x, y] * residual[x, y]
            sums[2, y] += weight[x, y] * light[y]
