"""Searches for sources on a slice: where one more may be, and fits from the best of these places."""

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

__all__ = ["APART", "STILL_APART", "Placement", "Search", "is_explained", "scan"]

FloatArray = NDArray[np.float64]

APART = 0.6  # FWHM between sources that a search tries
_GAUSSIAN = Gaussian()
_SECOND_MISFIT = 100.0  # chi2 above that of noise before a further source is looked for
_WIDTHS = np.geomspace(0.3, 2.0, 11)  # of the width of the detection, that one source is tried with
_TRIED = 3  # places from each search that are fitted
STILL_APART = 0.3  # FWHM between sources that a fit may leave


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


def scan(
    cut: Slice,
    fixed: list[float],
    fwhm: float | FloatArray,
    nods: tuple[float, ...],
    background: FloatArray,
    positions: FloatArray,
    shape: Shape = _GAUSSIAN,
) -> tuple[FloatArray, FloatArray]:
    """Chi2 and fluxes with one more source at each of some rows, beside sources already placed.

    Parameters
    ----------
    cut : Slice
        The slice.
    fixed : list of float
        Rows of the sources already placed.
    fwhm : float or ndarray, shape (n_row,) or (n_fixed + 1, n_row)
        Of all sources, or of each, pixel.
    nods : tuple of float
        Offsets of negative twins, pixel.
    background : ndarray, shape (n_background, n_cross)
        Its terms.
    positions : ndarray, shape (n_row,)
        The rows.
    shape : Shape, optional
        The profile.

    Returns
    -------
    chi2 : ndarray, shape (n_row,)
        Infinite where a source is not positive.
    fluxes : ndarray, shape (n_row, n_fixed + 1)
    """
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


@dataclass(frozen=True, eq=False)
class Search:
    """Searches on one slice.

    Attributes
    ----------
    cut : Slice
        The slice.
    nods : tuple of float
        Offsets of negative twins, pixel.
    fwhm_bounds : tuple of float
        Limits of the FWHM, pixel.
    low, high : float
        Rows between which sources are looked for.
    """

    cut: Slice
    nods: tuple[float, ...]
    fwhm_bounds: tuple[float, float]
    low: float
    high: float

    @classmethod
    def between_good_rows(
        cls, cut: Slice, nods: tuple[float, ...], fwhm_bounds: tuple[float, float], good: NDArray[np.intp]
    ) -> Search:
        """Searches between the first and the last row of a slice that are good."""
        return cls(cut, nods, fwhm_bounds, float(good[0] + 0.5), float(good[-1] - 0.5))

    @property
    def background(self) -> FloatArray:
        """Terms of the background, (n_background, n_cross): a constant where rows are few, else a slope as well."""
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
        chi2, _ = scan(self.cut, [], wide, self.nods, self.background, where)
        pick = int(chi2.argmin())
        if not np.isfinite(chi2[pick]):
            return Placement((float(near[0]),), fwhm, np.inf)
        best = Placement((float(where[pick]),), float(wide[pick]), float(chi2[pick]))
        ends = best.fwhm in (widths[0], widths[-1]) and self.fwhm_bounds[0] < best.fwhm < self.fwhm_bounds[1]
        return self.one(best.positions[0], best.fwhm, again - 1) if ends and again else best

    def _one_more(self, placed: list[float], width: float, shape: Shape) -> tuple[FloatArray, FloatArray]:
        """Rows where one source more may be, and chi2 of each."""
        rows = np.arange(self.low, self.high + 0.01, 0.25)
        rows = rows[np.min(np.abs(rows[:, None] - np.array(placed)), axis=1) >= APART * width]
        if not len(rows):
            return rows, np.zeros(0)
        return rows, scan(self.cut, placed, width, self.nods, self.background, rows, shape)[0]

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
            if inside and flux.min() > 0 and (not len(apart) or apart.min() >= STILL_APART * width):
                order = np.argsort(-flux, kind="stable")
                best = Placement(tuple(rows[order].tolist()), width, fit.chi2, fit.shape)
        return best
