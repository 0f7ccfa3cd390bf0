"""What the stages know of every pixel, and the solution of all columns that it leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .background import BackgroundFit
from .compiled import contiguous
from .compiled import final as loops
from .noise import HONEST, pulls
from .recipe import Noise
from .reject import Rejected
from .solve import Known, known_of

__all__ = ["Final", "Layers", "NoiseScale", "Swept", "check_noise", "solve_final"]

FloatArray = NDArray[np.float64]

_TELLING = 0.02  # part of a profile in a pixel whose rejection tells of the flux


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
    known : Known or None
        What is known of the linear terms for the weights before rejection.
    """

    profiles: FloatArray
    centre: FloatArray
    fwhm: FloatArray
    background: FloatArray
    rejected: Rejected
    kept: FloatArray
    nod_mode: str
    slow: float
    known: Known | None


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
    known : Known or None
        What is known of the linear terms for the weights before rejection.
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
    known: Known | None = None
    empirical: bool = False


@dataclass(frozen=True, eq=False)
class Final:
    """The last solution of all columns, in units of the pixels.

    Attributes
    ----------
    coefficients : ndarray, shape (n_disp, n_term)
        Of all terms; zero for one that no good pixel sees.
    inverse : ndarray, shape (n_disp, n_term, n_term)
        Their covariance with the background known, which is the inverse of the normal matrix; infinite variance of a
        term that no good pixel sees.
    covariance : ndarray, shape (n_disp, n_source, n_source)
        Of the sources' fluxes, with the background's in it.
    uncertain : ndarray, shape (n_disp, n_background, n_background)
        Covariance of the background's terms in each column.
    unrejected : ndarray, shape (n_disp, n_source)
        The fluxes with no pixel rejected; NaN where the pixels do not tell them.
    unrejected_fraction : ndarray, shape (n_disp, n_source)
        Part of each profile on those pixels.
    good_fraction, total_fraction : ndarray, shape (n_disp, n_source)
        Part of each profile on good pixels, and on all pixels of the window.
    struck : ndarray of int, shape (n_disp, n_source)
        Rejected pixels of each profile.
    model : ndarray, shape (n_disp, n_cross)
        Background, sources and their negative twins.
    residual : ndarray, shape (n_disp, n_cross)
        Data minus the model; 0 where a pixel is not used.
    n_good, n_seen : int
        Pixels that were used, and columns that have one.
    chi2 : float
        Weighted sum of the squared residuals.
    """

    coefficients: FloatArray
    inverse: FloatArray
    covariance: FloatArray
    uncertain: FloatArray
    unrejected: FloatArray
    unrejected_fraction: FloatArray
    good_fraction: FloatArray
    total_fraction: FloatArray
    struck: NDArray[np.intp]
    model: FloatArray
    residual: FloatArray
    n_good: int
    n_seen: int
    chi2: float


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
    n_disp, n_term, _ = layers.profiles.shape
    n_source = layers.sources.shape[1]
    known = layers.known
    if known is None:
        known = known_of(layers.weight, layers.profiles)
    coefficients, inverse = np.empty((n_disp, n_term)), known_of(layers.kept, layers.profiles, known).covariance
    covariance, uncertain = np.empty((n_disp, n_source, n_source)), contiguous(layers.background.in_columns())
    unrejected, fraction, good, total = (np.empty((n_disp, n_source)) for _ in range(4))
    struck = np.empty((n_disp, n_source), dtype=np.intp)
    model, residual = np.empty(data.shape), np.empty(data.shape)
    n_good, n_seen, chi2 = loops.solve_final(
        contiguous(data),
        contiguous(layers.background.image),
        contiguous(layers.weight),
        contiguous(layers.kept),
        np.ascontiguousarray(layers.rejected.pixels),
        contiguous(layers.profiles),
        contiguous(layers.sources),
        contiguous(layers.background.basis),
        uncertain,
        known.covariance,
        inverse,
        _TELLING,
        coefficients,
        covariance,
        unrejected,
        fraction,
        good,
        total,
        struck,
        model,
        residual,
    )
    return Final(
        coefficients,
        inverse,
        covariance,
        uncertain,
        unrejected,
        fraction,
        good,
        total,
        struck,
        model,
        residual,
        n_good,
        n_seen,
        chi2,
    )


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
    fitted = (background.basis, final.uncertain) if own else None  # a smooth one follows no single column
    found = pulls(final.residual, layers.kept, layers.sources[:, 0], layers.clear, fitted)
    factor = 1.0
    if noise.scale == "auto" and np.isfinite(found["profile"]) and not HONEST[0] <= found["profile"] <= HONEST[1]:
        factor = float(found["profile"])
    return NoiseScale(found, factor)
