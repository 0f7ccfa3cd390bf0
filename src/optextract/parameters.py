"""The parameters of a fit of trace and width: where they start, what they may become, what is expected of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray

from .compiled.descent import (
    AT,
    FREE,
    HELD,
    HIGHEST,
    LEAST,
    LONGEST,
    LOWEST,
    MEAN,
    MOST,
    N_RULE,
    WEIGHT,
    Limits,
)
from .compiled.fit import Sizes
from .geometry import Geometry, Problem
from .recipe import Parameter

__all__ = ["Layout", "geometry_of", "parameters_of"]

FloatArray = NDArray[np.float64]

#: Of a parameter of which nothing is known: no limits, no prior, free, with the longest step of a centre (pixel).
_PLAIN = np.zeros((N_RULE, 1))
_PLAIN[[LOWEST, LEAST]], _PLAIN[[HIGHEST, MOST]], _PLAIN[[FREE, LONGEST]] = -np.inf, np.inf, 1.0
_LONGEST_WIDTH, _LONGEST_SPACING = 0.4, 0.03  # longest steps of log FWHM, and of the factor on the nods' offsets


@dataclass(frozen=True, eq=False)
class Layout:
    """The parameters: centre, widths, offsets of the further sources, spacing of the nods, index of the shape.

    Attributes
    ----------
    sizes : tuple of int
        Their numbers: see `optextract.compiled.fit.Sizes`.
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
    spaced, indexed = bool(problem.nods) and problem.prior_spacing is not None, problem.index_shape is not None
    sizes = (n_centre, n_each, n_width, n_source, int(spaced), int(indexed))
    first_offset = n_centre + n_width * n_each
    tail = first_offset + n_source - 1
    n = tail + spaced + indexed
    vector, rules = np.empty(n), np.empty((N_RULE, n))
    vector[:n_centre], vector[n_centre:first_offset] = start.centre, start.log_fwhm.ravel()
    vector[first_offset:tail] = start.offsets
    rules[:] = _PLAIN
    extremes = problem.fwhm_bounds if problem.fwhm_extremes is None else problem.fwhm_extremes
    lowest, highest, narrowest, widest = np.log((*problem.fwhm_bounds, *extremes)).tolist()
    if start.given is None:
        rules[LOWEST, 0], rules[HIGHEST, 0] = problem.centre_bounds
    rules[FREE, :n_centre], rules[FREE, n_centre:first_offset] = problem.free_centre, problem.free_width
    rules[LONGEST, n_centre:first_offset] = _LONGEST_WIDTH
    _expect(rules[:, 0], problem.prior_centre)
    if problem.prior_bend is not None and start.given is None:
        rules[WEIGHT, 1:n_centre] = 1 / problem.prior_bend**2
    _ask(rules[:, :n_centre], problem.bends)
    for first in range(n_centre, first_offset, n_each):
        rules[LOWEST, first], rules[HIGHEST, first] = lowest, highest
        _expect(rules[:, first], problem.prior_fwhm)
        if problem.prior_taper is not None:
            rules[WEIGHT, first + 1 : first + n_each] = 1 / problem.prior_taper**2
        _ask(rules[:, first : first + n_each], problem.tapers)
    if problem.free_offsets:
        rules[FREE, first_offset:tail] = problem.free_offsets
    if spaced:
        vector[tail] = start.spacing
        rules[LOWEST, tail], rules[HIGHEST, tail] = problem.spacing_bounds
        rules[LONGEST, tail] = _LONGEST_SPACING
        _expect(rules[:, tail], (1.0, problem.prior_spacing))
    if indexed:
        vector[-1] = 3.0 if problem.shape.index is None else problem.shape.index
        rules[LOWEST, -1], rules[HIGHEST, -1] = problem.index_bounds
    limits = rules, _rows(start, problem), narrowest, widest
    return Layout(sizes, vector, limits, int(rules[FREE].sum()))


def _expect(rule: FloatArray, prior: tuple[float, float | None] | None) -> None:
    """Put a normal prior, mean and 1 sigma, into the lines of a parameter."""
    if prior is not None and prior[1] is not None:
        rule[MEAN], rule[WEIGHT] = prior[0], 1 / prior[1] ** 2


def _ask(rules: FloatArray, terms: tuple[Parameter, ...]) -> None:
    """Put what is asked of the coefficients of a polynomial, from the first degree on, into their lines."""
    for k, asked in enumerate(terms[: rules.shape[1] - 1], start=1):
        if asked.bounds is not None:
            rules[LEAST, k], rules[MOST, k] = asked.bounds
        if asked.fixed:
            rules[FREE, k], rules[HELD, k] = 0.0, 1.0


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
