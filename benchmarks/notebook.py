"""The interactive method of STScI's optimal-extraction notebook as its text describes it, in our own words.

A range of columns is coadded; a Gaussian on a polynomial is fitted to that slice; its centre is followed in bins of
columns and a polynomial drawn through; the Gaussian of the slice's width, sampled at pixel centres, is moved along and
normalised in each column; Horne's sum with 1/WHT (here: the frame's own variance) gives the flux. There is no error.

Two readings of it: the polynomial of the slice is taken off the image (`in_weights=False`), or stays inside the
weights, as the notebook prints it (`in_weights=True`). `notebook_batch.py` holds the mistakes of its batch form.
"""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
from astropy.modeling.fitting import LevMarLSQFitter
from astropy.modeling.models import Gaussian1D, Polynomial1D
from astropy.utils.exceptions import AstropyUserWarning

from optextract import Frame

_BINS = 20


def extract(frame: Frame, *, in_weights: bool = False) -> np.ndarray:
    """Spectrum of shape (n_disp,) in units of the pixels."""
    data = np.where(frame.good, frame.flux, np.nan)
    rows = np.arange(frame.n_cross, dtype=float)
    fitter = LevMarLSQFitter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)  # columns and rows without a pixel
        kernel = np.nanmean(data, axis=1)
        kernel = np.where(np.isfinite(kernel), kernel, 0.0)
        start = Gaussian1D(kernel.max(), float(kernel.argmax()), 1.0) + Polynomial1D(2)
        fitted = fitter(start, rows, kernel)
        places, centres = [], []
        for low, high in pairwise(np.linspace(0, frame.n_disp, _BINS + 1).astype(int)):
            part = np.nanmean(data[:, low:high], axis=1)
            if not np.isfinite(part).all():
                continue
            one = fitter(fitted, rows, part)
            if 0 <= one.mean_0.value <= frame.n_cross - 1:
                places.append(0.5 * (low + high - 1))
                centres.append(one.mean_0.value)
        columns = np.arange(frame.n_disp)
        degree = min(2, max(len(places) - 1, 0))
        trace = (
            np.polyval(np.polyfit(places, centres, degree), columns) if places else fitted.mean_0.value + 0 * columns
        )
        profile = np.exp(-0.5 * ((rows[:, None] - trace) / fitted.stddev_0.value) ** 2)
        background = fitted[1](rows)[:, None]
        if in_weights:
            profile = profile * fitted.amplitude_0.value + background
        else:
            data = data - background
        profile /= profile.sum(axis=0)
        weight = np.where(frame.good, 1.0 / np.where(frame.good, frame.variance, 1.0), 0.0)
        data = np.where(frame.good, data, 0.0)
        return (profile * data * weight).sum(axis=0) / (profile**2 * weight).sum(axis=0)
