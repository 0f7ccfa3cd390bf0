"""The last solution of all columns, and what the background's errors add to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .linear import coefficient

__all__ = ["background_variance", "solve_final", "spread_along"]

FloatArray = NDArray[np.float64]


@compiled
def spread_along(along: FloatArray, covariance: FloatArray, out: FloatArray) -> None:
    """Covariance in each column of the terms across the slit, from that of their coefficients along dispersion.

    Parameters
    ----------
    along : ndarray, shape (n_disp, n_along)
        Terms along dispersion.
    covariance : ndarray, shape (n_across n_along, n_across n_along)
        Of the coefficients, ordered (across, along).
    out : ndarray, shape (n_disp, n_across, n_across)
        Filled.
    """
    n_disp, n_along = along.shape
    for x in range(n_disp):
        for i in range(out.shape[1]):
            for j in range(i + 1):
                total = 0.0
                for m in range(n_along):
                    part = 0.0
                    for n in range(n_along):
                        part += covariance[i * n_along + m, j * n_along + n] * along[x, n]
                    total += part * along[x, m]
                out[x, i, j] = total
                out[x, j, i] = total


@compiled
def background_variance(basis: FloatArray, covariance: FloatArray, every: bool, root: bool, out: FloatArray) -> None:
    """Variance, or its root, of sums of terms whose coefficients have a covariance in each column.

    Parameters
    ----------
    basis : ndarray, shape (n_term, n_cross)
    covariance : ndarray, shape (n_disp, n_term, n_term)
    every : bool
        Whether a column in which one of the variances is not positive says nothing: NaN.
    root : bool
        Whether the root is taken.
    out : ndarray, shape (n_disp, n_cross)
        Filled.
    """
    n_term, n_cross = basis.shape
    for x in range(len(covariance)):
        told = True
        for i in range(n_term):
            told &= covariance[x, i, i] > 0
        start = 0.0 if told or not every else np.nan
        for y in range(n_cross):
            out[x, y] = start
        for i in range(n_term):
            for j in range(i + 1):
                shared = covariance[x, i, j] * (1.0 if i == j else 2.0)
                for y in range(n_cross):
                    out[x, y] += shared * basis[i, y] * basis[j, y]
        if root:
            for y in range(n_cross):
                out[x, y] = np.sqrt(out[x, y])


@compiled
def _inside(sources: FloatArray, weight: FloatArray, x: int, k: int) -> float:
    """Part of profile k of column x on pixels that have a weight."""
    total = 0.0
    for y in range(sources.shape[2]):
        total += sources[x, k, y] if weight[x, y] > 0 else 0.0
    return total


@compiled
def _project(profiles: FloatArray, weighted: FloatArray, x: int, vector: FloatArray) -> None:
    """Sums of weighted pixel values times each profile of column x."""
    for t in range(profiles.shape[1]):
        total = 0.0
        for y in range(profiles.shape[2]):
            total += weighted[x, y] * profiles[x, t, y]
        vector[t] = total


@compiled
def _add_background(
    profiles: FloatArray,
    kept: FloatArray,
    basis: FloatArray,
    uncertain: FloatArray,
    inverse: FloatArray,
    covariance: FloatArray,
) -> None:
    """Covariance of the fluxes: the inverse of the normal matrix, and what the background adds to it.

    f = N^-1 P W (D - B): an error of the background term b moves the flux by N^-1 P W b.
    """
    n_disp, n_term, n_cross = profiles.shape
    n_source, n_background = covariance.shape[1], len(basis)
    own, moved, share = np.zeros(n_term), np.zeros((n_source, n_background)), np.empty(n_cross)
    for x in range(n_disp):
        for k in range(n_source):
            for t in range(n_term):
                own[t] = inverse[x, k, t] if np.isfinite(inverse[x, k, t]) else 0.0
            if n_background > 0:
                # the weights of the flux first: each term is gone through once, and not with every background term
                for y in range(n_cross):
                    share[y] = own[0] * profiles[x, 0, y]
                for t in range(1, n_term):
                    for y in range(n_cross):
                        share[y] += own[t] * profiles[x, t, y]
                for y in range(n_cross):
                    share[y] *= kept[x, y]
            for b in range(n_background):
                value = 0.0
                for y in range(n_cross):
                    value += share[y] * basis[b, y]
                moved[k, b] = value
            for j in range(k + 1):
                value = own[j]
                for b in range(n_background):
                    for c in range(n_background):
                        value += moved[k, b] * uncertain[x, b, c] * moved[j, c]
                covariance[x, k, j] = value
                covariance[x, j, k] = value


@compiled
def solve_final(
    data: FloatArray,
    background: FloatArray,
    weight: FloatArray,
    kept: FloatArray,
    pixels: NDArray[np.bool_],
    profiles: FloatArray,
    sources: FloatArray,
    basis: FloatArray,
    uncertain: FloatArray,
    with_all: FloatArray,
    inverse: FloatArray,
    telling: float,
    coefficients: FloatArray,
    covariance: FloatArray,
    unrejected: FloatArray,
    fraction: FloatArray,
    good: FloatArray,
    total: FloatArray,
    struck: NDArray[np.intp],
    model: FloatArray,
    residual: FloatArray,
) -> tuple[int, int, float]:
    """Fluxes with and without rejection, their covariance, parts of the profiles, model and residuals.

    Parameters
    ----------
    data, background, weight, kept : ndarray, shape (n_disp, n_cross)
        Pixel values, background, inverse variances before and after rejection.
    pixels : ndarray of bool, shape (n_disp, n_cross)
        Rejected ones.
    profiles : ndarray, shape (n_disp, n_term, n_cross)
        All terms.
    sources : ndarray, shape (n_disp, n_source, n_cross)
        Profiles of the sources alone, which are the first terms.
    basis : ndarray, shape (n_background, n_cross)
        Background terms; none is allowed.
    uncertain : ndarray, shape (n_disp, n_background, n_background)
        Covariance of their coefficients.
    with_all, inverse : ndarray, shape (n_disp, n_term, n_term)
        Covariance of the coefficients for the weights before and after rejection, background known; infinite variance
        of a term that no pixel sees.
    telling : float
        Part of a profile in a pixel whose rejection counts.
    coefficients : ndarray, shape (n_disp, n_term)
        Filled, as all that follow.
    covariance : ndarray, shape (n_disp, n_source, n_source)
        Of the sources' fluxes, with the background's in it.
    unrejected, fraction : ndarray, shape (n_disp, n_source)
        The fluxes with no pixel rejected, NaN where the pixels do not tell them, and the part of each profile on those.
    good, total : ndarray, shape (n_disp, n_source)
        Part of each profile on pixels that were kept, and on all.
    struck : ndarray of int, shape (n_disp, n_source)
        Rejected pixels of each profile.
    model, residual : ndarray, shape (n_disp, n_cross)
        Background and all terms; data minus that, 0 where a pixel is not used.

    Returns
    -------
    n_good, n_seen : int
        Pixels that were used, and columns that have one.
    chi2 : float
        Weighted sum of the squared residuals.
    """
    n_disp, n_term, n_cross = profiles.shape
    n_source = sources.shape[1]
    vector, n_good, n_seen, chi2 = np.zeros(n_term), 0, 0, 0.0
    for x in range(n_disp):
        n_kept, n_hit, n_other = 0, 0, 0
        for y in range(n_cross):
            # the two images are room to work in until they are filled below
            above = data[x, y] - background[x, y]
            residual[x, y] = kept[x, y] * above if kept[x, y] > 0 else 0.0
            model[x, y] = weight[x, y] * above if weight[x, y] > 0 else 0.0
            n_kept += int(kept[x, y] > 0)
            n_other += int(kept[x, y] != weight[x, y])
            n_hit += int(pixels[x, y])
        n_good += n_kept
        n_seen += int(n_kept > 0)
        if n_other > 0:
            _project(profiles, model, x, vector)
            for k in range(n_source):
                told = np.isfinite(with_all[x, k, k])
                unrejected[x, k] = coefficient(with_all, x, vector, k) if told else np.nan
        _project(profiles, residual, x, vector)
        for y in range(n_cross):
            model[x, y] = background[x, y]
        for t in range(n_term):
            flux = coefficient(inverse, x, vector, t)
            coefficients[x, t] = flux
            for y in range(n_cross):
                model[x, y] += flux * profiles[x, t, y]
        for y in range(n_cross):
            left = data[x, y] - model[x, y] if kept[x, y] > 0 else 0.0
            residual[x, y] = left
            chi2 += left * kept[x, y] * left
        for k in range(n_source):
            good[x, k] = _inside(sources, kept, x, k)
            fraction[x, k] = _inside(sources, weight, x, k) if n_other > 0 else good[x, k]
            if n_other == 0:
                unrejected[x, k] = coefficients[x, k] if np.isfinite(inverse[x, k, k]) else np.nan
            whole, hits = 0.0, 0
            for y in range(n_cross):
                whole += sources[x, k, y]
            if n_hit > 0:
                for y in range(n_cross):
                    hits += int(pixels[x, y] & (sources[x, k, y] > telling))
            total[x, k], struck[x, k] = whole, hits
    _add_background(profiles, kept, basis, uncertain, inverse, covariance)
    return n_good, n_seen, chi2
