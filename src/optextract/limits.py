"""Limits of the FWHM: what is narrower or wider than these is no source, or another one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .recipe import Recipe
from .templates import Placed
from .window import Window

__all__ = ["template_width", "width_bounds", "width_limits"]

FloatArray = NDArray[np.float64]
Limits = tuple[float, float]

_WIDEST = 0.3  # of the window: a wider 'source' is background
_APART = 5.0  # FWHM from a source: what lies further away says nothing of its width


def width_bounds(recipe: Recipe, window: Window, nods: tuple[float, ...]) -> Limits:
    """Tell the limits of the FWHM before anything is fitted.

    Nodding by less than the FWHM would subtract the source from itself; and a source that wide, with twins of free
    depth about it, has the shape of many things.

    Parameters
    ----------
    recipe : Recipe
        The settings: their limits go before all others.
    window : Window
        The pixels that take part.
    nods : tuple of float
        Offsets of negative twins, pixel.

    Returns
    -------
    tuple of float
        Pixel.
    """
    if recipe.profile.fwhm.bounds is not None:
        return recipe.profile.fwhm.bounds
    widest = _WIDEST * window.n_cross
    if nods:
        widest = min(widest, min(abs(offset) for offset in nods))
    return 0.5, max(3.0, widest)


def width_limits(
    recipe: Recipe, bounds: Limits, width: float | FloatArray, nods: tuple[float, ...], from_data: bool
) -> tuple[Limits, Limits]:
    """Tell the limits that the kernel slice sets: a fit that leaves them has found something else than its source.

    Parameters
    ----------
    recipe : Recipe
        The settings: their limits go before all others.
    bounds : tuple of float
        Those of before, from `width_bounds`.
    width : float or ndarray
        FWHM of the slice, pixel: of all sources, or of each.
    nods : tuple of float
        Offsets of negative twins, pixel.
    from_data : bool
        Whether the data carry a shape.

    Returns
    -------
    mean, extremes : tuple of float
        Limits of the mean FWHM, and of that in any column, pixel.
    """
    if recipe.profile.fwhm.bounds is not None or not from_data:
        return bounds, bounds
    narrowest, widest = bounds
    least, most = (width, width) if isinstance(width, float) else (float(np.min(width)), float(np.max(width)))
    low, high = max(narrowest, 0.5 * least), max(narrowest * 1.5, 2.0 * most)
    if nods and min(abs(offset) for offset in nods) < _APART * most:
        # twins of free depth make the slice's width less certain, and a changing width has the shape of much
        return (narrowest, min(high, widest)), (low, min(high, widest))
    return (low, high), (max(narrowest, 0.2 * least), max(high, min(5.0 * most, widest)))


def template_width(
    placed: Placed, recipe: Recipe, bounds: Limits, width: float, from_data: bool
) -> tuple[Limits, float]:
    """Tell limits and start of a template's FWHM: it is broadened, never sharpened.

    Parameters
    ----------
    placed : Placed
        The template.
    recipe : Recipe
        The settings.
    bounds : tuple of float
        Limits for a profile of any width.
    width : float
        Where the fit would start.
    from_data : bool
        Whether the data carry a shape.

    Returns
    -------
    limits : tuple of float
    start : float
        Pixel.
    """
    low, high = placed.native, max(bounds[1], 1.5 * placed.native)
    if not placed.broaden:
        return (low, high), placed.native
    if recipe.profile.fwhm.bounds is not None:
        low, high = max(low, recipe.profile.fwhm.bounds[0]), recipe.profile.fwhm.bounds[1]
    if not from_data and recipe.profile.fwhm.value is None:
        width = placed.native
    return (low, high), float(np.clip(width, low, high))
