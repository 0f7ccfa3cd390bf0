"""Tabulated profiles integrated over pixels, and their derivatives, written into slots of an array of terms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled

__all__ = ["Table", "fill_table", "fill_table_derivatives"]

FloatArray = NDArray[np.float64]

#: Cubics of each piece, shape (n, 4); where the table begins and ends, FWHM; and the exponent of what lies beyond, -1
#: where nothing does.
Table = tuple[FloatArray, float, float, float]


@compiled
def _rows(centre: float, half: float, n_cross: int) -> tuple[int, int]:
    """First row that a profile reaches, and the one after the last."""
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
