"""The correction of a profile by hat functions of the offset from its trace."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled

__all__ = ["hats_of", "near_knots", "offsets_from"]

FloatArray = NDArray[np.float64]


@compiled
def offsets_from(centre: FloatArray, fwhm: FloatArray, out: FloatArray) -> None:
    """Offsets of all pixels from traces in units of FWHM.

    Parameters
    ----------
    centre, fwhm : ndarray, shape (n_profile, n_disp)
    out : ndarray, shape (n_profile, n_disp, n_cross)
        Filled.
    """
    n_profile, n_disp, n_cross = out.shape
    for k in range(n_profile):
        for x in range(n_disp):
            for y in range(n_cross):
                out[k, x, y] = (y - centre[k, x]) / fwhm[k, x]


@compiled
def near_knots(
    profiles: FloatArray,
    offset: FloatArray,
    every: int,
    knots: FloatArray,
    reach: float,
    total: FloatArray,
    count: FloatArray,
) -> None:
    """Sum the first profile over the pixels whose next knot is the same, in every so many columns.

    Parameters
    ----------
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
    offset : ndarray, shape (n_profile, n_disp, n_cross)
        In units of FWHM.
    every : int
    knots : ndarray, shape (n_knot,)
        Evenly spaced, in the same units.
    reach : float
        Largest offset, in the same units.
    total, count : ndarray, shape (n_knot,)
        Filled: the sums, and the pixels in them.
    """
    n_knot = len(knots)
    step = knots[1] - knots[0]
    for k in range(n_knot):
        total[k], count[k] = 0.0, 0.0
    for x in range(0, len(profiles), every):
        for y in range(profiles.shape[2]):
            here = offset[0, x, y]
            if not abs(here) <= reach:
                continue
            k = min(max(int(np.ceil((here - knots[0]) / step)), 0), n_knot - 1)
            # rounding must not decide where an offset is a knot's own
            if k > 0 and knots[k - 1] >= here:
                k -= 1
            elif k < n_knot - 1 and knots[k] < here:
                k += 1
            total[k] += profiles[x, 0, y]
            count[k] += 1.0


@compiled
def hats_of(profiles: FloatArray, offset: FloatArray, knots: FloatArray, height: FloatArray, out: FloatArray) -> None:
    """The correction in each pixel, no more negative than the profile is positive.

    Parameters
    ----------
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
    offset : ndarray, shape (n_profile, n_disp, n_cross)
        In units of FWHM.
    knots, height : ndarray, shape (n_knot,)
        The correction at evenly spaced offsets; nothing beyond them.
    out : ndarray, shape (n_disp, n_profile, n_cross)
        Filled.
    """
    n_disp, n_profile, n_cross = profiles.shape
    n_cell = len(knots) - 1
    step = knots[1] - knots[0]
    slope = np.empty(n_cell)
    for i in range(n_cell):
        slope[i] = (height[i + 1] - height[i]) / (knots[i + 1] - knots[i])
    base, rise = np.empty(n_cross), np.empty(n_cross)
    for x in range(n_disp):
        for k in range(n_profile):
            for y in range(n_cross):
                here = offset[k, x, y]
                base[y], rise[y] = 0.0, 0.0
                if knots[0] <= here <= knots[n_cell]:
                    cell = min(max(int((here - knots[0]) / step), 0), n_cell - 1)
                    # rounding must not decide where an offset is a knot's own
                    if here < knots[cell]:
                        cell -= 1
                    elif cell < n_cell - 1 and here >= knots[cell + 1]:
                        cell += 1
                    base[y], rise[y] = height[cell], slope[cell] * (here - knots[cell])
            # in a loop of its own the product is rounded first, as numpy does: columns that hardly see a source tell
            for y in range(n_cross):
                # a pixel cannot hold negative light
                out[x, k, y] = max(base[y] + rise[y], -profiles[x, k, y])
