"""What the panel draws into the host's viewers, from a recipe and what was extracted with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import bqplot
import numpy as np
from numpy.typing import NDArray

from ..frame import Frame
from ..recipe import Recipe
from ..results import Extraction

__all__ = ["COLOURS", "CYCLE", "LEGEND", "Overlay", "candidate_colour", "draw_image", "draw_region", "draw_spectrum"]

FloatArray = NDArray[np.float64]

#: Colours that stand out on grey and on viridis, on white and on black.
COLOURS = {
    "region": "#c75d2c", "columns": "#00a7c7", "trace": "#ff2d2d", "band": "#ff8c00", "background": "#9aa500",
    "nods": "#2f6bff", "rejected": "#ff00c8", "preview": "#c75d2c", "boxcar": "#2a9d57", "compare": "#7b52d1",
}  # fmt: skip

#: Colours of the candidate profiles and of the sources; they differ in lightness too.
CYCLE = ("#c75d2c", "#00a7c7", "#7b52d1", "#2a9d57", "#d9a400", "#ff00c8", "#2f6bff")


def candidate_colour(kind: str) -> str:
    """Colour of a candidate profile."""
    kinds = ("gaussian", "moffat", "voigt", "spline", "template", "model")
    return CYCLE[1 + kinds.index(kind)] if kind in kinds else CYCLE[0]


_LINES: dict[str, dict[str, Any]] = {
    "region": {"stroke_width": 2},
    "columns": {"stroke_width": 2, "line_style": "dashed"},
    "trace": {"stroke_width": 2},
    "band": {"stroke_width": 1.5},
    "background": {"stroke_width": 1.5, "line_style": "dash_dotted"},
    "nods": {"stroke_width": 1.5, "line_style": "dashed"},
    "uncertainty": {"stroke_width": 0, "fill": "between", "fill_opacities": [0.25], "colors": [COLOURS["preview"]]},
    "preview": {"stroke_width": 1.5, "colors": list(CYCLE)},
    "boxcar": {"stroke_width": 1, "opacities": [0.7]},
    "compare": {"stroke_width": 1, "opacities": [0.8]},
}
#: What each mark of the 2D viewer shows, for the legend of the panel.
LEGEND = {
    "region": "region", "columns": "kernel columns", "trace": "trace", "band": "\u00b1FWHM",
    "background": "background rows", "nods": "negative nods", "rejected": "rejected pixels",
}  # fmt: skip


class Overlay:
    """The panel's marks in one viewer: made when first drawn, hidden rather than removed.

    Marks of our own, not the host's ``PluginMark``: those convert their units by themselves and again, subscribe to the
    host's hub for ever, and fail in the 2D viewer.

    Parameters
    ----------
    viewer : glue_jupyter.bqplot viewer
        Any viewer with ``figure`` and ``scales``.
    """

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.marks: dict[str, Any] = {}
        self.shown = True

    def draw(self, name: str, x: Any, y: Any) -> None:
        """Set a mark's points; empty ones hide it.

        Parameters
        ----------
        name : str
            One of the marks that this module knows.
        x, y : array_like
            Points; NaN parts a line. ``y`` of shape (2, n) is filled between, or is a line each.
        """
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        mark = self.marks.get(name)
        if mark is None:
            if not x.size:
                return
            mark = self._new(name)
        if not (np.array_equal(mark.x, x, equal_nan=True) and np.array_equal(mark.y, y, equal_nan=True)):
            with mark.hold_sync():
                mark.x, mark.y = x, y
        self._show(mark)

    def _new(self, name: str) -> Any:
        scales = dict(self.viewer.scales)
        if name == "rejected":
            mark: Any = bqplot.Scatter(
                x=[],
                y=[],
                scales=scales,
                colors=[COLOURS[name]],
                marker="cross",
                default_size=28,
                stroke_width=1.5,
                fill=False,
            )
        else:
            mark = bqplot.Lines(x=[], y=[], scales=scales, **{"colors": [COLOURS.get(name, "#888")], **_LINES[name]})
        mark.visible = False
        self.marks[name] = mark
        self.viewer.figure.marks = [*self.viewer.figure.marks, mark]
        return mark

    def _show(self, mark: Any) -> None:
        visible = self.shown and np.size(mark.x) > 0
        if mark.visible != visible:
            mark.visible = visible

    def show(self, shown: bool) -> None:
        """Show or hide all marks; what they hold stays."""
        self.shown = shown
        for mark in self.marks.values():
            self._show(mark)

    def clear(self, names: Iterable[str] | None = None) -> None:
        """Empty marks (all of them, or those named)."""
        for name in list(self.marks if names is None else names):
            if name in self.marks:
                self.draw(name, [], [])


def _joined(pieces: Iterable[tuple[Any, Any]]) -> tuple[FloatArray, FloatArray]:
    """Several lines as one, with NaN between them."""
    xs: list[Any] = []
    ys: list[Any] = []
    for x, y in pieces:
        xs += [np.asarray(x, dtype=float), [np.nan]]
        ys += [np.asarray(y, dtype=float), [np.nan]]
    if not xs:
        return np.empty(0), np.empty(0)
    return np.concatenate(xs[:-1]), np.concatenate(ys[:-1])


def box_of(recipe: Recipe, frame: Frame) -> tuple[float, float, float, float]:
    """Return (left, right, bottom, top) of the region in pixels; the edges of the frame where it has no limit."""
    cross, disp = recipe.region.cross, recipe.region.disp
    left, right = (-0.5, frame.n_disp - 0.5) if disp is None else disp
    bottom, top = (-0.5, frame.n_cross - 0.5) if cross is None else cross
    return left, right, bottom, top


def draw_region(overlay: Overlay, recipe: Recipe, frame: Frame) -> None:
    """Draw what is known before anything has been fitted: the region, and the columns and rows that were typed."""
    left, right, bottom, top = box_of(recipe, frame)
    if recipe.region.polygon is not None:
        corners = np.array([*recipe.region.polygon, recipe.region.polygon[0]])
        overlay.draw("region", corners[:, 0], corners[:, 1])
    else:
        overlay.draw("region", [left, right, right, left, left], [bottom, bottom, top, top, bottom])
    rows = recipe.background.rows or ()
    pieces = [([left, right], [row, row]) for limits in rows for row in limits]
    overlay.draw("background", *_joined(pieces))


def draw_image(overlay: Overlay, recipe: Recipe, frame: Frame, result: Extraction) -> None:
    """Draw all marks of the 2D viewer.

    Parameters
    ----------
    overlay : Overlay
        Marks of the viewer.
    recipe : Recipe
        What was asked for.
    frame : Frame
        The frame that the viewer shows, shape (n_cross, n_disp).
    result : Extraction
        What was found.
    """
    draw_region(overlay, recipe, frame)
    _, _, bottom, top = box_of(recipe, frame)
    first, last = result.kernel.columns
    overlay.draw("columns", *_joined([([x, x], [bottom, top]) for x in (first - 0.5, last + 0.5)]))
    columns = np.arange(frame.n_disp, dtype=float)
    centre, fwhm = result.centre, result.fwhm
    overlay.draw("trace", *_joined((columns, line) for line in centre))
    overlay.draw(
        "band",
        *_joined((columns, line + sign * width) for line, width in zip(centre, fwhm, strict=True) for sign in (-1, 1)),
    )
    offsets = result.resolved.nods.places if result.resolved.nods.mode != "ignore" else ()
    pieces = [(columns, _inside(line + offset, frame)) for offset in offsets for line in centre]
    overlay.draw("nods", *_joined(pieces))
    rows, found = np.nonzero(result.rejected)
    overlay.draw("rejected", found, rows)


def _inside(line: FloatArray, frame: Frame) -> FloatArray:
    return np.where((line > -0.5) & (line < frame.n_cross - 0.5), line, np.nan)


def draw_spectrum(
    overlay: Overlay, x: FloatArray, spectra: dict[str, FloatArray], convert: Callable[[Any], FloatArray]
) -> None:
    """Draw the preview into a 1D viewer.

    Parameters
    ----------
    overlay : Overlay
        Marks of the viewer.
    x : ndarray, shape (n_disp,)
        Spectral axis in the viewer's unit.
    spectra : dict of str to ndarray, shape (n_source, n_disp)
        ``preview`` and its ``uncertainty``, ``boxcar``, ``compare``; a missing one is hidden.
    convert : callable
        Turns values in the result's unit into the viewer's.
    """
    for name in ("preview", "boxcar", "compare"):
        values = spectra.get(name)
        if values is None:
            overlay.draw(name, [], [])
        elif name == "preview" and len(values) > 1:
            overlay.draw(name, x, np.stack([convert(line) for line in values]))  # a colour for each source
        else:
            overlay.draw(name, *_joined((x, convert(line)) for line in values))
    if "preview" not in spectra or "uncertainty" not in spectra:
        overlay.clear(["uncertainty"])
        return
    flux, sigma = spectra["preview"], spectra["uncertainty"]
    lower = _joined((x, convert(line - error)) for line, error in zip(flux, sigma, strict=True))
    upper = _joined((x, convert(line + error)) for line, error in zip(flux, sigma, strict=True))
    overlay.draw("uncertainty", lower[0], np.array([lower[1], upper[1]]))
