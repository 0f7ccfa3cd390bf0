"""Which pixels take part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import FrameError, RecipeError, bad_value
from .frame import Frame
from .recipe import Region

__all__ = ["select"]


def select(frame: Frame, region: Region) -> NDArray[np.bool_]:
    """Return the pixels of a frame that lie inside a region.

    A pixel lies inside if its centre does, limits included. Box, polygon and mask are combined: a pixel must lie in all
    that are given.

    Parameters
    ----------
    frame : Frame
        The frame, of shape (n_cross, n_disp).
    region : Region
        The region.

    Returns
    -------
    ndarray of bool, shape (n_cross, n_disp)

    Raises
    ------
    RecipeError
        If the region lies outside the frame, holds no pixel, or its mask has another shape.
    FrameError
        If the region holds no good pixel.
    """
    n_cross, n_disp = frame.shape
    inside = np.ones(frame.shape, dtype=bool)
    for name, limits, size, axis in (
        ("region.cross", region.cross, n_cross, 0),
        ("region.disp", region.disp, n_disp, 1),
    ):
        if limits is None:
            continue
        low, high = limits
        if high < -0.5 or low > size - 0.5:
            raise bad_value(name, "Recipe", f"inside the frame (0 to {size - 1})", limits, RecipeError)
        index = np.arange(size)
        keep = (index >= low) & (index <= high)
        if not keep.any():
            raise bad_value(name, "Recipe", "a range that holds the centre of a pixel", limits, RecipeError)
        inside &= keep[:, None] if axis == 0 else keep[None, :]
    if region.polygon is not None:
        inside &= _polygon(region.polygon, frame.shape)
    if region.mask is not None:
        inside &= _mask(region.mask.resolve(), frame.shape)
    if not inside.any():
        raise bad_value(
            "region", "Recipe", "a region that holds a pixel", region.model_dump(exclude_none=True), RecipeError
        )
    if not (inside & frame.good).any():
        raise FrameError(
            "The frame must have a good pixel inside the region. Got none: all "
            f"{int(inside.sum())} pixels are masked, not finite or without variance."
        )
    return inside


def _polygon(corners: tuple[tuple[float, float], ...], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Even-odd rule for pixel centres; `corners` are (dispersion, cross-dispersion)."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = np.zeros(shape, dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        if y0 == y1:
            continue
        crossing = (y0 <= y) != (y1 <= y)
        inside ^= crossing & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    if not inside.any():
        raise bad_value(
            "region.polygon", "Recipe", "one that holds the centre of a pixel of the frame", corners, RecipeError
        )
    return inside


def _mask(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    if path.suffix == ".npy":
        mask = np.load(path, allow_pickle=False)
    else:
        from astropy.io import fits

        mask = fits.getdata(path)
    if mask.shape != shape:
        raise bad_value("region.mask", "Recipe", f"an image of the frame's shape {shape}", mask.shape, RecipeError)
    return np.asarray(mask) != 0
