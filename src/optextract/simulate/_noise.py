"""How a noise-free image becomes an observed one: counts, nods, cosmic rays, bad pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOD_DEPTHS", "Drawn", "blemishes", "cosmic_rays", "draw", "nod_offsets"]

FloatArray = NDArray[np.float64]

#: Three equal nods, each minus the mean of the other two, aligned and averaged: depths at -1, +1, -2, +2 nods.
NOD_DEPTHS = (-1.0 / 3.0, -1.0 / 3.0, -1.0 / 6.0, -1.0 / 6.0)


def nod_offsets(step: int) -> tuple[int, int, int, int]:
    """Offsets of the negative traces that belong to `NOD_DEPTHS`, pixel."""
    return (-step, step, -2 * step, 2 * step)


@dataclass(frozen=True)
class Drawn:
    """An observed image in electrons (per exposure) and its variance, true and as a pipeline would state it.

    Attributes
    ----------
    image, negatives, variance, poisson, rnoise : ndarray, shape (n_cross, n_disp)
        Pixels, the noise-free negative traces, the true variance, and the two parts that the file states.
    exposures : int
        Number of exposures averaged.
    """

    image: FloatArray
    negatives: FloatArray
    variance: FloatArray
    poisson: FloatArray
    rnoise: FloatArray
    exposures: int


def draw(
    rng: np.random.Generator,
    light: FloatArray,
    background: FloatArray,
    *,
    sky: float,
    read_noise: float,
    nod_step: int,
    nod_noise: str,
    data_derived: bool,
) -> Drawn:
    """Draw counts and read noise; with a nod step, three exposures are drawn, subtracted and combined.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    light, background : ndarray, shape (n_cross, n_disp)
        Light of all sources, and the background that is left in the frame, electrons.
    sky : float
        Background that was subtracted already and left its Poisson noise, electrons per pixel.
    read_noise : float
        Electrons per pixel and exposure.
    nod_step : int
        Rows between nod positions; 0: one exposure.
    nod_noise : {'omitted', 'included'}
        Whether the stated variance holds the noise of the subtracted exposures.
    data_derived : bool
        Whether the stated Poisson variance is estimated from the counts themselves.
    """
    positive = np.maximum(background, 0.0)
    if not nod_step:
        mean = light + positive + sky
        counts = rng.poisson(mean) + read_noise * rng.standard_normal(mean.shape)
        image = counts - sky - (positive - background)
        poisson = np.maximum(counts, 0.0) if data_derived else mean
        rnoise = np.full(mean.shape, read_noise**2)
        return Drawn(image, np.zeros_like(mean), mean + read_noise**2, poisson, rnoise, 1)

    # Exposure i has the source at row c + i * step of a detector two steps taller at either end; D_i = E_i - mean of
    # the other two, shifted back by i * step rows, and the three are averaged.
    n_cross, n_disp = light.shape
    pad = 2 * nod_step
    nods = (-1, 0, 1)
    detector = np.zeros((3, n_cross + 2 * pad, n_disp))
    for number, nod in enumerate(nods):
        start = pad + nod * nod_step
        detector[number, start : start + n_cross] = light
    mean = detector + sky
    counts = rng.poisson(mean) + read_noise * rng.standard_normal(mean.shape)
    estimate = np.maximum(counts, 0.0) if data_derived else mean

    def combined(cube: FloatArray, other: float, power: int) -> FloatArray:
        total = np.zeros((n_cross, n_disp))
        for number, nod in enumerate(nods):
            start = pad + nod * nod_step
            rest = cube.sum(axis=0) - cube[number]
            total += (cube[number] + other * rest)[start : start + n_cross]
        return total / 3.0**power

    stated = 0.25 if nod_noise == "included" else 0.0
    read = np.full(detector.shape, read_noise**2)
    # what is left of the background carries no noise of its own here: it is part of `sky`
    return Drawn(
        image=combined(counts, -0.5, 1) + background,
        negatives=combined(detector, -0.5, 1) - light,
        variance=combined(mean + read_noise**2, 0.25, 2),
        poisson=combined(estimate, stated, 2),
        rnoise=combined(read, stated, 2),
        exposures=3,
    )


def cosmic_rays(rng: np.random.Generator, image: FloatArray, rate: float, sigma: FloatArray) -> NDArray[np.bool_]:
    """Add cosmic rays to `image` (in place): short tracks of 1 to 5 pixels, 10 sigma to thousands of electrons.

    Returns
    -------
    ndarray of bool
        True where a ray fell.
    """
    hit = np.zeros(image.shape, dtype=bool)
    n_cross, n_disp = image.shape
    number = rng.poisson(rate * image.size)
    if not number:
        return hit
    row, column = rng.uniform(0, n_cross, number), rng.uniform(0, n_disp, number)
    angle, length = rng.uniform(0, 2 * np.pi, number), rng.integers(1, 6, number)
    strength = np.exp(rng.uniform(np.log(10.0), np.log(1000.0), number))
    for k in range(number):
        step = np.arange(length[k])
        y = (row[k] + step * np.sin(angle[k])).astype(int)
        x = (column[k] + step * np.cos(angle[k])).astype(int)
        inside = (y >= 0) & (y < n_cross) & (x >= 0) & (x < n_disp)
        y, x = y[inside], x[inside]
        image[y, x] += strength[k] * sigma[y, x]
        hit[y, x] = True
    return hit


def blemishes(
    rng: np.random.Generator, image: FloatArray, nan: float, zero: float, gap: tuple[int, int] | None
) -> NDArray[np.bool_]:
    """Put NaN, zero and a gap of NaN columns into `image` (in place).

    Returns
    -------
    ndarray of bool
        True for the pixels that hold no data.
    """
    dead = np.zeros(image.shape, dtype=bool)
    if nan:
        missing = rng.random(image.shape) < nan
        image[missing] = np.nan
        dead |= missing
    if zero:
        empty = rng.random(image.shape) < zero
        image[empty] = 0.0
        dead |= empty
    if gap is not None:
        image[:, gap[0] : gap[1] + 1] = np.nan
        dead[:, gap[0] : gap[1] + 1] = True
    return dead
