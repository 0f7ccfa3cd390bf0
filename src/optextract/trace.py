"""Global fit of position and width along dispersion by variable projection.

Fluxes and background are linear and are eliminated in closed form in every bin; what remains are a few coefficients:
Legendre polynomials for the centre and for the logarithm of the FWHM, one offset per further source, the spacing of
the nods and the shape's index. They are found by Levenberg-Marquardt on the projected residuals (Kaufman 1975; Golub
and Pereyra 2003).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .bins import Binned
from .compiled import contiguous
from .compiled.fit import add_priors, damped_step, keep_within, place, project
from .geometry import Fit, Geometry, Problem, asked_of, legendre_basis
from .profiles import Shape
from .recipe import Parameter

__all__ = ["fit_geometry", "information_criterion"]

FloatArray = NDArray[np.float64]

_HELD = 1e-4  # pixel: 1 sigma of the row of a source that is fixed
_NEGLIGIBLE = 0.3  # of the tolerance: a gain that ends the fit without being taken


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
        self.data, self.weight = contiguous(binned.data), contiguous(binned.weight)
        self.column, self.problem, self.start = binned.column, problem, start
        self.n_cross = self.data.shape[1]
        x = start.mapped(self.column)
        self.centre_basis = legendre_basis(x, len(start.centre) - 1)
        self.width_basis = legendre_basis(x, start.log_fwhm.shape[1] - 1)
        self.given = np.zeros(len(x))
        if start.given is not None:
            self.given = np.interp(self.column, np.arange(len(start.given)), start.given)
        self.n_width = start.log_fwhm.shape[0]
        self.n_source = len(start.offsets) + 1
        spaced = bool(problem.nods) and problem.prior_spacing is not None
        indexed = problem.index_shape is not None
        self.sizes = (len(start.centre), start.log_fwhm.size, len(start.offsets), int(spaced), int(indexed))
        extremes = problem.fwhm_bounds if problem.fwhm_extremes is None else problem.fwhm_extremes
        self.room = np.log(np.array(extremes, dtype=float))
        # of each profile, the sources' own before those of their negative twins
        self.source_of = np.tile(np.arange(self.n_source, dtype=np.intp), 1 + len(problem.nods))
        self.told = np.repeat(np.array([0.0, *problem.nods]), self.n_source)
        self.positive = np.zeros((len(self.data), len(self.told) - self.n_source), dtype=bool)
        self.decided = False
        self.bends = asked_of(problem.bends, self.sizes[0])
        self.tapers = asked_of(problem.tapers, start.log_fwhm.shape[1])
        # whether anything but the usual limits is asked for: this is looked at in every step
        self.asked = any(each.bounds is not None for each in (*self.bends, *self.tapers, *problem.rows))
        at = np.array([problem.at])
        self.held = np.array([float(each.fixed) for each in self.tapers])
        self.held[0] = 0.0
        self.basis_at = legendre_basis(start.mapped(at), len(start.centre) - 1)[0]
        self.given_at = (
            0.0 if start.given is None else float(np.interp(at, np.arange(len(start.given)), start.given)[0])
        )
        self._lay_out()
        self._limit()
        self._expect()

    def _lay_out(self) -> None:
        """Basis value of each parameter in each bin, and the derivative field that it multiplies."""
        n_each = self.width_basis.shape[1]
        n_constant = sum(self.sizes[2:])
        constant = np.ones((len(self.column), n_constant))
        self.basis = np.concatenate([self.centre_basis, *[self.width_basis] * self.n_width, constant], axis=1)
        tail = range(1 + self.n_width, 1 + self.n_width + n_constant)
        widths = np.repeat(np.arange(1, 1 + self.n_width), n_each)
        self.field_of = np.concatenate([np.zeros(self.sizes[0], dtype=np.intp), widths, np.array(tail, dtype=np.intp)])

    def pack(self, geometry: Geometry, index: float) -> FloatArray:
        tail = [geometry.spacing] * self.sizes[3] + [index] * self.sizes[4]
        return np.concatenate([geometry.centre, geometry.log_fwhm.ravel(), geometry.offsets, tail])

    def spacing(self, vector: FloatArray) -> float:
        """Factor on the nods' offsets."""
        return float(vector[sum(self.sizes[:3])]) if self.sizes[3] else self.start.spacing

    def unpack(self, vector: FloatArray) -> tuple[Geometry, Shape]:
        n_centre, n_width, n_offset, _, n_index = self.sizes
        width = vector[n_centre : n_centre + n_width].reshape(self.start.log_fwhm.shape)
        offsets = vector[n_centre + n_width : n_centre + n_width + n_offset]
        geometry = replace(
            self.start, centre=vector[:n_centre], log_fwhm=width, offsets=offsets, spacing=self.spacing(vector)
        )
        shape = self.problem.shape
        if n_index and self.problem.index_shape is not None:
            shape = self.problem.index_shape(float(vector[-1]))
        return geometry, shape

    def free(self) -> NDArray[np.bool_]:
        problem = self.problem
        _, _, n_offset, n_spacing, n_index = self.sizes
        offsets = problem.free_offsets if problem.free_offsets else (True,) * n_offset
        return np.array(
            [problem.free_centre and not asked.fixed for asked in self.bends]
            + [problem.free_width and not asked.fixed for asked in self.tapers] * self.n_width
            + list(offsets)
            + [True] * (n_spacing + n_index),
            dtype=bool,
        )

    def bounded(self, vector: FloatArray) -> FloatArray:
        """Clip the means (zeroth coefficients) to their bounds and the variations to what keeps the width sane.

        What is asked of a coefficient itself comes last: it is kept whatever the width becomes.
        """
        out = vector.copy()
        n_centre, n_each = self.sizes[0], self.width_basis.shape[1]
        keep_within(out, self.limits, n_centre, n_each, self.n_width, self.room, self.held)
        if self.asked:
            for slot in range(n_centre, n_centre + self.sizes[1], n_each):
                _within(out[slot : slot + n_each], self.tapers)
            _within(out[:n_centre], self.bends)
            self._keep_rows(out)
        return out

    def _limit(self) -> None:
        """Limits of the parameters; the row of each source and the coefficients that are asked for have their own."""
        self.limits = np.full((sum(self.sizes), 2), (-np.inf, np.inf))
        n_centre, n_width, _, n_spacing, n_index = self.sizes
        if self.start.given is None:
            self.limits[0] = self.problem.centre_bounds
        self.limits[n_centre : n_centre + n_width : self.width_basis.shape[1]] = np.log(self.problem.fwhm_bounds)
        if n_spacing:
            self.limits[sum(self.sizes[:3])] = self.problem.spacing_bounds
        if n_index:
            self.limits[-1] = self.problem.index_bounds

    def _expect(self) -> None:
        """Normal priors of single parameters: which, mean, 1 / sigma^2."""
        problem, n_centre, n_each = self.problem, self.sizes[0], self.width_basis.shape[1]
        priors = [(0, problem.prior_centre)]
        priors += [(n_centre + k * n_each, problem.prior_fwhm) for k in range(self.n_width)]
        if problem.prior_bend is not None and self.start.given is None:
            priors += [(k, (0.0, problem.prior_bend)) for k in range(1, n_centre)]
        if problem.prior_taper is not None:
            taper = (0.0, problem.prior_taper)
            priors += [(n_centre + k, taper) for k in range(self.n_width * n_each) if k % n_each]
        if self.sizes[3] and problem.prior_spacing is not None:
            priors.append((sum(self.sizes[:3]), (1.0, problem.prior_spacing)))
        told = [(slot, prior) for slot, prior in priors if prior is not None]
        self.prior_slots = np.array([slot for slot, _ in told], dtype=np.intp)
        self.prior_means = np.array([mean for _, (mean, _) in told], dtype=float)
        self.prior_weights = np.array([1 / sigma**2 for _, (_, sigma) in told], dtype=float)

    def _row_of(self, source: int) -> FloatArray:
        """Row of a source at the column for which it is asked, less the given trace, as weights of the parameters."""
        weights = np.zeros(sum(self.sizes))
        weights[: self.sizes[0]] = self.basis_at
        if source:
            weights[sum(self.sizes[:2]) + source - 1] = 1.0
        return weights

    def _keep_rows(self, vector: FloatArray) -> None:
        """Move sources whose row leaves its bounds back to them, in place: the first with its trace, others alone."""
        for source, asked in enumerate(self.problem.rows[: self.n_source]):
            slot = sum(self.sizes[:2]) + source - 1 if source else 0
            if asked.bounds is not None and (source or self.problem.free_centre):
                row = float(self._row_of(source) @ vector) + self.given_at
                vector[slot] += asked.within(row) - row

    def state(self, vector: FloatArray) -> _State:
        shape = self.problem.shape
        if self.sizes[4] and self.problem.index_shape is not None:
            shape = self.problem.index_shape(float(vector[-1]))
        bound = shape.fast().at(self.column)
        n_bin, n_profile, n_field = len(self.column), len(self.told), 1 + self.n_width + sum(self.sizes[2:])
        centre, fwhm = np.empty((2, n_profile, n_bin))
        place(
            vector,
            self.n_width,
            self.centre_basis,
            self.width_basis,
            self.given,
            self.spacing(vector),
            self.source_of,
            self.told,
            centre,
            fwhm,
        )
        terms = np.empty((n_bin, n_profile + len(self.problem.background), self.n_cross))
        shifts, widths = np.empty((2, n_bin, n_profile, self.n_cross))
        for slot in range(n_profile):
            bound.fill_derivatives(terms, shifts, widths, slot, centre[slot], fwhm[slot])
        terms[:, n_profile:] = self.problem.background
        index = self._index_change(shape, terms, centre, fwhm)
        amplitude, error = np.empty((2, n_bin, self.n_source))
        gradient, curvature = np.empty((n_bin, n_field)), np.empty((n_bin, n_field, n_field))
        total, hessian = np.empty(len(vector)), np.empty((len(vector), len(vector)))
        chi2 = project(
            self.data,
            self.weight,
            terms,
            shifts,
            widths,
            index,
            self.positive,
            not self.decided,
            self.source_of,
            self.told,
            self.n_source,
            self.n_width,
            bool(self.sizes[3]),
            self.basis,
            self.field_of,
            amplitude,
            error,
            gradient,
            curvature,
            total,
            hessian,
        )
        # a negative twin cannot be positive: decided once a fit, because chi2 jumps with it
        self.decided = True
        chi2 += add_priors(vector, self.prior_slots, self.prior_means, self.prior_weights, total, hessian)
        chi2 += self._hold_rows(vector, total, hessian)
        return _State(chi2, total, hessian, amplitude, error, gradient, curvature)

    def _index_change(self, shape: Shape, terms: FloatArray, centre: FloatArray, fwhm: FloatArray) -> FloatArray:
        """Change of each profile with the shape's index, where that is free: (n_bin, n_profile or none, n_cross)."""
        if self.problem.index_shape is None or shape.index is None:
            return np.empty((len(terms), 0, self.n_cross))
        step = 0.01 * max(shape.index, 0.3)
        # towards the inside of the bounds, where the family is defined
        step = -step if shape.index + step > self.problem.index_bounds[1] else step
        other = self.problem.index_shape(shape.index + step)
        index = np.empty((len(terms), len(self.told), self.n_cross))
        for slot in range(len(self.told)):
            other.fill(index, slot, centre[slot], fwhm[slot])
        index -= terms[:, : len(self.told)]
        index /= step
        return index

    def _hold_rows(self, vector: FloatArray, gradient: FloatArray, hessian: FloatArray) -> float:
        """Hold fixed rows by narrow priors: each is a sum of parameters, none of which is fixed. Gives their chi2."""
        chi2 = 0.0
        for source, asked in enumerate(self.problem.rows[: self.n_source]):
            if asked.fixed and asked.value is not None and (source or self.problem.free_centre):
                weights = self._row_of(source)
                off = float(weights @ vector) + self.given_at - asked.value
                chi2 += (off / _HELD) ** 2
                gradient -= weights * off / _HELD**2
                hessian += np.outer(weights, weights) / _HELD**2
        return chi2


