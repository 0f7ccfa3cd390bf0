"""Residuals of whole images, and their scatter over the errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .middle import middle_of_first, middle_two

__all__ = ["above", "leave_out", "pixel_scatter", "row_scatter"]

FloatArray = NDArray[np.float64]


@compiled
def above(data: FloatArray, background: FloatArray, weight: FloatArray, out: FloatArray) -> None:
    """Pixel values above a background, zero where they have no weight.

    Parameters
    ----------
    data, background, weight : ndarray, shape (n_disp, n_cross)
    out : ndarray, shape (n_disp, n_cross)
        Filled.
    """
    for x in range(data.shape[0]):
        for y in range(data.shape[1]):
            value = data[x, y] - background[x, y]
            out[x, y] = value if weight[x, y] > 0 else 0.0


@compiled
def leave_out(weight: FloatArray, pixels: NDArray[np.bool_], out: FloatArray) -> None:
    """Weights, zero for some pixels.

    Parameters
    ----------
    weight : ndarray, shape (n_disp, n_cross)
    pixels : ndarray of bool, shape (n_disp, n_cross)
    out : ndarray, shape (n_disp, n_cross)
        Filled.
    """
    for x in range(weight.shape[0]):
        for y in range(weight.shape[1]):
            value = weight[x, y]
            out[x, y] = 0.0 if pixels[x, y] else value


@compiled
def pixel_scatter(
    data: FloatArray, model: FloatArray, weight: FloatArray, use: NDArray[np.bool_], enough: int
) -> tuple[int, float]:
    """Number of the pixels to be used that have a weight, and the median of their absolute residuals over their errors.

    Parameters
    ----------
    data, model, weight : ndarray, shape (n_disp, n_cross)
    use : ndarray of bool, shape (n_disp, n_cross)
    enough : int
        Pixels that tell it: of twice as many every second one is taken, and so on.
    """
    values, means, weights, used = data.ravel(), model.ravel(), weight.ravel(), use.ravel()
    room, n = np.empty(len(values) + 1), 0
    for i in range(len(values)):
        residual = values[i] - means[i]
        # written in any case: whether it counts is a coin toss, which a branch would guess wrong half of the time
        room[n] = residual * residual * weights[i]
        n += int(used[i] & (weights[i] > 0))
    if n == 0:
        return 0, np.nan
    step = max(n // enough, 1)
    taken, i = 0, 0
    while i < n:
        room[taken] = room[i]
        taken += 1
        i += step
    lower, upper = middle_two(room, taken)
    return n, 0.5 * (np.sqrt(lower) + np.sqrt(upper))


@compiled
def row_scatter(
    data: FloatArray, model: FloatArray, weight: FloatArray, use: NDArray[np.bool_], n_bin: int
) -> tuple[int, float]:
    """Number of means over some columns of a row, and the median of their absolute values over their errors.

    Parameters
    ----------
    data, model, weight : ndarray, shape (n_disp, n_cross)
    use : ndarray of bool, shape (n_disp, n_cross)
        Pixels that may take part.
    n_bin : int
        Columns of each mean; those that are left over at the end are left out.
    """
    n_disp, n_cross = data.shape
    count = n_disp // n_bin
    room, n = np.empty(count * n_cross + 1), 0
    top, bottom = np.empty(n_cross), np.empty(n_cross)
    for b in range(count):
        for y in range(n_cross):
            top[y], bottom[y] = 0.0, 0.0
        for x in range(b * n_bin, (b + 1) * n_bin):
            for y in range(n_cross):
                part = weight[x, y] if use[x, y] else 0.0
                top[y] += part * (data[x, y] - model[x, y])
                bottom[y] += part
        for y in range(n_cross):
            if bottom[y] > 0:
                room[n] = abs(top[y]) / np.sqrt(bottom[y])
                n += 1
    return n, middle_of_first(room, n) if n else np.nan
