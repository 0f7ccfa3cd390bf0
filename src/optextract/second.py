"""A second look at a finished fit: whether two sources would have been better than one."""

from __future__ import annotations

from dataclasses import replace

from .kernel import fit_slice
from .locate import SECOND_EVIDENCE, Start
from .placing import another_source, is_explained
from .profiles import Shape

__all__ = ["second_source"]


def second_source(start: Start, positions: tuple[float, ...], width: float, shape: Shape, row: int) -> tuple[str, ...]:
    """Say where two sources fit better than the one that was asked for; to be called where the fit is poor.

    Parameters
    ----------
    start : Start
        The slice, and what was fitted to it.
    positions : tuple of float
        Rows of the sources, of the window.
    width : float
        Their FWHM, pixel.
    shape : Shape
        Their profile.
    row : int
        Frame row of the window's first.

    Returns
    -------
    tuple of str
        One sentence; none where the trace moves, nods were subtracted, the shape is not from the data, or one source
        is enough.
    """
    if start.detection.curved or start.problem.nods or len(positions) > 1 or not start.from_data:
        return ()  # a slice of a trace that moves is broader than its profile; twins a little off look like sources
    bounds = start.problem.fwhm_bounds
    own = replace(start.problem, shape=shape.at(start.cut.binned.column), index_shape=None, prior_centre=None, rows=())
    if is_explained(start.cut, fit_slice(start.cut, positions, width, own).chi2):
        return ()  # wings that the profile has are no source
    seen = another_source(start.cut, positions, width, (), bounds)
    if seen is None or seen[1] < SECOND_EVIDENCE:
        return ()
    rows = " and ".join(f"{place + row:.1f}" for place in sorted(seen[0].positions))
    return (
        f"Two sources, at rows {rows}, fit the kernel slice better than one (chi2 lower by {seen[1]:.0f}): set "
        "sources.number to 2 or auto.",
    )
