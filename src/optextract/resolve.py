"""The recipe with every "auto" replaced by what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from .bins import runs_of
from .choose import Choice
from .cleaning import rejection_mode
from .frame import Frame
from .geometry import asked_of
from .layers import Layers
from .locate import Start
from .noise import Variance
from .recipe import Parameter, Recipe, Source
from .results import Boxcar
from .robust import median
from .window import Window

__all__ = ["resolved"]

Part = TypeVar("Part", bound=BaseModel)

_NOTHING_ASKED = Source()


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
    items = _items(recipe, window, start, layers)
    at = _column_of(window, start)
    geometry = choice.fit.geometry
    index = choice.fit.shape.index
    profile: dict[str, Any] = {
        "kind": recipe.profile.kind if recipe.profile.kind in ("spline", "template") else choice.kind,
        "fwhm": _found(recipe.profile.fwhm, float(layers.fwhm[0, at])),
        "empirical": bool(quality["empirical"]),
    }
    if index is not None:
        profile["index"] = _found(recipe.profile.index, index)
    background = layers.background
    trace: dict[str, Any] = {
        "degree": len(geometry.centre) - 1,
        "fwhm_degree": geometry.log_fwhm.shape[1] - 1,
    }
    for name, found in (("coefficients", geometry.centre), ("fwhm_coefficients", geometry.log_fwhm[0])):
        terms = asked_of(getattr(recipe.trace, name), len(found))[1:]
        trace[name] = tuple(_found(asked, float(value)) for asked, value in zip(terms, found[1:], strict=True))
    nods: dict[str, Any] = {"mode": layers.nod_mode}
    if start.problem.nods:
        # one that was not fitted is not to be fitted by whoever uses this recipe either
        spacing = {"value": float(geometry.spacing), "fixed": start.problem.prior_spacing is None}
        nods |= {
            "offsets": tuple(float(offset) for offset in start.problem.nods),
            "spacing": _changed(recipe.nods.spacing, spacing),
        }
    if recipe.trace.bins == "auto":
        trace["bins"] = len(choice.columns)
    width = _median_width(box) if recipe.flux.boxcar_width == "auto" else recipe.flux.boxcar_width
    chosen: dict[str, dict[str, Any]] = {
        "kernel": {"disp": _window_of(start.cut.columns, window)},
        "sources": {
            "number": len(items),
            "items": items,
            "shape": "separate" if len(geometry.log_fwhm) > 1 else "common",
        },
        "profile": profile,
        "background": {
            "degree": "none" if background.degree < 0 else background.degree,
            "along": background.along,
            "along_degree": background.along_degree,
            "rows": recipe.background.rows if background.rows is None else _windows_of(background.rows, window),
        },
        "trace": trace,
        "noise": {
            "variance": variance.kind,
            "revise": bool(layers.slope > 0),
            "scale": float(quality["noise_scale"]) if recipe.noise.scale == "auto" else recipe.noise.scale,
        },
        "nods": nods,
        "rejection": {"mode": rejection_mode(frame, recipe.rejection), "floor": float(layers.rejected.floor)},
        "flux": {"window": flux_window, "boxcar_width": width},
    }
    # what the stages found obeys the rules by itself: to look again would take as long as the fit of a kernel slice
    sections = {name: _changed(getattr(recipe, name), fields) for name, fields in chosen.items()}
    return _changed(recipe, sections)


def _changed(model: Part, fields: Mapping[str, Any]) -> Part:
    """A part of the recipe with other values, as pydantic's `model_copy` makes it in three times as long."""
    changed = model.__copy__()
    changed.__dict__.update(fields)
    changed.__pydantic_fields_set__.update(fields)
    return changed


def _windows_of(rows: NDArray[np.bool_], window: Window) -> tuple[tuple[float, float], ...]:
    """First and last row of the frame of each run of rows."""
    return tuple((float(start + window.row), float(end - 1 + window.row)) for start, end in runs_of(rows))


def _median_width(box: Boxcar) -> float:
    """Median width of the plain sums, pixel."""
    width = box.upper - box.lower
    return median(width[np.isfinite(width)])


def _column_of(window: Window, start: Start) -> int:
    return min(max(round(float(start.cut.centre_column)), 0), window.n_disp - 1)


def _items(recipe: Recipe, window: Window, start: Start, layers: Layers) -> tuple[Source, ...]:
    """Each source with its name, and the row where it was found as its initial value."""
    items = []
    for k, centre in enumerate(layers.centre[:, _column_of(window, start)]):
        asked = recipe.sources.items[k] if k < len(recipe.sources.items) else _NOTHING_ASKED
        found = _found(asked.centre, float(centre + window.row))
        items.append(_changed(asked, {"centre": found}))
    return tuple(items)


def _found(asked: Parameter, value: float) -> Parameter:
    """What was asked of a parameter, with what was found as its initial value."""
    return _changed(asked, {"value": asked.within(value)})


def _window_of(columns: tuple[int, int], window: Window) -> tuple[float, float]:
    low, high = columns[0] + window.column, columns[1] + window.column
    return (float(low), float(high)) if high > low else (low - 0.25, high + 0.25)
