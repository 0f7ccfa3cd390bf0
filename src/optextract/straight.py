"""Traces that move, straightened for the placing of several sources: all of them move alike, whatever they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.polynomial.legendre import legfit, legval
from numpy.typing import NDArray

from .bins import edges_uniform, median_bins
from .compiled.order import middle_of_rows
from .finder import Detection
from .frame import Frame
from .kernel import Slice, choose_columns, coadd
from .recipe import Recipe
from .robust import median
from .window import Window

__all__ = ["bend_of", "common_bend", "straight_slice", "straightened"]

FloatArray = NDArray[np.float64]

_REACH = 3  # rows that a trace may move from bin to bin
_MEMORY = 0.8  # of the aligned bins before, in what the next one is aligned with
_DEGREE = 3
_ROUNDS = 3
_STANDS_OUT = 5.0  # sigma of the power of noise: a bin that shows something
_LEAST_BEND = 1.0  # rows: what moves less is as good as straight


def common_bend(data: FloatArray, weight: FloatArray) -> FloatArray | None:
    """Tell how all that is on a frame moves along it, without knowing what it is.

    Coarse bins are aligned one after the other, from the brightest outwards, each with the mean of those before
    (cross-correlation), and a polynomial of the third degree is laid through the shifts.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Pixel values and inverse variances (zero where bad).

    Returns
    -------
    ndarray, shape (4,), or None
        Legendre coefficients of the shift in rows, columns mapped to [-1, 1]; None where it moves by less than a row,
        or too little is seen.
    """
    n_disp = len(data)
    bins = median_bins(data, weight, edges_uniform(n_disp, int(np.clip(n_disp // 16, 1, 48))))
    n_bin, n_cross = bins.data.shape
    if n_bin < 8 or n_cross < 2 * _REACH + 3:
        return None
    seen = bins.weight > 0
    middle = np.empty(n_bin)
    middle_of_rows(bins.data, seen, 1, middle)
    light = np.where(seen, bins.data - middle[:, None], 0.0)
    power = (light**2 * bins.weight).sum(axis=1)
    shows = power > n_cross + _STANDS_OUT * np.sqrt(2.0 * n_cross)
    if np.count_nonzero(shows) < max(8, n_bin // 2):
        return None
    x = 2 * bins.column / max(n_disp - 1, 1) - 1
    weights = np.where(shows, np.sqrt(np.minimum(power, median(power[shows]))), 0.0)
    shift = _followed(light, int(power.argmax()))
    bend = legfit(x, shift, _DEGREE, w=weights)
    for _ in range(_ROUNDS):
        # each bin again, with the mean of all: a mean that was made on the way lags behind
        whole = np.round(legval(x, bend)).astype(int)
        aligned = np.stack([_moved(row, lag) for row, lag in zip(light, whole, strict=True)])
        model = (aligned * weights[:, None]).sum(axis=0)
        likeness = np.stack([_moved(model, -lag) for lag in range(-_REACH, _REACH + 1)]) @ aligned.T
        pick = likeness.argmax(axis=0)
        shift = whole + np.array([k - _REACH + _peak(likeness[:, b], k) for b, k in enumerate(pick.tolist())])
        away = np.abs(shift - legval(x, bend))
        bend = legfit(x, shift, _DEGREE, w=weights * (away < 3 * max(median(away[shows]), 0.1)))
    along = legval(np.linspace(-1, 1, 65), bend)
    return np.asarray(bend, dtype=np.float64) if np.ptp(along) >= _LEAST_BEND else None


def _followed(light: FloatArray, brightest: int) -> FloatArray:
    """Shift of each bin from the brightest, found one after the other, each with the mean of those before."""
    shift = np.zeros(len(light))
    for order in (range(brightest + 1, len(light)), range(brightest - 1, -1, -1)):
        model, last = light[brightest], 0
        for b in order:
            likeness = [float(model @ _moved(light[b], lag)) for lag in range(last - _REACH, last + _REACH + 1)]
            pick = int(np.argmax(likeness))
            if likeness[pick] > 0:
                last += pick - _REACH
                model = _MEMORY * model + (1 - _MEMORY) * _moved(light[b], last)
            shift[b] = last
    return shift


def _moved(light: FloatArray, lag: int) -> FloatArray:
    """What is `lag` rows further up, zero beyond the edge."""
    out = np.zeros_like(light)
    if lag >= 0:
        out[: len(light) - lag] = light[lag:]
    else:
        out[-lag:] = light[:lag]
    return out


def _peak(values: FloatArray, pick: int) -> float:
    """Top of the parabola through three values, from the middle one."""
    if not 0 < pick < len(values) - 1:
        return 0.0
    bottom = values[pick - 1] - 2 * values[pick] + values[pick + 1]
    return float(np.clip(0.5 * (values[pick - 1] - values[pick + 1]) / bottom, -0.5, 0.5)) if bottom < 0 else 0.0


def straightened(data: FloatArray, weight: FloatArray, shift: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Move each column by whole rows.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Pixel values and inverse variances (zero where bad).
    shift : ndarray, shape (n_disp,)
        Rows by which what is on a column lies too high.

    Returns
    -------
    data, weight : ndarray, shape (n_disp, n_cross)
        Weights are zero where a row comes from beyond the edge.
    """
    n_cross = data.shape[1]
    rows = np.arange(n_cross) + np.round(shift).astype(int)[:, None]
    valid = (rows >= 0) & (rows < n_cross)
    rows = np.clip(rows, 0, n_cross - 1)
    return np.take_along_axis(data, rows, axis=1), np.where(valid, np.take_along_axis(weight, rows, axis=1), 0.0)


def bend_of(frame: Frame, window: Window, path: FloatArray | None, at: float) -> FloatArray | None:
    """Tell how far a trace is from where it is at one column.

    Parameters
    ----------
    frame : Frame
        The frame, for whether it is rectified: then nothing is looked for.
    window : Window
        The pixels that take part.
    path : ndarray, shape (n_disp of the frame,), optional
        A trace that is known, frame row of each column.
    at : float
        That column of the window.

    Returns
    -------
    ndarray, shape (n_disp,), or None
        Rows; None where the trace is as good as straight.
    """
    column = window.columns
    if path is not None:
        shift = np.asarray(path[window.column : window.column + window.n_disp], dtype=np.float64)
    elif frame.meta.get("rectified") is True:
        return None
    else:
        found = common_bend(window.data, window.weight)
        if found is None:
            return None
        shift = np.asarray(legval(2 * column / max(window.n_disp - 1, 1) - 1, found), dtype=np.float64)
    return shift - float(np.interp(at, column, shift))


def straight_slice(window: Window, detection: Detection, bend: FloatArray, recipe: Recipe) -> Slice:
    """Coadd columns along a trace, for the placing of sources alone.

    Parameters
    ----------
    window : Window
        The pixels that take part.
    detection : Detection
        The source.
    bend : ndarray, shape (n_disp,)
        From `bend_of`.
    recipe : Recipe
        The settings.

    Returns
    -------
    Slice
        Its rows are those of the column at which nothing is shifted.
    """
    row = np.full(len(detection.row), float(np.median(detection.row)))
    columns = choose_columns(replace(detection, row=row), window.n_disp, recipe.kernel, window.column)
    return coadd(*straightened(window.data, window.weight, bend), columns, recipe.kernel.combine)
