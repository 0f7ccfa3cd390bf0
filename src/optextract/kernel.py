"""The kernel slice: columns coadded into one cross-dispersion cut, and the sources and profiles that fit it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray

from .bins import Binned, median_bins
from .errors import RecipeError, bad_value
from .finder import Detection
from .geometry import Fit, Geometry, Problem, evaluate, terms_of
from .profiles import Gaussian
from .recipe import Kernel
from .solve import solve_columns
from .trace import fit_geometry

__all__ = [
    "Slice",
    "another_source",
    "choose_columns",
    "coadd",
    "cross_basis",
    "fit_slice",
    "is_explained",
    "place_sources",
    "width_at",
]

FloatArray = NDArray[np.float64]

_SECOND_MISFIT = 100.0  # chi2 above that of noise before a further source is looked for


@dataclass(frozen=True, eq=False)
class Slice:
    """Coadded columns of the window.

    Attributes
    ----------
    binned : Binned
        One bin: data and weights of shape (1, n_cross).
    columns : tuple of int
        First and last column of the window (inclusive).
    n_columns : int
        Columns that took part.
    """

    binned: Binned
    columns: tuple[int, int]
    n_columns: int

    @property
    def centre_column(self) -> float:
        """Middle of the slice."""
        return 0.5 * (self.columns[0] + self.columns[1])


@lru_cache(maxsize=64)
def _legendre(n: int, degree: int) -> FloatArray:
    x = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
    basis = np.ascontiguousarray(legvander(x, degree).T, dtype=float)
    basis.flags.writeable = False
    return basis


def cross_basis(n_cross: int, degree: int) -> FloatArray:
    """Legendre polynomials along cross-dispersion.

    Parameters
    ----------
    n_cross : int
        Rows, spread over -1 to 1.
    degree : int
        Highest degree; -1 for none at all.

    Returns
    -------
    ndarray, shape (degree + 1, n_cross)
    """
    return _legendre(n_cross, degree) if degree >= 0 else np.zeros((0, n_cross))


def choose_columns(detection: Detection, n_disp: int, kernel: Kernel, first_column: int) -> tuple[int, int]:
    """Columns of the slice: the recipe's, or the window of highest S/N in which the source keeps its row.

    Parameters
    ----------
    detection : Detection
        The source.
    n_disp : int
        Columns of the window.
    kernel : Kernel
        The recipe's section; its columns are those of the frame.
    first_column : int
        Frame column of the window's first.

    Returns
    -------
    tuple of int
        First and last column of the window (inclusive).
    """
    if kernel.disp is not None:
        low = int(np.ceil(kernel.disp[0])) - first_column
        high = int(np.floor(kernel.disp[1])) - first_column
        if high < 0 or low > n_disp - 1 or high < low:
            limits = (first_column, first_column + n_disp - 1)
            raise bad_value("kernel.disp", "Recipe", f"inside the region's columns {limits}", kernel.disp, RecipeError)
        return max(low, 0), min(high, n_disp - 1)
    edges, n_bin = detection.edges, len(detection.bin_snr)
    row = detection.row.tolist()
    total = np.concatenate([[0.0], np.cumsum(detection.bin_snr)]).tolist()
    still = max(1.0, 0.3 * detection.fwhm)
    best, window = -np.inf, (0, n_bin)
    size = n_bin
    while size >= 1:
        for start in range(0, n_bin - size + 1, max(1, size // 2)):
            part = row[start : start + size]
            if max(part) - min(part) > still:
                continue
            # a little in favour of the larger window: it holds more of the trace
            score = (total[start + size] - total[start]) / size**0.5 * (1 + 0.02 * size / n_bin)
            if score > best:
                best, window = score, (start, start + size)
        size //= 2
    return int(edges[window[0]]), int(edges[window[1]] - 1)


def coadd(data: FloatArray, weight: FloatArray, columns: tuple[int, int], combine: str) -> Slice:
    """Coadd columns into one cut, per column: the median, or the mean after clipping at 5 sigma.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Pixel values and inverse variances (zero where bad).
    columns : tuple of int
        First and last column.
    combine : {"median", "mean"}
        How.

    Returns
    -------
    Slice
    """
    part = slice(columns[0], columns[1] + 1)
    n = columns[1] + 1 - columns[0]
    seen = int((weight[part] > 0).any(axis=1).sum())
    if combine == "median":
        binned = median_bins(data[part], weight[part], np.array([0, n]))
    else:
        from astropy.stats import sigma_clip

        clipped = sigma_clip(np.ma.masked_array(data[part], weight[part] <= 0), sigma=5, axis=0, maxiters=3)
        keep = ~np.ma.getmaskarray(clipped)
        count = keep.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(count > 0, np.where(keep, data[part], 0).sum(axis=0) / np.maximum(count, 1), 0.0)
            spread = np.where(keep, 1 / weight[part], 0).sum(axis=0)
            inverse = np.where(count > 0, count**2 / spread, 0.0)
        binned = Binned(mean[None, :], inverse[None, :], np.array([0.5 * (n - 1)]), np.array([0, n]))
    centred = Binned(binned.data, binned.weight, np.array([0.5 * (columns[0] + columns[1])]), binned.edges)
    return Slice(centred, columns, seen)


def _scan(
    cut: Slice,
    fixed: list[float],
    fwhm: float | FloatArray,
    nods: tuple[float, ...],
    background: FloatArray,
    positions: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Chi2 and flux of one more source at each position, beside sources already placed."""
    n_cross = cut.binned.data.shape[1]
    n = len(positions)
    centre = (
        np.concatenate([np.repeat(np.array(fixed)[:, None], n, axis=1), positions[None, :]])
        if fixed
        else positions[None, :]
    )
    terms = terms_of(Gaussian(), centre, np.broadcast_to(fwhm, centre.shape), nods, background, n_cross)
    data = np.broadcast_to(cut.binned.data, (n, n_cross))
    weight = np.broadcast_to(cut.binned.weight, (n, n_cross))
    solution = solve_columns(data, weight, terms)
    fluxes = solution.coefficients[:, : len(centre)]
    chi2 = np.where((fluxes > 0).all(axis=1), solution.chi2, np.inf)
    return chi2, fluxes


