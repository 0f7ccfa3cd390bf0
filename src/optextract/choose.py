"""Choices of the global fit: degrees of trace and width, and the profile, by the evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .bins import Binned
from .compiled.fit import dropped
from .geometry import Fit, Geometry, Problem, asked_of, evaluate, terms_of
from .profiles import MOFFAT_INDICES, moffat_between
from .recipe import Recipe
from .robust import median, robust_rms
from .solve import model_of, solve_columns
from .trace import fit_geometry, information_criterion

__all__ = ["Choice", "choose_geometry", "waves"]

FloatArray = NDArray[np.float64]

_CHOOSING = 0.03  # tolerance of fits that only tell which degrees are needed
_MAX_RECTIFIED, _MAX_CURVED, _MAX_WIDTH = 3, 4, 3
_MAX_WAVY = 16  # where shifts of the bins show that a lower degree does not do
_WAVES, _LEAST_WAVY = 4.0, 16  # sigma, and bins
_EXTRA = 30.0  # evidence that each degree beyond one must bring on rectified data
_SHAPE_EVIDENCE = 10.0
_TOLERANCE = 0.05  # of the source's light: no artefact but an imperfect profile
_MOST_MISFIT = 1.5
_BRIGHT = 10.0


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


def _padded(geometry: Geometry, degree: int, width_degree: int) -> Geometry:
    """The same geometry with coefficients added (zero) or cut."""
    centre = np.zeros(degree + 1)
    n = min(degree + 1, len(geometry.centre))
    centre[:n] = geometry.centre[:n]
    width = np.zeros((geometry.log_fwhm.shape[0], width_degree + 1))
    m = min(width_degree + 1, geometry.log_fwhm.shape[1])
    width[:, :m] = geometry.log_fwhm[:, :m]
    return replace(geometry, centre=centre, log_fwhm=width)


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
) -> Choice:
    """Fit the highest degrees allowed, then keep those that the evidence asks for.

    The cost of dropping coefficients is read off the covariance of the largest fit, ``t^T C^-1 t`` of those dropped.

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
        _padded(start, low, low_width),
        problem,
        max_steps=6 if (low, low_width) != (top, top_width) else 25,
        tolerance=tolerance,
    )
    given, binned = binned, _trusted(binned, first, problem)
    if rectified and not _bright(first, max(noise, _noise(first))):
        # resampled traces are straight; only where every bin is bright may the data say otherwise
        top = min(top, max(1, len(problem.bends))) if recipe.trace.degree == "auto" else top
    largest = fit_geometry(binned, _padded(first.geometry, top, top_width), problem, tolerance=rough)
    room = (len(binned.column) - 1) // 3 if recipe.trace.degree == "auto" and problem.free_centre and from_data else 0
    while top < min(_MAX_WAVY, room) and start.given is None and waves(largest) > _WAVES:
        top = min(top + 4, _MAX_WAVY, room)
        largest = fit_geometry(binned, _padded(largest.geometry, top, top_width), problem, tolerance=rough)
    if from_data and len(binned.column) >= 8:
        steadier = _consistent(binned, largest)
        if (steadier.weight < 0.5 * binned.weight).any():
            binned = steadier
            largest = fit_geometry(binned, largest.geometry, problem, tolerance=rough)
    noise = max(noise, _noise(largest))
    n_data = max(4.0 * len(binned.column) / noise**2, 4.0)
    auto = recipe.trace.degree == "auto", recipe.trace.fwhm_degree == "auto"
    # what the recipe asks for by coefficients is not for the evidence to drop
    degrees = _degrees(auto[0], problem.free_centre, len(problem.bends), top)
    width_degrees = _degrees(auto[1], problem.free_width, len(problem.tapers), top_width)
    hessian = largest.hessian + np.diag(1e-9 * np.diag(largest.hessian) + 1e-300)
    covariance = np.asarray(np.linalg.inv(hessian), dtype=np.float64)
    values, of_centre, of_width = _coefficients(largest, problem)
    best = (np.inf, top, top_width)
    for degree in degrees:
        for width_degree in width_degrees:
            lost = dropped(covariance, values, (of_centre > degree) | (of_width > width_degree))
            n_free = degree + 1 + (width_degree + 1) * largest.geometry.log_fwhm.shape[0]
            criterion = information_criterion(lost, n_free, n_data, noise)
            if rectified:
                criterion += _EXTRA * max(degree - 1, 0) + _EXTRA * max(width_degree - 1, 0)
            if criterion < best[0]:
                best = (criterion, degree, width_degree)
    fit = largest
    if best[1:] == (low, low_width) and binned is given and first.converged:
        fit = first  # the same bins and degrees
    elif best[1:] != (top, top_width) or rough > tolerance:
        fit = fit_geometry(binned, _padded(largest.geometry, best[1], best[2]), problem, tolerance=tolerance)
        if not _sane(fit, largest):
            fit = fit_geometry(binned, _padded(first.geometry, best[1], best[2]), problem, tolerance=tolerance)
    choice = Choice(fit, problem, noise, problem.shape.name, binned.column)
    # beside negative twins of free depth, wings and background are one and the same: stay with the Gaussian
    if recipe.profile.kind == "auto" and from_data and problem.free_width and not problem.nods:
        choice = _try_moffat(binned, choice, n_data)
    return choice


