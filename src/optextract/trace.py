"""Global fit of position and width along dispersion by variable projection.

Fluxes and background are linear and are eliminated in closed form in every bin; what remains are a few coefficients:
Legendre polynomials for the centre and for the logarithm of the FWHM, one offset per further source, the spacing of
the nods and the shape's index. They are found by Levenberg-Marquardt on the projected residuals (Kaufman 1975; Golub
and Pereyra 2003).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .bins import Binned
from .compiled import contiguous, descent
from .compiled.fit import place
from .compiled.profile import Table
from .geometry import Fit, Geometry, Problem
from .parameters import geometry_of, parameters_of
from .profiles import Shape

__all__ = ["fit_geometry", "information_criterion"]

FloatArray = NDArray[np.float64]

_DAMPING = 1e-3  # that a fit starts with
_NO_TABLE: Table = (np.empty((0, 4)), 0.0, 0.0, -1.0)


def fit_geometry(
    binned: Binned, start: Geometry, problem: Problem, max_steps: int = 25, tolerance: float = 1e-3
) -> Fit:
    """Fit centre, width, offsets and index to binned columns.

    Parameters
    ----------
    binned : Binned
        The data.
    start : Geometry
        Initial values; their degrees are those of the fit.
    problem : Problem
        Shape, nods, background, priors and bounds.
    max_steps : int, optional
        Most Levenberg-Marquardt steps.
    tolerance : float, optional
        Change of chi2 that ends the fit, where chi2 is what noise alone makes it; larger in proportion where it is
        more. 0.001 moves no parameter by more than 0.03 of its error.

    Returns
    -------
    Fit
    """
    # bin beside bin in memory, as the loops go through them
    data, weight, column = contiguous(binned.data.T), contiguous(binned.weight.T), contiguous(binned.column)
    layout = parameters_of(start, problem)
    sizes, vector, n_bin = layout.sizes, layout.start, len(column)
    n_source, n_parameter = sizes[3], len(vector)
    nods = np.array([0.0, *problem.nods])
    basis, field_of = np.empty((n_parameter, n_bin)), np.empty(n_parameter, dtype=np.intp)
    descent.lay_out(column, *start.domain, sizes, basis, field_of)
    n_data = int(np.count_nonzero(weight > 0))
    hessian, gradient = np.empty((n_parameter, n_parameter)), np.empty(n_parameter)
    amplitude, error, local = np.empty((n_bin, n_source)), np.empty((n_bin, n_source)), np.empty((n_bin, 4))
    progress = np.zeros(descent.N_PROGRESS)
    progress[descent.DAMPING] = _DAMPING
    trial = vector.copy()
    descent.keep_within(trial, sizes, *layout.limits)
    _descend(
        problem,
        column,
        np.zeros(n_bin) if start.given is None else np.interp(column, np.arange(len(start.given)), start.given),
        start.spacing,
        (data, weight, nods, sizes, basis, field_of),
        layout.limits,
        (max(n_data - n_parameter, 1), max_steps, tolerance),
        (vector, trial, hessian, gradient, amplitude, error, local, progress),
    )
    free = layout.limits[0][:, descent.FREE] > 0
    return Fit(
        geometry_of(vector, sizes, start),
        problem.shape if problem.index_shape is None else problem.index_shape(float(vector[-1])),
        float(progress[descent.CHI2]),
        n_data,
        n_bin * (n_source * len(nods) + len(problem.background)),
        layout.n_free,
        hessian if layout.n_free == n_parameter else hessian[free][:, free],
        amplitude,
        error,
        local,
        bool(progress[descent.CONVERGED] > 0),
    )


def _descend(
    problem: Problem,
    column: FloatArray,
    given: FloatArray,
    spacing: float,
    bins: descent.Bins,
    limits: descent.Limits,
    ends: descent.Ends,
    best: descent.Best,
) -> None:
    """Descend to the best point: in one piece with a table that stays as it is, else with profiles made here."""
    shape, background = problem.shape, contiguous(problem.background)
    nods, sizes, basis, trial = bins[2], bins[3], bins[4], best[1]
    n_source, (n_cross, n_bin) = sizes[3], bins[0].shape
    n_profile = n_source * len(nods)
    positive = np.zeros((n_profile - n_source, n_bin), dtype=bool)
    terms, shifts, widths = (np.empty((n_profile, n_cross, n_bin)) for _ in range(3))
    rest = (background, given, spacing, positive, bins, limits, ends, best)
    bound = shape.fast().at(column)
    if bound.table is not None and problem.index_shape is None:
        descent.descend(bound.table, terms, shifts, widths, np.empty((0, n_cross, n_bin)), *rest)
        return
    centre, fwhm = np.empty((2, n_profile, n_bin))
    going = True
    while going:
        if problem.index_shape is not None:
            shape = problem.index_shape(float(trial[-1]))
            bound = shape.fast().at(column)
        place(trial, sizes, basis, given, nods, spacing, centre, fwhm)
        for slot in range(n_profile):
            found = bound.derivatives(n_cross, centre[slot], fwhm[slot])
            terms[slot], shifts[slot], widths[slot] = (each.T for each in found)
        index = _index_change(problem, shape, terms, centre, fwhm)
        going = descent.descend(_NO_TABLE, terms, shifts, widths, index, *rest)


def _index_change(
    problem: Problem, shape: Shape, terms: FloatArray, centre: FloatArray, fwhm: FloatArray
) -> FloatArray:
    """Change of each profile with the shape's index, where that is free: (n_profile or none, n_cross, n_bin)."""
    _, n_cross, n_bin = terms.shape
    if problem.index_shape is None or shape.index is None:
        return np.empty((0, n_cross, n_bin))
    step = 0.01 * max(shape.index, 0.3)
    # towards the inside of the bounds, where the family is defined
    step = -step if shape.index + step > problem.index_bounds[1] else step
    other = problem.index_shape(shape.index + step)
    index = np.empty(terms.shape)
    for slot in range(len(terms)):
        index[slot] = other.integrate(n_cross, centre[slot], fwhm[slot]).T
    index -= terms
    index /= step
    return index


def information_criterion(chi2: float, n_parameters: int, n_data: float, noise: float = 1.0) -> float:
    """Bayesian information criterion, ``chi2 / noise^2 + n_parameters ln n_data`` (Schwarz 1978).

    Parameters
    ----------
    chi2 : float
        Misfit by the stated errors.
    n_parameters : int
        Free parameters.
    n_data : float
        Effective number of independent data, 2 or more: drizzled pixels are correlated, and the plain criterion then
        asks for too many parameters.
    noise : float, optional
        Empirical factor on the errors.

    Returns
    -------
    float
        The model with the smaller one is preferred.
    """
    return chi2 / noise**2 + n_parameters * np.log(max(n_data, 2.0))
