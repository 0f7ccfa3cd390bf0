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
    reach, begin = max(-low, high), low / step
    piece, part, value = np.empty(n_cross + 1, dtype=np.uint32), np.empty(n_cross + 1), np.empty(n_cross + 1)
    for x in range(terms.shape[0]):
        for k in range(n_source):
            if x > 0 and centre[k, x] == centre[k, x - 1] and fwhm[k, x] == fwhm[k, x - 1]:
                # on a rectified frame neither need change along the dispersion
                for o in range(len(offsets)):
                    for y in range(n_cross):
                        terms[x, o * n_source + k, y] = terms[x - 1, o * n_source + k, y]
                continue
            # a division for each edge of a pixel would take most of the time
            scale, half = 1.0 / (fwhm[k, x] * step), reach * fwhm[k, x]
            for o in range(len(offsets)):
                middle, slot = centre[k, x] + offsets[o], o * n_source + k
                if not np.isfinite(middle + half):
                    for y in range(n_cross):
                        terms[x, slot, y] = 0.0
                    continue
                first = int(min(max(middle - half + 0.5, 0.0), float(n_cross)))
                last = min(int(min(max(middle + half + 0.5, 0.0), float(n_cross))) + 1, n_cross)
                # the cumulative distribution at the edges of the pixels, beyond the table its ends; in two loops, of
                # which only the one that looks up has to go from edge to edge
                start = (first - 0.5 - middle) * scale - begin
                for y in range(last - first + 1):
                    inside = min(max(start + y * scale, 0.0), float(n))
                    i = min(np.int32(inside), np.int32(n - 1))
                    piece[y], part[y] = np.uint32(i), inside - i
                for y in range(last - first + 1):
                    i, t = piece[y], part[y]
                    value[y] = cubics[i, 0] + t * (cubics[i, 1] + t * (cubics[i, 2] + t * cubics[i, 3]))
                for y in range(n_cross):
                    terms[x, slot, y] = 0.0
                for y in range(last - first):
                    terms[x, slot, first + y] = value[y + 1] - value[y]
