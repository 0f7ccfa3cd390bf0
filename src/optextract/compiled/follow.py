"""How the variance of pixels goes with their values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .middle import middle_of_first

__all__ = ["follow_sums", "last_alone"]

FloatArray = NDArray[np.float64]

_DEGENERATE = 1e-10  # part of a term's square that the terms before it leave


@compiled
def follow_sums(
    variance: FloatArray,
    flux: FloatArray,
    model: FloatArray,
    good: NDArray[np.bool_],
    widest: float,
    matrix: FloatArray,
    vector: FloatArray,
) -> tuple[int, float, float]:
    """Normal equations of the variance on 1, the model, its root and the residual.

    The pixels are those whose model is positive and no less than their residual, which is no outlier among theirs.

    Parameters
    ----------
    variance, flux, model : ndarray, shape (n_pixel,)
    good : ndarray of bool, shape (n_pixel,)
    widest : float
        Limit of the residuals, in units of their median absolute value.
    matrix : ndarray, shape (4, 4)
        Filled.
    vector : ndarray, shape (4,)
        Filled.

    Returns
    -------
    count : int
        Pixels that took part.
    clip, square : float
        Limit of the residuals, and the sum of the squared variances.
    """
    room, n = np.empty(len(flux) + 1), 0
    for i in range(len(flux)):
        residual = abs(flux[i] - model[i])
        # written in any case: whether it counts is a coin toss, which a branch would guess wrong half of the time
        room[n] = residual
        n += int(good[i] & (residual < model[i]))
    clip = widest * middle_of_first(room, n) if n else 0.0
    count = 0
    levels, roots, residuals, values = 0.0, 0.0, 0.0, 0.0
    level_2, level_root, level_residual, root_residual, residual_2 = 0.0, 0.0, 0.0, 0.0, 0.0
    value_level, value_root, value_residual, value_2 = 0.0, 0.0, 0.0, 0.0
    for i in range(len(flux)):
        away = flux[i] - model[i]
        use = good[i] & (abs(away) < model[i]) & (abs(away) < clip)
        residual = away if use else 0.0
        level = model[i] if use else 0.0
        value = variance[i] if use else 0.0
        root = np.sqrt(level)
        count += use
        levels, roots, residuals, values = levels + level, roots + root, residuals + residual, values + value
        level_2 += level * level
        level_root += level * root
        level_residual += level * residual
        root_residual += root * residual
        residual_2 += residual * residual
        value_level += value * level
        value_root += value * root
        value_residual += value * residual
        value_2 += value * value
    vector[0], vector[1], vector[2], vector[3] = values, value_level, value_root, value_residual
    matrix[0, 0], matrix[0, 1], matrix[0, 2], matrix[0, 3] = count, levels, roots, residuals
    matrix[1, 1], matrix[1, 2], matrix[1, 3] = level_2, level_root, level_residual
    matrix[2, 2], matrix[2, 3], matrix[3, 3] = levels, root_residual, residual_2
    for j in range(4):
        for k in range(j):
            matrix[j, k] = matrix[k, j]
    return count, clip, value_2


@compiled
def last_alone(matrix: FloatArray, vector: FloatArray) -> tuple[float, float]:
    """Solve normal equations for the last term beside all others; those that the terms before make up are left out.

    Parameters
    ----------
    matrix : ndarray, shape (n_term, n_term)
    vector : ndarray, shape (n_term,)

    Returns
    -------
    coefficient : float
        Of the last term; 0 where it is left out itself.
    explained : float
        Part of the weighted sum of squares that all terms explain.
    """
    n = len(vector)
    lower, right = np.zeros((n, n)), np.zeros(n)
    coefficient, explained = 0.0, 0.0
    for j in range(n):
        pivot, part = matrix[j, j], vector[j]
        for k in range(j):
            pivot -= lower[j, k] * lower[j, k]
            part -= lower[j, k] * right[k]
        coefficient = 0.0
        if pivot > _DEGENERATE * matrix[j, j]:
            root = np.sqrt(pivot)
            right[j] = part / root
            coefficient = part / pivot
            explained += right[j] * right[j]
            for i in range(j + 1, n):
                value = matrix[i, j]
                for k in range(j):
                    value -= lower[i, k] * lower[j, k]
                lower[i, j] = value / root
    return coefficient, explained
