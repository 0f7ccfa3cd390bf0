"""Where the sources are on the kernel slice: placed by a search and a fit, and one more looked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .compiled import contiguous
from .compiled.search import try_alone
from .geometry import Problem, terms_of
from .kernel import Slice, cross_basis, fit_slice
from .profiles import MOFFAT_INDICES, Gaussian, Shape, moffat_between
from .solve import solve_columns

__all__ = [
    "Placement",
    "another_source",
    "fits_better",
    "is_explained",
    "misfit_of",
    "place_across",
    "place_sources",
    "width_at",
]

FloatArray = NDArray[np.float64]

_GAUSSIAN = Gaussian()
_SECOND_MISFIT = 100.0  # chi2 above that of noise before a further source is looked for
_WIDTHS = np.geomspace(0.3, 2.0, 11)  # of the width of the detection, that one source is tried with
_TRIED = 3  # places from each search that are fitted
_APART = 0.6  # FWHM between sources that a search tries
_STILL_APART = 0.3  # FWHM between sources that a fit may leave
_SHIFTS = np.arange(-1.5, 1.51, 0.25)  # rows by which a trace may move between slices
_ACROSS = 25.0  # drop of chi2, over the reduced one that is left, for which a source is taken from another slice
_FAR = 1.8  # FWHM from the brightest source, where a skew profile has nothing any more
_FAINT, _FAINTEST = 0.1, 0.02  # of the brightest source: what may be a lobe of it, and what is one at any rate


@dataclass(frozen=True)
class Placement:
    """Sources on the slice.

    Attributes
    ----------
    positions : tuple of float
        Their rows.
    fwhm : float
        Their common FWHM, pixel.
    chi2 : float
        Misfit of the slice.
    shape : Shape
        Their profile.
    """

    positions: tuple[float, ...]
    fwhm: float
    chi2: float
    shape: Shape = _GAUSSIAN


def _scan(
    cut: Slice,
    fixed: list[float],
    fwhm: float | FloatArray,
    nods: tuple[float, ...],
    background: FloatArray,
    positions: FloatArray,
    shape: Shape = _GAUSSIAN,
) -> tuple[FloatArray, FloatArray]:
    """Chi2 and flux of one more source at each position, beside sources already placed."""
    n_cross = cut.binned.data.shape[1]
    n = len(positions)
    if not fixed and not nods:
        return _scan_alone(cut, fwhm, background, positions, shape)
    centre = (
        np.concatenate([np.repeat(np.array(fixed)[:, None], n, axis=1), positions[None, :]])
        if fixed
        else positions[None, :]
    )
    terms = terms_of(shape, centre, np.broadcast_to(fwhm, centre.shape), nods, background, n_cross)
    data = np.broadcast_to(cut.binned.data, (n, n_cross))
    weight = np.broadcast_to(cut.binned.weight, (n, n_cross))
    solution = solve_columns(data, weight, terms)
    fluxes = solution.coefficients[:, : len(centre)]
    chi2 = np.where((fluxes > 0).all(axis=1), solution.chi2, np.inf)
    return chi2, fluxes


def _scan_alone(
    cut: Slice, fwhm: float | FloatArray, background: FloatArray, positions: FloatArray, shape: Shape
) -> tuple[FloatArray, FloatArray]:
    """The same for one source and nothing else."""
    n = len(positions)
    profiles, chi2, flux = np.empty((n, 1, cut.binned.data.shape[1])), np.empty(n), np.empty(n)
    shape.fast().fill(profiles, 0, positions, np.full(n, fwhm))
    try_alone(contiguous(cut.binned.data), contiguous(cut.binned.weight), profiles, contiguous(background), chi2, flux)
    return np.where(flux > 0, chi2, np.inf), flux[:, None]


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
    search = _Search(cut, nods, fwhm_bounds, float(good[0] + 0.5), float(good[-1] - 0.5))
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
            rows = rows[np.min(np.abs(rows[:, None] - np.array(fewer.positions)), axis=1) >= _APART * fewer.fwhm]
            alone = _scan(other, [], fewer.fwhm, nods, cross_basis(other.binned.data.shape[1], 1), rows)[0]
            search = _Search(other, nods, fwhm_bounds, float(good[0] + 0.5), float(good[-1] - 0.5))
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
    return now - other >= _ACROSS * max(1.0, other / freedom)


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


@dataclass(frozen=True, eq=False)
class _Search:
    """Searches on one slice, between its good rows."""

    cut: Slice
    nods: tuple[float, ...]
    fwhm_bounds: tuple[float, float]
    low: float
    high: float

    @property
    def background(self) -> FloatArray:
        few = (self.cut.binned.weight[0] > 0).sum() < 8
        return cross_basis(self.cut.binned.data.shape[1], 0 if few else 1)

    def near(self, first: float, fwhm: float, step: float) -> FloatArray:
        """Rows around a detection."""
        rows = np.arange(first - 1.0 - 0.5 * fwhm, first + 1.01 + 0.5 * fwhm, step)
        rows = rows[(rows >= self.low) & (rows <= self.high)]
        return rows if len(rows) else np.array([np.clip(first, self.low, self.high)])

    def one(self, first: float, fwhm: float, again: int = 2) -> Placement:
        """The best row and width of one source near a detection; once more where the widths tried were not enough."""
        narrowest, widest = self.fwhm_bounds
        widths = sorted({min(max(width, narrowest), widest) for width in (_WIDTHS * fwhm).tolist()})
        near = self.near(first, fwhm, 0.2)
        wide = np.repeat(widths, len(near))
        where = np.concatenate([near] * len(widths))
        chi2, _ = _scan(self.cut, [], wide, self.nods, self.background, where)
        pick = int(chi2.argmin())
        if not np.isfinite(chi2[pick]):
            return Placement((float(near[0]),), fwhm, np.inf)
        best = Placement((float(where[pick]),), float(wide[pick]), float(chi2[pick]))
        ends = best.fwhm in (widths[0], widths[-1]) and self.fwhm_bounds[0] < best.fwhm < self.fwhm_bounds[1]
        return self.one(best.positions[0], best.fwhm, again - 1) if ends and again else best

    def _one_more(self, placed: list[float], width: float, shape: Shape) -> tuple[FloatArray, FloatArray]:
        """Rows where one source more may be, and chi2 of each."""
        rows = np.arange(self.low, self.high + 0.01, 0.25)
        rows = rows[np.min(np.abs(rows[:, None] - np.array(placed)), axis=1) >= _APART * width]
        if not len(rows):
            return rows, np.zeros(0)
        return rows, _scan(self.cut, placed, width, self.nods, self.background, rows, shape)[0]

    def beside(self, best: Placement) -> list[Placement]:
        """The best places of one source more beside those that are placed."""
        rows, chi2 = self._one_more(list(best.positions), best.fwhm, best.shape)
        edged = np.pad(chi2, 1, constant_values=np.inf)
        lowest = np.flatnonzero(np.isfinite(chi2) & (chi2 <= edged[:-2]) & (chi2 <= edged[2:]))
        lowest = lowest[np.argsort(chi2[lowest], kind="stable")][:_TRIED]
        return [Placement((*best.positions, float(rows[k])), best.fwhm, float(chi2[k]), best.shape) for k in lowest]

    def together(self, first: float, fwhm: float, number: int) -> list[Placement]:
        """The best places of several sources, of which one is near a detection, for each of several widths."""
        found = []
        for width in np.unique(np.clip(np.geomspace(0.3, 2.0, 7) * fwhm, *self.fwhm_bounds)).tolist():
            best = Placement((), width, np.inf)
            for anchor in self.near(first, fwhm, max(0.4, 0.25 * width)).tolist():
                placed, now = [anchor], np.inf
                for _ in range(number - 1):
                    rows, chi2 = self._one_more(placed, width, _GAUSSIAN)
                    if not len(rows):
                        break
                    pick = int(chi2.argmin())
                    placed.append(float(rows[pick]))
                    now = float(chi2[pick])
                if len(placed) == number and now < best.chi2:
                    best = Placement(tuple(placed), width, now)
            if best.positions:
                found.append(best)
        return sorted(found, key=lambda place: place.chi2)[:_TRIED]

    def best_fit(self, tries: list[Placement], winged: list[Placement] | None = None) -> Placement | None:
        """The best of placements fitted with Gaussians and, if that leaves much, some of them with Moffats."""
        best = self._fitted(tries, winged=False)
        if best is None or not is_explained(self.cut, best.chi2):
            # wings that a Gaussian lacks must not pass for a source
            other = self._fitted([*(tries if winged is None else winged), *([best] if best else [])], winged=True)
            best = min((fit for fit in (best, other) if fit is not None), key=lambda fit: fit.chi2, default=None)
        return best

    def _fitted(self, tries: list[Placement], winged: bool) -> Placement | None:
        """The best of placements fitted with one shape; none where no fit is a set of sources."""
        problem = Problem(
            moffat_between(3.0) if winged else _GAUSSIAN,
            self.nods,
            self.background,
            fwhm_bounds=self.fwhm_bounds,
            prior_taper=None,
            index_shape=moffat_between if winged else None,
            index_bounds=MOFFAT_INDICES,
        )
        best = None
        for tried in tries:
            fit = fit_slice(self.cut, tried.positions, tried.fwhm, problem)
            if best is not None and fit.chi2 >= best.chi2:
                continue
            rows = fit.geometry.centre[0] + np.concatenate([[0.0], fit.geometry.offsets])
            width, flux = float(np.exp(fit.geometry.log_fwhm[0, 0])), fit.amplitude[0]
            apart = np.diff(np.sort(rows))
            inside = rows.min() >= self.low - 0.5 and rows.max() <= self.high + 0.5
            if inside and flux.min() > 0 and (not len(apart) or apart.min() >= _STILL_APART * width):
                order = np.argsort(-flux, kind="stable")
                best = Placement(tuple(rows[order].tolist()), width, fit.chi2, fit.shape)
        return best


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
    chi2, _ = _scan(cut, list(positions[:-1]), widths, nods, background, np.full(len(widths), positions[-1]))
    return float(widths[chi2.argmin()]) if np.isfinite(chi2).any() else fwhm


def is_explained(cut: Slice, chi2: float) -> bool:
    """Whether a fit to the slice leaves so little that no further source is worth a search.

    Parameters
    ----------
    cut : Slice
        The slice.
    chi2 : float
        Chi2 of the fit to it.

    Returns
    -------
    bool
    """
    return bool(chi2 < 3.0 * (cut.binned.weight[0] > 0).sum() + _SECOND_MISFIT)


def _on_one_side(search: _Search, many: Placement, flux: FloatArray, nods: tuple[float, ...]) -> bool:
    """Whether the faintest source is far from the brightest, and has no counterpart at the same distance beyond it."""
    faint, bright = many.positions[int(flux.argmin())], many.positions[int(flux.argmax())]
    least = _FAINTEST * float(flux.max())
    if abs(faint - bright) < _FAR * many.fwhm or flux.min() < least:
        return False
    mirrored = 2.0 * bright - faint
    if not search.low <= mirrored <= search.high:
        return False  # no row tells
    _, all_flux = _scan(
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
    flux; less, but 2 %, where it lies 1.8 FWHM or more from that one, and nothing like it on its other side: lobes and
    halos of a profile are on both.

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
        Drop of chi2 over the reduced chi2 that is left, where that is above 1.

    None in place of these where the slice has too few rows, is explained already, or has no such place.
    """
    good = np.flatnonzero(cut.binned.weight[0] > 0)
    number = len(positions)
    if len(good) < 8 + 2 * number:
        return None
    search = _Search(cut, nods, fwhm_bounds, float(good[0] + 0.5), float(good[-1] - 0.5))
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
    if apart < max(1.0 * width, 1.2) or hidden:
        return None
    _, flux = _scan(cut, list(rows[:-1]), width, nods, search.background, np.array(rows[-1:]), many.shape)
    if flux[0].min() < _FAINT * flux[0].max() and not _on_one_side(search, many, flux[0], nods):
        return None
    freedom = max(len(good) - 2 * number - 4, 1)
    return many, float((few.chi2 - many.chi2) / max(1.0, many.chi2 / freedom))