def place_sources(
    cut: Slice,
    first: float,
    fwhm: float,
    number: int,
    nods: tuple[float, ...],
    fwhm_bounds: tuple[float, float],
) -> tuple[tuple[float, ...], float]:
    """Positions of `number` sources on the slice and their common FWHM, by exhaustive search for one and two.

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
    positions : tuple of float
        Rows, in the order in which they were found: the first is near the detection, which may lie between two.
    fwhm : float
        FWHM of the best combination.
    """
    return _place(cut, first, fwhm, number, nods, fwhm_bounds)[:2]


def _place(
    cut: Slice,
    first: float,
    fwhm: float,
    number: int,
    nods: tuple[float, ...],
    fwhm_bounds: tuple[float, float],
) -> tuple[tuple[float, ...], float, float]:
    """Positions, FWHM and chi2 of the best combination."""
    good = np.flatnonzero(cut.binned.weight[0] > 0)
    if len(good) < 3:
        return (first,) * number, fwhm, np.inf
    n_cross = cut.binned.data.shape[1]
    background = cross_basis(n_cross, 0 if len(good) < 8 else 1)
    low, high = good[0] + 0.5, good[-1] - 0.5
    widths = np.unique(np.clip(np.geomspace(0.3, 2.0, 11) * fwhm, *fwhm_bounds))
    near = np.arange(first - 1.0 - 0.5 * fwhm, first + 1.01 + 0.5 * fwhm, 0.2)
    near = near[(near >= low) & (near <= high)]
    if not len(near):
        near = np.array([np.clip(first, low, high)])
    best: tuple[float, tuple[float, ...], float] = (np.inf, (float(near[0]),), fwhm)
    everywhere = np.arange(low, high + 0.01, 0.25)
    if number == 1:
        where, wide = (grid.ravel() for grid in np.meshgrid(near, widths))
        chi2, _ = _scan(cut, [], wide, nods, background, where)
        pick = int(chi2.argmin())
        if np.isfinite(chi2[pick]):
            best = (float(chi2[pick]), (float(where[pick]),), float(wide[pick]))
        return best[1], best[2], best[0]
    for width in widths:
        trial = float(width)
        for anchor in near[::2]:
            placed = [float(anchor)]
            chi2_now = np.inf
            for _ in range(number - 1):
                far = everywhere[np.min(np.abs(everywhere[:, None] - np.array(placed)), axis=1) >= 0.6 * trial]
                if not len(far):
                    break
                chi2, _ = _scan(cut, placed, trial, nods, background, far)
                pick = int(chi2.argmin())
                placed.append(float(far[pick]))
                chi2_now = float(chi2[pick])
            if len(placed) == number and chi2_now < best[0]:
                best = (chi2_now, tuple(placed), trial)
    positions = best[1]
    if len(positions) < number:  # nothing positive fits: set the missing ones beside the first, to be judged by the fit
        positions = tuple(positions[0] + k * best[2] for k in range(number))
    return positions, best[2], best[0]


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


