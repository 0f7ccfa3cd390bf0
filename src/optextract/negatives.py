"""Negative traces that nod subtraction leaves beside a source, where the file does not tell of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .compiled import contiguous
from .compiled.search import has_holes
from .filters import SPREAD
from .geometry import terms_of
from .kernel import Slice, cross_basis
from .profiles import Gaussian
from .robust import median
from .solve import solve_columns

__all__ = ["find_negatives", "misfit_with"]

FloatArray = NDArray[np.float64]

_PATTERN_GAIN = 64.0  # drop of chi2 by which a pattern of negative traces is believed
_PLACES = (-2, -1, 1, 2)  # nods from the source at which its negatives may lie
_DEPTH_COST = 10.0  # chi2 that every trace of a pattern must pay for its free depth
_WIDTHS = np.array([0.65, 0.8, 1.0])  # of the FWHM that was found, which holes may have widened
_SHIFTS, _FINE_WIDTHS = np.linspace(-0.1, 0.1, 9), np.linspace(0.65, 1.05, 9)  # rows, and of the FWHM
_FAR_AWAY = 1e6
_DEEP, _SURE = 0.03, 4.0  # of the peak, and sigma below a fit: what may be a negative trace
_LEAST_ROWS = 12
_MOST = 6  # negative traces
_CUT = 0.7  # FWHM beyond the rows: the light of a trace whose middle is there still shows
_FINE = 8  # steps of 0.02 pixels to either side
_COLD = 15.0  # sigma below the middle row, from which it is asked whether the neighbours share it
_LIT, _FALLEN = 8.0, 0.2  # sigma of an edge row above the middle one, and what is left of that two FWHM further in


def find_negatives(cut: Slice, positions: tuple[float, ...], fwhm: float) -> tuple[float, ...]:
    """Offsets of negative traces beside the first source that the file does not tell of.

    Nod subtraction leaves them at once and twice the nod, on either side or, beside a source on the first or last nod,
    on one: all four are fitted together, and those that are not there are given up one after the other. None is at
    twice the nod without one between it and the source. A trace counts if it lies three pixels and two FWHM or more
    from the source (as narrow as 0.65 of the given one, which holes may have widened), stands out at 3 sigma and holds
    a twentieth of its flux or more; the pattern counts if it is significant at 8 sigma and removes 40 % of the misfit.
    Further traces count at any distance by the same rules, one after the other.

    Parameters
    ----------
    cut : Slice
        The slice.
    positions : tuple of float
        Rows of the sources.
    fwhm : float
        Their FWHM, pixel.

    Returns
    -------
    tuple of float
        Offsets in pixels, in order; empty where there is none.
    """
    good = np.flatnonzero(cut.binned.weight[0] > 0)
    if len(good) < _LEAST_ROWS or not _has_holes(cut, positions, fwhm):
        return ()
    lit = _lit_edges(cut, positions, fwhm)
    if lit.any():
        cut = _without(cut, lit)
        good = np.flatnonzero(cut.binned.weight[0] > 0)
        if len(good) < _LEAST_ROWS or not _has_holes(cut, positions, fwhm):
            return ()
    first, reach = positions[0], max(positions[0] - good[0], good[-1] - positions[0])
    best: tuple[float, tuple[float, ...]] = (np.inf, ())
    alone = np.inf
    for width in fwhm * _WIDTHS:
        alone = min(alone, float(_negative_fits(cut, positions, width, np.zeros((1, 0)))[0][0]))
        steps = np.arange(max(2.0 * width, 3.0), reach + 0.5 + _CUT * width, 0.1)
        if not len(steps):
            continue
        offsets = steps[:, None] * np.array(_PLACES)
        inside = (first + offsets >= good[0] - 0.5 - _CUT * width) & (first + offsets <= good[-1] + 0.5 + _CUT * width)
        chi2, kept = _without_empty_places(cut, positions, width, offsets, inside)
        cost = np.where(kept.any(axis=1), chi2 + _DEPTH_COST * kept.sum(axis=1), np.inf)
        pick = int(cost.argmin())
        if cost[pick] < best[0]:
            best = (float(cost[pick]), tuple(float(o) for o in offsets[pick][kept[pick]]))
    gain = alone - best[0]
    if gain <= _PATTERN_GAIN or gain <= 0.4 * alone or any(_is_cold_row(cut, first + offset) for offset in best[1]):
        return ()
    return _with_others(cut, positions, fwhm, best[1], good)


def _with_others(
    cut: Slice, positions: tuple[float, ...], fwhm: float, found: tuple[float, ...], good: NDArray[np.intp]
) -> tuple[float, ...]:
    """The same offsets and those of further traces, one after the other: dithers need not be as regular as nods."""
    while len(found) < _MOST:
        before, best = _misfit(cut, positions, fwhm, found), (np.inf, 0.0)
        for width in fwhm * _WIDTHS:
            first, last = good[0] - 0.5 - _CUT * width, good[-1] + 0.5 + _CUT * width
            steps = np.arange(first, last, 0.1) - positions[0]
            taken = np.array([0.0, *found])
            steps = steps[np.abs(steps[:, None] - taken).min(axis=1) >= max(2.0 * width, 3.0)]
            if not len(steps):
                continue
            tried = np.concatenate([np.broadcast_to(found, (len(steps), len(found))), steps[:, None]], axis=1)
            chi2, depth, pull = _negative_fits(cut, positions, width, tried)
            is_one = (depth[:, -1] > -1.5) & (depth[:, -1] < -0.05) & (pull[:, -1] ** 2 > _DEPTH_COST)
            chi2 = np.where(is_one & (depth[:, :-1] < 0).all(axis=1), chi2, np.inf)
            pick = int(chi2.argmin())
            best = min(best, (float(chi2[pick]), float(steps[pick])))
        gain = before - best[0] - _DEPTH_COST
        if gain <= _PATTERN_GAIN or gain <= 0.4 * before or _is_cold_row(cut, positions[0] + best[1]):
            break
        found = _polished(cut, positions, fwhm, tuple(sorted((*found, best[1]))))
    return found


def _polished(cut: Slice, positions: tuple[float, ...], fwhm: float, found: tuple[float, ...]) -> tuple[float, ...]:
    """Each offset by itself where it fits best: the fit of the trace moves all of them by one factor only."""
    steps = np.arange(-_FINE, _FINE + 1) * 0.02
    for _ in range(2):
        for k in range(len(found)):
            tried = np.repeat([found], len(steps), axis=0)
            tried[:, k] += steps
            chi2 = np.min([_negative_fits(cut, positions, width, tried)[0] for width in fwhm * _WIDTHS], axis=0)
            found = tuple(tried[int(chi2.argmin())].tolist())
    return found


def misfit_with(cut: Slice, positions: tuple[float, ...], fwhm: float, offsets: tuple[float, ...]) -> float:
    """Find chi2 of sources with negative traces beside the first one, at the place and width that are best.

    Parameters
    ----------
    cut : Slice
        The slice.
    positions : tuple of float
        Rows of the sources.
    fwhm : float
        Their FWHM, pixel.
    offsets : tuple of float
        From `find_negatives`.

    Returns
    -------
    float
    """
    tried = np.array([offsets])
    places = (tuple(row + shift for row in positions) for shift in _SHIFTS)
    return min(float(_negative_fits(cut, at, fwhm * width, tried)[0][0]) for at in places for width in _FINE_WIDTHS)


def _misfit(cut: Slice, positions: tuple[float, ...], fwhm: float, offsets: tuple[float, ...]) -> float:
    """The same with the sources where they are, at the widths that further traces are looked for with."""
    tried = np.array([offsets])
    return min(float(_negative_fits(cut, positions, width, tried)[0][0]) for width in fwhm * _WIDTHS)


def _without_empty_places(
    cut: Slice, positions: tuple[float, ...], width: float, offsets: FloatArray, inside: NDArray[np.bool_]
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Chi2 of each try when places that hold no negative trace are given up, emptiest first; and which are left."""
    kept, chi2 = inside.copy(), np.full(len(offsets), np.inf)
    tries = np.flatnonzero(kept.any(axis=1))
    for _ in range(offsets.shape[1] + 1):
        # a place far away has no light in the slice, and no say
        tried = np.where(kept[tries], offsets[tries], _FAR_AWAY)
        chi2[tries], depth, pull = _negative_fits(cut, positions, width, tried)
        empty = kept[tries] & ~((depth > -1.5) & (depth < -0.05) & (pull**2 > _DEPTH_COST))
        emptiest = np.where(empty, pull, -np.inf).argmax(axis=1)
        more = empty.any(axis=1)
        tries, emptiest = tries[more], emptiest[more]
        if not len(tries):
            break
        kept[tries, emptiest] = False
        # exposures were taken at every nod between two: without a trace at the first one there is none at the second
        kept[:, 0] &= kept[:, 1]
        kept[:, 3] &= kept[:, 2]
    return chi2, kept


