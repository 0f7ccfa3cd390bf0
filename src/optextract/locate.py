"""From a window to a start: sources on the kernel slice, nods, bounds and what the recipe fixes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .across import place_across
from .asked import PRIOR_FWHM, number_of, problem_for, start_geometry
from .errors import RecipeError, bad_value
from .finder import Detection, detect
from .frame import Frame
from .geometry import Geometry, Problem
from .kernel import Slice, choose_columns, coadd, cross_basis
from .limits import template_width, width_bounds, width_limits
from .negatives import find_negatives, misfit_with
from .paths import given_trace, image_trace, planned_trace, row_of
from .placing import another_source, place_sources, width_at
from .recipe import Recipe
from .robust import median
from .sections import another_in_a_section, place_in_sections, sections_of
from .straight import bend_of, straight_slice
from .templates import place_template
from .widths import own_widths
from .window import Window

__all__ = ["SECOND_EVIDENCE", "Start", "locate", "steadied"]

FloatArray = NDArray[np.float64]

_SHAPE_SNR = 10.0
#: Drop of chi2, over the scatter of what is left, that a further source must bring.
SECOND_EVIDENCE = 100.0
_LEAST_BESIDE = 0.1  # of the columns that a slice beside the first must have
_MOST_SOURCES = 4
_BEND = 0.5  # pixel: how far a rectified trace may depart from a row, 1 sigma of each coefficient


@dataclass(frozen=True, eq=False)
class Start:
    """Where the global fit starts.

    Attributes
    ----------
    detection : Detection
        The source as it was found.
    cut : Slice
        The kernel slice.
    geometry : Geometry
        Initial trace and width.
    problem : Problem
        Shape, nods, bounds and what is free.
    from_data : bool
        False where the shape has to come from the prior.
    warnings : tuple of str
        What was found amiss.
    """

    detection: Detection
    cut: Slice
    geometry: Geometry
    problem: Problem
    from_data: bool
    warnings: tuple[str, ...]


def _nod_offsets(frame: Frame, recipe: Recipe) -> tuple[float, ...]:
    if recipe.nods.mode == "ignore":
        return ()
    if recipe.nods.offsets is not None:
        return recipe.nods.offsets
    return tuple(float(v) for v in frame.meta.get("nod_offsets", ()))


def locate(frame: Frame, window: Window, recipe: Recipe) -> Start:
    """Find the sources and set up the global fit.

    Parameters
    ----------
    frame : Frame
        The frame, for what its file tells.
    window : Window
        The pixels that take part.
    recipe : Recipe
        The settings.

    Returns
    -------
    Start

    Raises
    ------
    RecipeError
        If a setting does not fit the frame: a given trace, the slice's columns, nods that nothing tells of, a template.
    """
    sources, profile = recipe.sources, recipe.profile
    nods = _nod_offsets(frame, recipe)
    given = given_trace(recipe, frame)
    path = given if given is not None else planned_trace(frame, recipe)
    planned = _planned(frame, window, recipe, path)
    detection = _detect(frame, window, recipe, path, planned, nods)
    blind = window.lit and path is not None and given is None and not sources.items
    if blind and path is not None:
        # what is left of the sky is far brighter than a source may be: nothing that is seen tells where it is
        detection = detection.nothing_at(path[window.column : window.column + window.n_disp] - window.row)
    named = tuple(item.centre.value - window.row for item in sources.items if item.centre.value is not None)
    told = bool(named) or given is not None or blind
    warnings = _doubts(detection, planned, window, told, path)
    columns = choose_columns(detection, window.n_disp, recipe.kernel, window.column)
    if detection.lines and recipe.kernel.disp is None:
        columns = _line_columns(detection)
    shown = coadd(window.data, window.weight, columns, recipe.kernel.combine)
    bowl = detection.bowl if path is None and recipe.background.degree != "none" else None
    cut = shown if bowl is None else replace(shown, binned=replace(shown.binned, data=shown.binned.data - bowl))
    bounds = width_bounds(recipe, window, nods)
    number = number_of(recipe)
    first = float(np.interp(cut.centre_column, detection.column, detection.row))
    if given is not None and not recipe.trace.shift:
        first = float(given[window.column + int(cut.centre_column)]) - window.row
    fwhm0 = profile.fwhm.value if profile.fwhm.value is not None else detection.fwhm
    from_data = detection.snr >= _SHAPE_SNR
    # for one source a slice of a trace that moves is but a little broad; of several it would show some more
    bend = None
    if from_data and not detection.lines and (number > 1 or sources.number == "auto"):
        bend = bend_of(frame, window, path, cut.centre_column)
    flat = cut if bend is None else straight_slice(window, detection, bend, recipe)
    if len(named) >= number:
        # a source found alone is as wide as all of them together
        positions, width = named, width_at(flat, named, fwhm0, nods, bounds) if detection.found else fwhm0
    elif detection.found or named:
        placed_on = place_sources(flat, named[0] if named else first, fwhm0, number, nods, bounds)
        if number > 1 and from_data and not detection.lines and recipe.kernel.disp is None:
            if bend is None:
                placed_on = place_across(flat, _beside(window, columns, recipe), placed_on, nods, bounds)
            if not nods:
                sections = sections_of(window.data, window.weight, bend)
                placed_on = place_in_sections(sections, flat, placed_on, bounds)
        positions, width = placed_on.positions, placed_on.fwhm
        positions = (*named[:1], *positions[1:]) if named else _planned_first(positions, planned)
    else:
        positions, width = tuple(first + 2.0 * k * PRIOR_FWHM for k in range(number)), PRIOR_FWHM
    if profile.fwhm.value is not None:
        width = profile.fwhm.value
    if from_data and not detection.lines:
        seen, told_of = _look_for_nods(flat, positions, width, nods, bounds, recipe)
        bounds = width_bounds(recipe, window, seen)
        if seen != nods and not named:
            placed_on = place_sources(flat, positions[0], width, number, seen, bounds)
            positions, width = placed_on.positions, placed_on.fwhm
        nods = seen
        warnings += told_of
    if not nods and recipe.nods.mode in ("mask", "model"):
        rule = "given where neither the frame nor its kernel slice tells of nods"
        raise bad_value("nods.offsets", "Recipe", rule, None, RecipeError)
    may_add = path is None and (bend is not None or not detection.curved)
    if from_data and sources.number == "auto" and not detection.lines and may_add:
        positions, width = _add_sources(flat, positions, width, nods, bounds)
        if len(positions) == 1 and not nods:  # three that overlap look like two with wings that they do not have
            sections = sections_of(window.data, window.weight, bend)
            seen_beside = another_in_a_section(sections, positions, width, bounds)
            if seen_beside is not None and seen_beside[1] >= SECOND_EVIDENCE:
                positions = (*positions, seen_beside[0])
        positions = _planned_first(positions, named[0] if named else planned)
    widest = bounds
    bounds, extremes = width_limits(recipe, widest, width, nods, from_data)
    placed = None
    if profile.kind == "template":
        placed = place_template(profile, frame, window, row_of(window, detection, path))
        warnings += placed.warnings
        bounds, width = template_width(placed, recipe, bounds, width, from_data)
        extremes = bounds
        path = path if placed.centre is None else image_trace(placed, window, number)
    at = float(min(max(round(cut.centre_column), 0), window.n_disp - 1))
    rectified = frame.meta.get("rectified") is True
    if rectified and detection.bends:
        warnings += (detection.unlike_rectified,)
    problem = problem_for(recipe, window, nods, bounds, from_data, detection.found, width, planned, at, placed)
    problem = replace(
        problem,
        fwhm_extremes=extremes,
        background=problem.background if bowl is None else cross_basis(window.n_cross, 2),
        prior_bend=_BEND if rectified and not detection.bends else problem.prior_bend,
    )
    geometry = start_geometry(window, detection, positions, width, path, bend, cut.centre_column, recipe)
    if placed is not None and placed.centre is not None:
        geometry = replace(geometry, centre=np.array([0.0, *geometry.centre[1:]]))
    may_differ = sources.shape == "auto" and not detection.lines and placed is None
    if may_differ and len(positions) > 1 and from_data and problem.free_width:
        own = own_widths(window, geometry, problem, widest)
        if own is not None:
            geometry = own
            bounds, extremes = width_limits(recipe, widest, np.exp(own.log_fwhm), nods, from_data)
            problem = replace(problem, fwhm_bounds=bounds, fwhm_extremes=extremes)
    if path is not None and given is None:
        problem = replace(problem, max_degree=1)
    return Start(detection, shown, geometry, problem, from_data, warnings)


def _beside(window: Window, columns: tuple[int, int], recipe: Recipe) -> tuple[Slice, ...]:
    """Slices of the columns on either side of the slice, where these are many."""
    parts = ((0, columns[0] - 1), (columns[1] + 1, window.n_disp - 1))
    least = _LEAST_BESIDE * window.n_disp
    return tuple(
        coadd(window.data, window.weight, part, recipe.kernel.combine) for part in parts if part[1] - part[0] >= least
    )


def steadied(start: Start) -> Start:
    """The same start for a first, rough fit: all columns within the bounds of the mean width.

    A trace of too low a degree would use the freedom of the width to cover its misfit, and the refined fit, which may
    not be far from the first one, would be refused.

    Parameters
    ----------
    start : Start
        Where the global fit starts.

    Returns
    -------
    Start
    """
    return replace(start, problem=replace(start.problem, fwhm_extremes=None))


def _detect(
    frame: Frame,
    window: Window,
    recipe: Recipe,
    path: FloatArray | None,
    planned: float | None,
    nods: tuple[float, ...],
) -> Detection:
    """Detection along rows, or along a known path: whole-pixel shifts straighten it for the search alone."""
    data, weight = window.data, window.weight
    shift = np.zeros(window.n_disp, dtype=int)
    if path is not None:
        inside = path[window.column : window.column + window.n_disp]
        shift = np.round(inside - np.median(inside)).astype(int)
        rows = np.arange(window.n_cross) + shift[:, None]
        valid = (rows >= 0) & (rows < window.n_cross)
        rows = np.clip(rows, 0, window.n_cross - 1)
        data = np.take_along_axis(data, rows, axis=1)
        weight = np.where(valid, np.take_along_axis(weight, rows, axis=1), 0.0)
    found = detect(
        data,
        weight,
        lines=recipe.sources.find == "lines",
        may_curve=False if path is not None else None if frame.meta.get("rectified") is True else True,
        planned=planned,
        planned_sigma=recipe.sources.planned_sigma,
        nods=nods,
    )
    if path is None:
        return found
    at = np.clip(found.column.astype(int), 0, window.n_disp - 1)
    return replace(found, row=found.row + shift[at])


def _look_for_nods(
    cut: Slice,
    positions: tuple[float, ...],
    width: float,
    nods: tuple[float, ...],
    bounds: tuple[float, float],
    recipe: Recipe,
) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Negative traces that the file does not tell of, and a word on them."""
    if nods or recipe.nods.mode == "ignore" or recipe.nods.offsets is not None:
        return nods, ()
    seen = find_negatives(cut, positions, width)
    if not seen:
        return nods, ()
    # beside a source that is not modelled the background is bent, and leaves holes further out
    more = place_sources(cut, positions[0], width, len(positions) + 1, (), bounds)
    if more.chi2 < misfit_with(cut, positions, width, seen):
        return nods, ()
    where = ", ".join(f"{offset:+.1f}" for offset in seen)
    return seen, (
        f"Negative traces are seen {where} pixels from the source, of which the file does not tell: they are modelled. "
        "nods.mode: ignore turns that off.",
    )