def another_source(
    cut: Slice,
    positions: tuple[float, ...],
    fwhm: float,
    nods: tuple[float, ...],
    fwhm_bounds: tuple[float, float],
) -> tuple[tuple[float, ...], float, float] | None:
    """Positions and FWHM with one source more, and the evidence for it.

    The new source must lie one FWHM (and 1.2 pixels) or more from the others and hold a tenth of the brightest one's
    flux.

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
    positions : tuple of float
        Rows with the new source.
    fwhm : float
        The common FWHM, pixel.
    evidence : float
        Drop of chi2 over the reduced chi2 that is left, where that is above 1.

    None in place of these where the slice has too few rows, is explained already, or has no such place.
    """
    good = np.flatnonzero(cut.binned.weight[0] > 0)
    number = len(positions)
    if len(good) < 8 + 2 * number:
        return None
    few, wide, alone = _place(cut, positions[0], fwhm, number, nods, fwhm_bounds)
    if is_explained(cut, alone):  # the search costs as much as a fit
        return None
    many, width, both = _place(cut, positions[0], fwhm, number + 1, nods, fwhm_bounds)
    if not np.isfinite(both):
        return None
    # the search goes in steps, and what a step leaves would pass for a further source
    background = cross_basis(cut.binned.data.shape[1], 1)
    problem = Problem(Gaussian(), nods, background, fwhm_bounds=fwhm_bounds, prior_taper=None)
    alone = min(alone, fit_slice(cut, few, wide, problem).chi2)
    fit = fit_slice(cut, many, width, problem)
    centre, wide_now = evaluate(fit.geometry, np.array([cut.centre_column]))
    if fit.chi2 < both:
        many, width, both = tuple(float(c) for c in centre[:, 0]), float(wide_now[0, 0]), fit.chi2
    apart = np.abs(np.subtract.outer(many, many))[np.triu_indices(number + 1, 1)].min()
    taken = [p + offset for p in few for offset in nods]
    hidden = any(abs(m - t) < 1.2 * width for m in many[1:] for t in taken)
    if apart < max(1.0 * width, 1.2) or hidden:
        return None
    _, flux = _scan(cut, list(many[:-1]), width, nods, background, np.array(many[-1:]))
    if flux[0].min() < 0.1 * flux[0].max():
        return None
    freedom = max(len(good) - 2 * number - 4, 1)
    return many, width, float((alone - both) / max(1.0, both / freedom))


def fit_slice(cut: Slice, positions: tuple[float, ...], fwhm: float, problem: Problem) -> Fit:
    """Fit sources and background to the slice alone.

    Parameters
    ----------
    cut : Slice
        The slice.
    positions : tuple of float
        Rows of the sources.
    fwhm : float
        FWHM that the fit starts from, pixel.
    problem : Problem
        Shape, nods, background and bounds.

    Returns
    -------
    Fit
    """
    column = cut.centre_column
    start = Geometry(
        (column - 0.5, column + 0.5),
        np.array([positions[0]]),
        np.array(positions[1:]) - positions[0],
        np.array([[np.log(fwhm)]]),
    )
    return fit_geometry(cut.binned, start, problem)
