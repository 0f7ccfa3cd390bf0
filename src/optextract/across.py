"""A source that the kernel slice does not show, taken from other slices."""

from __future__ import annotations

import numpy as np

from .geometry import terms_of
from .kernel import Slice, cross_basis
from .placing import place_sources
from .profiles import Gaussian
from .searching import APART, Placement, Search, scan
from .solve import solve_columns

__all__ = ["drops_enough", "fits_better", "misfit_of", "place_across"]

_SHIFTS = np.arange(-1.5, 1.51, 0.25)  # rows by which a trace may move between slices
_ENOUGH = 25.0  # drop of chi2, over the reduced one that is left, for which a source is taken from elsewhere
_GAUSSIAN = Gaussian()


def place_across(
    cut: Slice,
    others: tuple[Slice, ...],
    placed: Placement,
    nods: tuple[float, ...],
    fwhm_bounds: tuple[float, float],
) -> Placement:
    """Take the last source from other columns, where the slice does not show it and they do.

    Two sources of opposite colours are never bright together: on the slice, where the first one is brightest, the
    second may be nothing but noise.

    Parameters
    ----------
    cut : Slice
        The slice.
    others : tuple of Slice
        Columns beside it.
    placed : Placement
        Two sources or more, as the slice shows them.
    nods : tuple of float
        Offsets of negative twins.
    fwhm_bounds : tuple of float
        Limits of the FWHM, pixel.

    Returns
    -------
    Placement
        The same where the other columns have nothing else to say.
    """
    fewer = place_sources(cut, placed.positions[0], placed.fwhm, len(placed.positions) - 1, nods, fwhm_bounds)
    tries = []
    for other in others:
        good = np.flatnonzero(other.binned.weight[0] > 0)
        if len(good) >= 8:
            rows = np.arange(good[0] + 0.5, good[-1] - 0.49, 0.25)
            # the first ones may be dark there
            rows = rows[np.min(np.abs(rows[:, None] - np.array(fewer.positions)), axis=1) >= APART * fewer.fwhm]
            alone = scan(other, [], fewer.fwhm, nods, cross_basis(other.binned.data.shape[1], 1), rows)[0]
            search = Search.between_good_rows(other, nods, fwhm_bounds, good)
            places = [float(rows[alone.argmin()])] if np.isfinite(alone).any() else []
            places += [beside.positions[-1] for beside in search.beside(fewer)]
            tries += [(*fewer.positions, place) for place in places]
    if not tries:
        return placed
    slices = (cut, *others)
    now = sum(misfit_of(each, placed.positions, fewer.fwhm, nods) for each in slices)
    chi2 = [sum(misfit_of(each, positions, fewer.fwhm, nods) for each in slices) for positions in tries]
    pick = int(np.argmin(chi2))
    if not fits_better(slices, now, chi2[pick]):
        return placed
    return Placement(tries[pick], fewer.fwhm, chi2[pick], placed.shape)


def fits_better(slices: tuple[Slice, ...], now: float, other: float) -> bool:
    """Whether other places fit slices so much better that a source is taken from another slice than the kernel's.

    Parameters
    ----------
    slices : tuple of Slice
        The slices.
    now, other : float
        Chi2 of all of them with the sources as they are placed, and as they may be.

    Returns
    -------
    bool
    """
    freedom = sum(max(int((each.binned.weight[0] > 0).sum()) - 4, 1) for each in slices)
    return drops_enough(now, other, freedom)


def drops_enough(now: float, other: float, freedom: int) -> bool:
    """Whether chi2 drops so much that sources are taken to be elsewhere than a search on one slice says.

    Parameters
    ----------
    now, other : float
        Chi2 with the sources as they are placed, and as they may be.
    freedom : int
        Degrees of freedom.

    Returns
    -------
    bool
    """
    return now - other >= _ENOUGH * max(1.0, other / freedom)


def misfit_of(cut: Slice, positions: tuple[float, ...], fwhm: float, nods: tuple[float, ...]) -> float:
    """Find chi2 of sources on a slice, all moved alike to where they fit best.

    Parameters
    ----------
    cut : Slice
        The slice.
    positions : tuple of float
        Rows of the sources.
    fwhm : float
        Their FWHM, pixel.
    nods : tuple of float
        Offsets of negative twins, pixel.

    Returns
    -------
    float
    """
    n_cross = cut.binned.data.shape[1]
    centre = np.array(positions)[:, None] + _SHIFTS
    background = cross_basis(n_cross, 1)
    terms = terms_of(_GAUSSIAN, centre, np.full(centre.shape, fwhm), nods, background, n_cross)
    shape = (len(_SHIFTS), n_cross)
    return float(
        solve_columns(
            np.broadcast_to(cut.binned.data, shape), np.broadcast_to(cut.binned.weight, shape), terms
        ).chi2.min()
    )