def _degrees(auto: bool, free: bool, least: int, most: int) -> range:
    """Degrees to choose from; what does not move needs no more coefficients than are asked for."""
    return range(least if auto else most, (most if free or not auto else least) + 1)


def _trusted(binned: Binned, fit: Fit, problem: Problem) -> Binned:
    """Weights lowered in bins that nothing like the source explains: artefacts, detector edges, residual sky."""
    n_cross = binned.data.shape[1]
    centre, fwhm = evaluate(fit.geometry, binned.column)
    terms = terms_of(
        fit.shape.at(binned.column), centre, fwhm, fit.geometry.moved(problem.nods), problem.background, n_cross
    )
    solution = solve_columns(binned.data, binned.weight, terms)
    n_source = fit.geometry.n_source
    light = (solution.coefficients[:, None, :n_source] @ terms[:, :n_source])[:, 0]
    residual = binned.data - model_of(terms, solution.coefficients)
    with np.errstate(divide="ignore", invalid="ignore"):
        # a bright bin may well be a few per cent off its profile
        variance = 1.0 / binned.weight + (_TOLERANCE * light) ** 2
        misfit = np.where(binned.weight > 0, residual**2 / variance, 0.0).sum(axis=1)
    freedom = np.maximum((binned.weight > 0).sum(axis=1) - terms.shape[1], 1)
    ratio = misfit / freedom
    seen = ratio > 0
    if seen.sum() < 8:
        return binned
    limit = _MOST_MISFIT * max(median(ratio[seen]), 1.0)
    if ratio.max() <= limit:
        return binned
    factor = np.where(ratio > limit, (limit / np.maximum(ratio, limit)) ** 2, 1.0)
    return replace(binned, weight=binned.weight * factor[:, None])


def _consistent(binned: Binned, fit: Fit) -> Binned:
    """Weights lowered (Cauchy) in bins whose own shift or width is far from the fit, in units of the bins' scatter."""
    factor = np.ones(len(binned.column))
    for value, error in ((fit.local[:, 0], fit.local[:, 1]), (fit.local[:, 2], fit.local[:, 3])):
        with np.errstate(divide="ignore", invalid="ignore"):
            pull = np.where(np.isfinite(error) & (error > 0), value / error, 0.0)
        scale = max(1.0, robust_rms(pull[pull != 0.0])) if (pull != 0.0).any() else 1.0
        factor = np.minimum(factor, 1.0 / (1.0 + (pull / (3.0 * scale)) ** 2))
    return replace(binned, weight=binned.weight * factor[:, None])


