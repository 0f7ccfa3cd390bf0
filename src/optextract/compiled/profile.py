"""Tabulated profiles integrated over pixels, and their derivatives, written into slots of an array of terms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled

__all__ = ["Table", "fill_bins", "fill_table", "fill_table_derivatives"]

FloatArray = NDArray[np.float64]

#: Cubics of each piece, shape (n, 4); where the table begins and ends, FWHM; and the exponent of what lies beyond, -1
#: where nothing does.
Table = tuple[FloatArray, float, float, float]


@compiled
def _rows(centre: float, half: float, n_cross: int) -> tuple[int, int]:
    """First row that a profile reaches, and the one after the last; none where it is nowhere."""
    if not np.isfinite(centre + half):
        return 0, 0
    low = min(max(np.floor(centre - half + 0.5), 0.0), float(n_cross))
    high = min(max(np.ceil(centre + half + 0.5), low), float(n_cross))
    return int(low), int(high)


@compiled
def _cumulative(u: float, cubics: FloatArray, low: float, high: float, tail: float) -> tuple[float, float]:
    """Cumulative distribution and density at `u` of a tabulated profile; beyond the table its tail, if it has one."""
    n = len(cubics)
    step = (high - low) / n
    if u < low or u > high:
        first, last = cubics[0, 0], cubics[n - 1, 0] + cubics[n - 1, 1] + cubics[n - 1, 2] + cubics[n - 1, 3]
        below = u < low
        if tail <= 0.0:
            return (first if below else last), 0.0
        edge = low if below else high
        mass = (first if below else 1.0 - last) * (u / edge) ** -tail
        return (mass if below else 1.0 - mass), mass * tail / abs(u)
    s = (u - low) / step
    i = min(int(s), n - 1)
    t = s - i
    y, a, b, c = cubics[i, 0], cubics[i, 1], cubics[i, 2], cubics[i, 3]
    return y + t * (a + t * (b + t * c)), (a + t * (2 * b + t * (3 * c))) / step


@compiled
def fill_table(
    terms: FloatArray,
    slot: int,
    centre: FloatArray,
    fwhm: FloatArray,
    cubics: FloatArray,
    low_u: float,
    high_u: float,
    tail: float,
) -> None:
    """Integrals of a tabulated profile over each pixel of each column into ``terms[:, slot]``."""
    n_cross = terms.shape[2]
    half = max(-low_u, high_u)
    for x in range(len(centre)):
        terms[x, slot] = 0.0
        low, high = (0, n_cross) if tail > 0.0 else _rows(centre[x], half * fwhm[x], n_cross)
        before, _ = _cumulative((low - 0.5 - centre[x]) / fwhm[x], cubics, low_u, high_u, tail)
        for y in range(low, high):
            after, _ = _cumulative((y + 0.5 - centre[x]) / fwhm[x], cubics, low_u, high_u, tail)
            terms[x, slot, y] = after - before
            before = after


@compiled
def fill_table_derivatives(
    terms: FloatArray,
    shifts: FloatArray,
    widths: FloatArray,
    slot: int,
    centre: FloatArray,
    fwhm: FloatArray,
    cubics: FloatArray,
    low_u: float,
    high_u: float,
    tail: float,
) -> None:
    """The same, and their derivatives with respect to centre and log FWHM."""
    n_cross = terms.shape[2]
    half = max(-low_u, high_u)
    for x in range(len(centre)):
        terms[x, slot] = 0.0
        shifts[x, slot] = 0.0
        widths[x, slot] = 0.0
        low, high = (0, n_cross) if tail > 0.0 else _rows(centre[x], half * fwhm[x], n_cross)
        inverse = 1.0 / fwhm[x]
        u = (low - 0.5 - centre[x]) * inverse
        before, density = _cumulative(u, cubics, low_u, high_u, tail)
        for y in range(low, high):
            v = (y + 0.5 - centre[x]) * inverse
            after, beyond = _cumulative(v, cubics, low_u, high_u, tail)
            terms[x, slot, y] = after - before
            shifts[x, slot, y] = (density - beyond) * inverse
            widths[x, slot, y] = u * density - v * beyond
            u, before, density = v, after, beyond


@compiled
def fill_bins(
    terms: FloatArray,
    shifts: FloatArray,
    widths: FloatArray,
    reach: NDArray[np.intp],
    slot: int,
    centre: FloatArray,
    fwhm: FloatArray,
    table: Table,
) -> None:
    """Tabulated profiles of some bins, integrated over pixels, and their derivatives by centre and log FWHM.

    Parameters
    ----------
    terms, shifts, widths : ndarray, shape (n_profile, n_cross, n_bin)
        Filled in this slot, on the rows that the profile reaches in any of the bins.
    reach : ndarray of int, shape (n_profile, 2)
        Filled in this slot: the first of these rows, and the one after the last.
    slot : int
        Which of the profiles.
    centre, fwhm : ndarray, shape (n_profile, n_bin)
    table : tuple
        The profile: see `Table`.
    """
    cubics, low, high, tail = table
    n_cross, n_bin, n_cell = terms.shape[1], terms.shape[2], len(cubics)
    per_cell = n_cell / (high - low)
    half = max(-low, high)
    top, bottom, alike, somewhere = np.inf, -np.inf, True, True
    inverse = np.empty(n_bin)
    for x in range(n_bin):
        somewhere &= np.isfinite(centre[slot, x]) & np.isfinite(fwhm[slot, x])
        inverse[x] = 1.0 / fwhm[slot, x]
        top = min(top, centre[slot, x] - half * fwhm[slot, x])
        bottom = max(bottom, centre[slot, x] + half * fwhm[slot, x])
        alike &= centre[slot, x] == centre[slot, 0] and fwhm[slot, x] == fwhm[slot, 0]
    if not somewhere:
        reach[slot, 0], reach[slot, 1] = 0, 0
        return
    top = 0.0 if tail > 0.0 else min(max(np.floor(top + 0.5), 0.0), float(n_cross))
    bottom = float(n_cross) if tail > 0.0 else min(max(np.ceil(bottom + 0.5), top), float(n_cross))
    reach[slot, 0], reach[slot, 1] = int(top), int(bottom)
    # a straight trace of one width has the same profile in all bins
    n = 1 if alike else n_bin
    value, density = np.empty((2, n)), np.empty((2, n))
    cell, part = np.empty(n, dtype=np.uint32), np.empty(n)
    for y in range(reach[slot, 0], reach[slot, 1] + 1):
        now, before = y & 1, 1 - (y & 1)
        # in three loops, of which only the one that looks up has to go from bin to bin
        for x in range(n):
            s = min(max(((y - 0.5 - centre[slot, x]) * inverse[x] - low) * per_cell, 0.0), float(n_cell))
            i = min(np.int32(s), np.int32(n_cell - 1))
            cell[x], part[x] = np.uint32(i), s - i
        for x in range(n):
            i, t = cell[x], part[x]
            a, b, c = cubics[i, 1], cubics[i, 2], cubics[i, 3]
            value[now, x] = cubics[i, 0] + t * (a + t * (b + t * c))
            density[now, x] = (a + t * (2 * b + t * (3 * c))) * per_cell
        for x in range(n):
            u = (y - 0.5 - centre[slot, x]) * inverse[x]
            density[now, x] = density[now, x] if low <= u <= high else 0.0
        if tail > 0.0:
            _add_tails(y, centre[slot], inverse, table, value[now], density[now])
        if y == reach[slot, 0]:
            continue
        for x in range(n):
            u = (y - 0.5 - centre[slot, x]) * inverse[x]
            terms[slot, y - 1, x] = value[now, x] - value[before, x]
            shifts[slot, y - 1, x] = (density[before, x] - density[now, x]) * inverse[x]
            widths[slot, y - 1, x] = (u - inverse[x]) * density[before, x] - u * density[now, x]
        if n < n_bin:
            share, shift, wider = terms[slot, y - 1, 0], shifts[slot, y - 1, 0], widths[slot, y - 1, 0]
            for x in range(n_bin):  # from zero on: only so it is known that no index is negative
                terms[slot, y - 1, x], shifts[slot, y - 1, x], widths[slot, y - 1, x] = share, shift, wider


@compiled
def _add_tails(
    y: int, centre: FloatArray, inverse: FloatArray, table: Table, value: FloatArray, density: FloatArray
) -> None:
    """Cumulative values and densities at the lower edge of a row where that lies beyond the table."""
    cubics, low, high, tail = table
    last = len(cubics) - 1
    left, right = cubics[0, 0], 1.0 - (cubics[last, 0] + cubics[last, 1] + cubics[last, 2] + cubics[last, 3])
    for x in range(len(value)):
        u = (y - 0.5 - centre[x]) * inverse[x]
        if u < low or u > high:
            mass = left * (u / low) ** -tail if u < low else right * (u / high) ** -tail
            value[x] = mass if u < low else 1.0 - mass
            density[x] = mass * tail / abs(u)
