"""Profiles at all places of every column: sources, and their negative twins at some distance from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled

__all__ = ["fill_places"]

FloatArray = NDArray[np.float64]


@compiled
def fill_places(
    terms: FloatArray,
    offsets: FloatArray,
    centre: FloatArray,
    fwhm: FloatArray,
    cubics: FloatArray,
    low: float,
    high: float,
) -> None:
    """Integrals of a tabulated profile that ends with its table over each pixel.

    Parameters
    ----------
    terms : ndarray, shape (n_disp, n_term, n_cross)
        The first terms are filled: all sources at the first offset, then at the next one.
    offsets : ndarray, shape (n_offset,)
        Pixel.
    centre, fwhm : ndarray, shape (n_source, n_disp)
        Row and width of the sources.
    cubics, low, high
        As in `optextract.compiled.profile.Table`.
    """
    n_cross, n, n_source = terms.shape[2], len(cubics), len(centre)
    step = (high - low) / n
    reach = max(-low, high)
    for x in range(terms.shape[0]):
        for k in range(n_source):
            # a division for each edge of a pixel would take most of the time
            scale, half = 1.0 / (fwhm[k, x] * step), reach * fwhm[k, x]
            for o in range(len(offsets)):
                middle, slot = centre[k, x] + offsets[o], o * n_source + k
                first = int(min(max(np.floor(middle - half + 0.5), 0.0), float(n_cross)))
                last = int(min(max(np.ceil(middle + half + 0.5), float(first)), float(n_cross)))
                for y in range(first):
                    terms[x, slot, y] = 0.0
                for y in range(last, n_cross):
                    terms[x, slot, y] = 0.0
                start = (0.5 - middle) * scale - low / step
                before = _cumulative(start + (first - 1.0) * scale, cubics)
                for y in range(first, last):
                    after = _cumulative(start + y * scale, cubics)
                    terms[x, slot, y] = after - before
                    before = after


@compiled
def _cumulative(s: float, cubics: FloatArray) -> float:
    """Cumulative distribution, s pieces from where the table begins; beyond the table its ends."""
    inside = min(max(s, 0.0), float(len(cubics)))
    i = min(int(inside), len(cubics) - 1)
    t = inside - i
    return cubics[i, 0] + t * (cubics[i, 1] + t * (cubics[i, 2] + t * cubics[i, 3]))
