"""The template that a recipe names, on the window that is fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from ..aperture import wavelength_along
from ..errors import RecipeError, bad_value
from ..frame import Frame
from ..profiles import Shape
from ..recipe import Profile
from ..window import Window
from ._read import Template, load_template
from ._shape import ImageShape

__all__ = ["Placed", "place_template"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Placed:
    """A template on the columns of a window.

    Attributes
    ----------
    shape : Shape
        The profile.
    native : float
        FWHM of the template by itself, pixel: the least that a fit may reach.
    broaden : bool
        Whether the fit may broaden it.
    centre : ndarray, shape (n_disp,), or None
        Row of the window that a profile image has its centre at; None: to be fitted.
    warnings : tuple of str
        What was found amiss.
    """

    shape: Shape
    native: float
    broaden: bool
    centre: FloatArray | None = None
    warnings: tuple[str, ...] = ()


def place_template(profile: Profile, frame: Frame, window: Window, row: FloatArray) -> Placed:
    """Load the recipe's template and place it on a window.

    Parameters
    ----------
    profile : Profile
        The recipe's section, of kind "template".
    frame : Frame
        Its wavelengths and pixel scale.
    window : Window
        The pixels that take part.
    row : ndarray, shape (n_frame_disp,)
        Frame row in each column where the wavelength is read.

    Returns
    -------
    Placed

    Raises
    ------
    RecipeError
        If no template is named or it cannot be used with the frame; the message says why.
    """
    if profile.template is None:
        raise bad_value("profile.template", "Recipe", "a file where profile.kind is 'template'", None, RecipeError)
    found = load_template(
        profile.template.resolve(),
        source_size=profile.template_size,
        dispersion=profile.template_dispersion,
        frame_shape=frame.shape,
    )
    if not isinstance(found, Template):
        return _place_image(found, window)
    warnings: tuple[str, ...] = ()
    if found.changes:
        wavelength, warnings = _wavelengths(found, frame, window, row)
    else:
        wavelength = np.zeros(window.n_disp)
    shape = found.shape(
        wavelength,
        frame.meta.get("pixel_scale_arcsec"),
        profile.template_interpolation,
        profile.template_broaden,
    )
    asked = profile.fwhm
    rule = f"at least the template's own FWHM, {shape.native:.3f} pixel (template_broaden: false takes it as it is)"
    if asked.fixed and asked.value is not None and asked.value < shape.native * (1 - 1e-6) and profile.template_broaden:
        raise bad_value("profile.fwhm", "Recipe", rule, asked.value, RecipeError)
    if asked.bounds is not None and asked.bounds[1] <= shape.native and profile.template_broaden:
        rule = f"such that the upper one is {rule}"
        raise bad_value("profile.fwhm.bounds", "Recipe", rule, asked.bounds, RecipeError)
    return Placed(shape, shape.native, profile.template_broaden, None, warnings)


def _wavelengths(
    template: Template, frame: Frame, window: Window, row: FloatArray
) -> tuple[FloatArray, tuple[str, ...]]:
    """Micron of each column of the window, columns without one filled from their neighbours; and a word on the ends."""
    along = wavelength_along(frame, row)
    if not along.unit.is_equivalent(u.um, u.spectral()):
        rule = "one that does not change with wavelength where the frame has no wavelengths"
        raise bad_value("profile.template", "Recipe", rule, template.words, RecipeError)
    values = along.to_value(u.um, u.spectral())[window.column : window.column + window.n_disp]
    seen = np.isfinite(values)
    if not seen.any():
        rule = "one that does not change with wavelength where no column of the region has a wavelength"
        raise bad_value("profile.template", "Recipe", rule, template.words, RecipeError)
    column = np.arange(len(values))
    low, high = template.wavelength[0], template.wavelength[-1]
    beyond = int(((values < low) | (values > high))[seen].sum())
    said: tuple[str, ...] = ()
    if beyond:
        said = (f"The template covers {low:.3g} to {high:.3g} um: {beyond} columns beyond take its nearest end.",)
    return np.interp(column, column[seen], values[seen]), said


def _place_image(image: FloatArray, window: Window) -> Placed:
    """A profile image: its own trace, nothing to fit."""
    part = window.part(image)
    light = np.clip(part, 0, None)
    total = light.sum(axis=1)
    seen = total > 0.05
    if not seen.any():
        raise bad_value(
            "profile.template", "Recipe", "a profile with light inside the region", "none in any column", RecipeError
        )
    column = np.arange(len(part))
    middle = (light[seen] * np.arange(part.shape[1])).sum(axis=1) / total[seen]
    centre = np.interp(column, column[seen], middle)
    # a Gaussian's FWHM is 0.939 of its area over its peak
    native = max(0.939 * float(np.median(total[seen] / light[seen].max(axis=1))), 0.5)
    typical = float(np.median(image.sum(axis=0)[image.sum(axis=0) > 0.05]))
    said: tuple[str, ...] = ()
    if abs(typical - 1) > 0.02:
        said = (f"The profile image sums to {typical:.3f} a column, not to 1: the flux is as much smaller or larger.",)
    return Placed(ImageShape(part, centre), native, False, centre, said)
