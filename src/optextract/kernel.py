"""The kernel slice: columns coadded into one cross-dispersion cut, and the fit of profiles to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray

from .bins import Binned, median_bins
from .compiled import contiguous, filtered
from .errors import RecipeError, bad_value
from .finder import Detection
from .geometry import Fit, Geometry, Problem
from .recipe import Kernel
from .trace import fit_geometry

__all__ = [
    "Slice",
    "choose_columns",
    "coadd",
    "cross_basis",
    "fit_slice",
]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Slice:
    """Coadded columns of the window.

    Attributes
    ----------
    binned : Binned
        One bin: data and weights of shape (1, n_cross).
    columns : tuple of int
        First and last column of the window (inclusive).
    n_columns : int
        Columns that took part.
    """

    binned: Binned
    columns: tuple[int, int]
    n_columns: int

    @property
    def centre_column(self) -> float:
        """Middle of the slice."""
        return 0.5 * (self.columns[0] + self.columns[1])


@lru_cache(maxsize=64)
def _legendre(n: int, degree: int) -> FloatArray:
    x = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
    basis = np.ascontiguousarray(legvander(x, degree).T, dtype=float)
    basis.flags.writeable = False
    return basis


def cross_basis(n_cross: int, degree: int) -> FloatArray:
    """Legendre polynomials along cross-dispersion.

    Parameters
    ----------
    n_cross : int
        Rows, spread over -1 to 1.
    degree : int
        Highest degree; -1 for none at all.

    Returns
    -------
    ndarray, shape (degree + 1, n_cross)
    """
    return _legendre(n_cross, degree) if degree >= 0 else np.zeros((0, n_cross))


def choose_columns(detection: Detection, n_disp: int, kernel: Kernel, first_column: int) -> tuple[int, int]:
    """Columns of the slice: the recipe's, or the window of highest S/N in which the source keeps its row.

    Parameters
    ----------
    detection : Detection
        The source.
    n_disp : int
        Columns of the window.
    kernel : Kernel
        The recipe's section; its columns are those of the frame.
    first_column : int
        Frame column of the window's first.

    Returns
    -------
    tuple of int
        First and last column of the window (inclusive).
    """
    if kernel.disp is not None:
        low = int(np.ceil(kernel.disp[0])) - first_column
        high = int(np.floor(kernel.disp[1])) - first_column
        if high < 0 or low > n_disp - 1 or high < low:
            limits = (first_column, first_column + n_disp - 1)
            raise bad_value("kernel.disp", "Recipe", f"inside the region's columns {limits}", kernel.disp, RecipeError)
        return max(low, 0), min(high, n_disp - 1)
    still = max(1.0, 0.3 * detection.fwhm)
    start, stop = filtered.quiet_part(contiguous(detection.row), contiguous(detection.bin_snr), still)
    return int(detection.edges[start]), int(detection.edges[stop] - 1)


def coadd(data: FloatArray, weight: FloatArray, columns: tuple[int, int], combine: str) -> Slice:
    """Coadd columns into one cut, per column: the median, or the mean after clipping at 5 sigma.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Pixel values and inverse variances (zero where bad).
    columns : tuple of int
        First and last column.
    combine : {"median", "mean"}
        How.

    Returns
    -------
    Slice
    """
    part = slice(columns[0], columns[1] + 1)
    n = columns[1] + 1 - columns[0]
    seen = int(np.count_nonzero(weight[part] @ np.ones(weight.shape[1])))
    if combine == "median":
        binned = median_bins(data[part], weight[part], np.array([0, n]))
    else:
        from astropy.stats import sigma_clip

        clipped = sigma_clip(np.ma.masked_array(data[part], weight[part] <= 0), sigma=5, axis=0, maxiters=3)
        keep = ~np.ma.getmaskarray(clipped)
        count = keep.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(count > 0, np.where(keep, data[part], 0).sum(axis=0) / np.maximum(count, 1), 0.0)
            spread = np.where(keep, 1 / weight[part], 0).sum(axis=0)
            inverse = np.where(count > 0, count**2 / spread, 0.0)
        binned = Binned(mean[None, :], inverse[None, :], np.array([0.5 * (n - 1)]), np.array([0, n]))
    centred = Binned(binned.data, binned.weight, np.array([0.5 * (columns[0] + columns[1])]), binned.edges)
    return Slice(centred, columns, seen)


def fit_slice(cut: Slice, positions: tuple[float, ...], fwhm: float, problem: Problem) -> Fit:
    """Fit sources and background to the slice alone.

    Parameters
    ----------
    cut : Slice
        The slice.
    positions : tuple of float
        Rows of the sources.
    fwhm : float
        FWHM that the fit starts from, pixel.
    problem : Problem
        Shape, nods, background and bounds.

    Returns
    -------
    Fit
    """
    column = cut.centre_column
    start = Geometry(
        (column - 0.5, column + 0.5),
        np.array([positions[0]]),
        np.array(positions[1:]) - positions[0],
        np.array([[np.log(fwhm)]]),
    )
    return fit_geometry(cut.binned, start, problem)
