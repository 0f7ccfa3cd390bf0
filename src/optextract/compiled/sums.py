"""Pixels picked out of images, and sums over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled

__all__ = [
    "aperture",
    "hat_equations",
    "side_pulls",
]

FloatArray = NDArray[np.float64]


@compiled
def side_pulls(
    data: FloatArray, model: FloatArray, weight: FloatArray, rows: NDArray[np.bool_], out: FloatArray
) -> None:
    """Mean residual of some rows over its error, in each column; NaN where they have no weight.

    Parameters
    ----------
    data, model, weight : ndarray, shape (n_disp, n_cross)
    rows : ndarray of bool, shape (n_cross,)
    out : ndarray, shape (n_disp,)
        Filled.
    """
    for x in range(data.shape[0]):
        top, bottom = 0.0, 0.0
        for y in range(data.shape[1]):
            if rows[y]:
                top += weight[x, y] * (data[x, y] - model[x, y])
                bottom += weight[x, y]
        out[x] = top / np.sqrt(bottom) if bottom > 0 else np.nan


@compiled
def aperture(
    image: FloatArray,
    good: NDArray[np.bool_],
    lower: FloatArray,
    upper: FloatArray,
    power: int,
    total: FloatArray,
    count: FloatArray,
    partial: NDArray[np.bool_],
) -> None:
    """Sum the good pixels between two edges in each column, each times a power of its part that lies between them.

    Parameters
    ----------
    image : ndarray, shape (n_disp, n_cross)
    good : ndarray of bool, shape (n_disp, n_cross)
    lower, upper : ndarray, shape (n_disp,)
        Edges; pixel i covers i - 0.5 to i + 0.5.
    power : int
        1 for values, 2 for variances.
    total : ndarray, shape (n_disp,)
        Filled: the sum.
    count : ndarray, shape (n_disp,)
        Filled: good pixels between the edges, parts of pixels included.
    partial : ndarray of bool, shape (n_disp,)
        Filled: whether a pixel between them is not good.
    """
    n_disp, n_cross = image.shape
    for x in range(n_disp):
        value, parts = 0.0, 0.0
        partial[x] = False
        first = int(min(max(np.floor(lower[x] + 0.5), 0.0), float(n_cross)))
        last = int(min(max(np.ceil(upper[x] + 0.5), 0.0), float(n_cross)))
        for y in range(first, last):
            part = min(max(min(upper[x], y + 0.5) - max(lower[x], y - 0.5), 0.0), 1.0)
            if part <= 0.0:
                continue
            if good[x, y]:
                parts += part
                value += image[x, y] * part**power
            else:
                partial[x] = True
        total[x], count[x] = value, parts


@compiled
def hat_equations(
    residual: FloatArray,
    weight: FloatArray,
    flux: FloatArray,
    offset: FloatArray,
    first: float,
    step: float,
    matrix: FloatArray,
    vector: FloatArray,
) -> None:
    """Add the normal equations of hat functions' heights, each times the flux, to those of other sources.

    Parameters
    ----------
    residual, weight, offset : ndarray, shape (n_disp, n_cross)
        Offsets in units of FWHM.
    flux : ndarray, shape (n_disp,)
    first, step : float
        First knot, and the distance of knots.
    matrix : ndarray, shape (n_knot, n_knot)
    vector : ndarray, shape (n_knot,)
    """
    n_cell = len(vector) - 1
    for x in range(residual.shape[0]):
        for y in range(residual.shape[1]):
            position = (offset[x, y] - first) / step
            if not (0 <= position < n_cell) or weight[x, y] <= 0:
                continue
            cell = int(position)
            part = position - cell
            strong = weight[x, y] * flux[x] * flux[x]
            pull = weight[x, y] * flux[x] * residual[x, y]
            vector[cell] += pull * (1 - part)
            vector[cell + 1] += pull * part
            matrix[cell, cell] += strong * (1 - part) * (1 - part)
            matrix[cell + 1, cell + 1] += strong * part * part
            matrix[cell, cell + 1] += strong * part * (1 - part)
            matrix[cell + 1, cell] += strong * part * (1 - part)
