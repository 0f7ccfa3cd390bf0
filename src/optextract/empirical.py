"""Correction of the profile from the data: one curve of the offset from the trace, the same in all columns.

A Gaussian on data with wings costs 2 to 7 % of the flux. The correction alternates with the fluxes: residuals over
flux, as a function of ``u = (y - centre) / FWHM``, are fitted by hat functions with a prior about zero, so that its
complexity follows the S/N and shrinks to the model; taken from a faint source without that prior, a profile biases it
by +20 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .compiled import contiguous
from .compiled.hats import hats_of, near_knots, offsets_from
from .compiled.sums import hat_equations
from .solve import model_of, solve_columns

__all__ = ["Correction", "correct_profile"]

FloatArray = NDArray[np.float64]

_REACH = 2.6  # FWHM from the trace: beyond, wings and background cannot be told apart
_TELLING = 300  # columns of which the typical profile is the mean
_RIDGE = 1e-12  # keeps knots apart that only pixels of immense weight see
# 1 sigma of the correction: of the profile, and of the total flux per pixel
_PRIOR_RELATIVE, _PRIOR_FLOOR = 0.15, 0.003


@dataclass(frozen=True, eq=False)
class Correction:
    """What was added to the profiles.

    Attributes
    ----------
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
        Corrected profiles, of unit total where the given ones were.
    gain : float
        Drop of chi2 that the correction brought.
    significant : bool
        Whether the drop is more than noise gives.
    """

    profiles: FloatArray
    gain: float
    significant: bool


def correct_profile(
    data: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    centres: FloatArray,
    fwhm: FloatArray,
    n_source: int,
    *,
    noise: float = 1.0,
    step: float = 0.3,
    rounds: int = 3,
) -> Correction:
    """Fit the correction.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Background-subtracted pixel values and inverse variances (zero where bad).
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
        Sources, then their negative twins; all get the same correction.
    centres, fwhm : ndarray, shape (n_profile, n_disp)
        Position and FWHM of each of them, row of the window and pixel.
    n_source : int
        Number of sources.
    noise : float, optional
        Empirical factor on the errors.
    step : float, optional
        Distance of the hat functions in units of FWHM.
    rounds : int, optional
        How often fluxes and correction alternate.

    Returns
    -------
    Correction
    """
    knots: FloatArray = np.arange(-round(_REACH / step), round(_REACH / step) + 1, dtype=float) * step
    data, weight, profiles = contiguous(data), contiguous(weight), contiguous(profiles)
    offsets = np.empty((*centres.shape, data.shape[1]))
    offsets_from(contiguous(centres), contiguous(fwhm), offsets)
    typical = _typical(profiles, offsets, knots)
    prior = (_PRIOR_RELATIVE * typical) ** 2 + _PRIOR_FLOOR**2
    # a noise correction gains about one unit of chi2 per term; ask for a clear excess
    enough = len(knots) + 5.0 * np.sqrt(2.0 * len(knots))
    corrected, height, gain = profiles, np.zeros(len(knots)), 0.0
    for _ in range(rounds):
        matrix, vector = np.zeros((len(knots), len(knots))), np.zeros(len(knots))
        flux = solve_columns(data, weight, corrected).coefficients
        residual = data - model_of(corrected, flux)
        for k in range(n_source):
            hat_equations(residual, weight, contiguous(flux[:, k]), offsets[k], knots[0], step, matrix, vector)
        left, right = matrix / noise**2 + np.diag(1 / prior), vector / noise**2 - height / prior
        if not np.isfinite(left).all() or not np.isfinite(right).all():
            return Correction(profiles, 0.0, False)  # values whose squares are beyond all numbers tell nothing
        root = np.sqrt(np.diag(left))  # a knot that sees much more light than another one leaves that one its say
        scaled = left / np.outer(root, root)
        scaled.flat[:: len(knots) + 1] += _RIDGE
        change = np.linalg.solve(scaled, right / root) / root
        gain += float(vector @ change - 0.5 * change @ matrix @ change) * 2 / noise**2
        if gain < 0.5 * enough:  # the first round finds nearly all
            return Correction(profiles, gain, False)
        height = height + change
        # what is proportional to the profile is flux
        height = height - height @ typical / (typical @ typical) * typical
        added = np.empty(profiles.shape)
        hats_of(profiles, offsets, knots, height, added)
        # scaled so that profile and correction together hold unit flux
        corrected = (profiles + added) / (1.0 + added.sum(axis=2))[:, :, None]
    return Correction(corrected, gain, bool(gain > enough))


def _typical(profiles: FloatArray, offsets: FloatArray, knots: FloatArray) -> FloatArray:
    """Mean value of the first profile near each knot."""
    total, count = np.empty((2, len(knots)))
    every = max(len(profiles) // _TELLING, 1)  # so many columns tell what is typical
    near_knots(profiles, offsets, every, knots, _REACH, total, count)
    seen = count > 0
    return np.interp(knots, knots[seen], total[seen] / count[seen]) if seen.any() else np.zeros(len(knots))