def _add_sources(
    cut: Slice, positions: tuple[float, ...], width: float, nods: tuple[float, ...], bounds: tuple[float, float]
) -> tuple[tuple[float, ...], float]:
    """Further sources, as long as the evidence for them is strong."""
    while len(positions) < _MOST_SOURCES:
        seen = another_source(cut, positions, width, nods, bounds)
        if seen is None or seen[1] < SECOND_EVIDENCE:
            break
        positions, width = seen[0].positions, seen[0].fwhm
    return positions, width


def _planned_first(positions: tuple[float, ...], planned: float | None) -> tuple[float, ...]:
    """The same positions, the one nearest to the plan first."""
    if planned is None:
        return positions
    nearest = min(positions, key=lambda place: abs(place - planned))
    return (nearest, *(place for place in positions if place != nearest))


def _planned(frame: Frame, window: Window, recipe: Recipe, path: FloatArray | None) -> float | None:
    value = frame.meta.get("planned_cross")
    if path is not None:
        value = median(path[window.column : window.column + window.n_disp])
    if not recipe.sources.planned or value is None or not np.isfinite(value):
        return None
    row = float(value) - window.row
    return row if -0.5 <= row <= window.n_cross - 0.5 else None


def _doubts(
    detection: Detection, planned: float | None, window: Window, told: bool, path: FloatArray | None
) -> tuple[str, ...]:
    if told:
        return ()
    if not detection.found:
        where = "its planned position" if planned is not None else "the middle of the region"
        seen = (
            f"Row {detection.line_row + window.row:.0f} has what may be emission lines (S/N {detection.line_snr:.0f})"
            if detection.line_snr > 0
            else "A source may show in emission lines only"
        )
        return (
            f"No source stands out (S/N {detection.snr:.1f} over the region): extracted at {where} with a prior shape. "
            f"{seen}: sources.find: lines looks for them.",
        )
    row = median(detection.row)
    if path is not None:
        at = np.clip(detection.column.astype(int) + window.column, 0, len(path) - 1)
        row += float(np.median(path[window.column : window.column + window.n_disp]) - np.median(path[at]))
    if planned is not None and abs(row - planned) > 2.0:
        return (
            f"The source is at row {row + window.row:.1f}, {abs(row - planned):.1f} pixels from its planned "
            f"position {planned + window.row:.1f}.",
        )
    return ()


def _line_columns(detection: Detection) -> tuple[int, int]:
    best = int(detection.bin_snr.argmax())
    return int(detection.edges[best]), int(detection.edges[best + 1] - 1)
