"""The recipe with every "auto" replaced by what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .choose import Choice
from .cleaning import rejection_mode
from .frame import Frame
from .geometry import asked_of
from .layers import Layers
from .locate import Start
from .noise import Variance
from .recipe import Recipe
from .results import Boxcar
from .window import Window

__all__ = ["resolved"]


def resolved(
    frame: Frame,
    recipe: Recipe,
    window: Window,
    start: Start,
    choice: Choice,
    layers: Layers,
    variance: Variance,
    box: Boxcar,
    flux_window: str,
    quality: Mapping[str, Any],
) -> Recipe:
    """Fill in the values that the stages chose.

    Initial values of fitted parameters become the fitted ones, so that the resolved recipe shows what was used.

    Parameters
    ----------
    frame : Frame
        What was extracted.
    recipe : Recipe
        As asked for.
    window, start, choice, layers, variance
        What the stages found.
    box : Boxcar
        The matched plain sum.
    flux_window : str
        What the flux refers to.
    quality : mapping
        Named figures, for the scale of the errors and whether the profile was corrected.

    Returns
    -------
    Recipe
    """
    columns = start.cut.columns
    at = int(np.clip(round(start.cut.centre_column), 0, window.n_disp - 1))
    items = []
    for k, centre in enumerate(layers.centre[:, at]):
        asked = recipe.sources.items[k] if k < len(recipe.sources.items) else None
        value = float(centre + window.row)
        centre_field: dict[str, Any] = {"value": value}
        name = None
        if asked is not None:
            name = asked.name
            centre_field = {**asked.centre.model_dump(), "value": value}
            if asked.centre.bounds is not None:
                centre_field["value"] = float(np.clip(value, *asked.centre.bounds))
        items.append({"name": name, "centre": centre_field})
    fwhm = float(layers.fwhm[0, at])
    geometry = choice.fit.geometry
    index = choice.fit.shape.index
    profile: dict[str, Any] = {
        "kind": recipe.profile.kind if recipe.profile.kind in ("spline", "template") else choice.kind,
        "fwhm": {**recipe.profile.fwhm.model_dump(), "value": _within(fwhm, recipe.profile.fwhm.bounds)},
        "empirical": bool(quality["empirical"]),
    }
    if index is not None:
        profile["index"] = {**recipe.profile.index.model_dump(), "value": _within(index, recipe.profile.index.bounds)}
    background = layers.background
    trace: dict[str, Any] = {
        "degree": len(geometry.centre) - 1,
        "fwhm_degree": geometry.log_fwhm.shape[1] - 1,
    }
    for name, found in (("coefficients", geometry.centre), ("fwhm_coefficients", geometry.log_fwhm[0])):
        trace[name] = tuple(
            {**asked.model_dump(), "value": _within(value, asked.bounds)}
            for asked, value in zip(asked_of(getattr(recipe.trace, name), len(found))[1:], found[1:], strict=True)
        )
    nods: dict[str, Any] = {"mode": layers.nod_mode}
    if start.problem.nods:
        # one that was not fitted is not to be fitted by whoever uses this recipe either
        fixed = start.problem.prior_spacing is None
        spacing = {**recipe.nods.spacing.model_dump(), "value": geometry.spacing, "fixed": fixed}
        nods |= {"offsets": start.problem.nods, "spacing": spacing}
    if recipe.trace.bins == "auto":
        trace["bins"] = len(choice.columns)
    width = (
        float(np.nanmedian(box.upper - box.lower)) if recipe.flux.boxcar_width == "auto" else recipe.flux.boxcar_width
    )
    return recipe.updated(
        kernel={"disp": _window_of(columns, window)},
        sources={
            "number": len(items),
            "items": tuple(items),
            "shape": "separate" if len(geometry.log_fwhm) > 1 else "common",
        },
        profile=profile,
        background={
            "degree": "none" if background.degree < 0 else background.degree,
            "along": background.along,
            "along_degree": background.along_degree,
        },
        trace=trace,
        noise={
            "variance": variance.kind,
            "revise": layers.slope > 0,
            "scale": float(quality["noise_scale"]) if recipe.noise.scale == "auto" else recipe.noise.scale,
        },
        nods=nods,
        rejection={"mode": rejection_mode(frame, recipe.rejection), "floor": layers.rejected.floor},
        flux={"window": flux_window, "boxcar_width": width},
    )


def _within(value: float, bounds: tuple[float, float] | None) -> float:
    return float(value) if bounds is None else float(np.clip(value, *bounds))


def _window_of(columns: tuple[int, int], window: Window) -> tuple[float, float]:
    low, high = columns[0] + window.column, columns[1] + window.column
    return (float(low), float(high)) if high > low else (low - 0.25, high + 0.25)
