"""Light that runs on along dispersion, whatever its extent along the slit: lines of a nucleus or of a rotating disc.

A line may be more compact than the continuum, or lie elsewhere from column to column, so that the continuum's profile
explains it nowhere. What tells it from a cosmic ray is the frame itself: each of its columns looks like the next ones,
it rises and falls over three columns or more, and it is nowhere sharper along the slit than an image can be.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import contiguous
from .compiled.lines import from_neighbours, holds_line, levels, near_sources, suspects
from .compiled.outliers import leave_one_out
from .robust import median
from .solve import Known, Solution, model_of, solve_columns

__all__ = ["coherent", "mixed_profiles", "with_ends"]

FloatArray = NDArray[np.float64]

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
    if not pixels.any():
        return back
    n_source, coefficients, profiles = tolerance.shape[1], plain.coefficients, contiguous(profiles)
    at, level, seen = (
        np.empty(len(data), dtype=np.intp),
        np.empty(coefficients.shape),
        np.empty(pixels.shape, dtype=bool),
    )
    n = suspects(profiles, coefficients, plain.covariance, pixels, n_source, float(noise), at, level, seen)
    if not n:
        return back
    at, level, seen = at[:n], level[:n], seen[:n]
    three = at[:, None] + np.arange(-1, 2)
    # profiles, which have no unit, and the light of neighbours are solved for together: in units of the noise
    sigma = _usual_error(weight[three])
    values, weights, terms, hits = data[three] / sigma, weight[three] * sigma**2, profiles[three], pixels[three]
    level = level / sigma
    own, mine, tolerated = contiguous(values[:, 1]), contiguous(terms[:, 1]), contiguous(tolerance[at])
    n_term, n_cross = mine.shape[1:]
    above, variance = np.empty((2, n, 3, n_cross))
    good, left = np.empty((n, 3, n_cross), dtype=bool), np.empty((n, n_cross))
    joint, wrong = np.empty((n, 2 + n_term, n_cross)), np.empty((n, 2 + n_source, n_cross))
    from_neighbours(values, weights, terms, level, tolerated, float(noise), above, variance, good, left, joint, wrong)
    solution, odd = solve_columns(own, left, joint), np.empty(seen.shape, dtype=bool)
    leave_one_out(
        own,
        left,
        joint,
        solution.coefficients,
        solution.covariance,
        2 + n_source,
        float(threshold),
        wrong,
        1.0,
        _ROUNDS,
        odd,
    )
    odd &= seen
    neighbours = solve_columns(own, left * ~odd, joint, Known(left, solution.covariance)).coefficients
    clean, told = _clean_fits(values, weights, terms, hits)
    given, as_hits, as_line = np.empty(seen.shape, dtype=bool), np.empty(left.shape), np.empty(left.shape)
    hit = np.ascontiguousarray(hits[:, 1])
    holds_line(
        values,
        weights,
        terms,
        clean,
        told,
        float(noise),
        above,
        variance,
        good,
        left,
        neighbours,
        odd,
        seen,
        hit,
        coefficients[at, :n_source] / sigma,
        tolerated,
        given,
        as_hits,
        as_line,
    )
    blamed = solve_columns(own, as_hits, mine).chi2 + _HIT_COST * seen.sum(axis=1)
    line = solve_columns(own, as_line, joint).chi2 + _HIT_COST * (seen & ~given).sum(axis=1) + 2 * _NEIGHBOUR_COST
    back[at] = given & (line < blamed)[:, None]
    return back


def _usual_error(weight: FloatArray) -> float:
    """Error of a usual pixel, to the next power of two: a division by it changes no digit."""
    seen = weight[weight > 0]
    return float(2.0 ** np.round(-0.5 * np.log2(median(seen)))) if len(seen) else 1.0


def _clean_fits(
    data: FloatArray, weight: FloatArray, profiles: FloatArray, hits: NDArray[np.bool_]
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Coefficients of three columns each, (2, n_column, 3, n_profile), and whether their first source was seen.

    Without their own hits the neighbours are judged more fairly, with them a tilted line leaves more pixels to fit:
    all three are fitted without the rows that are hit in the middle one, then each without its own hits as well.
    """
    n_column, _, n_term, n_cross = profiles.shape
    left = np.empty((2, *data.shape))
    left[0] = weight * ~hits[:, 1:2]
    left[1] = weight * ~(hits | hits[:, 1:2])
    values = np.concatenate([data, data]).reshape(-1, n_cross)
    terms = np.concatenate([profiles, profiles]).reshape(-1, n_term, n_cross)
    solution = solve_columns(values, left.reshape(-1, n_cross), terms)
    told = np.isfinite(solution.covariance[:, 0, 0]).reshape(2, n_column, 3)
    return solution.coefficients.reshape(2, n_column, 3, n_term), told


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
    near = with_ends(lines)
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


def with_ends(lines: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Add the columns to either side, which hold the faint ends of the lines.

    Parameters
    ----------
    lines : ndarray of bool, shape (n_disp,)
        Columns of lines.

    Returns
    -------
    ndarray of bool, shape (n_disp,)
    """
    return np.asarray(np.convolve(lines, np.ones(2 * _ENDS + 1))[_ENDS : _ENDS + len(lines)] > 0.5)


def _level(coefficients: FloatArray, at: NDArray[np.intp]) -> FloatArray:
    """Each term's level about some columns, shape (n_column, n_term): the lower one of those nearby and further off."""
    out = np.empty((len(at), coefficients.shape[1]))
    levels(coefficients, at, out)
    return out


def _near_source(profiles: FloatArray) -> NDArray[np.bool_]:
    """Rows that a line of a source may reach."""
    near = np.empty((profiles.shape[0], profiles.shape[2]), dtype=bool)
    near_sources(contiguous(profiles), profiles.shape[1], near)
    return near
