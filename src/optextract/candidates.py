"""Profiles side by side on the kernel slice, and the slice's model with its parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .geometry import Problem, evaluate, terms_of
from .kernel import Slice, fit_slice
from .profiles import MOFFAT_INDICES, Gaussian, Shape, Voigt, moffat_between
from .results import Candidate
from .solve import solve_columns
from .trace import information_criterion

__all__ = ["compare_profiles", "slice_model"]

FloatArray = NDArray[np.float64]


def _voigt(index: float) -> Shape:
    return Voigt(round(float(np.clip(index, 0.0, 1.0)), 3))


def compare_profiles(
    cut: Slice, positions: tuple[float, ...], fwhm: float, problem: Problem, chosen: Shape | None = None
) -> tuple[Candidate, ...]:
    """Fit each built-in profile (and the chosen one, if it is another) to the slice, best BIC first.

    Parameters
    ----------
    cut : Slice
        The slice.
    positions : tuple of float
        Rows of the sources, where the fits start.
    fwhm : float
        Their common FWHM, pixel, where the fits start.
    problem : Problem
        Background, nods and bounds; its shape is replaced.
    chosen : Shape, optional
        A profile of another kind to compare with.

    Returns
    -------
    tuple of Candidate
        With chi2 and BIC on the good rows, ``chi2 + n_parameters ln n_rows`` (Schwarz 1978).
    """
    tries: list[tuple[str, Problem]] = [
        ("gaussian", replace(problem, shape=Gaussian(), index_shape=None)),
        (
            "moffat",
            replace(problem, shape=moffat_between(3.0), index_shape=moffat_between, index_bounds=MOFFAT_INDICES),
        ),
        ("voigt", replace(problem, shape=_voigt(0.3), index_shape=_voigt, index_bounds=(0.0, 1.0))),
    ]
    if chosen is not None and chosen.name not in {name for name, _ in tries}:
        tries.append((chosen.name, replace(problem, shape=chosen, index_shape=None)))
    candidates = []
    n_good = int((cut.binned.weight > 0).sum())
    for name, trial in tries:
        fit = fit_slice(cut, positions, fwhm, trial)
        centre, width_each = evaluate(fit.geometry, cut.binned.column)
        terms = terms_of(
            fit.shape.at(cut.binned.column), centre, width_each, trial.nods, trial.background, cut.binned.data.shape[1]
        )
        curve = slice_model(cut, terms, len(positions), len(trial.background))[0]
        n_free = fit.n_parameters + fit.n_linear
        bic = information_criterion(fit.chi2, n_free, n_good)
        width = float(np.exp(fit.geometry.log_fwhm[0, 0]))
        candidates.append(Candidate(name, fit.chi2, bic, n_free, width, curve))
    return tuple(sorted(candidates, key=lambda c: c.bic))


def slice_model(
    cut: Slice, terms: FloatArray, n_source: int, n_background: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fit the terms to the slice: the model, its background and each source alone.

    Parameters
    ----------
    cut : Slice
        The slice.
    terms : ndarray, shape (1, n_term, n_cross)
        Sources, negative twins and background terms at the slice.
    n_source, n_background : int
        How many of the first and of the last terms are sources and background.

    Returns
    -------
    model, background : ndarray, shape (n_cross,)
    components : ndarray, shape (n_source, n_cross)
        All in the unit of the pixels, per column.
    """
    solution = solve_columns(cut.binned.data, cut.binned.weight, terms)
    parts = terms[0] * solution.coefficients[0][:, None]
    background = parts[len(parts) - n_background :].sum(axis=0)
    return parts.sum(axis=0), background, parts[:n_source]