def waves(fit: Fit) -> float:
    """Significance of what neighbouring bins' own shifts have in common: a trace that waves about its polynomial.

    Parameters
    ----------
    fit : Fit
        A fit.

    Returns
    -------
    float
        In sigma; zero with too few bins to tell.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = fit.local[:, 0] / fit.local[:, 1]
    pull = pull[np.isfinite(pull)]
    if len(pull) < _LEAST_WAVY:
        return 0.0
    scale = max(robust_rms(pull), 1.0)
    pull = np.clip(pull / scale, -3.0, 3.0)
    return float((pull[1:] * pull[:-1]).sum() / np.sqrt((pull**2).sum()) / np.sqrt((pull**2).mean()))


def _bright(fit: Fit, noise: float) -> bool:
    """Whether the first source stands out in nearly every bin."""
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.abs(fit.amplitude[:, 0]) / fit.amplitude_error[:, 0]
    snr = snr[np.isfinite(snr) & (fit.amplitude_error[:, 0] > 0)]
    return snr.size > 0 and float(np.percentile(snr, 20)) > _BRIGHT * noise


def _noise(fit: Fit) -> float:
    freedom = fit.n_data - fit.n_linear - fit.n_parameters
    return max(1.0, float(np.sqrt(fit.chi2 / freedom))) if freedom > 0 else 1.0


def _sane(fit: Fit, largest: Fit) -> bool:
    """Whether a refit from truncated coefficients kept most of the improvement."""
    return bool(np.isfinite(fit.chi2)) and fit.chi2 <= 2.0 * largest.chi2 + 100.0


def _coefficients(fit: Fit, problem: Problem) -> tuple[FloatArray, NDArray[np.intp], NDArray[np.intp]]:
    """Free coefficients of a fit (zero: anything else); the degree of each in the trace and in the width, or -1."""
    n_width, n_each = fit.geometry.log_fwhm.shape
    values: list[float] = []
    centre: list[int] = []
    width: list[int] = []
    if problem.free_centre:
        free = [k for k, asked in enumerate(asked_of(problem.bends, len(fit.geometry.centre))) if not asked.fixed]
        values += fit.geometry.centre[free].tolist()
        centre, width = free, [-1] * len(free)
    if problem.free_width:
        free = [k for k, asked in enumerate(asked_of(problem.tapers, n_each)) if not asked.fixed]
        values += fit.geometry.log_fwhm[:, free].ravel().tolist()
        centre, width = centre + [-1] * (n_width * len(free)), width + free * n_width
    others = len(fit.hessian) - len(values)  # offsets, spacing, index
    return (
        np.array(values + [0.0] * others),
        np.array(centre + [-1] * others, dtype=np.intp),
        np.array(width + [-1] * others, dtype=np.intp),
    )


def _promise(binned: Binned, choice: Choice) -> float:
    """Drop of chi2 that wings promise to first order: one evaluation instead of a fit (a score test)."""
    geometry, problem = choice.fit.geometry, choice.problem
    centre, fwhm = evaluate(geometry, binned.column)
    n_cross = binned.data.shape[1]
    nods = geometry.moved(problem.nods)
    terms = terms_of(problem.shape, centre, fwhm, nods, problem.background, n_cross)
    wings = terms_of(moffat_between(6.0), centre, fwhm, nods, problem.background[:0], n_cross)
    solution = solve_columns(binned.data, binned.weight, terms)
    n_profile = wings.shape[1]
    flux = solution.coefficients[:, :n_profile, None]
    residual = binned.data - model_of(terms, solution.coefficients)
    change = (flux * (wings - terms[:, :n_profile])).sum(axis=1)
    # a change of width looks much like wings: project it out together with the fluxes
    step = 1e-3
    wider = terms_of(problem.shape, centre, fwhm * (1 + step), nods, problem.background[:0], n_cross)
    width = (flux * (wider - terms[:, :n_profile])).sum(axis=1) / step
    fields = np.stack([change, width], axis=1)
    weighted = fields * binned.weight[:, None, :]
    cross = weighted @ terms.transpose(0, 2, 1)
    covariance = np.where(np.isfinite(solution.covariance), solution.covariance, 0.0)
    matrix = (weighted @ fields.transpose(0, 2, 1) - cross @ covariance @ cross.transpose(0, 2, 1)).sum(axis=0)
    vector = (weighted @ residual[:, :, None])[:, :, 0].sum(axis=0)
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        return 0.0
    left = vector[0] - matrix[0, 1] / matrix[1, 1] * vector[1]
    power = matrix[0, 0] - matrix[0, 1] ** 2 / matrix[1, 1]
    return float(left**2 / power) / choice.noise**2 if power > 0 and left > 0 else 0.0


def _try_moffat(binned: Binned, choice: Choice, n_data: float) -> Choice:
    """Take the Moffat where its index pays for itself."""
    if _promise(binned, choice) < _SHAPE_EVIDENCE:
        return choice
    problem = replace(
        choice.problem, shape=moffat_between(4.0), index_shape=moffat_between, index_bounds=MOFFAT_INDICES
    )
    fit = fit_geometry(binned, choice.fit.geometry, problem)
    noise = max(choice.noise, _noise(fit))
    gain = (choice.fit.chi2 - fit.chi2) / noise**2 - np.log(max(n_data, 2.0))
    if gain > _SHAPE_EVIDENCE and fit.shape.index is not None and fit.shape.index < MOFFAT_INDICES[1] - 0.5:
        return Choice(fit, problem, noise, "moffat", binned.column)
    return choice
