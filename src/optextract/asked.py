"""What a recipe asks of the fit of trace and width: what is free, bounds, priors, and where it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.polynomial.legendre import legfit, legval
from numpy.typing import NDArray

from .errors import RecipeError, bad_value
from .finder import Detection
from .geometry import Geometry, Problem
from .kernel import cross_basis
from .profiles import MOFFAT_INDICES, Gaussian, Shape, Voigt, make_shape, moffat_between
from .recipe import Nods, Parameter, Recipe
from .templates import Placed
from .window import Window

__all__ = ["PRIOR_FWHM", "number_of", "problem_for", "start_geometry"]

FloatArray = NDArray[np.float64]

#: FWHM of a source that does not show its own, pixel.
PRIOR_FWHM = 2.0
_FEW_ROWS = 6  # a source and a slope would leave them nothing
_PRIOR_WIDTH = 0.3
_SPACING = 0.05  # 1 sigma of the factor between the nods' offsets and what the file tells of them
_MOST_SPACING = 0.15  # change of that factor, unless the recipe says otherwise


def _index_family(kind: str) -> tuple[Callable[[float], Shape], tuple[float, float]] | None:
    """From an index to a shape, and the index' limits, for kinds that have one."""
    if kind == "moffat":
        return moffat_between, MOFFAT_INDICES
    if kind == "voigt":
        return _voigt, (0.0, 1.0)
    return None


def _voigt(fraction: float) -> Shape:
    return Voigt(round(float(np.clip(fraction, 0, 1)), 4))


def number_of(recipe: Recipe) -> int:
    """Number of sources that a recipe asks for; 1 where it leaves that to the data.

    Parameters
    ----------
    recipe : Recipe
        The settings.

    Returns
    -------
    int

    Raises
    ------
    RecipeError
        If it names more sources than there are to be.
    """
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


def problem_for(
    recipe: Recipe,
    window: Window,
    nods: tuple[float, ...],
    bounds: tuple[float, float],
    from_data: bool,
    found: bool,
    width: float,
    planned: float | None,
    at: float,
    placed: Placed | None = None,
) -> Problem:
    """Shape, bounds and freedom of the fit as the recipe and the S/N allow.

    Parameters
    ----------
    recipe : Recipe
        The settings.
    window : Window
        The pixels that take part.
    nods : tuple of float
        Offsets of negative traces, pixel.
    bounds : tuple of float
        Limits of the FWHM, pixel.
    from_data, found : bool
        Whether the S/N carries a shape, and whether there is a source at all.
    width : float
        FWHM that the fit starts from, pixel.
    planned : float or None
        Row of the window at which the header plans the source.
    at : float
        Column of the window for which the recipe gives the rows of the sources: the kernel's.
    placed : Placed, optional
        A template.

    Returns
    -------
    Problem
    """
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
    held = bool(sources.items) and sources.items[0].centre.fixed
    prior_centre = None
    if planned is not None and not recipe.trace.given and not held:
        prior_centre = (planned, sources.planned_sigma) if not from_data else None
    prior_fwhm = None if from_data or profile.fwhm.value is not None else (np.log(PRIOR_FWHM), _PRIOR_WIDTH)
    if not from_data and profile.fwhm.value is not None:
        prior_fwhm = (np.log(width), _PRIOR_WIDTH)
    return Problem(
        shape=shape,
        nods=nods,
        prior_spacing=_SPACING if from_data and _spacing_is_fitted(recipe.nods) else None,
        background=cross_basis(
            window.n_cross, 0 if recipe.background.degree == "none" or window.n_cross < _FEW_ROWS else 1
        ),
        free_centre=fits_centre and found and (recipe.trace.given is None or recipe.trace.shift),
        free_width=fits_width and not profile.fwhm.fixed and found,
        index_shape=index_shape,
        centre_bounds=_centre_bounds(window, sources.items[0].centre.value if held else None),
        fwhm_bounds=bounds,
        index_bounds=index_bounds,
        prior_centre=prior_centre,
        prior_fwhm=prior_fwhm,
        bends=recipe.trace.coefficients,
        tapers=recipe.trace.fwhm_coefficients,
        spacing_bounds=_spacing_bounds(recipe.nods.spacing),
        rows=tuple(_moved(item.centre, -window.row) for item in sources.items),
        at=at,
    )


def _centre_bounds(window: Window, fixed: float | None) -> tuple[float, float]:
    """Rows between which the first source may be: those of the window, and where somebody has put it."""
    low, high = -0.5, window.n_cross - 0.5
    return (low, high) if fixed is None else (min(low, fixed - window.row), max(high, fixed - window.row))


