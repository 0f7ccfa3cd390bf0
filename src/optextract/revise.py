"""Revision of the variance from the model, where the file's follows the noise of its own pixels (Horne 1986, step 6).

A Poisson variance made from the noisy pixel is small where the pixel happens to be low: weighted with it, faint fluxes
come out too small.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from .background import BackgroundFit
from .compiled import contiguous
from .compiled.follow import less_noise
from .compiled.scatter import above
from .noise import Variance, data_derived_slope
from .recipe import Noise
from .robust import median
from .solve import Known, model_of, solve_columns
from .window import Window

__all__ = ["find_slope", "model_light", "revised_variance"]

FloatArray = NDArray[np.float64]

_MOST_NOISE = 4.0  # sigma
_LEAST = 0.05  # of the median variance: what no pixel's falls below
#: Levels of light, in sigma, at which a variance is asked anew how it follows its pixels, and fewest pixels to tell.
_LEVELS = np.array([0.0, 0.35, 0.7, 1.0, 1.4, 2.0])
_FEWEST = 200


def find_slope(
    window: Window,
    variance: Variance,
    profiles: FloatArray,
    background: BackgroundFit,
    kept: FloatArray,
    noise: Noise,
    known: Known | None = None,
) -> tuple[float, bool]:
    """Find how much the variance follows the noise of its own pixels.

    Parameters
    ----------
    window : Window
        The pixels that take part.
    variance : Variance
        The chosen variance: its Poisson part is looked at where it has one.
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
        Sources and their negative twins.
    background : BackgroundFit
        The background.
    kept : ndarray, shape (n_disp, n_cross)
        Inverse variances after rejection.
    noise : Noise
        The recipe's section.
    known : Known, optional
        What is known of the profiles for these weights.

    Returns
    -------
    slope : float
        Change of variance per unit of pixel value; 0 where it does not follow, or is not to be revised.
    clipped : bool
        Whether it stops at zero flux.
    """
    if noise.revise is False:
        return 0.0, True
    image = model_light(window, profiles, background, kept, known=known)
    image += background.image
    follows = window.part(variance.parts["poisson"]) * window.factor if "poisson" in variance.parts else window.variance
    good = kept > 0
    slope, significance = data_derived_slope(follows, window.data, image, good)
    if slope <= 0 or (noise.revise == "auto" and significance < 10.0):
        return 0.0, True
    dark = good & (window.data < 0)
    below, strength = data_derived_slope(follows, -window.data, np.abs(image), dark)
    return slope, not (below < -0.5 * slope and strength < -5.0)


def revised_variance(window: Window, image: FloatArray, slope: float, clipped: bool) -> FloatArray:
    """Replace the part of the variance that follows the pixel by the model's.

    Parameters
    ----------
    window : Window
        Pixel values and the variance as it is.
    image : ndarray, shape (n_disp, n_cross)
        Model of the pixel values.
    slope, clipped : float, bool
        As `find_slope` found them.

    Returns
    -------
    ndarray, shape (n_disp, n_cross)
        Nowhere below a twentieth of the median, so that no pixel outweighs all others.
    """
    least = _LEAST * median(window.variance[window.weight > 0])
    out = np.empty(window.data.shape)
    # What is found where there is light need not hold where there is next to none: a variance with a floor,
    # maximum(counts, 1), does not follow there, nor does one of counts to which the read noise came later. Taken for
    # following, it would be made to run against its pixels, and pull the background and the wings up. And what is
    # further off than noise can be is the model's fault: a pixel must not gain weight by it.
    less_noise(
        contiguous(window.data), contiguous(image), contiguous(window.variance), contiguous(window.weight),
        float(slope), bool(clipped), _MOST_NOISE, least, _LEVELS, _FEWEST, out,
    )  # fmt: skip
    return out


def model_light(
    window: Window,
    profiles: FloatArray,
    background: BackgroundFit,
    kept: FloatArray,
    smooth: int = 0,
    known: Known | None = None,
) -> FloatArray:
    """Model the sources (and their negative twins) without background.

    Parameters
    ----------
    window : Window
        Pixel values.
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
        Sources and their negative twins.
    background : BackgroundFit
        The background.
    kept : ndarray, shape (n_disp, n_cross)
        Inverse variances after rejection.
    smooth : int, optional
        Take for each flux the mean of so many columns to either side where it agrees with that mean at 3 sigma: a
        variance made from a column's own flux would be small where that flux happens to be low.
    known : Known, optional
        What is known of the profiles for these weights.

    Returns
    -------
    ndarray, shape (n_disp, n_cross)
    """
    data = np.empty(window.data.shape)
    above(contiguous(window.data), contiguous(background.image), contiguous(kept), data)
    solution = solve_columns(data, kept, profiles, known)
    if smooth:
        flux = solution.coefficients
        seen = np.isfinite(np.einsum("xtt->xt", solution.covariance))
        error = np.sqrt(np.where(seen, np.einsum("xtt->xt", solution.covariance), 0.0))
        mean = _running(np.where(seen, flux, 0.0), smooth) / np.maximum(_running(seen.astype(float), smooth), 1.0)
        flux = np.where(np.abs(flux - mean) < 3.0 * error, mean, flux)
        return model_of(profiles, flux)
    return model_of(profiles, solution.coefficients)


def _running(values: FloatArray, reach: int) -> FloatArray:
    """Sum of each column with so many to either side, shape (n_disp, n_term)."""
    return convolve1d(values, np.ones(2 * reach + 1), axis=0, mode="constant")
