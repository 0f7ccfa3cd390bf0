"""The matched boxcar: the plain sum that every optimal spectrum is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from .aperture import sum_aperture
from .compiled import contiguous
from .compiled.sums import aperture_terms
from .frame import Frame
from .layers import Layers
from .recipe import Recipe
from .results import Boxcar, Flag, freeze
from .window import Window

__all__ = ["inside_boxcar", "matched_boxcar"]

FloatArray = NDArray[np.float64]

_REACH = 3.0  # FWHM


def matched_boxcar(
    frame: Frame,
    recipe: Recipe,
    window: Window,
    layers: Layers,
    nods: tuple[float, ...],
    scale: float,
    wavelength: u.Quantity,
    components: Mapping[str, FloatArray],
) -> Boxcar:
    """Sum the pixels, after the background, in an aperture that follows each source.

    Parameters
    ----------
    frame : Frame
        What was extracted.
    recipe : Recipe
        The settings: ``flux.boxcar_width``.
    window : Window
        The pixels that took part.
    layers : Layers
        Trace, width, background and outliers.
    nods : tuple of float
        Offsets of the negative nods, pixel.
    scale : float
        Factor from pixel values to the spectrum's unit.
    wavelength : Quantity, shape (n_source, n_disp)
        Along the traces.
    components : mapping of str to ndarray, shape (n_disp, n_cross)
        Components of the pixels' variance, where they are known.

    Returns
    -------
    Boxcar
        In the frame's `flux_unit`, not corrected for the light outside; its errors hold the background's.
    """
    n_source = len(layers.centre)
    auto = recipe.flux.boxcar_width == "auto"
    width = _width(layers, nods) if auto else np.full_like(layers.fwhm, float(recipe.flux.boxcar_width))
    lower = np.maximum(layers.centre - 0.5 * width, -0.5)
    upper = np.minimum(layers.centre + 0.5 * width, window.n_cross - 0.5)
    upper = np.maximum(upper, lower + 1e-6)
    good = layers.kept > 0
    images = {"total": np.divide(1.0, layers.kept, out=np.zeros_like(layers.kept), where=good), **components}
    data = window.data - layers.background.image
    flux, error, flags, count = [], [], [], []
    spread: dict[str, list[FloatArray]] = {name: [] for name in components}
    for k in range(n_source):
        f, parts, flag, n = sum_aperture(data, good, images, lower[k], upper[k], scale)
        extra = _boxcar_background(layers, good, lower[k], upper[k]) * scale**2
        flux.append(f)
        error.append(np.sqrt(parts.pop("total") + extra))
        flags.append(flag)
        count.append(n)
        for name, part in parts.items():
            spread[name].append(part)
    box_flags = np.full((n_source, frame.n_disp), int(Flag.NO_DATA), dtype=np.uint32)
    box_flags[:, window.column : window.column + window.n_disp] = np.array(flags)
    return Boxcar(
        flux=freeze(window.along(np.array(flux))),
        uncertainty=freeze(window.along(np.array(error))),
        variance_parts=MappingProxyType({name: freeze(window.along(np.array(v))) for name, v in spread.items()}),
        flags=freeze(box_flags),
        lower=freeze(window.along(lower + window.row)),
        upper=freeze(window.along(upper + window.row)),
        n_pixels=freeze(window.along(np.array(count))),
        wavelength=wavelength,
        unit=frame.flux_unit,
    )


def _inside(terms: FloatArray, good: NDArray[np.bool_], lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Sum of each term over the good pixels between two edges, shape (n_disp, n_term)."""
    out = np.empty((len(good), terms.shape[1]))
    aperture_terms(contiguous(terms), np.ascontiguousarray(good), contiguous(lower), contiguous(upper), out)
    return out


def _boxcar_background(layers: Layers, good: NDArray[np.bool_], lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Variance that the background adds to a plain sum, shape (n_disp,)."""
    if layers.background.degree < 0:
        return np.zeros(len(good))
    sensitivity = _inside(layers.background.basis[None], good, lower, upper)[:, None, :]
    return layers.background.flux_covariance(sensitivity)[:, 0, 0]


def _width(layers: Layers, nods: tuple[float, ...]) -> FloatArray:
    """Three FWHM, less where another source or a negative twin is near: the sum ends half-way to it."""
    places = layers.centre[:, None] + np.array((0.0, *nods))[None, :, None]
    others = places.reshape(-1, layers.centre.shape[1])
    gap = np.abs(others[None] - layers.centre[:, None])
    # each source is at no distance from itself
    gap = np.where(gap > 1e-9, gap, np.inf).min(axis=1)
    return np.minimum(_REACH * layers.fwhm, np.maximum(gap, 1.0))


def inside_boxcar(layers: Layers, box: Boxcar, window: Window) -> FloatArray:
    """Part of each profile that the boxcar sums.

    Parameters
    ----------
    layers : Layers
        Profiles.
    box : Boxcar
        The sum.
    window : Window
        The pixels that took part.

    Returns
    -------
    ndarray, shape (n_disp, n_source)
        Fraction of unit area.
    """
    columns = slice(window.column, window.column + window.n_disp)
    lower, upper = box.lower[:, columns] - window.row, box.upper[:, columns] - window.row
    everywhere = np.ones((window.n_disp, window.n_cross), dtype=bool)
    parts = [_inside(layers.sources[:, k : k + 1], everywhere, lower[k], upper[k]) for k in range(len(lower))]
    return np.concatenate(parts, axis=1)
