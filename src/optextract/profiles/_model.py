"""Profiles by the name that a recipe gives them, and of a user's own astropy model."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RecipeError, bad_value
from ._shape import Gaussian, Shape
from ._table import Moffat, Tabulated, Voigt, tabulate

__all__ = ["from_model", "make_shape"]

FloatArray = NDArray[np.float64]


def from_model(model: Any) -> Tabulated:
    """Make a profile of any astropy 1-D model.

    The contract: one input, one output; finite and nowhere negative beyond rounding; one peak (what is above half of
    the maximum is one piece), within some 50 FWHM of zero or of the model's ``mean`` or ``x_0``; and nine tenths or
    more of the integral over 120 FWHM within 20 FWHM of the middle. Its flux is that within 20 FWHM. Its position and
    width are replaced by the fitted ones; its other parameters keep the values that the model has.

    Parameters
    ----------
    model : astropy.modeling.Model
        An instance, or a class whose defaults fit.

    Returns
    -------
    Tabulated
        The profile, scaled to a FWHM of one and centred where its flux is halved.

    Raises
    ------
    RecipeError
        If the contract is broken; the message names the clause.
    """
    instance = model() if isinstance(model, type) else model
    if not callable(instance) or getattr(instance, "n_inputs", 1) != 1 or getattr(instance, "n_outputs", 1) != 1:
        raise bad_value("model", "Profile", "a callable with one input and one output", model, RecipeError)

    def curve(x: FloatArray) -> FloatArray:
        with np.errstate(all="ignore"):  # what overflows is not finite, and is refused as such
            values = np.asarray(instance(x), dtype=float)
        if values.shape != x.shape or not np.isfinite(values).all():
            raise bad_value("model", "Profile", "finite everywhere", model, RecipeError)
        return values

    scale, centre = _rough_scale(curve, instance)
    x = centre + scale * np.linspace(-60, 60, 24001)
    values = curve(x)
    if values.min() < -1e-6 * values.max():
        raise bad_value("model", "Profile", "nowhere negative", f"{model} (minimum {values.min():.3g})", RecipeError)
    values = np.clip(values, 0, None)
    cdf = np.concatenate([[0], np.cumsum(0.5 * (values[1:] + values[:-1]))])
    centre = float(np.interp(0.5 * cdf[-1], cdf, x))
    above = np.flatnonzero(values >= 0.5 * values.max())
    fwhm = x[above[-1]] - x[above[0]]
    inside = np.interp(centre + 20 * fwhm, x, cdf) - np.interp(centre - 20 * fwhm, x, cdf)
    if inside < 0.9 * cdf[-1]:
        raise bad_value("model", "Profile", "of an integral that converges within 20 FWHM", model, RecipeError)
    return tabulate("model", lambda v: np.clip(curve(centre + v * fwhm), 0, None), 20.0, None)


def _rough_scale(curve: Callable[[FloatArray], FloatArray], model: Any) -> tuple[float, float]:
    """Find the scale on which a model varies, and its peak, over nine decades."""
    near = 0.0
    for name in ("mean", "x_0"):  # what astropy's models call their position
        place = getattr(model, name, None)
        if place is not None and np.ndim(getattr(place, "value", place)) == 0:
            near = float(getattr(place, "value", place))
    for scale in np.logspace(-3, 6, 28):
        x = near + np.linspace(-50, 50, 2001) * scale
        values = curve(x)
        peak = values.max()
        if peak <= 0:
            continue
        above = values >= 0.5 * peak
        if 10 <= above.sum() <= 400 and not (above[0] or above[-1]):
            return float(above.sum() * (x[1] - x[0])), float(x[values.argmax()])
    raise bad_value("model", "Profile", "positive somewhere, with one peak of finite width", model, RecipeError)


def make_shape(kind: str, index: float | None = None, model: str | None = None) -> Shape:
    """Make the profile that a recipe names.

    Parameters
    ----------
    kind : {"gaussian", "moffat", "voigt", "model"}
        Which one.
    index : float, optional
        Moffat index or Voigt Lorentzian fraction.
    model : str, optional
        ``module:attr`` of an astropy 1-D model, for kind "model".

    Returns
    -------
    Shape

    Raises
    ------
    RecipeError
        If a value breaks its rule, or the model cannot be imported.
    """
    if kind == "gaussian":
        return Gaussian()
    if kind == "moffat":
        return Moffat(3.0 if index is None else index).fast()
    if kind == "voigt":
        return Voigt(0.5 if index is None else index)
    if kind == "model":
        return from_model(_import_model(model))
    rule = "gaussian, moffat, voigt or model here (a template needs its file: optextract.templates.load_template)"
    raise bad_value("kind", "Profile", rule, kind, RecipeError)


def _import_model(name: str | None) -> Any:
    module, _, attribute = ("" if name is None else name).partition(":")
    if not module or not attribute:
        raise bad_value("model", "Profile", "'module:attr'", name, RecipeError)
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise bad_value("model", "Profile", f"importable ({error})", name, RecipeError) from error
