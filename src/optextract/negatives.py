"""Negative traces that nod subtraction leaves beside a source, where the file does not tell of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .geometry import terms_of
from .kernel import Slice, cross_basis
from .profiles import Gaussian
from .solve import solve_columns

__all__ = ["find_negatives"]

FloatArray = NDArray[np.float64]

_PATTERN_GAIN = 64.0  # drop of chi2 by which a pattern of negative traces is believed


def find_negatives(cut: Slice, positions: tuple[float, ...], fwhm: float) -> tuple[float, ...]:
    """Offsets of negative traces beside the first source that the file does not tell of.

    Nod subtraction leaves them at once and twice the nod, on either side: all of a pattern are fitted together, and a
    single trace if no pattern fits. A trace counts if it lies three pixels and two FWHM or more from the source (as
    narrow as 0.65 of the given one, which holes may have widened) and holds a twentieth of its flux or more; the
    pattern counts if it is significant at 8 sigma and removes 40 % of the misfit.

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
    if len(good) < 12 or not _has_holes(cut, positions, fwhm):
        return ()
    first, reach = positions[0], max(positions[0] - good[0], good[-1] - positions[0])
    best: tuple[float, tuple[float, ...]] = (np.inf, ())
    alone = np.inf
    for width in fwhm * np.array([0.65, 0.8, 1.0]):
        alone = min(alone, float(_negative_fits(cut, positions, width, np.zeros((1, 0)))[0][0]))
        steps = np.arange(max(2.0 * width, 3.0), reach + 0.5, 0.1)
        if not len(steps):
            continue
        for pattern in ((-2, -1, 1, 2), (-1, 1), (-1,), (1,)):
            offsets = steps[:, None] * np.array(pattern)
            inside = (first + offsets >= good[0] - 0.5) & (first + offsets <= good[-1] + 0.5)
            chi2, depth = _negative_fits(cut, positions, width, offsets)
            right = ((depth > -1.5) & (depth < -0.05)) | ~inside
            # every trace of a pattern costs a free depth
            cost = np.where(right.all(axis=1) & inside.any(axis=1), chi2 + 10.0 * inside.sum(axis=1), np.inf)
            pick = int(cost.argmin()) if len(cost) else -1
            if pick >= 0 and cost[pick] < best[0]:
                best = (float(cost[pick]), tuple(float(o) for o in offsets[pick][inside[pick]]))
    gain = alone - best[0]
    return best[1] if gain > _PATTERN_GAIN and gain > 0.4 * alone else ()


def _has_holes(cut: Slice, positions: tuple[float, ...], fwhm: float) -> bool:
    """Whether anything away from the sources is far below their fit: without it there is nothing to look for."""
    n_cross = cut.binned.data.shape[1]
    centre = np.array(positions)[:, None]
    terms = terms_of(Gaussian(), centre, np.full(centre.shape, fwhm), (), cross_basis(n_cross, 2), n_cross)
    solution = solve_columns(cut.binned.data, cut.binned.weight, terms)
    residual = (cut.binned.data - solution.coefficients @ terms[0])[0]
    pull = residual * np.sqrt(cut.binned.weight[0])
    # the width may be overestimated just because of the holes
    away = np.min(np.abs(np.arange(n_cross) - centre), axis=0) > max(1.1 * fwhm, 2.5)
    deep = residual < -0.03 * np.abs(terms[0] * solution.coefficients[0][:, None]).max()
    return bool((away & deep & (pull < -4.0)).any())


def _negative_fits(
    cut: Slice, positions: tuple[float, ...], fwhm: float, offsets: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Chi2 of the sources with traces at each set of offsets (n_try, n_offset) from the first, and their depths."""
    n_try, n_cross = len(offsets), cut.binned.data.shape[1]
    centre = np.concatenate([np.repeat(np.array(positions)[:, None], n_try, axis=1), positions[0] + offsets.T])
    terms = terms_of(Gaussian(), centre, np.full(centre.shape, fwhm), (), cross_basis(n_cross, 2), n_cross)
    data = np.broadcast_to(cut.binned.data, (n_try, n_cross))
    weight = np.broadcast_to(cut.binned.weight, (n_try, n_cross))
    solution = solve_columns(data, weight, terms)
    flux = solution.coefficients
    scale = np.where(flux[:, 0] > 0, flux[:, 0], np.inf)
    return solution.chi2, flux[:, len(positions) : len(positions) + offsets.shape[1]] / scale[:, None]
