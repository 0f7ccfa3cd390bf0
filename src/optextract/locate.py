"""From a window to a start: sources on the kernel slice, nods, bounds and what the recipe fixes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial.legendre import legfit
from numpy.typing import NDArray

from .errors import RecipeError, bad_value
from .finder import Detection, detect
from .frame import Frame
from .geometry import Geometry, Problem
from .kernel import Slice, choose_columns, coadd, cross_basis
from .limits import template_width, width_bounds, width_limits
from .negatives import find_negatives
from .paths import given_trace, image_trace, planned_trace, row_of
from .placing import another_source, place_sources, width_at
from .profiles import MOFFAT_INDICES, Gaussian, Shape, Voigt, make_shape, moffat_between
from .recipe import Recipe
from .straight import bend_of, straight_slice
from .templates import Placed, place_template
from .widths import own_widths
from .window import Window

__all__ = ["SECOND_EVIDENCE", "Start", "locate", "steadied"]

FloatArray = NDArray[np.float64]

_PRIOR_FWHM = 2.0
_PRIOR_WIDTH = 0.3
_SHAPE_SNR = 10.0
#: Drop of chi2, over the scatter of what is left, that a further source must bring.
SECOND_EVIDENCE = 100.0
_MOST_SOURCES = 4
_BEND = 0.5  # pixel: how far a rectified trace may depart from a row, 1 sigma of each coefficient
_SPACING = 0.05  # 1 sigma of the factor between the nods' offsets and what the file tells of them


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


def _index_family(kind: str) -> tuple[Callable[[float], Shape], tuple[float, float]] | None:
    """From an index to a shape, and the index' limits, for kinds that have one."""
    if kind == "moffat":
        return moffat_between, MOFFAT_INDICES
    if kind == "voigt":
        return _voigt, (0.0, 1.0)
    return None


def _voigt(fraction: float) -> Shape:
    return Voigt(round(float(np.clip(fraction, 0, 1)), 4))


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
    named = tuple(item.centre.value - window.row for item in sources.items if item.centre.value is not None)
    told = bool(named) or given is not None
    warnings = _doubts(detection, planned, window, told, path)
    columns = choose_columns(detection, window.n_disp, recipe.kernel, window.column)
    if sources.find == "lines" and recipe.kernel.disp is None:
        columns = _line_columns(detection)
    cut = coadd(window.data, window.weight, columns, recipe.kernel.combine)
    bounds = width_bounds(recipe, window, nods)
    number = _number(recipe)
    first = float(np.interp(cut.centre_column, detection.column, detection.row))
    if given is not None and not recipe.trace.shift:
        first = float(given[window.column + int(cut.centre_column)]) - window.row
    fwhm0 = profile.fwhm.value if profile.fwhm.value is not None else detection.fwhm
    from_data = detection.snr >= _SHAPE_SNR
    # for one source a slice of a trace that moves is but a little broad; of several it would show some more
    bend = None
    if from_data and sources.find == "continuum" and (number > 1 or sources.number == "auto"):
        bend = bend_of(frame, window, path, cut.centre_column)
    flat = cut if bend is None else straight_slice(window, detection, bend, recipe)
    if len(named) >= number:
        # a source found alone is as wide as all of them together
        positions, width = named, width_at(flat, named, fwhm0, nods, bounds) if detection.found else fwhm0
    elif detection.found or named:
        placed_on = place_sources(flat, named[0] if named else first, fwhm0, number, nods, bounds)
        positions, width = placed_on.positions, placed_on.fwhm
        positions = (*named[:1], *positions[1:]) if named else _planned_first(positions, planned)
    else:
        positions, width = tuple(first + 2.0 * k * _PRIOR_FWHM for k in range(number)), _PRIOR_FWHM
    if profile.fwhm.value is not None:
        width = profile.fwhm.value
    if from_data and sources.find == "continuum":
        seen, told_of = _look_for_nods(flat, positions, width, nods, recipe)
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
    if from_data and sources.number == "auto" and sources.find == "continuum" and may_add:
        positions, width = _add_sources(flat, positions, width, nods, bounds)
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
    problem = _problem(recipe, window, nods, bounds, from_data, detection.found, width, planned, placed)
    problem = replace(problem, fwhm_extremes=extremes)
    if frame.meta.get("rectified") is True:
        problem = replace(problem, prior_bend=_BEND)
    geometry = _start_geometry(window, detection, positions, width, path, bend, cut.centre_column, recipe)
    if placed is not None and placed.centre is not None:
        geometry = replace(geometry, centre=np.zeros(1))
    may_differ = sources.shape == "auto" and sources.find == "continuum" and placed is None
    if may_differ and len(positions) > 1 and from_data and problem.free_width:
        own = own_widths(window, geometry, problem, widest)
        if own is not None:
            geometry = own
            bounds, extremes = width_limits(recipe, widest, np.exp(own.log_fwhm), nods, from_data)
            problem = replace(problem, fwhm_bounds=bounds, fwhm_extremes=extremes)
    if path is not None and given is None:
        problem = replace(problem, max_degree=1)
    return Start(detection, cut, geometry, problem, from_data, warnings)


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
        may_curve=frame.meta.get("rectified") is not True and path is None,
        planned=planned,
        planned_sigma=recipe.sources.planned_sigma,
        nods=nods,
    )
    if path is None:
        return found
    at = np.clip(found.column.astype(int), 0, window.n_disp - 1)
    return replace(found, row=found.row + shift[at])


