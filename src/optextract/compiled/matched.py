"""Plain sums between edges that follow each source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled

__all__ = ["between", "matched_sums", "reached"]

FloatArray = NDArray[np.float64]


@compiled
def reached(lower: float, upper: float, n_cross: int) -> tuple[int, int]:
    """First row between two edges, and the one after the last."""
    first = int(min(max(np.floor(lower + 0.5), 0.0), float(n_cross)))
    return first, int(min(max(np.ceil(upper + 0.5), 0.0), float(n_cross)))


@compiled
def between(lower: float, upper: float, y: int) -> float:
    """Part of row y that lies between two edges."""
    return min(max(min(upper, y + 0.5) - max(lower, y - 0.5), 0.0), 1.0)


@compiled
def matched_sums(
    data: FloatArray,
    background: FloatArray,
    kept: FloatArray,
    sources: FloatArray,
    basis: FloatArray,
    uncertain: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    scale: float,
    bits: tuple[int, int, int],
    column: int,
    flux: FloatArray,
    error: FloatArray,
    flags: NDArray[np.uint32],
    count: FloatArray,
    inside: FloatArray,
) -> None:
    """Sum good pixels between two edges that follow each source, parts of pixels included.

    Parameters
    ----------
    data, background, kept : ndarray, shape (n_disp, n_cross)
        Pixel values, background, and inverse variances, zero where a pixel is not good.
    sources : ndarray, shape (n_disp, n_source, n_cross)
        Profiles.
    basis : ndarray, shape (n_background, n_cross)
        Background terms; none is allowed.
    uncertain : ndarray, shape (n_disp, n_background, n_background)
        Covariance of their coefficients.
    lower, upper : ndarray, shape (n_source, n_disp)
        Edges; pixel i covers i - 0.5 to i + 0.5.
    scale : float
        Factor on the sums.
    bits : tuple of int
        For no data, a partial aperture, and the edge.
    column : int
        Where the window begins.
    flux, error, count : ndarray, shape (n_source, n_column)
        Filled: sums, their 1 sigma errors with the background's, and good pixels; NaN beyond the window.
    flags : ndarray of uint32, shape (n_source, n_column)
        Filled.
    inside : ndarray, shape (n_source, n_disp)
        Filled: part of each profile between the edges.
    """
    n_disp, n_source, n_cross = sources.shape
    moved = np.empty(len(basis))
    flux[:] = np.nan
    error[:] = np.nan
    count[:] = np.nan
    flags[:] = bits[0]
    for x in range(n_disp):
        for k in range(n_source):
            total, variance, parts, profile, partial = 0.0, 0.0, 0.0, 0.0, False
            moved[:] = 0.0
            first, last = reached(lower[k, x], upper[k, x], n_cross)
            for y in range(first, last):
                part = between(lower[k, x], upper[k, x], y)
                profile += part * sources[x, k, y]
                if kept[x, y] > 0:
                    parts += part
                    total += part * (data[x, y] - background[x, y])
                    variance += part * part / kept[x, y]
                    for i in range(len(basis)):
                        moved[i] += part * basis[i, y]
                elif part > 0:
                    partial = True
            for i in range(len(basis)):
                for j in range(len(basis)):
                    variance += moved[i] * uncertain[x, i, j] * moved[j]
            at = column + x
            inside[k, x], count[k, at] = profile, parts
            flag = bits[0] if parts == 0.0 else bits[1] if partial else 0
            if lower[k, x] < -0.5 or upper[k, x] > n_cross - 0.5:
                flag |= bits[2]
            flags[k, at] = flag
            if parts > 0:
                flux[k, at], error[k, at] = total * scale, np.sqrt(variance) * scale
