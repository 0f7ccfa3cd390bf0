"""Wavelength bins: how pixels overlap them, and the least squares for what they hold. Arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import bad_value

__all__ = ["Solved", "averaged", "overlap", "pixel_edges", "solve", "split"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Solved:
    """Bins, their covariance, the model of every column and its leverage."""

    flux: FloatArray
    uncertainty: FloatArray
    covariance: FloatArray
    model: FloatArray
    leverage: FloatArray


def pixel_edges(wavelength: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lower and upper wavelength of each pixel from those of the pixel centres, shape (n,); NaN where unknown."""
    n = len(wavelength)
    if n < 2:
        raise bad_value("wavelength", "pixel_edges", "of two columns or more", n)
    middle = 0.5 * (wavelength[1:] + wavelength[:-1])
    left = np.concatenate([[np.nan], middle])
    right = np.concatenate([middle, [np.nan]])
    # beside an edge or a gap the pixel is as wide on that side as on the other
    left = np.where(np.isfinite(left), left, 2 * wavelength - right)
    right = np.where(np.isfinite(right), right, 2 * wavelength - left)
    return np.minimum(left, right), np.maximum(left, right)


def overlap(low: FloatArray, high: FloatArray, edges: FloatArray) -> FloatArray:
    """Part of each pixel that lies in each bin, shape (n_pixel, n_bin); rows of pixels that stick out sum to less."""
    inside = np.minimum(high[:, None], edges[1:]) - np.maximum(low[:, None], edges[:-1])
    return np.clip(inside, 0.0, None) / (high - low)[:, None]


def response(low: FloatArray, high: FloatArray, edges: FloatArray) -> FloatArray:
    """Mean over each pixel of a spectrum known by its means over bins, shape (n_pixel, n_bin).

    Within a bin the spectrum is a line whose slope is that between the two neighbours' means, so that the mean of the
    bin is kept (van Leer 1977): a flat bin would make two exposures disagree wherever the spectrum is not flat.
    """
    part = overlap(low, high, edges)
    n = len(edges) - 1
    if n < 3:
        return part
    middle = 0.5 * (edges[1:] + edges[:-1])
    centre = 0.5 * (np.minimum(high[:, None], edges[1:]) + np.maximum(low[:, None], edges[:-1])) - middle
    lever = np.where(part > 0, part * centre, 0.0)
    out = part.copy()
    for k in range(1, n - 1):
        slope = lever[:, k] / (middle[k + 1] - middle[k - 1])
        out[:, k + 1] += slope
        out[:, k - 1] -= slope
    return out


def split(edges: FloatArray, pixel: float) -> FloatArray:
    """Each bin in equal parts of about a pixel."""
    parts = np.maximum(np.round(np.diff(edges) / pixel).astype(int), 1)
    inner = [np.linspace(a, b, n + 1)[:-1] for a, b, n in zip(edges[:-1], edges[1:], parts, strict=True)]
    return np.concatenate([*inner, edges[-1:]])


def averaged(solved: Solved, bins: FloatArray, wide: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Means over wider bins that the narrow ones nest in, where half of their width or more is known."""
    owner = np.searchsorted(wide, 0.5 * (bins[1:] + bins[:-1])) - 1
    share = (owner == np.arange(len(wide) - 1)[:, None]) * np.diff(bins) * np.isfinite(solved.flux)
    total = share.sum(axis=1)
    known = total > 0.5 * np.diff(wide)
    share = share / np.where(total > 0, total, 1.0)[:, None]
    flux = np.where(known, share @ np.nan_to_num(solved.flux), np.nan)
    covariance = share @ solved.covariance @ share.T
    covariance[~known] = 0.0
    covariance[:, ~known] = 0.0
    return flux, covariance


def solve(
    data: FloatArray,
    error: FloatArray,
    low: FloatArray,
    high: FloatArray,
    bins: FloatArray,
    use: NDArray[np.bool_],
    method: str,
) -> Solved:
    n = len(bins) - 1
    part = overlap(low, high, bins)
    weight = np.where(use, 1.0 / np.where(use, error, 1.0) ** 2, 0.0)
    # a bin counts where pixels cover half of its width or more: what lies beyond the data is not made up
    covered = ((part * (high - low)[:, None])[use].sum(axis=0) / np.diff(bins)) > 0.5
    values = np.where(use, data, 0.0)
    covariance = np.zeros((n, n))
    flux = np.full(n, np.nan)
    if method == "joint":
        design = response(low, high, bins)
        matrix = (design * weight[:, None]).T @ design
        lost = use & (part[:, ~covered].sum(axis=1) > 0.5)
        keep = covered & (np.diag(matrix) > 0)
        weight = np.where(lost, 0.0, weight)
        design = design[:, keep]
        matrix = (design * weight[:, None]).T @ design
        inverse = np.linalg.pinv(matrix, rcond=1e-10, hermitian=True)
        solution = inverse @ (design.T @ (weight * values))
        covariance[np.ix_(keep, keep)] = inverse
        flux[keep] = solution
        model = design @ solution
        leverage = np.einsum("xk,kl,xl->x", design, inverse, design) * weight
    else:
        total = (part * weight[:, None]).sum(axis=0)
        keep = covered & (total > 0)
        linear = (part * weight[:, None])[:, keep] / total[keep]
        flux[keep] = linear.T @ values
        spread = np.where(use, error, 0.0) ** 2
        covariance[np.ix_(keep, keep)] = (linear * spread[:, None]).T @ linear
        shares = part[:, keep] / np.maximum(part[:, keep].sum(axis=1), 1e-300)[:, None]
        model = shares @ flux[keep]
        leverage = np.einsum("xk,xk->x", shares, linear)
    uncertainty = np.where(np.isfinite(flux), np.sqrt(np.diag(covariance)), np.nan)
    return Solved(flux, uncertainty, covariance, model, np.clip(leverage, 0.0, 1.0))
