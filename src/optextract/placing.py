"""Where the sources are on the kernel slice: placed by a search and a fit, and one more looked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .kernel import Slice, cross_basis
from .searching import Placement, Search, is_explained, scan

__all__ = ["another_source", "place_sources", "width_at"]

FloatArray = NDArray[np.float64]

_LEAST_APART = 1.2  # pixel between two sources, where their FWHM is less
_FAR = 1.8  # FWHM from the brightest source, where a skew profile has nothing any more
_OWN = np.geomspace(0.6, 2.2, 14)  # of the common FWHM: how wide each of two sources may be
_FAINT, _FAINTEST = 0.1, 0.02  # of the brightest source: what may be a lobe of it, and what is one at any rate


def place_sources(
    cut: Slice,
    first: float,
    fwhm: float,
    number: int,
    nods: tuple[float, ...],
    fwhm_bounds: tuple[float, float],
) -> Placement:
    """Positions of `number` sources on the slice and their common FWHM.

    One source is searched for near the detection. Further ones are searched for in two ways, because each is blind
    where the other sees: beside what was placed already (a faint source far from a bright one changes less than the
    steps of a grid leave of the bright one), and all together on a grid of rows and widths (of two sources that look
    like one, neither is where that one is). The best places of either are fitted, and the best fit is taken.

    Parameters
    ----------
    cut : Slice
        The slice.
    first : float
        Row of the detection.
    fwhm : float
        Its approximate FWHM, pixel.
    number : int
        Number of sources.
    nods : tuple of float
        Offsets of negative twins.
    fwhm_bounds : tuple of float
        Limits of the FWHM, pixel.

    Returns
    -------
    Placement
        Several sources stand in the order of their flux.
    """
    good = np.flatnonzero(cut.binned.weight[0] > 0)
    if len(good) < 3:
        return Placement((first,) * number, fwhm, np.inf)
    search = Search.between_good_rows(cut, nods, fwhm_bounds, good)
    one = search.one(first, fwhm)
    if number == 1:
        return one
    best = one
    for count in range(2, number + 1):
        placed = search.best_fit([best])
        beside = search.beside(best if placed is None else placed)
        together = search.together(first, fwhm, count)
        found = search.best_fit(beside + together, beside)
        if found is None and beside + together:
            found = min(beside + together, key=lambda place: place.chi2)
        if found is None:
            break
        best = found
    positions = best.positions
    if len(positions) < number:  # nothing positive fits: set the missing ones beside the first, to be judged by the fit
        positions = tuple(positions[0] + k * best.fwhm for k in range(number))
    return Placement(positions, best.fwhm, best.chi2)


def width_at(
    cut: Slice, positions: tuple[float, ...], fwhm: float, nods: tuple[float, ...], fwhm_bounds: tuple[float, float]
) -> float:
    """FWHM that fits the slice best with sources at given positions.

    Parameters
    ----------
    cut : Slice
        The slice.
    positions : tuple of float
        Rows of the sources.
    fwhm : float
        Approximate FWHM, pixel: that of one source where there may be several.
    nods : tuple of float
        Offsets of negative twins.
    fwhm_bounds : tuple of float
        Limits of the FWHM, pixel.

    Returns
    -------
    float
        The approximate one where no width makes all sources positive.
    """
    widths = np.unique(np.clip(np.geomspace(0.2, 1.5, 15) * fwhm, *fwhm_bounds))
    background = cross_basis(cut.binned.data.shape[1], 0 if (cut.binned.weight[0] > 0).sum() < 8 else 1)
    chi2, _ = scan(cut, list(positions[:-1]), widths, nods, background, np.full(len(widths), positions[-1]))
    return float(widths[chi2.argmin()]) if np.isfinite(chi2).any() else fwhm


def _on_one_side(search: Search, many: Placement, flux: FloatArray, nods: tuple[float, ...]) -> bool:
    """Whether the faintest source is far from the brightest, and has no counterpart at the same distance beyond it."""
    faint, bright = many.positions[int(flux.argmin())], many.positions[int(flux.argmax())]
    least = _FAINTEST * float(flux.max())
    if abs(faint - bright) < _FAR * many.fwhm or flux.min() < least:
        return False
    mirrored = 2.0 * bright - faint
    if not search.low <= mirrored <= search.high:
        return False  # no row tells
    _, all_flux = scan(
        search.cut, list(many.positions), many.fwhm, nods, search.background, np.array([mirrored]), many.shape
    )
    other = float(all_flux[0, -1])
    return other < 0.5 * float(flux.min()) and float(flux.min()) - max(other, 0.0) >= least


def another_source(
    cut: Slice,
    positions: tuple[float, ...],
    fwhm: float,
    nods: tuple[float, ...],
    fwhm_bounds: tuple[float, float],
) -> tuple[Placement, float] | None:
    """Positions and FWHM with one source more, and the evidence for it.

    The new source must lie one FWHM (and 1.2 pixels) or more from the others and hold a tenth of the brightest one's
    flux, or be the brightest itself; less, but 2 %, where it lies 1.8 FWHM or more from that one, and nothing like it
    on its other side: lobes and halos of a profile are on both.

    Parameters
    ----------
    cut : Slice
        The slice.
    positions : tuple of float
        Rows of the sources so far.
    fwhm : float
        Their FWHM, pixel.
    nods : tuple of float
        Offsets of negative twins, pixel.
    fwhm_bounds : tuple of float
        Limits of the FWHM, pixel.

    Returns
    -------
    placed : Placement
        With the new source.
    evidence : float
        Drop of chi2 over the reduced chi2 that is left, where that is above 1; where a third source takes most of what
        is left away, that is no reason to doubt the second.

    None in place of these where the slice has too few rows, is explained already, or has no such place.
    """
    good = np.flatnonzero(cut.binned.weight[0] > 0)
    number = len(positions)
    if len(good) < 8 + 2 * number:
        return None
    search = Search.between_good_rows(cut, nods, fwhm_bounds, good)
    few = place_sources(cut, positions[0], fwhm, number, nods, fwhm_bounds)
    if is_explained(cut, few.chi2):
        return None
    fit = search.best_fit([few])  # the search for one goes in steps, and what a step leaves would pass for a source
    few = few if fit is None or fit.chi2 > few.chi2 else fit
    if is_explained(cut, few.chi2):
        return None
    many = place_sources(cut, positions[0], fwhm, number + 1, nods, fwhm_bounds)
    if not np.isfinite(many.chi2):
        return None
    rows, width = many.positions, many.fwhm
    apart = np.diff(np.sort(rows)).min()
    taken = [p + offset for p in few.positions for offset in nods]
    hidden = any(abs(m - t) < 1.2 * width for m in rows[1:] for t in taken)
    if apart < max(width, _LEAST_APART) or hidden:
        return None
    flux = _fluxes(search, many)
    # one that was there before and is fainter than the new one is no lobe that passes for a source
    outshone = min(abs(rows[int(flux.argmax())] - place) for place in few.positions) >= max(width, _LEAST_APART)
    if flux.min() < _FAINT * flux.max() and not outshone and not _on_one_side(search, many, flux, nods):
        return None
    left = many.chi2 / max(len(good) - 2 * number - 4, 1)
    if not is_explained(cut, many.chi2) and len(good) >= 8 + 2 * (number + 1):
        more = place_sources(cut, positions[0], fwhm, number + 2, nods, fwhm_bounds)
        if _are_all(search, more):
            left = min(left, more.chi2 / max(len(good) - 2 * number - 6, 1))
        if number == 1 and not nods:
            left = min(left, _with_own_widths(search, many) / max(len(good) - 7, 1))
    return many, float((few.chi2 - many.chi2) / max(1.0, left))


def _with_own_widths(search: Search, two: Placement) -> float:
    """Chi2 of two sources at their places, each as wide as fits best, and each outside the other."""
    widths = two.fwhm * np.stack([each.ravel() for each in np.meshgrid(_OWN, _OWN)])
    apart = abs(two.positions[1] - two.positions[0]) >= widths.mean(axis=0)
    if not apart.any():
        return np.inf
    first, second = two.positions
    widths, rows = widths[:, apart], np.full(np.count_nonzero(apart), second)
    return float(scan(search.cut, [first], widths, (), search.background, rows, two.shape)[0].min())


def _fluxes(search: Search, many: Placement) -> FloatArray:
    """Flux of each source, shape (n_source,)."""
    rows = many.positions
    last = np.array(rows[-1:])
    return scan(search.cut, list(rows[:-1]), many.fwhm, search.nods, search.background, last, many.shape)[1][0]


def _are_all(search: Search, many: Placement) -> bool:
    """Whether each of some sources is one by itself: apart from the others, and none of them a lobe."""
    if not np.isfinite(many.chi2) or np.diff(np.sort(many.positions)).min() < max(many.fwhm, _LEAST_APART):
        return False
    flux = _fluxes(search, many)
    return bool(flux.min() >= _FAINT * flux.max())
