"""What the stages know of every pixel, and the solution of all columns that it leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .background import BackgroundFit
from .noise import pulls
from .recipe import Noise
from .reject import Rejected
from .solve import Solution, model_of, solve_columns

__all__ = ["Final", "Layers", "NoiseScale", "Swept", "check_noise", "solve_final"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Swept:
    """What a sweep with a rough trace found; arrays are column-major (n_disp, ..., n_cross).

    Attributes
    ----------
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
        Linear terms, as in `Layers`.
    centre, fwhm : ndarray, shape (n_source, n_disp)
        Trace (row of the window) and width.
    background : ndarray, shape (n_disp, n_cross)
        Rough background.
    rejected : Rejected
        Outliers.
    kept : ndarray, shape (n_disp, n_cross)
        Inverse variances after rejection.
    nod_mode : str
        "ignore", "mask" or "model".
    slow : float
        Empirical factor on the errors of 20 columns together.
    """

    profiles: FloatArray
    centre: FloatArray
    fwhm: FloatArray
    background: FloatArray
    rejected: Rejected
    kept: FloatArray
    nod_mode: str
    slow: float


@dataclass(frozen=True, eq=False)
class Layers:
    """Everything per pixel that the last solution needs; arrays are column-major (n_disp, ..., n_cross).

    Attributes
    ----------
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
        Linear terms: sources (with their twins where depths are given), then the negative twins that are free.
    sources : ndarray, shape (n_disp, n_source, n_cross)
        Profiles of the sources alone.
    model : ndarray, shape (n_disp, n_source (1 + n_nod), n_cross)
        Profiles of sources and negative twins as trace and shape tell them: nothing is corrected or mixed in.
    centre, fwhm : ndarray, shape (n_source, n_disp)
        Trace (row of the window) and width.
    background : BackgroundFit
        The background.
    rejected : Rejected
        Outliers.
    weight, kept : ndarray, shape (n_disp, n_cross)
        Inverse variances before and after rejection.
    clear : ndarray of bool, shape (n_disp, n_cross)
        Pixels free of sources.
    nod_mode : str
        "ignore", "mask" or "model".
    noise : float
        Empirical factor on the pixels' errors that thresholds used.
    slow : float
        Empirical factor on the errors of 20 columns together.
    slope : float
        Change of variance per unit of pixel value that was taken out of the data-derived variance; 0 if none was.
    empirical : bool
        Whether the profiles were corrected from the data.
    """

    profiles: FloatArray
    sources: FloatArray
    model: FloatArray
    centre: FloatArray
    fwhm: FloatArray
    background: BackgroundFit
    rejected: Rejected
    weight: FloatArray
    kept: FloatArray
    clear: NDArray[np.bool_]
    nod_mode: str
    noise: float
    slow: float
    slope: float
    empirical: bool = False


@dataclass(frozen=True, eq=False)
class Final:
    """The last solution of all columns, in units of the pixels.

    Attributes
    ----------
    solution : Solution
        Coefficients of all terms.
    covariance : ndarray, shape (n_disp, n_source, n_source)
        Of the sources' fluxes, with the background's in it.
    unrejected : ndarray, shape (n_disp, n_source)
        The fluxes with no pixel rejected; NaN where the pixels do not tell them.
    unrejected_fraction : ndarray, shape (n_disp, n_source)
        Part of each profile on those pixels.
    good_fraction, total_fraction : ndarray, shape (n_disp, n_source)
        Part of each profile on good pixels, and on all pixels of the window.
    light : ndarray, shape (n_disp, n_cross)
        Model of the sources and their negative twins.
    residual : ndarray, shape (n_disp, n_cross)
        Data minus background and light; 0 where a pixel is not used.
    """

    solution: Solution
    covariance: FloatArray
    unrejected: FloatArray
    unrejected_fraction: FloatArray
    good_fraction: FloatArray
    total_fraction: FloatArray
    light: FloatArray
    residual: FloatArray


def solve_final(layers: Layers, data: FloatArray) -> Final:
    """Solve for the fluxes, their covariance with the background's in it, and the flux without any rejection.

    Parameters
    ----------
    layers : Layers
        Profiles, background and weights.
    data : ndarray, shape (n_disp, n_cross)
        Pixel values.

    Returns
    -------
    Final
    """
    profiles, kept = layers.profiles, layers.kept
    n_source = len(layers.centre)
    clean = np.where(kept > 0, data - layers.background.image, 0.0)
    solution = solve_columns(clean, kept, profiles)
    inverse = np.where(np.isfinite(solution.covariance), solution.covariance, 0.0)
    covariance = inverse.copy()
    if layers.background.degree >= 0:
        # f = N^-1 P W (D - B): an error of the background term b moves the flux by N^-1 P W b
        sensitivity = inverse @ ((profiles * kept[:, None, :]) @ layers.background.basis.T)
        covariance = covariance + layers.background.flux_covariance(sensitivity)
    sources = layers.sources
    good = np.where(kept[:, None, :] > 0, sources, 0.0).sum(axis=2)
    unrejected = np.where(_told(solution.covariance, n_source), solution.coefficients[:, :n_source], np.nan)
    fraction = good
    hit = np.flatnonzero((kept != layers.weight).any(axis=1))
    if len(hit):
        weight = layers.weight[hit]
        all_pixels = np.where(weight > 0, data[hit] - layers.background.image[hit], 0.0)
        without = solve_columns(all_pixels, weight, profiles[hit])
        unrejected[hit] = np.where(_told(without.covariance, n_source), without.coefficients[:, :n_source], np.nan)
        fraction = good.copy()
        fraction[hit] = np.where(weight[:, None, :] > 0, sources[hit], 0.0).sum(axis=2)
    light = model_of(profiles, solution.coefficients)
    residual = np.where(kept > 0, data - layers.background.image - light, 0.0)
    return Final(
        solution,
        covariance[:, :n_source, :n_source],
        unrejected,
        fraction,
        good,
        sources.sum(axis=2),
        light,
        residual,
    )


def _told(covariance: FloatArray, n_source: int) -> NDArray[np.bool_]:
    """Which fluxes the pixels of a column tell, shape (n_disp, n_source)."""
    return np.isfinite(np.einsum("xtt->xt", covariance)[:, :n_source])


@dataclass(frozen=True)
class NoiseScale:
    """Source-free pulls, and the factor that the recipe applies to all errors because of them."""

    pulls: dict[str, Any]
    factor: float


def check_noise(layers: Layers, final: Final, noise: Noise) -> NoiseScale:
    """Measure the pulls of source-free pixels, and choose the factor on the errors that the recipe asks for.

    Parameters
    ----------
    layers : Layers
        Weights, profiles and which pixels are free of sources.
    final : Final
        Residuals.
    noise : Noise
        The recipe's section.

    Returns
    -------
    NoiseScale
    """
    background = layers.background
    own = background.degree >= 0 and background.dispersion_basis is None
    fitted = (background.basis, background.covariance) if own else None  # a smooth one follows no single column
    found = pulls(final.residual, layers.kept, layers.sources[:, 0], layers.clear, fitted)
    factor = 1.0
    if noise.scale == "auto" and np.isfinite(found["profile"]) and not 0.8 <= found["profile"] <= 1.25:
        factor = float(found["profile"])
    return NoiseScale(found, factor)
