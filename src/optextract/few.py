"""Sources that show in few columns, emission lines or light behind a break, which medians of many columns hide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .bins import Binned, edges_uniform, middle_of
from .compiled import contiguous, search
from .filters import BIN_CLIP, SPREAD, STANDS_OUT, WIDTHS, Filtered

__all__ = ["are_promised", "believed", "line_bins", "line_strength", "without_lone"]

FloatArray = NDArray[np.float64]

_LINE_BIN = 3.5  # S/N of a bin that shows a line
_ALIKE = 0.8  # correlation of a bin's rows with what all bins of the source have in common


def line_bins(data: FloatArray, weight: FloatArray) -> Binned:
    """Means of three columns: a line fills them.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Pixel values and inverse variances (zero where bad).

    Returns
    -------
    Binned
    """
    edges = edges_uniform(len(data), max(1, len(data) // 3))
    mean, inverse = np.empty((2, len(edges) - 1, data.shape[1]))
    search.mean_of_good(contiguous(data), contiguous(weight), edges, mean, inverse)
    return Binned(mean, inverse, middle_of(edges), edges)


def without_lone(data: FloatArray, weight: FloatArray) -> FloatArray:
    """Weights, zero for pixels that stand out of their column alone: a hit, not a line, which its neighbours share.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Pixel values and inverse variances (zero where bad).

    Returns
    -------
    ndarray, shape (n_disp, n_cross)
    """
    kept = np.empty(weight.shape)
    search.without_lone(contiguous(data), contiguous(weight), STANDS_OUT, SPREAD, kept)
    return kept


def are_promised(binned: Binned) -> bool:
    """Whether bins may hold lines, by one filter that fits none badly: the search costs twenty times as much.

    Parameters
    ----------
    binned : Binned
        Means of a few columns.

    Returns
    -------
    bool
    """
    snr = Filtered.above(binned, np.zeros(len(binned.data)), np.zeros(binned.data.shape[1])).snr(WIDTHS[1])
    return bool(line_strength(np.minimum(snr, BIN_CLIP)).max() > BIN_CLIP)


def line_strength(snr: FloatArray) -> FloatArray:
    """Root of the summed squares of the bins that stand out, of each row.

    Parameters
    ----------
    snr : ndarray, shape (n_bin, n_row)
        S/N of each bin.

    Returns
    -------
    ndarray, shape (n_row,)
    """
    return np.sqrt((np.where(snr > _LINE_BIN, snr, 0.0) ** 2).sum(axis=0))


def believed(image: Filtered, fwhm: float, row: int) -> tuple[float, float]:
    """S/N of a row's lines as far as all of them have one profile, and that of the lines of any other row.

    Hits differ from each other, and occur on all rows alike. No bin counts for more than `BIN_CLIP`, so that no single
    one can do it.

    Parameters
    ----------
    image : Filtered
        The bins.
    fwhm : float
        Width of the filter, pixel.
    row : int
        The row.

    Returns
    -------
    own, other : float
    """
    snr = np.minimum(image.snr(fwhm), BIN_CLIP)
    away = np.abs(np.arange(snr.shape[1]) - row)
    other = float(line_strength(snr[:, away > 2.0 * fwhm + 1.0]).max(initial=0.0))
    lit = np.flatnonzero(snr[:, row] > _LINE_BIN)
    lines = image.values[lit][:, away <= np.ceil(1.5 * fwhm)]
    lines = lines / np.maximum(np.linalg.norm(lines, axis=1), 1e-300)[:, None]
    common = snr[lit, row] @ lines
    alike = lines @ common > _ALIKE * np.linalg.norm(common)
    return float(line_strength(snr[lit[alike], row][:, None])[0]), other
