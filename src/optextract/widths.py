"""Whether several sources are equally wide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .bins import edges_uniform, median_bins, split_moving
from .geometry import Fit, Geometry, Problem, evaluate
from .profiles import MOFFAT_INDICES, moffat_between
from .trace import fit_geometry
from .window import Window

__all__ = ["own_widths"]

_BINS = 12
_STILL = 0.3  # of the FWHM: how far the trace may move within a bin
_DEGREE = 2  # of the width along dispersion: of a common one that changes, none must seem to differ
_ROUGH = 0.1  # tolerance of the fits
_EVIDENCE = 25.0  # drop of chi2, over the scatter of what is left, that widths of their own must bring
_EXPLAINED = 1.5  # reduced chi2 of what is left


def own_widths(window: Window, start: Geometry, problem: Problem, limits: tuple[float, float]) -> Geometry | None:
    """Give each source a width of its own if the evidence asks for it.

    Both are fitted to medians of a dozen bins along the frame. The kernel slice does not tell: widths and fluxes that
    change along it leave the same traces as sources that differ.

    Parameters
    ----------
    window : Window
        The pixels that take part.
    start : Geometry
        Several sources with a common width.
    problem : Problem
        Shape, nods, background and what is free.
    limits : tuple of float
        Limits of the FWHM, pixel: wider than those of the common one.

    Returns
    -------
    Geometry or None
        The start with one width each, constant; None where one for all will do.
    """
    centre, fwhm = evaluate(start, window.columns)
    edges = split_moving(edges_uniform(window.n_disp, _BINS), centre[0], _STILL * fwhm[0])
    bins = median_bins(window.data, window.weight, edges)
    trial = replace(problem, fwhm_bounds=limits, fwhm_extremes=None)
    tries = [trial]
    if problem.shape.name == "gaussian":  # wings must not pass for a difference: they are wider beside a fainter source
        winged = replace(trial, shape=moffat_between(3.0), index_shape=moffat_between, index_bounds=MOFFAT_INDICES)
        tries.append(winged)
    common: list[Fit] = []
    separate: list[Fit] = []
    for each in tries:
        common.append(fit_geometry(bins, _with(start, 1), each, tolerance=_ROUGH))
        separate.append(fit_geometry(bins, _with(common[-1].geometry, start.n_source), each, tolerance=_ROUGH))
        if separate[-1].chi2 < _EXPLAINED * _freedom(separate[-1]):
            break
    best = min(separate, key=lambda fit: fit.chi2)
    drop = min(fit.chi2 for fit in common) - best.chi2
    widths = np.exp(best.geometry.log_fwhm[:, 0])
    inside = widths.min() > 1.01 * limits[0] and widths.max() < limits[1] / 1.01
    if drop < _EVIDENCE * max(1.0, best.chi2 / _freedom(best)) or not inside or best.amplitude.sum(axis=0).min() <= 0:
        return None
    return replace(start, log_fwhm=best.geometry.log_fwhm[:, :1].copy())


def _freedom(fit: Fit) -> int:
    return max(fit.n_data - fit.n_linear - fit.n_parameters, 1)


def _with(geometry: Geometry, n_width: int) -> Geometry:
    """Room for a tilt and a width that changes, for all sources or for each."""
    log_fwhm = np.zeros((n_width, _DEGREE + 1))
    log_fwhm[:, : geometry.log_fwhm.shape[1]] = geometry.log_fwhm
    centre = geometry.centre
    if geometry.given is None and len(centre) < 2:
        centre = np.append(centre, 0.0)
    return replace(geometry, centre=centre, log_fwhm=log_fwhm)