def _is_cold_row(cut: Slice, place: float) -> bool:
    """Whether the neighbours of the darkest row there share nothing of what it lacks: those of a trace do."""
    seen = cut.binned.weight[0] > 0
    first, last = np.flatnonzero(seen)[[0, -1]]
    if not first + 1 <= place <= last - 1:
        return False  # half of the neighbours of a trace are not in the frame either
    rows = round(place) + np.arange(-1, 2)
    below = np.where(seen, median(cut.binned.data[0, seen]) - cut.binned.data[0], 0.0)
    row = int(rows[below[rows].argmax()])
    beside = np.pad(below, 1)[[row, row + 2]].max()
    return bool(below[row] > _COLD / np.sqrt(cut.binned.weight[0, row]) and beside < SPREAD * below[row])


def _lit_edges(cut: Slice, positions: tuple[float, ...], fwhm: float) -> NDArray[np.bool_]:
    """Rows at an edge that something beyond it lights: the background that follows them leaves holes further in."""
    data, weight = cut.binned.data[0], cut.binned.weight[0]
    lit = np.zeros(len(data), dtype=bool)
    good = np.flatnonzero(weight > 0)
    level, reach = median(data[good]), int(np.ceil(2.0 * fwhm)) + 1
    for rows in (good[:reach], good[::-1][:reach]):
        above = data[rows] - level
        if np.abs(rows[:, None] - np.array(positions)).min() < 2.0 * fwhm:
            continue
        if above[0] * np.sqrt(weight[rows[0]]) > _LIT and above[-1] < _FALLEN * above[0]:
            falling = (np.diff(above, prepend=np.inf) < 0) & (above > 0)
            lit[rows[: int(np.argmin(falling))] if not falling.all() else rows] = True
    return lit


