"""The parameters of a fit of trace and width: where they start, what they may become, what is expected of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray

from .compiled.descent import AT, FREE, Limits
from .compiled.lanes import Sizes
from .geometry import Geometry, Problem
from .recipe import Parameter

__all__ = ["Layout", "geometry_of", "parameters_of"]

FloatArray = NDArray[np.float64]
Rule = tuple[float, ...]  # of a parameter: a line of the descent's table

_ALL = (-np.inf, np.inf)
_UNKNOWN = (0.0, 0.0)  # mean and 1 / sigma^2 of no prior
_LONGEST = 1.0  # step of a row or an offset (pixel), and of an index
_LONGEST_WIDTH, _LONGEST_SPACING = 0.4, 0.03  # longest steps of log FWHM, and of the factor on the nods' offsets


@dataclass(frozen=True, eq=False)
class Layout:
    """The parameters: centre, widths, offsets of the further sources, spacing of the nods, index of the shape.

    Attributes
    ----------
    sizes : tuple of int
        Their numbers: see `optextract.compiled.lanes.Sizes`.
    start : ndarray, shape (n_parameter,)
        Where they start, be it within their limits or not.
    limits : tuple
        What they may become, and what is expected of them: see `optextract.compiled.descent`.
    n_free : int
        How many of them move.
    """

    sizes: Sizes
    start: FloatArray
    limits: Limits
    n_free: int


def parameters_of(start: Geometry, problem: Problem) -> Layout:
    """Lay out the parameters of a fit.

    Parameters
    ----------
    start : Geometry
        Initial values; their degrees are those of the fit.
    problem : Problem
        What is free, bounds and priors.

    Returns
    -------
    Layout
    """
    n_centre, (n_width, n_each), n_source = len(start.centre), start.log_fwhm.shape, len(start.offsets) + 1
    spaced, indexed = problem.prior_spacing is not None and bool(problem.nods), problem.index_shape is not None
    extremes = problem.fwhm_bounds if problem.fwhm_extremes is None else problem.fwhm_extremes
    lowest, highest, narrowest, widest = np.log((*problem.fwhm_bounds, *extremes)).tolist()
    values = [*start.centre.tolist(), *start.log_fwhm.ravel().tolist(), *start.offsets.tolist()]
    free, bounds = float(problem.free_centre), problem.centre_bounds if start.given is None else _ALL
    rules: list[Rule] = [(*bounds, *_ALL, *_prior(problem.prior_centre), free, _LONGEST, 0.0)]
    bend = None if start.given is not None else problem.prior_bend
    rules += _higher(n_centre, problem.bends, bend, free, _LONGEST)
    free = float(problem.free_width)
    width: Rule = (lowest, highest, *_ALL, *_prior(problem.prior_fwhm), free, _LONGEST_WIDTH, 0.0)
    rules += [width, *_higher(n_each, problem.tapers, problem.prior_taper, free, _LONGEST_WIDTH)] * n_width
    for k in range(n_source - 1):
        free = float(problem.free_offsets[k]) if problem.free_offsets else 1.0
        rules.append((*_ALL, *_ALL, *_UNKNOWN, free, _LONGEST, 0.0))
    if spaced:
        values.append(start.spacing)
        prior = _prior((1.0, problem.prior_spacing))
        rules.append((*problem.spacing_bounds, *_ALL, *prior, 1.0, _LONGEST_SPACING, 0.0))
    if indexed:
        values.append(3.0 if problem.shape.index is None else problem.shape.index)
        rules.append((*problem.index_bounds, *_ALL, *_UNKNOWN, 1.0, _LONGEST, 0.0))
    return Layout(
        (n_centre, n_each, n_width, n_source, int(spaced), int(indexed)),
        np.array(values, dtype=float),
        (np.array(rules, dtype=float), _rows(start, problem), narrowest, widest),
        sum(rule[FREE] > 0 for rule in rules),
    )


def _prior(prior: tuple[float, float | None] | None) -> tuple[float, float]:
    """Mean and 1 / sigma^2 of a normal prior, from mean and 1 sigma."""
    return _UNKNOWN if prior is None or prior[1] is None else (prior[0], 1 / prior[1] ** 2)


def _higher(count: int, terms: tuple[Parameter, ...], sigma: float | None, free: float, longest: float) -> list[Rule]:
    """Rules of the coefficients of a polynomial from the first degree on, with what is asked of them."""
    prior = _prior((0.0, sigma))
    out: list[Rule] = []
    for asked in terms[: count - 1]:
        limits, moves = _ALL if asked.bounds is None else asked.bounds, 0.0 if asked.fixed else free
        out.append((*_ALL, *limits, *prior, moves, longest, float(asked.fixed)))
    return out + [(*_ALL, *_ALL, *prior, free, longest, 0.0)] * (count - 1 - len(out))


def _rows(start: Geometry, problem: Problem) -> FloatArray:
    """What is asked of the rows of the sources, as the descent wants it: those that are fixed, or have bounds."""
    asked = [
        (source, each)
        for source, each in enumerate(problem.rows[: start.n_source])
        if (each.fixed or each.bounds is not None) and (source or problem.free_centre)
    ]
    rows = np.empty((len(asked), AT + len(start.centre)))
    if asked:
        at = np.array([problem.at])
        rows[:, AT:] = legvander(start.mapped(at), len(start.centre) - 1)[0]
        given = 0.0 if start.given is None else float(np.interp(problem.at, np.arange(len(start.given)), start.given))
        for k, (source, each) in enumerate(asked):
            least, most = (-np.inf, np.inf) if each.bounds is None else each.bounds
            held = each.value if each.fixed and each.value is not None else np.nan
            rows[k, :AT] = source, least, most, held, given
    return rows


def geometry_of(vector: FloatArray, sizes: Sizes, start: Geometry) -> Geometry:
    """Take a geometry out of the parameters.

    Parameters
    ----------
    vector : ndarray, shape (n_parameter,)
        The parameters.
    sizes : tuple of int
        Their numbers.
    start : Geometry
        Where they started, for what is no parameter.

    Returns
    -------
    Geometry
    """
    n_centre, n_each, n_width, n_source, n_spacing, _ = sizes
    first_offset = n_centre + n_each * n_width
    tail = first_offset + n_source - 1
    return Geometry(
        start.domain,
        vector[:n_centre],
        vector[first_offset:tail],
        vector[n_centre:first_offset].reshape(n_width, n_each),
        start.given,
        float(vector[tail]) if n_spacing else start.spacing,
    )
