"""Light that runs on along dispersion, whatever its extent along the slit: lines of a nucleus or of a rotating disc.

A line may be more compact than the continuum, or lie elsewhere from column to column, so that the continuum's profile
explains it nowhere. What tells it from a cosmic ray is the frame itself: each of its columns looks like the next ones,
it rises and falls over three columns or more, and it is nowhere sharper along the slit than an image can be.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import contiguous
from .compiled.outliers import leave_one_out
from .solve import Solution, model_of, solve_columns

__all__ = ["coherent", "mixed_profiles"]

FloatArray = NDArray[np.float64]

#: Columns from a line in which its continuum is seen: close by, and further off for lines that are broad themselves.
_NEAR = np.concatenate([np.arange(-10, -2), np.arange(3, 11)])
_FAR = np.concatenate([np.arange(-30, -10), np.arange(11, 31)])

_WING = 0.003  # a pixel with less of the profile than this tells nothing of the flux
_MARGIN = 2  # rows beyond in which a rotating disc may shine
_CLEAR = 3.0  # sigma of the excess in each of three columns
_FAINTEST = 0.05  # of the brightest of the three in the faintest one: a FWHM of two columns, at the edge of a column
_TOGETHER = 1.0  # least sum of both neighbours along the slit over the brightest row: it is 1.08 at a FWHM of 2 rows
_THIRD = 0.2  # least third of three rows over a pixel in them: 0.29 at a FWHM of 2 rows, 0 for a track of two rows
_ALONG = 0.9  # least sum of what the two next columns lack in a row over what this one lacks: 1.08 at a FWHM of 2
_DOUBT = 1.5  # sigma of noise that these limits leave
_BENT = 0.03  # of a line's light by which a column may differ from what the next two have in common
_SHARE = 0.4  # variance of each neighbour in what they predict: their coefficients are about 0.6
_HIT_COST = 12.0  # chi2 that blaming one more pixel must save: each was chosen as the worst of its column
_NEIGHBOUR_COST = 4.0  # the same for each neighbour that explains the column
_ROUNDS = 12
_ENDS = 3  # columns to either side of those in which the profile failed that belong to the line
_BRIGHT = 10.0  # sigma of a line's light in a column that tells its own profile


def coherent(
    data: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    plain: Solution,
    tolerance: FloatArray,
    pixels: NDArray[np.bool_],
    threshold: float,
    noise: float,
) -> NDArray[np.bool_]:
    """Find the rejected pixels that hold the light of a line.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Background-subtracted pixel values and inverse variances (zero where bad).
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
        Sources first, then their negative twins.
    plain : Solution
        The fit to all pixels.
    tolerance : ndarray, shape (n_disp, n_source, n_cross)
        Tolerated error of each source's profile.
    pixels : ndarray of bool, shape (n_disp, n_cross)
        Rejected ones.
    threshold : float
        In units of a pixel's error.
    noise : float
        Empirical factor on the errors.

    Returns
    -------
    ndarray of bool, shape (n_disp, n_cross)
        Those that are to be given back.
    """
    back = np.zeros(pixels.shape, dtype=bool)
    n_source = tolerance.shape[1]
    hit = np.zeros(len(pixels), dtype=bool)
    hit[np.flatnonzero(pixels[1:-1]) // pixels.shape[1] + 1] = True
    at = np.flatnonzero(hit)
    if not len(at):
        return back
    seen = _near_source(profiles[at, :n_source]) & pixels[at]
    some = seen.any(axis=1)
    at, seen = at[some], seen[some]
    if not len(at):
        return back
    level = _level(plain.coefficients, at)
    level[:, :n_source] = np.maximum(level[:, :n_source], 0.0)
    runs_on = _runs_on(plain, n_source, level, at, noise)
    at, level, seen = at[runs_on], level[runs_on], seen[runs_on]
    if not len(at):
        return back

    above = [data[at + k] - model_of(profiles[at + k], level) for k in (-1, 0, 1)]
    good = [weight[at + k] > 0 for k in (-1, 0, 1)]
    with np.errstate(divide="ignore"):
        variance = [np.where(g, noise**2 / weight[at + k], 0.0) for k, g in zip((-1, 0, 1), good, strict=True)]
    # where one neighbour has no data, or a hit of its own, the other one stands in for it
    for k in (0, 2):
        good[k] &= _smooth_rows(above[k], variance[k])
    for this, other in ((0, 2), (2, 0)):
        above[this] = np.where(good[this], above[this], np.where(good[other], above[other], 0.0))
        variance[this] = np.where(good[this], variance[this], variance[other])
    known = good[1] & (good[0] | good[2])
    with np.errstate(divide="ignore"):
        left = np.where(known, 1.0 / (variance[1] + _SHARE * (variance[0] + variance[2])), 0.0)
    beside = np.stack([above[0], above[2]], axis=1)
    terms = np.concatenate([beside, profiles[at]], axis=1)
    # what the next columns predict is as good as the profile at least: the continuum beneath is tolerated alike
    wrong = np.concatenate([_BENT * np.abs(beside), tolerance[at]], axis=1)
    odd = np.empty(seen.shape, dtype=bool)
    solution = solve_columns(data[at], left, terms)
    leave_one_out(
        contiguous(data[at]),
        left,
        terms,
        solution.coefficients,
        solution.covariance,
        2 + n_source,
        float(threshold),
        contiguous(wrong),
        1.0,
        _ROUNDS,
        odd,
    )
    odd &= seen
    solution = solve_columns(data[at], left * ~odd, terms)
    predicted = model_of(beside, solution.coefficients[:, :2])
    light = np.where(odd | ~good[1], predicted, above[1])
    smooth = _smooth_rows(light, variance[1]) & _three_rows(light, variance[1])
    given = seen & ~odd & smooth & known & _lacked_alike(data, weight, profiles, pixels, at, noise)

    misfit = np.einsum("xk,xky->xy", np.maximum(plain.coefficients[at, :n_source], 0.0), tolerance[at])
    usable = weight[at] / (noise**2 + weight[at] * misfit**2)
    hits = solve_columns(data[at], usable * ~pixels[at], profiles[at]).chi2 + _HIT_COST * seen.sum(axis=1)
    bent = _BENT * np.maximum(predicted, 0.0)
    still = pixels[at] & ~given
    rest = left / (1.0 + left * (bent**2 + misfit**2)) * ~still
    line = solve_columns(data[at], rest, terms).chi2 + _HIT_COST * (seen & still).sum(axis=1) + 2 * _NEIGHBOUR_COST
    back[at] = given & (line < hits)[:, None]
    return back


def mixed_profiles(
    data: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    plain: Solution,
    pixels: NDArray[np.bool_],
    lines: NDArray[np.bool_],
    noise: float,
) -> dict[int, FloatArray]:
    """Profile of continuum and line together in the columns of a line, from their own light.

    The line's light is the mean of a column's own and of what the next ones make of it. Where photons of the line are
    the noise, its own profile is nearly as good as a perfect one, and the continuum's would be off by tens of per cent.

    Parameters
    ----------
    data, weight, profiles, plain, noise
        As for `coherent`.
    pixels : ndarray of bool, shape (n_disp, n_cross)
        Rejected ones, without those that were given back.
    lines : ndarray of bool, shape (n_disp,)
        Columns of lines that differ from the continuum's profile.

    Returns
    -------
    dict of int to ndarray, shape (n_cross,)
        By column, of unit total; for the columns to either side as well, as far as the line is bright there.
    """
    near = np.convolve(lines, np.ones(2 * _ENDS + 1), mode="same") > 0.5
    at = np.flatnonzero(near[1:-1]) + 1
    level = _level(plain.coefficients, at)
    level[:, 0] = np.maximum(level[:, 0], 0.0)
    error = noise * np.sqrt(plain.covariance[at, 0, 0])
    bright = np.isfinite(error) & (plain.coefficients[at, 0] - level[:, 0] > _BRIGHT * error)
    at, level = at[bright], level[bright]
    rows = _near_source(profiles[at, :1])
    above = [data[at + k] - model_of(profiles[at + k], level) for k in (-1, 0, 1)]
    good = [(weight[at + k] > 0) & ~pixels[at + k] & rows for k in (-1, 0, 1)]
    known = good[1] & good[0] & good[2]
    beside = np.stack([np.where(rows, above[0], 0.0), np.where(rows, above[2], 0.0)], axis=1)
    solution = solve_columns(above[1], weight[at] * known, beside)
    predicted = model_of(beside, solution.coefficients)
    light = np.where(known, 0.5 * (above[1] + predicted), np.where(good[1], above[1], predicted))
    together = level[:, :1] * profiles[at, 0] + np.where(rows, light, 0.0)
    total = level[:, 0] + np.where(rows, light, 0.0).sum(axis=1)
    usable = np.isfinite(solution.covariance[:, 0, 0]) & (total > 0)
    return {int(at[k]): together[k] / total[k] for k in np.flatnonzero(usable)}


def _lacked_alike(
    data: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    pixels: NDArray[np.bool_],
    at: NDArray[np.intp],
    noise: float,
) -> NDArray[np.bool_]:
    """Pixels that stand out from the profile in the next columns as well: not a hit on a line that has it.

    The three columns are fitted without these rows (and each without its own hits), and what is left is compared.
    """
    # without their own hits the neighbours are judged more fairly, with them a tilted line leaves more pixels to fit
    fits = [[pixels[at]] * 3, [pixels[at] | pixels[at + k] for k in (-1, 0, 1)]]
    alike = np.zeros((len(at), data.shape[1]), dtype=bool)
    for masks in fits:
        left, spread = [], []
        for k, mask in zip((-1, 0, 1), masks, strict=True):
            one = weight[at + k]
            clean = solve_columns(data[at + k], one * ~mask, profiles[at + k])
            seen = (one > 0) & np.isfinite(clean.covariance[:, 0, 0])[:, None]
            left.append(np.where(seen, data[at + k] - model_of(profiles[at + k], clean.coefficients), np.nan))
            with np.errstate(divide="ignore"):
                spread.append(np.where(seen, noise**2 / one, np.nan))
        before, this, after = left
        together = np.where(np.isnan(before), 2 * after, np.where(np.isnan(after), 2 * before, before + after))
        doubt = np.nan_to_num(spread[0]) + np.nan_to_num(spread[2]) + spread[1]
        alike |= np.sign(this) * together > _ALONG * np.abs(this) - _DOUBT * np.sqrt(doubt)
    return alike


def _level(coefficients: FloatArray, at: NDArray[np.intp]) -> FloatArray:
    """Each term's level about some columns, shape (n_column, n_term): the lower one of those nearby and further off."""
    last = len(coefficients) - 1
    near, far = (_middle(coefficients[np.clip(at[:, None] + k, 0, last)]) for k in (_NEAR, _FAR))
    return np.where(np.abs(near) < np.abs(far), near, far)