def _within(coefficients: FloatArray, asked: tuple[Parameter, ...]) -> None:
    """Bring coefficients within the bounds that are asked for, in place."""
    for slot, each in enumerate(asked):
        coefficients[slot] = each.within(coefficients[slot])


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
        Change of chi2 that ends the fit, where chi2 is what noise alone makes it; larger in proportion where it is
        more. 0.001 moves no parameter by more than 0.03 of its error.

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
    freedom = max(int((fitter.weight > 0).sum()) - len(vector), 1)
    n_centre, n_width = fitter.sizes[0], fitter.sizes[1]
    limit = np.full(len(vector), 1.0)
    limit[n_centre : n_centre + n_width] = 0.4
    if fitter.sizes[3]:
        limit[sum(fitter.sizes[:3])] = 0.03
    step = np.empty(len(vector))
    for _ in range(max_steps):
        # what stands at a limit and would cross it stays there, or its clipped step would spoil those of the others
        moving = free & (fitter.bounded(vector + 1e-6 * np.sign(state.gradient)) != vector)
        if not moving.any():
            converged = True
            break
        enough = tolerance * max(1.0, state.chi2 / freedom)
        promise = damped_step(state.hessian, state.gradient, moving, damping, step)
        if damping <= 1e-3 and promise < _NEGLIGIBLE * enough:
            # what is left to gain, twice the drop of chi2 / 2 that the curvature promises, is not worth a look
            converged = True
            break
        trial = fitter.bounded(vector + np.minimum(np.maximum(step, -limit), limit))
        if np.array_equal(trial, vector):
            converged = True
            break
        tried = fitter.state(trial)
        gained = state.chi2 - tried.chi2
        if gained >= 0:
            vector, state, damping = trial, tried, max(damping / 10, 1e-9)
            if gained < enough:
                converged = True
                break
        else:
            if -gained < enough:
                converged = True
                break
            damping *= 10
            if damping > 1e7:
                # no step helps: at the minimum to rounding, or stuck
                converged = promise < 1e-6 * max(state.chi2, 1.0)
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
