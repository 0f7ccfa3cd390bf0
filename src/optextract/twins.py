"""Pixels that sources and their negative twins cover, and whether the twins are masked or modelled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import contiguous
from .compiled.sky import cover, free_in_all, free_pixels
from .robust import median
from .window import Window

__all__ = ["clear_of", "free_rows", "mask_or_model"]

FloatArray = NDArray[np.float64]

_MASKED, _LEAST_MASKED = 1.5, 2.0  # FWHM about a twin that its mask takes, and pixels at least
_BESIDE = 2  # rows that a mask of the twins must leave on either side of a source
_LEFT = 6  # rows that it must leave in all


def mask_or_model(
    window: Window, centres: FloatArray, fwhm: FloatArray, mode: str, nods: tuple[float, ...]
) -> tuple[str, NDArray[np.bool_]]:
    """Choose between masking and modelling the negative traces, and find the pixels that masking takes.

    Parameters
    ----------
    window : Window
        The pixels that take part.
    centres, fwhm : ndarray, shape (n_source, n_disp)
        Row of the window, and width, of the sources.
    mode : str
        What the recipe asks for.
    nods : tuple of float
        Offsets of the negative traces from their sources, pixel.

    Returns
    -------
    mode : str
        "mask" or "model"; "ignore" where there are none.
    masked : ndarray of bool, shape (n_disp, n_cross)
        Pixels of the negative traces.
    """
    masked = np.zeros((window.n_disp, window.n_cross), dtype=bool)
    if not nods:
        return "ignore", masked
    offsets, times = np.array(nods), np.full(len(nods), _MASKED)
    cover(contiguous(centres), contiguous(fwhm), offsets, times, 0.0, _LEAST_MASKED, masked)
    if mode in ("mask", "model"):
        return mode, masked
    taken = masked.copy()
    cover(contiguous(centres), contiguous(fwhm), np.zeros(1), times[:1], 0.0, _LEAST_MASKED, taken)
    every, apart, per_row = np.ones(window.n_cross, dtype=bool), np.empty(taken.shape), np.empty(window.n_cross)
    usable, free = np.empty((2, window.n_disp + 1))
    left = free[: free_pixels(contiguous(window.weight), every, ~taken, apart, usable, free, per_row)]
    # a background between them needs rows on both sides of each source
    row, seen = np.arange(window.n_cross), per_row > 0.5 * window.n_disp
    both = all(min(seen[row < centre.min()].sum(), seen[row > centre.max()].sum()) >= _BESIDE for centre in centres)
    # a mask must reach neither its own source nor another one
    between = [median(one - other) if one is not other else 0.0 for one in centres for other in centres]
    far = min(abs(gap - offset) for gap in between for offset in nods) > 2.5 * median(fwhm)
    return ("mask" if far and both and median(left) >= _LEFT else "model"), masked


def clear_of(
    window: Window, centres: FloatArray, fwhm: FloatArray, nods: tuple[float, ...], reach: float = 2.0
) -> NDArray[np.bool_]:
    """Pixels free of sources and of their negative twins.

    Parameters
    ----------
    window, centres, fwhm, nods
        As for `mask_or_model`.
    reach : float, optional
        FWHM from a source within which its light is.

    Returns
    -------
    ndarray of bool, shape (n_disp, n_cross)
    """
    covered = np.zeros((window.n_disp, window.n_cross), dtype=bool)
    # a negative twin holds a third of the light or so, and is modelled or masked: its wings matter less
    times = np.array([reach, *(0.6 * reach,) * len(nods)])
    cover(contiguous(centres), contiguous(fwhm), np.array([0.0, *nods]), times, 0.5, 0.0, covered)
    return ~covered


def free_rows(clear: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows that are free of sources in all columns.

    Parameters
    ----------
    clear : ndarray of bool, shape (n_disp, n_cross)
        From `clear_of`.

    Returns
    -------
    ndarray of bool, shape (n_cross,)
    """
    rows = np.empty(clear.shape[1], dtype=bool)
    free_in_all(clear, rows)
    return rows