def _look_for_nods(
    cut: Slice, positions: tuple[float, ...], width: float, nods: tuple[float, ...], recipe: Recipe
) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Negative traces that the file does not tell of, and a word on them."""
    if nods or recipe.nods.mode == "ignore" or recipe.nods.offsets is not None:
        return nods, ()
    seen = find_negatives(cut, positions, width)
    if not seen:
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
        value = float(np.median(path[window.column : window.column + window.n_disp]))
    if not recipe.sources.planned or value is None or not np.isfinite(value):
        return None
    row = float(value) - window.row
    return row if -0.5 <= row <= window.n_cross - 0.5 else None


def _number(recipe: Recipe) -> int:
    number, items = recipe.sources.number, len(recipe.sources.items)
    if number == "auto":
        return max(1, items)
    if items > number:
        if number != 1:
            raise bad_value(
                "sources.number", "Recipe", f"at least the number of sources.items ({items})", number, RecipeError
            )
        return items
    return number


def _doubts(
    detection: Detection, planned: float | None, window: Window, told: bool, path: FloatArray | None
) -> tuple[str, ...]:
    if told:
        return ()
    if not detection.found:
        where = "its planned position" if planned is not None else "the middle of the region"
        return (
            f"No source stands out (S/N {detection.snr:.1f} over the region): extracted at {where} with a prior shape.",
        )
    row = float(np.median(detection.row))
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


def _problem(
    recipe: Recipe,
    window: Window,
    nods: tuple[float, ...],
    bounds: tuple[float, float],
    from_data: bool,
    found: bool,
    width: float,
    planned: float | None,
    placed: Placed | None = None,
) -> Problem:
    """Shape, bounds and freedom of the fit as the recipe and the S/N allow."""
    sources, profile = recipe.sources, recipe.profile
    shape: Shape = Gaussian()
    index_shape = None
    index_bounds = MOFFAT_INDICES
    if profile.kind in ("moffat", "voigt", "model"):
        shape = make_shape(profile.kind, profile.index.value, profile.model)
        family = _index_family(profile.kind)
        index = shape.index if profile.index.value is None else profile.index.value
        if family is not None and index is not None:
            shape = family[0](index)
            if not profile.index.fixed and from_data:
                index_shape = family[0]
            index_bounds = family[1] if profile.index.bounds is None else profile.index.bounds
    fits_centre, fits_width = True, True
    if placed is not None:
        # below the S/N that a shape needs, a template is the prior: only its place and the flux are fitted
        shape, fits_centre, fits_width = placed.shape, placed.centre is None, placed.broaden and from_data
    first = sources.items[0].centre if sources.items else None
    centre_bounds = (-0.5, window.n_cross - 0.5)
    prior_centre = None
    if first is not None and first.value is not None and first.fixed:
        prior_centre = (first.value - window.row, 1e-4)
    elif planned is not None and not recipe.trace.given:
        prior_centre = (planned, sources.planned_sigma) if not from_data else None
    if first is not None and first.bounds is not None:
        centre_bounds = (first.bounds[0] - window.row, first.bounds[1] - window.row)
    prior_fwhm = None if from_data or profile.fwhm.value is not None else (np.log(_PRIOR_FWHM), _PRIOR_WIDTH)
    if not from_data and profile.fwhm.value is not None:
        prior_fwhm = (np.log(width), _PRIOR_WIDTH)
    free_offsets = tuple(not item.centre.fixed for item in sources.items[1:])
    missing = _number(recipe) - 1 - len(free_offsets)
    return Problem(
        shape=shape,
        nods=nods,
        prior_spacing=_SPACING if from_data and recipe.nods.offsets is None else None,
        background=cross_basis(window.n_cross, 0 if recipe.background.degree == "none" else 1),
        free_centre=fits_centre and found and (recipe.trace.given is None or recipe.trace.shift),
        free_width=fits_width and not profile.fwhm.fixed and found,
        free_offsets=free_offsets + (True,) * missing,
        index_shape=index_shape,
        centre_bounds=centre_bounds,
        fwhm_bounds=bounds,
        index_bounds=index_bounds,
        prior_centre=prior_centre,
        prior_fwhm=prior_fwhm,
    )


def _start_geometry(
    window: Window,
    detection: Detection,
    positions: tuple[float, ...],
    width: float,
    path: FloatArray | None,
    bend: FloatArray | None,
    at: float,
    recipe: Recipe,
) -> Geometry:
    domain = (0.0, float(max(window.n_disp - 1, 1)))
    n_width = len(positions) if recipe.sources.shape == "separate" else 1
    log_fwhm = np.full((n_width, 1), np.log(width))
    offsets = np.array(positions[1:]) - positions[0]
    if path is not None:
        inside = path[window.column : window.column + window.n_disp] - window.row
        moves = recipe.trace.given is None or recipe.trace.shift
        shift = positions[0] - float(np.interp(at, np.arange(window.n_disp), inside)) if moves else 0.0
        return Geometry(domain, np.array([shift]), offsets, log_fwhm, inside)
    centre = np.array([positions[0]])
    degree = 3 if recipe.trace.degree == "auto" else int(recipe.trace.degree)
    if bend is not None:
        x = np.linspace(-1, 1, window.n_disp)
        centre = legfit(x, bend, min(degree, max(window.n_disp // 4, 0)))
        centre[0] += positions[0]
    elif detection.curved:
        x = 2 * detection.column / domain[1] - 1
        weight = np.clip(detection.bin_snr, 0.1, 10.0)
        centre = legfit(x, detection.row, min(degree, max(len(x) // 4, 0)), w=weight)
    return Geometry(domain, centre, offsets, log_fwhm)
