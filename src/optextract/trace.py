"""Global fit of position and width along dispersion by variable projection.

Fluxes and background are linear and are eliminated in closed form in every bin; what remains are a few coefficients:
Legendre polynomials for the centre and for the logarithm of the FWHM, one offset per further source, and the shape's
index. They are found by Levenberg-Marquardt on the projected residuals (Kaufman 1975; Golub and Pereyra 2003).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray

from .bins import Binned
from .profiles import Shape
from .solve import invert_normal

__all__ = ["Fit", "Geometry", "Problem", "evaluate", "fit_geometry", "information_criterion", "terms_of"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the sources are and how wide, for any column.

    Attributes
    ----------
    domain : tuple of float
        Columns mapped to -1 and 1.
    centre : ndarray, shape (degree + 1,)
        Legendre coefficients of the first source's centre, row of the fitted window.
    offsets : ndarray, shape (n_source - 1,)
        Distance of the further sources from the first, pixel.
    log_fwhm : ndarray, shape (n_width, fwhm_degree + 1)
        Legendre coefficients of log FWHM: one row common to all sources, or one each.
    given : ndarray, shape (n_disp,), optional
        A centre per column that the polynomial is added to.
    """

    domain: tuple[float, float]
    centre: FloatArray
    offsets: FloatArray
    log_fwhm: FloatArray
    given: FloatArray | None = None

    @property
    def n_source(self) -> int:
        """Number of sources."""
        return len(self.offsets) + 1

    def mapped(self, column: FloatArray) -> FloatArray:
        """Columns on [-1, 1]."""
        low, high = self.domain
        return (2 * np.asarray(column, dtype=float) - low - high) / max(high - low, 1.0)


