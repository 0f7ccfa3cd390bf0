"""A background for the first search for outliers: robust, and good to a few sigma in each column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .beneath import VARIES, per_column_pulls
from .bins import edges_uniform, median_bins
from .choose import Choice
from .compiled import contiguous
from .compiled.order import middle_of_rows
from .compiled.sky import raise_bins
from .geometry import evaluate, terms_of
from .locate import Start
from .solve import model_of, solve_columns
from .window import Window

__all__ = ["rough_background"]

FloatArray = NDArray[np.float64]

_LEAST_ROWS = 5  # source-free ones whose median is a background
_COLUMNS = 16  # of each bin of medians


def rough_background(
    window: Window,
    weight: FloatArray,
    choice: Choice,
    start: Start,
    clear: NDArray[np.bool_],
    near: tuple[NDArray[np.bool_], ...] = (),
) -> FloatArray:
    """Background of medians of 16 columns, plus what the source-free rows of a column share (a sky line).

    Parameters
    ----------
    window : Window
        The pixels that take part.
    weight : ndarray, shape (n_disp, n_cross)
        Their weights.
    choice : Choice
        Trace, width and shape.
    start : Start
        Nods, and background terms of the fit.
    clear : ndarray of bool, shape (n_disp, n_cross)
        Pixels free of sources.
    near : tuple of ndarray of bool, each of shape (n_cross,), optional
        Rows near the sources, the nearest first, where there are many others: a sky line may be elsewhere in those.

    Returns
    -------
    ndarray, shape (n_disp, n_cross)
    """
    edges = edges_uniform(window.n_disp, max(window.n_disp // _COLUMNS, 1))
    binned = median_bins(window.data, weight, edges)
    basis = start.problem.background
    nods = choice.fit.geometry.moved(start.problem.nods)
    centre, fwhm = evaluate(choice.fit.geometry, binned.column)
    terms = terms_of(choice.fit.shape.at(binned.column), centre, fwhm, nods, basis, window.n_cross)
    solution = solve_columns(binned.data, binned.weight, terms)
    level = contiguous(solution.coefficients[:, terms.shape[1] - len(basis) :] @ basis)
    image, shared = np.empty((window.n_disp, window.n_cross)), np.zeros(window.n_disp)
    raise_bins(level, edges, shared, image)
    use = clear & (weight > 0)
    if near and (np.count_nonzero(use & near[0], axis=1) >= _LEAST_ROWS).all():
        use = use & near[0]
    middle_of_rows(window.data - image, use, _LEAST_ROWS, shared)
    few = np.flatnonzero(shared == 0.0)  # as it is where there are not enough
    if len(few):
        few = few[(np.count_nonzero(use[few], axis=1) < _LEAST_ROWS) & (weight[few] > 0).any(axis=1)]
    if len(few):
        shared[few] = _beneath(window, weight, choice, start, image, few)
    raise_bins(level, edges, shared, image)
    return image


def _beneath(
    window: Window,
    weight: FloatArray,
    choice: Choice,
    start: Start,
    image: FloatArray,
    columns: NDArray[np.intp],
) -> FloatArray:
    """A constant fitted with the sources in columns of few source-free rows; zero where the sky does not vary there.

    Without it the lines' own pixels would be taken for hits, and those of the source's core first.
    """
    nods = choice.fit.geometry.moved(start.problem.nods)
    centre, fwhm = evaluate(choice.fit.geometry, window.columns[columns])
    constant = np.ones((1, window.n_cross))
    terms = terms_of(choice.fit.shape.at(window.columns[columns]), centre, fwhm, nods, constant, window.n_cross)
    data, weights = window.data[columns] - image[columns], weight[columns]
    solution = solve_columns(data, weights, terms)
    variance = solution.covariance[:, -1, -1]
    told = np.isfinite(variance) & (variance > 0)
    # of all rows without the source: a hit is in few of them, a sky line in all
    light = model_of(terms[:, :-1], solution.coefficients[:, :-1])
    level = np.empty(len(columns))
    middle_of_rows(contiguous(data - light), weights > 0, 1, level)
    level, power = np.where(told, level, 0.0), np.where(told, 1.0 / np.where(told, variance, 1.0), 0.0)
    return level if per_column_pulls(level * power, power) > VARIES else np.zeros(len(columns))