def _middle(values: FloatArray) -> FloatArray:
    """Median along the second axis, of an even number of values."""
    ordered = np.sort(values, axis=1)
    half = values.shape[1] // 2
    return np.asarray(0.5 * (ordered[:, half - 1] + ordered[:, half]))


def _runs_on(
    plain: Solution, n_source: int, level: FloatArray, at: NDArray[np.intp], noise: float
) -> NDArray[np.bool_]:
    """Whether a column is one of three with an excess that no step of a single column makes."""
    flux = plain.coefficients[:, :n_source].sum(axis=1)
    error = noise * np.sqrt(np.einsum("xkk->xk", plain.covariance)[:, :n_source].sum(axis=1))
    around = at[:, None] + np.arange(-2, 3)
    inside = (around >= 0) & (around < len(flux))
    around = np.clip(around, 0, len(flux) - 1)
    excess = np.where(inside, flux[around] - level[:, :n_source].sum(axis=1)[:, None], 0.0)
    clear = inside & (excess > _CLEAR * error[around])
    found = np.zeros(len(at), dtype=bool)
    for start in range(3):
        three = excess[:, start : start + 3]
        found |= clear[:, start : start + 3].all(axis=1) & (three.min(axis=1) > _FAINTEST * three.max(axis=1))
    return found


