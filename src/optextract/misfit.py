"""How far the profile is from the light, as the bright columns show it: what rejection must tolerate.

A cosmic ray is in a column or two, what a profile lacks is in the same place of all columns. The typical misfit at each
distance from the trace is therefore measured before any pixel is blamed; and where the profile fits, less is tolerated
than where nothing is known of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .bins import edges_uniform
from .compiled import contiguous
from .compiled.misfit import find_bright, measure, tolerate, wrong_part
from .solve import Solution

__all__ = ["Misfit", "measure_misfit", "unexplained"]

FloatArray = NDArray[np.float64]

#: Tolerated error of the profile where the data do not tell how well it fits, and the least where they do, as
#: fractions of the light in a pixel.
UNKNOWN, LEAST = 0.02, 0.001

_SNR = 20.0  # of a column that tells how well the profile fits
_COLUMNS = 128  # of which one measurement is made
_FEW = 32  # bright columns that are too few for one
_ENOUGH = 500  # bright columns of which every second one tells as much
_REACH = 3.2  # FWHM from the trace: what is further off is another source, or a bad row
_TELLING = 1000.0  # total S/N of a source that tells its profile to a few parts in a thousand
_SEEN, _CLEAR = 5.0, 5.0  # sigma of a column that tells of it, and of a misfit
_HIGHEST = 0.15  # of the profile's peak: what is more is no error of a profile


@dataclass(frozen=True, eq=False)
class Misfit:
    """What the residuals of the bright columns say of the profile.

    Attributes
    ----------
    floor : float
        Error of the profile in its core, as a fraction of the light: an upper limit where it fits.
    systematic : ndarray, shape (n_disp, n_cross)
        Typical misfit of each pixel, as a fraction of the flux; 0 where it is not more than noise.
    """

    floor: float
    systematic: FloatArray

    def tolerance(self, sources: FloatArray, floor: float) -> FloatArray:
        """Tolerated error of each source's profile.

        Parameters
        ----------
        sources : ndarray, shape (n_disp, n_source, n_cross)
            The profiles.
        floor : float
            Fraction of the light in a pixel that is tolerated at least.

        Returns
        -------
        ndarray, shape (n_disp, n_source, n_cross)
        """
        out = np.empty(sources.shape)
        tolerate(contiguous(sources), self.systematic, float(floor), out)
        return out


def measure_misfit(
    data: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    plain: Solution,
    centre: FloatArray,
    fwhm: FloatArray,
    noise: float,
) -> Misfit:
    """Measure the misfit by medians over columns, which no cosmic ray moves.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Background-subtracted pixel values and inverse variances (zero where bad).
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
        Sources first, then their negative twins.
    plain : Solution
        The fit to all pixels.
    centre, fwhm : ndarray, shape (n_source, n_disp)
        Trace and width of the sources.
    noise : float
        Empirical factor on the errors.

    Returns
    -------
    Misfit
    """
    n_source = len(centre)
    systematic = np.zeros(data.shape)
    bright = np.empty(len(data), dtype=bool)
    n_bright = find_bright(plain.coefficients, plain.covariance, n_source, _SNR * float(noise), bright)
    if n_bright < _FEW:
        return Misfit(UNKNOWN, systematic)
    edges = edges_uniform(len(data), max(len(data) // _COLUMNS, 1))
    if n_bright > _ENOUGH:
        bright[1::2] = False
    floor = measure(
        contiguous(data),
        contiguous(weight),
        contiguous(profiles),
        plain.coefficients,
        plain.covariance,
        contiguous(centre),
        contiguous(fwhm),
        bright,
        edges,
        n_source,
        float(noise),
        _FEW,
        _REACH,
        _HIGHEST,
        systematic,
    )
    return Misfit(min(max(floor, LEAST), UNKNOWN), systematic)


def unexplained(
    residual: FloatArray,
    weight: FloatArray,
    coefficients: FloatArray,
    covariance: FloatArray,
    centre: FloatArray,
    fwhm: FloatArray,
    noise: float,
) -> float:
    """Part of the flux that the final profile puts into the wrong pixels of all columns.

    The mean residual over the flux, at each distance from the trace, summed where it is clearly not noise.

    Parameters
    ----------
    residual, weight : ndarray, shape (n_disp, n_cross)
        Of the final solution; weights are zero where a pixel was not used.
    coefficients : ndarray, shape (n_disp, n_term)
        Fluxes of the sources first.
    covariance : ndarray, shape (n_disp, n_source, n_source)
        Of the fluxes.
    centre, fwhm : ndarray, shape (n_source, n_disp)
        Trace and width of the sources.
    noise : float
        Empirical factor on the errors.

    Returns
    -------
    float
        0 where the source is too faint to tell.
    """
    return wrong_part(
        contiguous(residual),
        contiguous(weight),
        contiguous(coefficients),
        contiguous(covariance),
        contiguous(centre),
        contiguous(fwhm),
        float(noise),
        _SEEN,
        _TELLING,
        _REACH,
        _CLEAR,
    )
