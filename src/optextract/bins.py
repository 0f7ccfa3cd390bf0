"""Columns gathered in bins, for fits that need S/N more than resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .compiled import contiguous
from .compiled.gather import equal_shares, means_of_light, path_along
from .compiled.order import median_all

__all__ = [
    "Binned",
    "edges_by_signal",
    "edges_uniform",
    "in_runs",
    "mean_bins",
    "median_bins",
    "middle_of",
    "runs_of",
    "split_moving",
]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Binned:
    """Binned columns, column-major.

    Attributes
    ----------
    data, weight : ndarray, shape (n_bin, n_cross)
        Mean (or median) per column, and its inverse variance (zero where no pixel was good).
    column : ndarray, shape (n_bin,)
        Mean column of each bin.
    edges : ndarray of int, shape (n_bin + 1,)
        First column of each bin, and the end of the last.
    """

    data: FloatArray
    weight: FloatArray
    column: FloatArray
    edges: NDArray[np.intp]


def edges_uniform(n_disp: int, n_bin: int) -> NDArray[np.intp]:
    """Edges of bins of equal width.

    Parameters
    ----------
    n_disp : int
        Columns.
    n_bin : int
        Bins; no more than columns, and one at least.

    Returns
    -------
    ndarray of int, shape (n_bin + 1,)
        First column of each bin, and the end of the last.
    """
    count = max(1, min(n_bin, n_disp))
    return np.rint(np.arange(count + 1) * (n_disp / count)).astype(np.intp)


def edges_by_signal(signal: FloatArray, least: float, n_most: int, most: float = np.inf) -> NDArray[np.intp]:
    """Edges of bins that each gather a squared S/N of `least` or more, `n_most` bins at most.

    Parameters
    ----------
    signal : ndarray, shape (n_disp,)
        Squared S/N of each column.
    least : float
        Squared S/N that a bin needs.
    n_most : int
        Most bins.
    most : float, optional
        What a column counts at most.

    Returns
    -------
    ndarray of int, shape (n_bin + 1,)
        First column of each bin, and the end of the last.
    """
    edges = np.empty(min(n_most, len(signal)) + 1, dtype=np.intp)
    return edges[: equal_shares(contiguous(signal), most, least, edges)]


def split_moving(edges: NDArray[np.intp], centre: FloatArray, most: FloatArray) -> NDArray[np.intp]:
    """Split bins in which a trace moves by more than allowed, which would broaden its profile.

    Parameters
    ----------
    edges : ndarray of int
        Bin edges.
    centre : ndarray, shape (n_disp,)
        The trace.
    most : ndarray, shape (n_disp,)
        Most that it may move within a bin, pixel.

    Returns
    -------
    ndarray of int
        The same edges, and those between the parts.
    """
    path = np.empty(len(centre))
    if not path_along(contiguous(centre), contiguous(most), edges, path):
        return edges
    moving = np.flatnonzero(path[edges[1:] - 1] - path[edges[:-1]] > 1.0)
    inner = [
        np.searchsorted(path[a:b], np.linspace(path[a], path[b - 1], int(np.ceil(path[b - 1] - path[a])) + 1)[1:-1]) + a
        for a, b in zip(edges[moving], edges[moving + 1], strict=True)
    ]
    return np.unique(np.concatenate([edges, *inner]).astype(np.intp))


def runs_of(marked: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First place of each run of what is marked, and the one after its last.

    Parameters
    ----------
    marked : ndarray of bool, shape (n,)
        Of each column, row or part.

    Returns
    -------
    list of (int, int)
    """
    change = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(int), [0]]))).tolist()
    return list(zip(change[::2], change[1::2], strict=True))


def in_runs(marked: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Find what is marked in runs of neighbouring columns: a morphological opening, which scipy takes longer for.

    Parameters
    ----------
    marked : ndarray of bool, shape (n_disp, ...)
        Of each column.
    length : int
        Least length of a run.

    Returns
    -------
    ndarray of bool, of the same shape
    """
    n, out = len(marked) - length + 1, np.zeros(marked.shape, dtype=bool)
    if n < 1:
        return out
    begins = np.logical_and.reduce([marked[step : n + step] for step in range(length)])
    for step in range(length):
        out[step : n + step] |= begins
    return out


def middle_of(edges: NDArray[np.intp]) -> FloatArray:
    """Middle column of each bin.

    Parameters
    ----------
    edges : ndarray of int, shape (n_bin + 1,)
        Bin edges.

    Returns
    -------
    ndarray, shape (n_bin,)
    """
    return np.asarray(0.5 * (edges[:-1] + edges[1:] - 1), dtype=float)


def mean_bins(data: FloatArray, weight: FloatArray, model: FloatArray, edges: NDArray[np.intp]) -> Binned:
    """Mean of each bin, bad pixels filled with the model.

    Filling keeps the flux of a bin the same in all rows although each row misses other columns; the fill carries no
    weight, so that a bin's variance is that of its good pixels.

    Parameters
    ----------
    data, weight, model : ndarray, shape (n_disp, n_cross)
        Pixel values, inverse variances (zero where bad) and a model of the pixel values.
    edges : ndarray of int
        Bin edges.

    Returns
    -------
    Binned
    """
    if len(edges) == len(data) + 1:  # every column its own bin
        return Binned(np.where(weight > 0, data, model), weight, np.arange(len(data), dtype=float), edges)
    mean, inverse = np.empty((2, len(edges) - 1, data.shape[1]))
    n_disp = len(data)
    # the model is light of one profile per column, and every column counts as much
    means_of_light(
        contiguous(data),
        np.zeros(data.shape),
        contiguous(weight),
        contiguous(model[:, None]),
        np.ones((n_disp, 1)),
        np.ones(n_disp, dtype=bool),
        np.zeros(n_disp),
        edges.astype(np.intp),
        mean,
        inverse,
        np.empty(len(mean)),
    )
    return Binned(mean, inverse, middle_of(edges), edges)


def median_bins(data: FloatArray, weight: FloatArray, edges: NDArray[np.intp]) -> Binned:
    """Median of each bin's good pixels: for a start that no cosmic ray moves.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Pixel values and inverse variances (zero where bad).
    edges : ndarray of int
        Bin edges.

    Returns
    -------
    Binned
        Weights are those of a median: 2/pi of a mean's where more than two pixels took part.
    """
    out, inverse = np.empty((2, len(edges) - 1, data.shape[1]))
    median_all(contiguous(data), contiguous(weight), edges.astype(np.intp), out, inverse)
    return Binned(out, inverse, middle_of(edges), edges)
