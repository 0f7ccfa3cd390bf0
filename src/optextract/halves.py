"""Two sources that look like one: nearer to each other than a search on the kernel slice can tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .across import drops_enough
from .bins import Binned
from .geometry import Fit, Geometry, Problem
from .searching import STILL_APART
from .trace import fit_geometry

__all__ = ["divided"]

FloatArray = NDArray[np.float64]

_FAINT = 0.05  # of the brightest source: what may be noise
_APART, _NARROWER = 0.6, 0.9  # of the FWHM of both together: how far apart they start, and how wide each is
_DEGREE = 1  # of trace and width: two sources are not to stand for one that moves
_TOLERANCE = 0.01  # of the fits, which tell the better start


def divided(binned: Binned, start: Geometry, problem: Problem) -> Geometry:
    """Divide the brightest source in two, where that fits much better than the faintest one of the start.

    On the slice two sources half a FWHM apart are one that is a little wide, and noise may seem to be the better second
    one. All columns together tell them apart: the pair moves along one trace.

    Parameters
    ----------
    binned : Binned
        Bins along the dispersion.
    start : Geometry
        Where the fit would start: two sources or more, of one width.
    problem : Problem
        What is free.

    Returns
    -------
    Geometry
        Where it should start: the same, or with the brightest source's halves in the places of that one and of the
        faintest.
    """
    moving = start.padded(max(len(start.centre) - 1, _DEGREE), max(start.log_fwhm.shape[1] - 1, _DEGREE))
    before = fit_geometry(binned, moving, problem, tolerance=_TOLERANCE)
    flux = _mean_flux(before)
    one, other = int(flux.argmax()), int(flux.argmin())
    if flux[other] > _FAINT * flux[one]:
        return start
    fwhm = float(np.exp(start.log_fwhm[0, 0]))
    places = np.concatenate([[0.0], start.offsets])
    places[[one, other]] = places[one] - 0.5 * _APART * fwhm, places[one] + 0.5 * _APART * fwhm
    log_fwhm, centre = moving.log_fwhm.copy(), moving.centre.copy()
    log_fwhm[0, 0] += np.log(_NARROWER)
    centre[0] += places[0]
    halves = replace(moving, centre=centre, offsets=places[1:] - places[0], log_fwhm=log_fwhm)
    after = fit_geometry(binned, halves, problem, tolerance=_TOLERANCE)
    found = np.concatenate([[0.0], after.geometry.offsets])
    apart = abs(float(found[one] - found[other])) / float(np.exp(after.geometry.log_fwhm[0, 0]))
    freedom = max(after.n_data - after.n_linear - after.n_parameters, 1)
    better = drops_enough(before.chi2, after.chi2, freedom)
    return after.geometry if better and apart >= STILL_APART and _mean_flux(after).min() > 0 else start


def _mean_flux(fit: Fit) -> FloatArray:
    """Mean flux of each source, shape (n_source,), every bin weighted by its error."""
    weight = np.where(fit.amplitude_error > 0, fit.amplitude_error, np.inf) ** -2
    total = weight.sum(axis=0)
    return np.asarray((weight * fit.amplitude).sum(axis=0) / np.where(total > 0, total, 1.0))
