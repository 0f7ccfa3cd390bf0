"""Typical residuals at each distance from the trace."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .middle import middle_of_first

__all__ = ["find_bright", "measure", "tolerate", "wrong_part"]

FloatArray = NDArray[np.float64]

_CORE = 0.05  # a pixel with more of the profile than this belongs to the core
_RMS = 1.4826  # of a Gaussian over its median distance from zero
_SPREAD = 2.3  # one sigma of the squared median of n pulls, times the root of n
_CLEAR = 4.0  # sigma by which a misfit must be more than noise
_LEAST_FREE = 0.02  # as for outliers: a pixel that alone carries its flux cannot be judged by the others


@compiled
def find_bright(
    coefficients: FloatArray, covariance: FloatArray, n_source: int, least: float, bright: NDArray[np.bool_]
) -> int:
    """Columns in which the light of all sources is clear; gives their number.

    Parameters
    ----------
    coefficients : ndarray, shape (n_disp, n_term)
    covariance : ndarray, shape (n_disp, n_term, n_term)
    n_source : int
        Sources among the terms: they come first.
    least : float
        Light over the largest of their errors.
    bright : ndarray of bool, shape (n_disp,)
        Filled.
    """
    count = 0
    for x in range(len(bright)):
        flux, spread = 0.0, 0.0
        for k in range(n_source):
            flux += max(coefficients[x, k], 0.0)
            spread = max(spread, covariance[x, k, k])
        bright[x] = flux > least * np.sqrt(spread)
        count += bright[x]
    return count


@compiled
def tolerate(profiles: FloatArray, systematic: FloatArray, floor: float, out: FloatArray) -> None:
    """What is tolerated of each source's profile: the floor's part of it, or the systematic misfit where that is more.

    Parameters
    ----------
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
    systematic : ndarray, shape (n_disp, n_cross)
    floor : float
    out : ndarray, shape (n_disp, n_source, n_cross)
        Filled.
    """
    n_disp, n_source, n_cross = out.shape
    for x in range(n_disp):
        for k in range(n_source):
            for y in range(n_cross):
                out[x, k, y] = max(floor * profiles[x, k, y], systematic[x, y])


@compiled
def measure(
    data: FloatArray,
    weight: FloatArray,
    terms: FloatArray,
    coefficients: FloatArray,
    covariance: FloatArray,
    centre: FloatArray,
    fwhm: FloatArray,
    bright: NDArray[np.bool_],
    edges: NDArray[np.intp],
    n_source: int,
    noise: float,
    few: int,
    reach: float,
    highest: float,
    systematic: FloatArray,
) -> float:
    """Misfit of the core and of every half pixel of distance from the trace: see `optextract.misfit`.

    The pull of a pixel is what the other pixels say of it, ``r sqrt(W / (1 - h))`` with h the leverage. Its scatter
    beyond one, over the flux in units of the pixel's error, is the misfit.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
    terms : ndarray, shape (n_disp, n_term, n_cross)
    coefficients : ndarray, shape (n_disp, n_term)
    covariance : ndarray, shape (n_disp, n_term, n_term)
    centre, fwhm : ndarray, shape (n_source, n_disp)
    bright : ndarray of bool, shape (n_disp,)
        Columns that count.
    edges : ndarray of int
        Between the measurements along dispersion.
    n_source : int
    noise : float
    few : int
        Least number of pixels of a measurement.
    reach : float
        FWHM from the trace within which a misfit is one.
    highest : float
        Largest misfit, as a fraction of the profile's peak.
    systematic : ndarray, shape (n_disp, n_cross)
        Filled where there is a misfit; zero as given elsewhere.

    Returns
    -------
    float
        Upper limit of the core's misfit as a fraction of its light; infinite where there is no core pixel.
    """
    n_disp, n_term, n_cross = terms.shape
    n_bin = 4 * n_cross + 4
    longest = 0
    for b in range(len(edges) - 1):
        longest = max(longest, edges[b + 1] - edges[b])
    room = 2 * longest
    pulls, sizes = np.empty((n_bin, room)), np.empty((n_bin, room))
    count = np.zeros(n_bin, dtype=np.intp)
    found, cells = np.zeros(n_bin), np.empty(n_cross, dtype=np.intp)
    core_pulls, core_sizes = np.empty(n_disp * n_cross), np.empty(n_disp * n_cross)
    n_core = 0
    for b in range(len(edges) - 1):
        n_bright = 0
        for x in range(edges[b], edges[b + 1]):
            n_bright += bright[x]
        if n_bright < few:
            continue
        for k in range(n_bin):
            count[k] = 0
            found[k] = 0.0
        peak = 0.0
        for x in range(edges[b], edges[b + 1]):
            if not bright[x]:
                continue
            flux = 0.0
            for k in range(n_source):
                flux += max(coefficients[x, k], 0.0)
            low, high = _find_cells(centre, fwhm, x, reach, cells)
            for y in range(low, high):
                cell = cells[y]
                if cell < 0 or count[cell] >= room or not weight[x, y] > 0:
                    continue
                residual, leverage, light, part = data[x, y], 0.0, 0.0, 0.0
                for t in range(n_term):
                    residual -= coefficients[x, t] * terms[x, t, y]
                    value = 0.0
                    for s in range(n_term):
                        # a term that no pixel sees, such as a twin beyond the edge, has an infinite variance
                        if covariance[x, t, s] < np.inf:
                            value += covariance[x, t, s] * terms[x, s, y]
                    leverage += value * terms[x, t, y]
                    if t < n_source:
                        light += max(coefficients[x, t], 0.0) * terms[x, t, y]
                        part = max(part, terms[x, t, y])
                free = max(1.0 - leverage * weight[x, y], _LEAST_FREE)
                size = np.sqrt(weight[x, y] * free) / noise
                pull = abs(residual) * size / free
                pulls[cell, count[cell]] = pull
                sizes[cell, count[cell]] = size * flux
                count[cell] += 1
                peak = max(peak, part)
                if part > _CORE:
                    core_pulls[n_core], core_sizes[n_core] = pull, size * light
                    n_core += 1
        clear = False
        for k in range(n_bin):
            if count[k] < few:
                continue
            # whether the median is above what noise gives is counted faster than the median is found
            least = 1.0 + _CLEAR * _SPREAD / np.sqrt(count[k])
            above = 0
            for i in range(count[k]):
                above += (_RMS * pulls[k, i]) ** 2 > least
            if 2 * above > count[k]:
                excess = (_RMS * middle_of_first(pulls[k], count[k])) ** 2 - 1.0
                found[k] = min(np.sqrt(excess) / middle_of_first(sizes[k], count[k]), highest * peak)
                clear = True
        if not clear:
            continue
        for x in range(edges[b], edges[b + 1]):
            low, high = _find_cells(centre, fwhm, x, reach, cells)
            for y in range(low, high):
                if cells[y] >= 0:
                    systematic[x, y] = found[cells[y]]
    if n_core == 0:
        return np.inf
    excess = max((_RMS * middle_of_first(core_pulls, n_core)) ** 2 - 1.0, 0.0) + _SPREAD / np.sqrt(n_core)
    return float(np.sqrt(excess) / middle_of_first(core_sizes, n_core))


@compiled
def _find_cells(centre: FloatArray, fwhm: FloatArray, x: int, reach: float, cells: NDArray[np.intp]) -> tuple[int, int]:
    """Half pixels from the nearest source of each row of column x, from zero on; -1 beyond the reach.

    Gives the rows, the last one excluded, that a source may reach: the others are not filled.
    """
    n_cross = len(cells)
    bottom, top = float(n_cross), 0.0
    for k in range(len(centre)):
        bottom = min(bottom, centre[k, x] - reach * fwhm[k, x])
        top = max(top, centre[k, x] + reach * fwhm[k, x] + 1.0)
    low, high = int(max(np.floor(bottom), 0.0)), int(min(np.ceil(top), float(n_cross)))
    if len(centre) == 1:
        middle, wide = centre[0, x], reach * fwhm[0, x]
        for y in range(low, high):
            cell = int(np.round(2.0 * (y - middle))) + 2 * n_cross + 2
            cells[y] = cell if (abs(y - middle) <= wide) & (cell >= 0) & (cell < 4 * n_cross + 4) else -1
        return low, high
    for y in range(low, high):
        nearest, wide = np.inf, 0.0
        for k in range(len(centre)):
            away = y - centre[k, x]
            if abs(away) < abs(nearest):
                nearest, wide = away, reach * fwhm[k, x]
        cells[y] = -1
        if abs(nearest) <= wide:
            cell = int(np.round(2.0 * nearest)) + 2 * n_cross + 2
            cells[y] = cell if 0 <= cell < 4 * n_cross + 4 else -1
    return low, high


@compiled
def wrong_part(
    residual: FloatArray,
    weight: FloatArray,
    coefficients: FloatArray,
    covariance: FloatArray,
    centre: FloatArray,
    fwhm: FloatArray,
    noise: float,
    least: float,
    telling: float,
    reach: float,
    clear: float,
) -> float:
    """Part of the flux that lies in the wrong pixels: see `optextract.misfit.unexplained`.

    Parameters
    ----------
    residual, weight : ndarray, shape (n_disp, n_cross)
    coefficients : ndarray, shape (n_disp, n_term)
        The sources are the first terms.
    covariance : ndarray, shape (n_disp, n_source, n_source)
        Of their fluxes.
    centre, fwhm : ndarray, shape (n_source, n_disp)
    noise : float
        Factor on all errors.
    least, telling : float
        S/N of a column that tells something, and of all these together.
    reach : float
        FWHM from the trace within which a misfit is one.
    clear : float
        Sigma by which the mean at a distance from the trace must differ from zero.
    """
    flux, total = np.zeros(len(residual)), 0.0
    for x in range(len(residual)):
        for k in range(len(centre)):
            snr = coefficients[x, k] / (noise * np.sqrt(covariance[x, k, k]))
            if snr > least:
                flux[x] += coefficients[x, k]
                total += snr * snr
    if not total > telling * telling:
        return 0.0
    n_disp, n_cross = residual.shape
    n_bin = 4 * n_cross + 4
    top, bottom, count = np.zeros(n_bin), np.zeros(n_bin), np.zeros(n_bin)
    cells, n_seen = np.empty(n_cross, dtype=np.intp), 0
    for x in range(n_disp):
        if not flux[x] > 0:
            continue
        n_seen += 1
        low, high = _find_cells(centre, fwhm, x, reach, cells)
        for y in range(low, high):
            cell = cells[y]
            if cell >= 0 and weight[x, y] > 0:
                top[cell] += weight[x, y] * flux[x] * residual[x, y]
                bottom[cell] += weight[x, y] * flux[x] * flux[x]
                count[cell] += 1.0
    total = 0.0
    for k in range(n_bin):
        if top[k] * top[k] > (clear * noise) ** 2 * bottom[k]:
            total += abs(top[k]) / bottom[k] * count[k] / n_seen
    return total