def evaluate(geometry: Geometry, column: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Centre and FWHM of each source.

    Parameters
    ----------
    geometry : Geometry
        Where the sources are.
    column : ndarray, shape (n_column,)
        Columns of the window, fractions included.

    Returns
    -------
    centre, fwhm : ndarray, shape (n_source, n_column)
        Row of the window, and pixel.
    """
    x = geometry.mapped(column)
    first = legvander(x, len(geometry.centre) - 1) @ geometry.centre
    if geometry.given is not None:
        first = first + np.interp(column, np.arange(len(geometry.given)), geometry.given)
    centre = first + np.concatenate([[0.0], geometry.offsets])[:, None]
    width = np.exp(geometry.log_fwhm @ legvander(x, geometry.log_fwhm.shape[1] - 1).T)
    return centre, np.broadcast_to(width, centre.shape)


@dataclass(frozen=True, eq=False)
class Problem:
    """What a fit needs beside its start: the shape, nods, background rows and what is free.

    Attributes
    ----------
    shape : Shape
        The profile.
    nods : tuple of float
        Offsets of negative traces from each source; their depths are free in every bin.
    background : ndarray, shape (n_background, n_cross)
        Background terms along cross-dispersion, free in every bin.
    free_centre, free_width : bool
        Whether the polynomials of centre and width move.
    free_offsets : tuple of bool
        Which of the further sources' offsets move; empty: all.
    index_shape : callable, optional
        From a shape index to the shape, where the index is free.
    centre_bounds, fwhm_bounds, index_bounds : tuple of float
        Limits (rows, pixels, index).
    prior_centre, prior_fwhm : tuple of float, optional
        Mean and 1 sigma of a prior on the mean centre (row) and on the mean log FWHM.
    prior_bend, prior_taper : float, optional
        1 sigma, about zero, of each higher coefficient of the centre (pixel) and of log FWHM: they keep faint sources
        from wandering.
    max_degree : int, optional
        Highest degree of a polynomial added to a given trace; absent: a constant.
    """

    shape: Shape
    nods: tuple[float, ...] = ()
    background: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    free_centre: bool = True
    free_width: bool = True
    free_offsets: tuple[bool, ...] = ()
    index_shape: Callable[[float], Shape] | None = None
    centre_bounds: tuple[float, float] = (-np.inf, np.inf)
    fwhm_bounds: tuple[float, float] = (0.5, np.inf)
    index_bounds: tuple[float, float] = (1.5, 12.0)
    prior_centre: tuple[float, float] | None = None
    prior_fwhm: tuple[float, float] | None = None
    prior_bend: float | None = None
    prior_taper: float | None = 0.25
    max_degree: int | None = None


@dataclass(frozen=True, eq=False)
class Fit:
    """Outcome of a fit.

    Attributes
    ----------
    geometry : Geometry
        The solution.
    shape : Shape
        The profile, with its fitted index.
    chi2 : float
        Weighted sum of squared residuals of the bins.
    n_data, n_linear, n_parameters : int
        Numbers of good binned pixels, of linear and of nonlinear parameters.
    hessian : ndarray
        Curvature of chi2 / 2 in the free parameters: centre, width, offsets, index in this order.
    amplitude : ndarray, shape (n_bin, n_source)
        Flux of each source in each bin.
    amplitude_error : ndarray, shape (n_bin, n_source)
        Its 1 sigma error.
    local : ndarray, shape (n_bin, 4)
        Of the first source in each bin by itself: shift from the trace and its error, change of log FWHM and its error.
    converged : bool
        False where the steps ran out.
    """

    geometry: Geometry
    shape: Shape
    chi2: float
    n_data: int
    n_linear: int
    n_parameters: int
    hessian: FloatArray
    amplitude: FloatArray
    amplitude_error: FloatArray
    local: FloatArray
    converged: bool


def terms_of(
    shape: Shape, centre: FloatArray, fwhm: FloatArray, nods: tuple[float, ...], background: FloatArray, n_cross: int
) -> FloatArray:
    """Linear terms of each column: sources, their negative nods, background.

    Parameters
    ----------
    shape : Shape
        The profile, at the columns.
    centre, fwhm : ndarray, shape (n_source, n_column)
        Row of the window, and pixel.
    nods : tuple of float
        Offsets of negative traces from each source, pixel.
    background : ndarray, shape (n_background, n_cross)
        Background terms, the same in each column.
    n_cross : int
        Rows of the window.

    Returns
    -------
    ndarray, shape (n_column, n_term, n_cross)
    """
    n_source, n_column = centre.shape
    n_term = n_source * (1 + len(nods)) + len(background)
    terms = np.empty((n_column, n_term, n_cross))
    slot = 0
    for offset in (0.0, *nods):
        for source in range(n_source):
            terms[:, slot] = shape.integrate(n_cross, centre[source] + offset, fwhm[source])
            slot += 1
    terms[:, slot:] = background
    return terms


@dataclass(frozen=True, eq=False)
class _State:
    """Everything that depends on the point of the fit."""

    chi2: float
    gradient: FloatArray
    hessian: FloatArray
    amplitude: FloatArray
    amplitude_error: FloatArray
    column_gradient: FloatArray
    column_curvature: FloatArray


class _Fitter:
    """Evaluates chi2, its gradient and curvature; holds the bins and the layout of the parameter vector."""

    def __init__(self, binned: Binned, start: Geometry, problem: Problem) -> None:
        self.data, self.weight = binned.data, binned.weight
        self.column, self.problem, self.start = binned.column, problem, start
        self.n_cross = self.data.shape[1]
        x = start.mapped(self.column)
        self.centre_basis = legvander(x, len(start.centre) - 1)
        self.width_basis = legvander(x, start.log_fwhm.shape[1] - 1)
        self.given = 0.0 if start.given is None else np.interp(self.column, np.arange(len(start.given)), start.given)
        self.n_width = start.log_fwhm.shape[0]
        self.n_source = len(start.offsets) + 1
        self.sizes = (len(start.centre), start.log_fwhm.size, len(start.offsets), int(problem.index_shape is not None))
        self.places = [(source, offset) for offset in (0.0, *problem.nods) for source in range(self.n_source)]
        self.source_of = np.array([source for source, _ in self.places])
        self._lay_out()

    def _lay_out(self) -> None:
        """Basis value of each parameter in each bin, and the derivative field that it multiplies."""
        n_each = self.width_basis.shape[1]
        constant = np.ones((len(self.column), self.sizes[2] + self.sizes[3]))
        self.basis = np.concatenate([self.centre_basis, *[self.width_basis] * self.n_width, constant], axis=1)
        tail = range(1 + self.n_width, 1 + self.n_width + self.sizes[2] + self.sizes[3])
        widths = np.repeat(np.arange(1, 1 + self.n_width), n_each)
        self.field_of = np.concatenate([np.zeros(self.sizes[0], dtype=int), widths, np.array(tail, dtype=int)])

    def pack(self, geometry: Geometry, index: float) -> FloatArray:
        tail = [index] if self.sizes[3] else []
        return np.concatenate([geometry.centre, geometry.log_fwhm.ravel(), geometry.offsets, tail])

    def unpack(self, vector: FloatArray) -> tuple[Geometry, Shape]:
        n_centre, n_width, n_offset, n_index = self.sizes
        width = vector[n_centre : n_centre + n_width].reshape(self.start.log_fwhm.shape)
        offsets = vector[n_centre + n_width : n_centre + n_width + n_offset]
        geometry = replace(self.start, centre=vector[:n_centre], log_fwhm=width, offsets=offsets)
        shape = self.problem.shape
        if n_index and self.problem.index_shape is not None:
            shape = self.problem.index_shape(float(vector[-1]))
        return geometry, shape

    def free(self) -> NDArray[np.bool_]:
        problem = self.problem
        n_centre, n_width, n_offset, n_index = self.sizes
        offsets = problem.free_offsets if problem.free_offsets else (True,) * n_offset
        return np.array(
            [problem.free_centre] * n_centre + [problem.free_width] * n_width + list(offsets) + [True] * n_index,
            dtype=bool,
        )

    def bounded(self, vector: FloatArray) -> FloatArray:
        """Clip the means (zeroth coefficients) to their bounds and the variations to what keeps the width sane."""
        out = vector.copy()
        n_centre, n_width, _, n_index = self.sizes
        if self.start.given is None:
            out[0] = min(max(out[0], self.problem.centre_bounds[0]), self.problem.centre_bounds[1])
        low, high = np.log(self.problem.fwhm_bounds[0]), np.log(self.problem.fwhm_bounds[1])
        width = out[n_centre : n_centre + n_width].reshape(self.start.log_fwhm.shape)
        for each in width:
            each[0] = min(max(each[0], low), high)
            # the extremes over the frame must stay within bounds too: shrink the variation where they do not
            room = max(min(each[0] - low, high - each[0]), 0.0)
            swing = np.abs(each[1:]).sum()
            if swing > room:
                each[1:] *= room / swing
        if n_index:
            out[-1] = min(max(out[-1], self.problem.index_bounds[0]), self.problem.index_bounds[1])
        return out

    def positions(self, vector: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Centre and FWHM of each source in each bin, shapes (n_source, n_bin)."""
        n_centre, n_width, n_offset, _ = self.sizes
        first = self.centre_basis @ vector[:n_centre] + self.given
        offsets = np.concatenate([[0.0], vector[n_centre + n_width : n_centre + n_width + n_offset]])
        width = vector[n_centre : n_centre + n_width].reshape(self.start.log_fwhm.shape)
        fwhm = np.exp(width @ self.width_basis.T)
        centre = first + offsets[:, None]
        return centre, np.broadcast_to(fwhm, centre.shape)

    def state(self, vector: FloatArray) -> _State:
        shape = self.problem.shape
        if self.sizes[3] and self.problem.index_shape is not None:
            shape = self.problem.index_shape(float(vector[-1]))
        shape = shape.at(self.column)
        centre, fwhm = self.positions(vector)
        n_profile = len(self.places)
        n_term = n_profile + len(self.problem.background)
        terms = np.empty((len(self.column), n_term, self.n_cross))
        shifts = np.empty((len(self.column), n_profile, self.n_cross))
        widths = np.empty_like(shifts)
        for slot, (source, offset) in enumerate(self.places):
            terms[:, slot], shifts[:, slot], widths[:, slot] = shape.derivatives(
                self.n_cross, centre[source] + offset, fwhm[source]
            )
        terms[:, n_profile:] = self.problem.background
        weighted = terms * self.weight[:, None, :]
        inverse, _ = invert_normal(weighted @ terms.transpose(0, 2, 1))
        linear = (inverse @ (weighted @ self.data[:, :, None]))[:, :, 0]
        twins = linear[:, self.n_source : n_profile] > 0
        if twins.any():
            # a negative twin cannot be positive: what is bright there is something else, and must not shape the source
            terms[:, self.n_source : n_profile][twins] = 0.0
            weighted = terms * self.weight[:, None, :]
            inverse, _ = invert_normal(weighted @ terms.transpose(0, 2, 1))
            linear = (inverse @ (weighted @ self.data[:, :, None]))[:, :, 0]
        residual = self.data - (linear[:, None, :] @ terms)[:, 0]
        amplitude = linear[:, :n_profile]
        fields = self._fields(shape, amplitude, shifts, widths, centre, fwhm)
        weighted_fields = fields * self.weight[:, None, :]
        gradient = (weighted_fields @ residual[:, :, None])[:, :, 0]
        cross = weighted_fields @ terms.transpose(0, 2, 1)
        curvature = weighted_fields @ fields.transpose(0, 2, 1) - cross @ inverse @ cross.transpose(0, 2, 1)
        total = np.einsum("xp,xp->p", self.basis, gradient[:, self.field_of])
        spread = curvature[:, self.field_of][:, :, self.field_of]
        hessian = np.einsum("xp,xpq,xq->pq", self.basis, spread, self.basis)
        chi2 = float(np.einsum("xy,xy,xy->", residual, residual, self.weight))
        chi2, total, hessian = self._priors(vector, chi2, total, hessian)
        error = np.sqrt(np.einsum("xtt->xt", inverse)[:, : self.n_source])
        return _State(chi2, total, hessian, amplitude[:, : self.n_source], error, gradient, curvature)

    def _fields(
        self,
        shape: Shape,
        amplitude: FloatArray,
        shifts: FloatArray,
        widths: FloatArray,
        centre: FloatArray,
        fwhm: FloatArray,
    ) -> FloatArray:
        """Model derivatives: shift, width (common or each), offsets, index; shape (n_column, n_field, n_cross)."""
        moved = amplitude[:, :, None] * shifts
        broadened = amplitude[:, :, None] * widths
        fields = [moved.sum(axis=1)]
        if self.n_width == 1:
            fields.append(broadened.sum(axis=1))
        else:
            fields.extend(broadened[:, self.source_of == k].sum(axis=1) for k in range(self.n_width))
        fields.extend(moved[:, self.source_of == k].sum(axis=1) for k in range(1, self.n_source))
        if self.problem.index_shape is not None and shape.index is not None:
            step = 0.01 * max(shape.index, 0.3)
            # towards the inside of the bounds, where the family is defined
            step = -step if shape.index + step > self.problem.index_bounds[1] else step
            other = self.problem.index_shape(shape.index + step)
            change = np.zeros_like(fields[0])
            for slot, (source, offset) in enumerate(self.places):
                position = centre[source] + offset
                before = shape.integrate(self.n_cross, position, fwhm[source])
                after = other.integrate(self.n_cross, position, fwhm[source])
                change += amplitude[:, slot, None] * (after - before) / step
            fields.append(change)
        return np.stack(fields, axis=1)

    def _priors(
        self, vector: FloatArray, chi2: float, gradient: FloatArray, hessian: FloatArray
    ) -> tuple[float, FloatArray, FloatArray]:
        n_centre = self.sizes[0]
        priors = [(0, self.problem.prior_centre)]
        priors += [(n_centre + k * self.width_basis.shape[1], self.problem.prior_fwhm) for k in range(self.n_width)]
        if self.problem.prior_bend is not None and self.start.given is None:
            priors += [(k, (0.0, self.problem.prior_bend)) for k in range(1, n_centre)]
        if self.problem.prior_taper is not None:
            n_each = self.width_basis.shape[1]
            taper = (0.0, self.problem.prior_taper)
            priors += [(n_centre + k, taper) for k in range(self.n_width * n_each) if k % n_each]
        for slot, prior in priors:
            if prior is not None:
                mean, sigma = prior
                chi2 += ((vector[slot] - mean) / sigma) ** 2
                gradient[slot] -= (vector[slot] - mean) / sigma**2
                hessian[slot, slot] += 1 / sigma**2
        return chi2, gradient, hessian


def _local(gradient: FloatArray, curvature: FloatArray) -> FloatArray:
    """Newton step of each bin by itself: what it says of its own shift and width."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shift_error = 1 / np.sqrt(curvature[:, 0, 0])
        width_error = 1 / np.sqrt(curvature[:, 1, 1])
        return np.stack(
            [gradient[:, 0] * shift_error**2, shift_error, gradient[:, 1] * width_error**2, width_error], axis=1
        )


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
        Change of chi2 that ends the fit: 0.001 moves no parameter by more than 0.03 of its error.

    Returns
    -------
    Fit
    """
    fitter = _Fitter(binned, start, problem)
    index = problem.shape.index
    vector = fitter.bounded(fitter.pack(start, 3.0 if index is None else index))
    free = fitter.free()
    state = fitter.state(vector)
    damping, converged = 1e-3, False
    n_centre, n_width = fitter.sizes[0], fitter.sizes[1]
    limit = np.full(len(vector), 1.0)
    limit[n_centre : n_centre + n_width] = 0.4
    for _ in range(max_steps):
        if not free.any():
            converged = True
            break
        curvature = state.hessian[np.ix_(free, free)]
        diagonal = np.diag(curvature)
        damped = curvature + np.diag(damping * diagonal + 1e-12 * diagonal.max() + 1e-300)
        step = np.zeros(len(vector))
        step[free] = np.linalg.solve(damped, state.gradient[free])
        trial = fitter.bounded(vector + np.clip(step, -limit, limit))
        if np.array_equal(trial, vector):
            converged = True
            break
        tried = fitter.state(trial)
        gained = state.chi2 - tried.chi2
        if gained >= 0:
            vector, state, damping = trial, tried, max(damping / 10, 1e-9)
            if gained < tolerance:
                converged = True
                break
        else:
            if -gained < tolerance:
                converged = True
                break
            damping *= 10
            if damping > 1e7:
                # no step helps: at the minimum to rounding, or stuck
                converged = bool(step[free] @ state.gradient[free] < 1e-6 * max(state.chi2, 1.0))
                break
    geometry, shape = fitter.unpack(vector)
    n_data = int((fitter.weight > 0).sum())
    n_linear = len(binned.column) * (geometry.n_source * (1 + len(problem.nods)) + len(problem.background))
    return Fit(
        geometry,
        shape,
        state.chi2,
        n_data,
        n_linear,
        int(free.sum()),
        state.hessian[np.ix_(free, free)],
        state.amplitude,
        state.amplitude_error,
        _local(state.column_gradient, state.column_curvature),
        converged,
    )


def information_criterion(chi2: float, n_parameters: int, n_data: float, noise: float = 1.0) -> float:
    """Bayesian information criterion, ``chi2 / noise^2 + n_parameters ln n_data`` (Schwarz 1978).

    `noise` is the empirical factor on the errors and `n_data` the effective number of independent data: drizzled
    pixels are correlated, and the plain criterion then asks for too many parameters.
    """
    return chi2 / noise**2 + n_parameters * np.log(max(n_data, 2.0))
