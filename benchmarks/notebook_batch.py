"""The batch of STScI's optimal-extraction notebook as its text describes it, in our own words, with its mistakes.

Appendix A of the notebook "Optimal Spectral Extraction" (NIRSpec MOS): per file the whole image is coadded along
dispersion; a Gaussian on a polynomial is fitted to that slice; its centre is followed in bins of columns and a
polynomial drawn through; the kernel image is normalised over the whole image, not per column, so that every flux comes
out multiplied by the number of columns; the variance is 1/WHT; no region can be given and no error comes out.
"""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.modeling.fitting import LevMarLSQFitter
from astropy.modeling.models import Gaussian1D, Polynomial1D
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

_BINS = 20


def extract(path: Path) -> np.ndarray:
    """Spectrum of one file as that batch makes it, in units of the pixels; shape (n_disp,)."""
    with fits.open(path) as hdus:
        data = np.asarray(hdus["SCI"].data, dtype=float)
        weight = np.asarray(hdus["WHT"].data, dtype=float)
    rows = np.arange(data.shape[0], dtype=float)
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", AstropyUserWarning)
        variance = 1.0 / weight
        fitter = LevMarLSQFitter()
        kernel = np.nansum(data, axis=1)
        start = Gaussian1D(np.nanmax(kernel), float(np.nanargmax(kernel)), 1.0) + Polynomial1D(2)
        fitted = fitter(start, rows, kernel)
        edges = np.linspace(0, data.shape[1], _BINS + 1).astype(int)
        places, centres = [], []
        for low, high in pairwise(edges):
            one = fitter(fitted, rows, np.nansum(data[:, low:high], axis=1))
            places.append(0.5 * (low + high - 1))
            centres.append(one.mean_0.value)
        columns = np.arange(data.shape[1])
        trace = np.polyval(np.polyfit(places, centres, 2), columns)
        profile = np.exp(-0.5 * ((rows[:, None] - trace) / fitted.stddev_0.value) ** 2)
        profile /= profile.sum()
        return np.nansum(profile * data / variance, axis=0) / np.nansum(profile**2 / variance, axis=0)


def run(path: Path, out: Path) -> None:
    """Extract and write one file."""
    flux = extract(path)
    Table({"flux": flux}).write(out / f"{path.stem}.fits", format="fits", overwrite=True)