def _moved(asked: Parameter, by: float) -> Parameter:
    """The same of a row counted from elsewhere."""
    value = None if asked.value is None else asked.value + by
    bounds = None if asked.bounds is None else (asked.bounds[0] + by, asked.bounds[1] + by)
    return Parameter(value=value, fixed=asked.fixed, bounds=bounds)


def _spacing_is_fitted(nods: Nods) -> bool:
    """Offsets that a recipe gives are held, unless it asks for their spacing too."""
    return not nods.spacing.fixed and (nods.offsets is None or nods.spacing != Parameter())


def _spacing_bounds(asked: Parameter) -> tuple[float, float]:
    if asked.bounds is not None:
        return asked.bounds
    middle = 1.0 if asked.value is None else asked.value
    return middle - _MOST_SPACING, middle + _MOST_SPACING


def _first_value(asked: Parameter, found: float) -> float:
    """Where a parameter starts: as asked, else where it was found, within its bounds."""
    return asked.within(found) if asked.value is None else asked.value


def start_geometry(
    window: Window,
    detection: Detection,
    positions: tuple[float, ...],
    width: float,
    path: FloatArray | None,
    bend: FloatArray | None,
    at: float,
    recipe: Recipe,
) -> Geometry:
    """Trace and width from which the fit starts.

    Parameters
    ----------
    window : Window
        The pixels that take part.
    detection : Detection
        The source as it was found.
    positions : tuple of float
        Rows of the sources at the kernel slice.
    width : float
        Their FWHM there, pixel.
    path : ndarray or None
        A trace that is given or planned, one frame row per column of the frame.
    bend : ndarray or None
        How far the trace is from its row at the slice, one row per column of the window, where that was measured.
    at : float
        Column of the window in the middle of the kernel slice.
    recipe : Recipe
        The settings.

    Returns
    -------
    Geometry
    """
    domain = (0.0, float(max(window.n_disp - 1, 1)))
    n_width = len(positions) if recipe.sources.shape == "separate" else 1
    log_fwhm = np.full((n_width, 1), np.log(width))
    offsets = np.array(positions[1:]) - positions[0]
    spacing = _first_value(recipe.nods.spacing, 1.0)
    geometry = Geometry(domain, np.array([positions[0]]), offsets, log_fwhm, spacing=spacing)
    if path is not None:
        inside = path[window.column : window.column + window.n_disp] - window.row
        moves = recipe.trace.given is None or recipe.trace.shift
        shift = positions[0] - float(np.interp(at, np.arange(window.n_disp), inside)) if moves else 0.0
        geometry = replace(geometry, centre=np.array([shift]), given=inside)
    elif bend is not None:
        degree = 3 if recipe.trace.degree == "auto" else int(recipe.trace.degree)
        centre = legfit(np.linspace(-1, 1, window.n_disp), bend, min(degree, max(window.n_disp // 4, 0)))
        centre[0] += positions[0]
        geometry = replace(geometry, centre=np.asarray(centre, dtype=np.float64))
    elif detection.curved:
        x = 2 * detection.column / domain[1] - 1
        weight = np.clip(detection.bin_snr, 0.1, 10.0)
        degree = 3 if recipe.trace.degree == "auto" else int(recipe.trace.degree)
        centre = legfit(x, detection.row, min(degree, max(len(x) // 4, 0)), w=weight)
        geometry = replace(geometry, centre=np.asarray(centre, dtype=np.float64))
    return _with_coefficients(geometry, recipe, at)


def _with_coefficients(geometry: Geometry, recipe: Recipe, at: float) -> Geometry:
    """The same centre and width at column `at` with the coefficients that the recipe asks for."""
    if not (recipe.trace.coefficients or recipe.trace.fwhm_coefficients):
        return geometry
    x = float(geometry.mapped(np.array([at]))[0])
    centre = _started(geometry.centre, recipe.trace.coefficients, x)
    log_fwhm = np.array([_started(each, recipe.trace.fwhm_coefficients, x) for each in geometry.log_fwhm])
    return replace(geometry, centre=centre, log_fwhm=log_fwhm)


def _started(coefficients: FloatArray, asked: tuple[Parameter, ...], x: float) -> FloatArray:
    """A Legendre series that starts with the values that are asked for, and is at x what it was."""
    if not asked:
        return coefficients
    started = np.zeros(max(len(coefficients), len(asked) + 1))
    started[: len(coefficients)] = coefficients
    for degree, each in enumerate(asked, start=1):
        started[degree] = _first_value(each, started[degree])
    started[0] += float(legval(x, coefficients) - legval(x, started))
    return started
