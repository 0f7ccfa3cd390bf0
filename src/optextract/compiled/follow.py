"""How the variance of pixels goes with their values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .middle import middle_of_first

__all__ = ["follow_sums", "last_alone", "less_noise"]

FloatArray = NDArray[np.float64]

_DEGENERATE = 1e-10  # part of a term's square that the terms before it leave
_STEEPEST = 1.5  # times the slope where there is light


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


@compiled
def less_noise(
    data: FloatArray,
    image: FloatArray,
    variance: FloatArray,
    weight: FloatArray,
    slope: float,
    clipped: bool,
    most: float,
    least: float,
    levels: FloatArray,
    fewest: int,
    out: FloatArray,
) -> None:
    """Take out of a variance what follows the noise of its own pixel, level of light by level.

    Below the last level the slope is that of the variance on the noise beside the light, of all pixels of that level.

    Parameters
    ----------
    data, image, variance, weight : ndarray, shape (n_disp, n_cross)
        Pixel values, their model, variances, and inverse variances (0: left as it is).
    slope : float
        Of the variance on the noise where there is light, and where too few pixels tell.
    clipped : bool
        Whether the variance stops at zero flux.
    most : float
        Sigma of noise at most.
    least : float
        Variance at least.
    levels : ndarray, shape (n_level,)
        Light over its error at which each level begins; what is below the first belongs to it.
    fewest : int
        Pixels that tell.
    out : ndarray, shape (n_disp, n_cross)
        Filled.
    """
    values, model, spread, use = data.ravel(), image.ravel(), variance.ravel(), weight.ravel()
    result, last = out.ravel(), len(levels) - 1
    at, noise = np.empty(len(values), np.int8), np.empty(len(values))
    # sums of pixels, light, noise and variance, then of their products
    sums = np.zeros((len(levels), 9))
    for i in range(len(values)):
        sigma = np.sqrt(spread[i])
        seen = max(values[i], 0.0) if clipped else values[i]
        light = max(model[i], 0.0) if clipped else model[i]
        noise[i] = min(max(seen - light, -most * sigma), most * sigma)
        level = 0
        while level < last and light > levels[level + 1] * sigma:
            level += 1
        at[i] = level
        if use[i] > 0.0 and level < last:
            own = sums[level]
            own[0] += 1.0
            own[1] += light
            own[2] += noise[i]
            own[3] += spread[i]
            own[4] += light * light
            own[5] += light * noise[i]
            own[6] += noise[i] * noise[i]
            own[7] += spread[i] * light
            own[8] += spread[i] * noise[i]
    slopes = np.full(len(levels), slope)
    for level in range(last):
        n, light, away, value, light_2, both, away_2, on_light, on_away = sums[level]
        if n < fewest:
            continue
        light_2, both, away_2 = light_2 - light * light / n, both - light * away / n, away_2 - away * away / n
        on_light, on_away = on_light - value * light / n, on_away - value * away / n
        if light_2 > _DEGENERATE * sums[level, 4]:
            on_away -= on_light * both / light_2
            away_2 -= both * both / light_2
        if away_2 > _DEGENERATE * sums[level, 6]:
            slopes[level] = min(max(on_away / away_2, 0.0), _STEEPEST * slope)
    for i in range(len(values)):
        less = max(spread[i] - slopes[at[i]] * noise[i], least)
        result[i] = less if use[i] > 0.0 else spread[i]
