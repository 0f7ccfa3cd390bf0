"""A second look at a finished fit: whether two sources would have been better than one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .kernel import Slice, coadd, fit_slice
from .limits import width_bounds
from .locate import SECOND_EVIDENCE, Start
from .placing import another_source, is_explained
from .profiles import Shape
from .recipe import Recipe
from .sections import another_in_a_section, sections_of, unexplained_sections
from .straight import straightened
from .window import Window

__all__ = ["second_source"]

FloatArray = NDArray[np.float64]

_STILL = 0.3  # of the FWHM: what a trace may move without a slice that follows it


def second_source(
    window: Window,
    start: Start,
    centre: FloatArray,
    fwhm: FloatArray,
    shape: Shape,
    recipe: Recipe,
    residual: FloatArray,
    poor: bool,
) -> tuple[str, ...]:
    """Say where two sources fit better than the one that was asked for.

    Parameters
    ----------
    window : Window
        The pixels that took part.
    start : Start
        The slice, and what was fitted to it.
    centre, fwhm : ndarray, shape (n_source, n_disp)
        Where the sources are, row of the window, and their widths, pixel.
    shape : Shape
        Their profile.
    recipe : Recipe
        The settings.
    residual : ndarray, shape (n_disp, n_cross)
        What the final model leaves.
    poor : bool
        Whether the fit of the trace is: then the slice is looked at, and else only what the residual points at.

    Returns
    -------
    tuple of str
        One sentence; none where nods were subtracted, the shape is not from the data, or one source is enough.
    """
    if start.problem.nods or len(centre) > 1 or not start.from_data or start.detection.lines:
        return ()  # twins a little off look like sources
    bounds = width_bounds(recipe, window, ())
    number = "2" if recipe.sources.number == "auto" else "2 or auto"
    if poor:
        at = int(np.clip(round(start.cut.centre_column), 0, window.n_disp - 1))
        row, width = float(centre[0, at]), float(fwhm[0, at])
        cut = _along(window, start.cut, centre[0], _STILL * width, recipe)
        own = replace(start.problem, shape=shape.at(cut.binned.column), index_shape=None, prior_centre=None, rows=())
        # wings that the profile has are no source
        if not is_explained(cut, fit_slice(cut, (row,), width, own).chi2):
            # of two that were taken for one, each is narrower than what was fitted
            seen = another_source(cut, (row,), width, (), bounds)
            if seen is not None and seen[1] >= SECOND_EVIDENCE:
                rows = " and ".join(f"{place + window.row:.1f}" for place in sorted(seen[0].positions))
                return (
                    f"Two sources, at rows {rows}, fit the kernel slice better than one (chi2 lower by {seen[1]:.0f}): "
                    f"set sources.number to {number}.",
                )
    where = unexplained_sections(residual, window.weight)
    if not where:
        return ()
    middle = window.n_disp // 2
    row, width = float(centre[0, middle]), float(np.median(fwhm[0]))
    bend = centre[0] - row if np.ptp(centre[0]) > _STILL * width else None
    sections = sections_of(window.data, window.weight, bend)
    beside = another_in_a_section(tuple(sections[b] for b in where), (row,), width, bounds)
    if beside is None or beside[1] < SECOND_EVIDENCE:
        return ()
    place, evidence, (first, last) = beside
    away = float(centre[0, (first + last) // 2]) - row + window.row
    return (
        f"A second source, at row {place + away:.1f}, shows in columns {first + window.column} to "
        f"{last + window.column} (chi2 lower by {evidence:.0f}): its light may be in the flux there; set "
        f"sources.number to {number}.",
    )


def _along(window: Window, cut: Slice, centre: FloatArray, still: float, recipe: Recipe) -> Slice:
    """The slice, or one of the same columns that follows the trace: that of one that moves is too broad."""
    first, last = cut.columns
    if np.ptp(centre[first : last + 1]) <= still:
        return cut
    shift = centre - np.interp(cut.centre_column, window.columns, centre)
    return coadd(*straightened(window.data, window.weight, shift), cut.columns, recipe.kernel.combine)
