"""The matched boxcar: the plain sum that every optimal spectrum is compared with."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from .aperture import coverage, sum_aperture
from .frame import Frame
from .layers import Layers
from .noise import Variance
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
    variance: Variance,
    factor: float,
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
    variance : Variance
        The chosen variance, for its parts.
    factor : float
        Factor on the variance.

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
    images = {"total": np.divide(1.0, layers.kept, out=np.zeros_like(layers.kept), where=good)}
    for name, image in variance.parts.items():
        images[name] = np.nan_to_num(window.part(image)) * factor
    data = window.data - layers.background.image
    flux, error, flags, count = [], [], [], []
    spread: dict[str, list[FloatArray]] = {name: [] for name in variance.parts}
    for k in range(n_source):
        f, parts, flag, n = sum_aperture(data, good, images, lower[k], upper[k], scale)
        extra = _boxcar_background(layers, coverage(window.n_cross, lower[k], upper[k]).T * good) * scale**2
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


def _boxcar_background(layers: Layers, taken: FloatArray) -> FloatArray:
    """Variance that the background adds to a plain sum, shape (n_disp,)."""
    if layers.background.degree < 0:
        return np.zeros(len(taken))
    sensitivity = (taken @ layers.background.basis.T)[:, None, :]
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
    taken = coverage(window.n_cross, box.lower[:, columns] - window.row, box.upper[:, columns] - window.row)
    return np.einsum("ykx,xky->xk", taken, layers.sources)