def _near_source(profiles: FloatArray) -> NDArray[np.bool_]:
    """Rows that a line of a source may reach."""
    near: NDArray[np.bool_] = np.abs(profiles).max(axis=1) > _WING
    for _ in range(_MARGIN):
        near[:, 1:], near[:, :-1] = near[:, 1:] | near[:, :-1], near[:, :-1] | near[:, 1:]
    return near


def _shifted(values: FloatArray, by: int) -> FloatArray:
    """Values of the row that is `by` further, 0 beyond the ends."""
    out = np.zeros_like(values)
    if by > 0:
        out[:, :-by] = values[:, by:]
    else:
        out[:, -by:] = values[:, :by]
    return out


def _smooth_rows(light: FloatArray, variance: FloatArray) -> NDArray[np.bool_]:
    """Pixels that are not sharper along the slit than an image can be."""
    together = _shifted(light, 1) + _shifted(light, -1)
    spread = np.sqrt(variance + _shifted(variance, 1) + _shifted(variance, -1))
    return together > _TOGETHER * light - _DOUBT * spread


def _three_rows(light: FloatArray, variance: FloatArray) -> NDArray[np.bool_]:
    """Pixels that are one of three neighbouring rows which shine alike."""
    down, up = _shifted(light, -1), _shifted(light, 1)
    least = np.maximum(np.minimum(down, _shifted(light, -2)), np.minimum(up, _shifted(light, 2)))
    least = np.maximum(least, np.minimum(down, up))
    return least > _THIRD * light - _DOUBT * np.sqrt(variance)
