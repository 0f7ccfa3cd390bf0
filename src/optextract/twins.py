"""Negative twins of the sources: the pixels that they cover, and whether these are masked or modelled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .robust import median
from .window import Window

__all__ = ["clear_of", "mask_or_model"]

FloatArray = NDArray[np.float64]

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
    row = np.arange(window.n_cross)
    half = np.maximum(1.5 * fwhm, 2.0)
    for offset in nods:
        for centre, reach in zip(centres, half, strict=True):
            masked |= np.abs(row - (centre + offset)[:, None]) <= reach[:, None]
    if mode in ("mask", "model"):
        return mode, masked
    near = np.zeros_like(masked)
    for centre, reach in zip(centres, half, strict=True):
        near |= np.abs(row - centre[:, None]) <= reach[:, None]
    usable = window.weight > 0
    free = usable & ~masked & ~near
    left = free.sum(axis=1)[usable.any(axis=1)]
    # a background between them needs rows on both sides of each source
    seen = np.count_nonzero(free, axis=0) > 0.5 * window.n_disp
    both = all(min(seen[row < centre.min()].sum(), seen[row > centre.max()].sum()) >= _BESIDE for centre in centres)
    # a mask must reach neither its own source nor another one
    between = np.median(centres[:, None] - centres[None], axis=2)
    apart = min(float(np.abs(between - offset).min()) for offset in nods) > 2.5 * median(fwhm)
    return ("mask" if apart and both and np.median(left) >= _LEFT else "model"), masked


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
    row = np.arange(window.n_cross)
    clear = np.ones((window.n_disp, window.n_cross), dtype=bool)
    for offset in (0.0, *nods):
        # a negative twin holds a third of the light or so, and is modelled or masked: its wings matter less
        far = reach if offset == 0.0 else 0.6 * reach
        for centre, width in zip(centres, fwhm, strict=True):
            clear &= np.abs(row - (centre + offset)[:, None]) > far * width[:, None] + 0.5
    return clear
