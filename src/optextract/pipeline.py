"""The order of the stages: the only module that knows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .assemble import assemble
from .cleaning import clean, polish, sweep
from .errors import RecipeError, bad_value
from .frame import Frame
from .locate import Start, locate, steadied
from .memory import keep_freed
from .noise import choose_variance, nod_factor
from .recipe import Input, Recipe, Region
from .region import select
from .results import Extraction
from .tracing import first_choice, refine
from .window import Window, cut

__all__ = ["extract"]

_MOST_TIMES = 3  # that rows which no light explains are looked for


def extract(frame: Frame, recipe: Recipe | None = None, region: Region | Mapping[str, Any] | None = None) -> Extraction:
    """Extract the sources of a frame.

    Parameters
    ----------
    frame : Frame
        The 2D spectrum, shape (n_cross, n_disp).
    recipe : Recipe, optional
        Every setting; all defaults if absent.
    region : Region or mapping, optional
        Short for ``recipe.updated(region=region)``.

    Returns
    -------
    Extraction
        Spectra of shape (n_source, n_disp) and everything that the stages found.

    Raises
    ------
    FrameError
        If the frame has no good pixel, no variance, or no solid angle for a surface brightness.
    RecipeError
        If the recipe asks for something that the frame cannot give.
    """
    if not isinstance(frame, Frame):
        raise bad_value("frame", "extract", "a Frame (see optextract.read)", type(frame).__name__)
    recipe = Recipe() if recipe is None else recipe
    if not isinstance(recipe, Recipe):
        raise bad_value("recipe", "extract", "a Recipe", type(recipe).__name__, RecipeError)
    if region is not None:
        recipe = recipe.updated(region=region if isinstance(region, Region) else dict(region))
    frame = _with_input(frame, recipe.input)
    scale = frame.flux_scale
    variance = choose_variance(frame, recipe.noise)
    factor = nod_factor(frame) if recipe.noise.nod_term else 1.0
    if recipe.noise.scale != "auto":
        factor *= recipe.noise.scale**2
    inside = select(frame, recipe.region)
    keep_freed()
    window = cut(frame, inside, variance, factor)
    start = locate(frame, window, recipe)
    if start.geometry.n_source > 1 and not recipe.sources.items:
        # a row that no light explains would be a source among several: only one alone leaves it over
        window, start = _without_stripes(frame, window, start, recipe)
    choice, stripes = first_choice(frame, window, steadied(start), recipe)
    for _ in range(_MOST_TIMES):  # a bright stripe hides a faint one
        if not len(stripes):
            break
        window = window.without_rows(stripes)
        start = locate(frame, window, recipe)
        choice, stripes = first_choice(frame, window, steadied(start), recipe)
    swept = sweep(frame, window, start, choice, recipe)
    choice = refine(frame, window, start, choice, swept, recipe)
    layers = clean(frame, window, variance, start, choice, recipe, swept)
    layers = polish(frame, window, start, choice, layers, recipe)
    return assemble(frame, recipe, window, variance, start, choice, layers, scale)


def _without_stripes(frame: Frame, window: Window, start: Start, recipe: Recipe) -> tuple[Window, Start]:
    """The window without the rows that one source leaves over and no other can explain, and where the fit starts."""
    alone = recipe.updated(sources={"number": 1})
    _, stripes = first_choice(frame, window, steadied(locate(frame, window, alone)), alone)
    if not len(stripes):
        return window, start
    window = window.without_rows(stripes)
    return window, locate(frame, window, recipe)


def _with_input(frame: Frame, settings: Input) -> Frame:
    """The frame with the unit and pixel area that the recipe states."""
    if settings.unit is not None and str(frame.unit) != settings.unit:
        frame = frame.replace(unit=settings.unit)
    if settings.pixel_area_sr is not None:
        frame = frame.replace(meta={**frame.meta, "pixel_area_sr": settings.pixel_area_sr})
    return frame