def _without(cut: Slice, rows: NDArray[np.bool_]) -> Slice:
    binned = replace(cut.binned, weight=np.where(rows, 0.0, cut.binned.weight))
    return replace(cut, binned=binned)


def _has_holes(cut: Slice, positions: tuple[float, ...], fwhm: float) -> bool:
    """Whether anything away from the sources is far below their fit: without it there is nothing to look for."""
    n_cross = cut.binned.data.shape[1]
    centre = np.array(positions, dtype=float)[:, None]
    terms = terms_of(Gaussian(), centre, np.full(centre.shape, fwhm), (), cross_basis(n_cross, 2), n_cross)
    solution = solve_columns(cut.binned.data, cut.binned.weight, terms)
    # the width may be overestimated just because of the holes
    reach = max(1.1 * fwhm, 2.5)
    data, weight = contiguous(cut.binned.data), contiguous(cut.binned.weight)
    return has_holes(data, weight, terms, solution.coefficients, centre[:, 0], reach, _DEEP, _SURE)


def _negative_fits(
    cut: Slice, positions: tuple[float, ...], fwhm: float, offsets: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Chi2 of the sources with traces at each set of offsets (n_try, n_offset), their depths, and those over errors."""
    n_try, n_cross = len(offsets), cut.binned.data.shape[1]
    centre = np.concatenate([np.repeat(np.array(positions)[:, None], n_try, axis=1), positions[0] + offsets.T])
    terms = terms_of(Gaussian(), centre, np.full(centre.shape, fwhm), (), cross_basis(n_cross, 2), n_cross)
    data = np.broadcast_to(cut.binned.data, (n_try, n_cross))
    weight = np.broadcast_to(cut.binned.weight, (n_try, n_cross))
    solution = solve_columns(data, weight, terms)
    flux = solution.coefficients
    twins = slice(len(positions), len(positions) + offsets.shape[1])
    scale = np.where(flux[:, 0] > 0, flux[:, 0], np.inf)
    error = np.sqrt(np.einsum("xtt->xt", solution.covariance)[:, twins])
    return solution.chi2, flux[:, twins] / scale[:, None], flux[:, twins] / error
