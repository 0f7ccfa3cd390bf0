"""The panel's marks in all viewers of one app, in each viewer's own units."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from ..frame import Frame
from ..recipe import Recipe
from ..results import Extraction
from .marks import COLOURS, LEGEND, Overlay, draw_image, draw_region, draw_spectrum

__all__ = ["Views", "holds", "showing"]

FloatArray = NDArray[np.float64]

_PIXELS = ("", "pix", "pixel", "None")


def _axis(viewer: Any, which: str) -> str:
    return str(getattr(viewer.state, f"{which}_display_unit", None) or "")


def spectral_axis(viewer: Any, result: Extraction) -> FloatArray | None:
    """Return the columns' positions on a 1D viewer's axis, shape (n_disp,); None where it is of another kind."""
    unit = _axis(viewer, "x")
    if unit in _PIXELS:
        return np.arange(result.wavelength.size, dtype=float)
    try:
        return np.asarray(result.wavelength.to_value(u.Unit(unit), u.spectral()))
    except u.UnitConversionError:
        return None


def flux_converter(viewer: Any, result: Extraction) -> Callable[[Any], FloatArray] | None:
    """Return what turns values in the result's unit into a 1D viewer's; None where it shows something else."""
    name = _axis(viewer, "y")
    if name in _PIXELS:
        return np.asarray
    target, unit, area = u.Unit(name), result.unit, result.meta.get("pixel_area_sr")
    if target.is_equivalent(u.Jy / u.sr) and not unit.is_equivalent(u.Jy / u.sr) and area:
        # the host shows sums of surface brightness: the same sum, not multiplied by the solid angle of a pixel
        target = target * u.sr
        scale = 1.0 / float(area)
    else:
        scale = 1.0
    equivalencies = u.spectral_density(result.wavelength) if result.wavelength.unit.is_equivalent(u.m) else []
    try:
        factor = np.asarray(u.Quantity(np.ones(result.wavelength.size), unit).to_value(target, equivalencies)) * scale
    except u.UnitConversionError:
        return None
    return lambda values: np.asarray(values) * factor


def showing(viewers: Iterable[Any], label: str) -> list[Any]:
    """Return the viewers of images that show an entry of the data collection.

    The layers are asked themselves: what the host keeps of them is brought up to date by the same messages as the
    panel, in no given order.
    """
    return [
        viewer
        for viewer in viewers
        if hasattr(viewer, "_composite_image")
        and any(layer.layer.label == label and layer.visible for layer in viewer.layers)
    ]


def holds(viewer: Any, result: Extraction) -> bool:
    """Tell whether a 1D viewer can show the extracted spectrum beside what it shows already."""
    if not viewer.layers:
        return True
    x_unit = _axis(viewer, "x")
    if (x_unit in _PIXELS) != (result.wavelength.unit == u.pix):
        return False
    return spectral_axis(viewer, result) is not None and flux_converter(viewer, result) is not None


#: Part of the preview's points within the limits of a viewer that counts as being seen.
_IN_SIGHT = 0.05


def _preview(overlay: Overlay) -> FloatArray:
    """Values of the preview at the positions that a 1D viewer shows."""
    mark, state = overlay.marks.get("preview"), overlay.viewer.state
    # an empty viewer has no limits yet
    if mark is None or not np.size(mark.x) or None in (state.x_min, state.x_max, state.y_min, state.y_max):
        return np.empty(0)
    low, high = sorted((state.x_min, state.x_max))
    values = np.atleast_2d(mark.y)[:, (mark.x >= low) & (mark.x <= high)]
    return np.asarray(values[np.isfinite(values)])


def _part_in_sight(overlay: Overlay) -> float:
    values, state = _preview(overlay), overlay.viewer.state
    return float(np.mean((values >= state.y_min) & (values <= state.y_max))) if values.size else 0.0


def _bring_into_sight(overlay: Overlay) -> None:
    """Widen the limits of flux: a preview that was seen, and that a change has moved out of them, seems to be gone."""
    values, state = _preview(overlay), overlay.viewer.state
    if values.size:
        low, high = np.percentile(values, [1, 99])
        margin = 0.1 * (high - low)
        state.y_min, state.y_max = min(state.y_min, low - margin), max(state.y_max, high + margin)


class Views:
    """Marks of one panel; those of viewers that are gone are forgotten."""

    def __init__(self) -> None:
        self._overlays: dict[Any, Overlay] = {}
        self.shown = False

    def _of(self, viewers: Iterable[Any]) -> list[Overlay]:
        found = []
        for viewer in viewers:
            if viewer not in self._overlays:
                self._overlays[viewer] = Overlay(viewer)
            self._overlays[viewer].shown = self.shown
            found.append(self._overlays[viewer])
        return found

    def draw(
        self,
        recipe: Recipe,
        frame: Frame | None,
        result: Extraction | None,
        image_viewers: Iterable[Any],
        spectrum_viewers: Iterable[Any],
        spectra: dict[str, FloatArray],
    ) -> None:
        """Draw everything that is known; what is not is emptied.

        Parameters
        ----------
        recipe : Recipe
            What is asked for.
        frame : Frame or None
            The data.
        result : Extraction or None
            What was found.
        image_viewers, spectrum_viewers : iterable of viewers
            2D viewers that show the data, and 1D viewers that may show the preview.
        spectra : dict of str to ndarray, shape (n_source, n_disp)
            What `marks.draw_spectrum` takes.
        """
        used = set()
        for overlay in self._of(image_viewers):
            used.add(overlay.viewer)
            if frame is None:
                overlay.clear()
            elif result is None:
                overlay.clear(set(overlay.marks) - {"region", "background"})
                draw_region(overlay, recipe, frame)
            else:
                draw_image(overlay, recipe, frame, result)
        for overlay in self._of(spectrum_viewers):
            used.add(overlay.viewer)
            x = None if result is None else spectral_axis(overlay.viewer, result)
            convert = None if result is None else flux_converter(overlay.viewer, result)
            if x is None or convert is None:
                overlay.clear()
            else:
                before = _part_in_sight(overlay)
                draw_spectrum(overlay, x, spectra, convert)
                if before > _IN_SIGHT > _part_in_sight(overlay):
                    _bring_into_sight(overlay)
        for viewer, overlay in self._overlays.items():
            if viewer not in used:
                overlay.clear()

    def show(self, shown: bool) -> None:
        """Show or hide all marks, without emptying them: the host calls a busy panel inactive for moments."""
        self.shown = shown
        for overlay in self._overlays.values():
            overlay.show(shown)

    def legend(self) -> list[dict[str, str]]:
        """Return what is drawn in the 2D viewers, with its colour."""
        seen = {name for overlay in self._overlays.values() for name, mark in overlay.marks.items() if np.size(mark.x)}
        return [{"text": text, "colour": COLOURS[name]} for name, text in LEGEND.items() if name in seen]

    def forget(self, alive: Iterable[Any]) -> None:
        """Drop the marks of viewers that exist no longer."""
        kept = set(alive)
        self._overlays = {viewer: overlay for viewer, overlay in self._overlays.items() if viewer in kept}
