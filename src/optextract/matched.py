"""The matched boxcar: the plain sum that every optimal spectrum is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from .compiled import contiguous
from .compiled.matched import matched_sums
from .layers import Final, Layers
from .recipe import Recipe
from .results import Boxcar, Flag, freeze
from .window import Window

__all__ = ["Edges", "edges_of", "matched_boxcar"]

FloatArray = NDArray[np.float64]

_REACH = 3.0  # FWHM
_BITS = (int(Flag.NO_DATA), int(Flag.PARTIAL_PROFILE), int(Flag.EDGE))


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges of the apertures that follow each source, row of the window, each of shape (n_source, n_disp)."""

    lower: FloatArray
    upper: FloatArray


def edges_of(recipe: Recipe, window: Window, layers: Layers, nods: tuple[float, ...]) -> Edges:
    """Where the sum about each source ends: at three FWHM or the recipe's width, half-way to what is near.

    Parameters
    ----------
    recipe : Recipe
        The settings: ``flux.boxcar_width``.
    window : Window
        The pixels that took part.
    layers : Layers
        Trace and width.
    nods : tuple of float
        Offsets of the negative nods, pixel.

    Returns
    -------
    Edges
    """
    asked = recipe.flux.boxcar_width
    half = 0.5 * (_width(layers, nods) if asked == "auto" else np.full(layers.centre.shape, float(asked)))
    lower = np.maximum(layers.centre - half, -0.5)
    upper = np.minimum(layers.centre + half, window.n_cross - 0.5)
    return Edges(lower, np.maximum(upper, lower + 1e-6))


def _width(layers: Layers, nods: tuple[float, ...]) -> FloatArray:
    """Three FWHM, less where another source or a negative twin is near: the sum ends half-way to it."""
    if len(layers.centre) == 1 and not nods:
        return _REACH * layers.fwhm
    places = layers.centre[:, None] + np.array((0.0, *nods))[None, :, None]
    others = places.reshape(-1, layers.centre.shape[1])
    gap = np.abs(others[None] - layers.centre[:, None])
    # each source is at no distance from itself
    gap = np.where(gap > 1e-9, gap, np.inf).min(axis=1)
    return np.minimum(_REACH * layers.fwhm, np.maximum(gap, 1.0))


def matched_boxcar(
    window: Window,
    layers: Layers,
    final: Final,
    edges: Edges,
    scale: float,
    wavelength: u.Quantity,
    unit: u.UnitBase,
    variance_parts: Mapping[str, FloatArray],
) -> tuple[Boxcar, FloatArray]:
    """Sum the pixels, after the background, in an aperture that follows each source.

    Parameters
    ----------
    window : Window
        The pixels that took part.
    layers, final : Layers, Final
        Profiles, background and outliers; covariance of the background.
    edges : Edges
        Of the apertures.
    scale : float
        Factor from pixel values to the spectrum's unit.
    wavelength : Quantity, shape (n_source, n_disp)
        Along the traces.
    unit : Unit
        The spectrum's.
    variance_parts : mapping of str to ndarray, shape (n_source, n_column)
        Each known component of the variance through the same sum.

    Returns
    -------
    box : Boxcar
        In `unit`, not corrected for the light outside; its errors hold the background's.
    inside : ndarray, shape (n_source, n_disp)
        Part of each profile that it sums.
    """
    shape = (len(edges.lower), window.shape[1])
    flux, error, count = np.empty(shape), np.empty(shape), np.empty(shape)
    flags, inside = np.empty(shape, dtype=np.uint32), np.empty(edges.lower.shape)
    matched_sums(
        contiguous(window.data),
        contiguous(layers.background.image),
        contiguous(layers.kept),
        contiguous(layers.sources),
        contiguous(layers.background.basis),
        final.uncertain,
        edges.lower,
        edges.upper,
        scale,
        _BITS,
        window.column,
        flux,
        error,
        flags,
        count,
        inside,
    )
    untold = np.flatnonzero(layers.background.untold) + window.column
    flux[:, untold], error[:, untold] = np.nan, np.nan
    flags[:, untold] |= np.uint32(Flag.NO_BACKGROUND)
    box = Boxcar(
        flux=freeze(flux),
        uncertainty=freeze(error),
        variance_parts=MappingProxyType({name: freeze(part) for name, part in variance_parts.items()}),
        flags=freeze(flags),
        lower=freeze(window.along(edges.lower + window.row)),
        upper=freeze(window.along(edges.upper + window.row)),
        n_pixels=freeze(count),
        wavelength=wavelength,
        unit=unit,
    )
    return box, inside
