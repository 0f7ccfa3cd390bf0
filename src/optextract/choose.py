"""Choices of the global fit: degrees of trace and width, and the profile, by the evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .bins import Binned
from .compiled import contiguous, trust
from .geometry import Fit, Geometry, Problem, evaluate, terms_of
from .profiles import MOFFAT_INDICES, moffat_between
from .recipe import Parameter, Recipe
from .trace import fit_geometry, information_criterion

__all__ = ["Choice", "choose_geometry", "waves"]

FloatArray = NDArray[np.float64]

_CHOOSING = 0.03  # tolerance of fits that only tell which degrees are needed
_MAX_RECTIFIED, _MAX_CURVED, _MAX_WIDTH = 3, 4, 3
_MAX_WAVY, _MAX_WIDTH_WAVY = 16, 9  # where the bins' own shifts or widths show that a lower degree does not do
_WAVES, _LEAST_WAVY = 4.0, 16  # sigma, and bins
_EXTRA = 30.0  # evidence that each degree beyond one must bring on rectified data
# drop of chi2 for a Moffat, and beside negative twins of free depth, where wings and background are nearly one
_SHAPE_EVIDENCE, _BESIDE_TWINS = 10.0, 20.0
_TOLERANCE = 0.05  # of the source's light: no artefact but an imperfect profile
_MOST_MISFIT = 1.5
_LEAST_BINS = 8  # that tell whether one of them is unlike the others
_DOUBTED = 0.5  # factor on the weight of a bin that makes a fit worth doing again
_BRIGHT, _NEARLY = 10.0, 0.2  # S/N of nearly every bin, and the part of them that may have less
_MOST_PULL = 3.0
_WINGED, _WIDER = 6.0, 1e-3  # a Moffat's index, and a relative change of width: small steps away from a Gaussian


@dataclass(frozen=True, eq=False)
class Choice:
    """A fit and what it was chosen over.

    Attributes
    ----------
    fit : Fit
        The chosen fit.
    problem : Problem
        Its problem, with the chosen shape.
    noise : float
        Empirical factor on the bins' errors that the criterion used.
    kind : str
        Name of the chosen profile.
    columns : ndarray, shape (n_bin,)
        Centre column of each bin that was fitted.
    """

    fit: Fit
    problem: Problem
    noise: float
    kind: str
    columns: FloatArray


def _limits(
    recipe: Recipe, n_bin: int, rectified: bool, start: Geometry, from_data: bool, problem: Problem
) -> tuple[int, int]:
    """Highest degrees to try for centre and width; coefficients that are asked for are always among them."""
    room = max((n_bin - 1) // 3, 0)
    most = _MAX_RECTIFIED if rectified else _MAX_CURVED
    centre = min(most, room) if recipe.trace.degree == "auto" else int(recipe.trace.degree)
    width = min(_MAX_WIDTH, room) if recipe.trace.fwhm_degree == "auto" else int(recipe.trace.fwhm_degree)
    if not from_data:
        centre = 0 if recipe.trace.degree == "auto" else centre
        width = 0 if recipe.trace.fwhm_degree == "auto" else width
    if start.given is not None:
        centre = min(centre, 0 if problem.max_degree is None else problem.max_degree)
    return max(centre, len(problem.bends)), max(width, len(problem.tapers))


def choose_geometry(
    binned: Binned,
    start: Geometry,
    problem: Problem,
    recipe: Recipe,
    *,
    rectified: bool,
    from_data: bool,
    noise: float = 1.0,
    tolerance: float = 1e-3,
    most_steps: int = 3,
) -> Choice:
    """Fit the highest degrees allowed, then keep those that the evidence asks for.

    What dropping coefficients costs is read off the covariance of the largest fit.

    Parameters
    ----------
    binned : Binned
        Binned columns.
    start : Geometry
        Initial values.
    problem : Problem
        Shape, bounds and freedom.
    recipe : Recipe
        Degrees asked for.
    rectified : bool
        Whether the frame is rectified: degrees beyond one then need much more evidence.
    from_data : bool
        Whether the data carry the shape.
    noise : float, optional
        Empirical factor on the errors of many columns together, where it is known; the bins' own is used if it is
        larger.
    tolerance : float, optional
        Of the fits, see `fit_geometry`.
    most_steps : int, optional
        Of the first fit, which the largest one starts from: fewer where the start was fitted before.

    Returns
    -------
    Choice
    """
    top, top_width = _limits(recipe, len(binned.column), rectified, start, from_data, problem)
    rough = max(tolerance, _CHOOSING)
    # a first fit with what the start has keeps the largest one from wandering off
    low, low_width = min(len(start.centre) - 1, top), min(start.log_fwhm.shape[1] - 1, top_width)
    first = fit_geometry(
        binned,
        start.padded(low, low_width),
        problem,
        max_steps=most_steps if (low, low_width) != (top, top_width) else 25,
        tolerance=tolerance,
    )
    given, binned = binned, _trusted(binned, first, problem)
    if rectified and not _bright(first, max(noise, _noise(first))):
        # resampled traces are straight; only where every bin is bright may the data say otherwise
        top = min(top, max(1, len(problem.bends))) if recipe.trace.degree == "auto" else top
    largest = fit_geometry(binned, first.geometry.padded(top, top_width), problem, tolerance=rough)
    room = (len(binned.column) - 1) // 3 if recipe.trace.degree == "auto" and problem.free_centre and from_data else 0
    while top < min(_MAX_WAVY, room) and start.given is None and waves(largest) > _WAVES:
        top = min(top + 4, _MAX_WAVY, room)
        largest = fit_geometry(binned, largest.geometry.padded(top, top_width), problem, tolerance=rough)
    # beside negative twins the width follows what they leave, and waves by itself
    may_wave = recipe.trace.fwhm_degree == "auto" and problem.free_width and from_data and not problem.nods
    room = (len(binned.column) - 1) // 3 if may_wave else 0
    while top_width < min(_MAX_WIDTH_WAVY, room) and waves(largest, of_width=True) > _WAVES:
        top_width = min(top_width + 3, _MAX_WIDTH_WAVY, room)
        largest = fit_geometry(binned, largest.geometry.padded(top, top_width), problem, tolerance=rough)
    if from_data and len(binned.column) >= _LEAST_BINS:
        factor = np.empty(len(binned.column))
        # bins whose own shift or width is far from the fit count for less, where that makes a difference
        if trust.lowered_by_pull(largest.local, factor) < _DOUBTED:
            binned = _weighed(binned, factor)
            largest = fit_geometry(binned, largest.geometry, problem, tolerance=rough)
    noise = max(noise, _noise(largest))
    n_data = max(4.0 * len(binned.column) / noise**2, 4.0)
    auto = recipe.trace.degree == "auto", recipe.trace.fwhm_degree == "auto"
    # what the recipe asks for by coefficients is not for the evidence to drop
    degrees = _degrees(auto[0], problem.free_centre, len(problem.bends), top)
    width_degrees = _degrees(auto[1], problem.free_width, len(problem.tapers), top_width)
    best = trust.cheapest(
        contiguous(largest.hessian),
        largest.geometry.centre,
        largest.geometry.log_fwhm,
        _free(problem.free_centre, problem.bends, top + 1),
        _free(problem.free_width, problem.tapers, top_width + 1),
        degrees,
        width_degrees,
        noise,
        information_criterion(0.0, 1, n_data),  # of a parameter
        _EXTRA if rectified else 0.0,
    )
    fit = largest
    if best == (low, low_width) and binned is given and first.converged:
        fit = first  # the same bins and degrees
    elif best != (top, top_width) or rough > tolerance:
        fit = fit_geometry(binned, largest.geometry.padded(*best), problem, tolerance=tolerance)
        if not _sane(fit, largest):
            fit = fit_geometry(binned, first.geometry.padded(*best), problem, tolerance=tolerance)
    choice = Choice(fit, problem, noise, problem.shape.name, binned.column)
    # beside negative twins a rough fit is not asked for wings: it takes as long as the fit, and seldom has any
    asked = recipe.profile.kind == "auto" and not (problem.nods and tolerance > _CHOOSING)
    if asked and from_data and problem.free_width:
        choice = _try_moffat(binned, choice, n_data)
    return choice


def _degrees(auto: bool, free: bool, least: int, most: int) -> tuple[int, int]:
    """Degrees to choose from; what does not move needs no more coefficients than are asked for."""
    return least if auto else most, most if free or not auto else least


def _weighed(binned: Binned, factor: FloatArray) -> Binned:
    """The same bins, the weights of each times a factor."""
    return Binned(binned.data, binned.weight * factor[:, None], binned.column, binned.edges)


def _trusted(binned: Binned, fit: Fit, problem: Problem) -> Binned:
    """Weights lowered in bins that nothing like the source explains: artefacts, detector edges, residual sky."""
    n_bin, n_cross = binned.data.shape
    centre, fwhm = evaluate(fit.geometry, binned.column)
    nods = fit.geometry.moved(problem.nods)
    terms = terms_of(fit.shape.at(binned.column), centre, fwhm, nods, problem.background, n_cross)
    factor = np.empty(n_bin)
    data, weight = contiguous(binned.data), contiguous(binned.weight)
    lowered = trust.lowered_by_misfit(
        data, weight, terms, fit.geometry.n_source, _TOLERANCE, _MOST_MISFIT, _LEAST_BINS, factor
    )
    return _weighed(binned, factor) if lowered else binned


def waves(fit: Fit, *, of_width: bool = False) -> float:
    """Significance of what neighbouring bins' own shifts have in common: a trace that waves about its polynomial.

    Parameters
    ----------
    fit : Fit
        A fit.
    of_width : bool, optional
        The same of their own widths.

    Returns
    -------
    float
        In sigma; zero with too few bins to tell.
    """
    local = np.ascontiguousarray(np.roll(fit.local, 2, axis=1)) if of_width else fit.local
    return trust.common_shifts(local, _LEAST_WAVY, _MOST_PULL)


def _bright(fit: Fit, noise: float) -> bool:
    """Whether the first source stands out in nearly every bin."""
    return trust.lower_part(fit.amplitude, fit.amplitude_error, _NEARLY) > _BRIGHT * noise


def _noise(fit: Fit) -> float:
    freedom = fit.n_data - fit.n_linear - fit.n_parameters
    return max(1.0, float(np.sqrt(fit.chi2 / freedom))) if freedom > 0 else 1.0


def _sane(fit: Fit, largest: Fit) -> bool:
    """Whether a refit from truncated coefficients kept most of the improvement."""
    return bool(np.isfinite(fit.chi2)) and fit.chi2 <= 2.0 * largest.chi2 + 100.0


def _free(free: bool, terms: tuple[Parameter, ...], count: int) -> NDArray[np.bool_]:
    """Which of the coefficients of a polynomial move."""
    out = np.full(count, free)
    for k, asked in enumerate(terms[: count - 1], start=1):
        out[k] &= not asked.fixed
    return out


def _promise(binned: Binned, choice: Choice) -> float:
    """Drop of chi2 that wings promise, over the squared noise."""
    geometry, problem = choice.fit.geometry, choice.problem
    centre, fwhm = evaluate(geometry, binned.column)
    n_cross, nods = binned.data.shape[1], geometry.moved(problem.nods)
    terms = terms_of(problem.shape, centre, fwhm, nods, problem.background, n_cross)
    none = problem.background[:0]
    winged = terms_of(moffat_between(_WINGED), centre, fwhm, nods, none, n_cross)
    wider = terms_of(problem.shape, centre, fwhm * (1 + _WIDER), nods, none, n_cross)
    data, weight = contiguous(binned.data), contiguous(binned.weight)
    return trust.wings(data, weight, terms, winged, wider, _WIDER) / choice.noise**2


def _try_moffat(binned: Binned, choice: Choice, n_data: float) -> Choice:
    """Take the Moffat where its index pays for itself."""
    least = _BESIDE_TWINS if choice.problem.nods else _SHAPE_EVIDENCE
    if _promise(binned, choice) < least:
        return choice
    problem = replace(
        choice.problem, shape=moffat_between(4.0), index_shape=moffat_between, index_bounds=MOFFAT_INDICES
    )
    fit = fit_geometry(binned, choice.fit.geometry, problem)
    noise = max(choice.noise, _noise(fit))
    gain = (choice.fit.chi2 - fit.chi2) / noise**2 - np.log(max(n_data, 2.0))
    if gain > least and fit.shape.index is not None and fit.shape.index < MOFFAT_INDICES[1] - 0.5:
        return Choice(fit, problem, noise, "moffat", binned.column)
    return choice
