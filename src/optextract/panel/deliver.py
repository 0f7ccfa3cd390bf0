"""From an extraction to the host's data collection, viewers and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u

from ..frame import Frame
from ..report.units import readable
from ..results import Extraction, Flag
from . import words
from .source import column_wavelength
from .views import holds

if TYPE_CHECKING:
    from specutils import Spectrum

__all__ = ["IMAGES", "add_images", "add_spectra", "choose_viewer", "spectra_of", "table_row"]

#: 2D results that can be added to the data collection.
IMAGES = ("model", "background", "residual")


def choose_viewer(plugin: Any, result: Extraction) -> None:
    """Select the 1D viewer for the result: the one chosen, else one that can hold its units, else a new one.

    The host's default is no viewer in the generalised app, where the result would be invisible, and in Specviz2d the
    only one, whatever its units: a spectrum in um beside one in pixels is drawn off the screen.
    """
    component = plugin.add_results.viewer
    if component.create_new.selected or plugin.results_label_overwrite:
        return
    viewers = {label: plugin._app.get_viewer(label) for label in component.choices if label != "None"}
    chosen = viewers.get(component.selected)
    if chosen is not None and holds(chosen, result):
        return
    fitting = [label for label, viewer in viewers.items() if holds(viewer, result)]
    if fitting:
        component.selected = fitting[0]
    elif component.create_new.choices:
        component.create_new.selected = "1D Spectrum"


def spectra_of(result: Extraction) -> list[Spectrum]:
    """Spectra of all sources, with what the host converts their units by."""
    spectra = [result.to_spectrum(source) for source in range(result.n_source)]
    area = result.meta.get("pixel_area_sr")
    if area is not None:
        for spectrum in spectra:
            # where the host looks for it, to convert to MJy/sr and back
            spectrum.meta["_pixel_scale_factor"] = float(area)
    return spectra


def add_spectra(plugin: Any, result: Extraction, label: str, spectra: Sequence[Spectrum] = ()) -> list[str]:
    """Add one entry a source to the data collection, and show it.

    Parameters
    ----------
    plugin : Any
        The panel.
    result : Extraction
        What was extracted.
    label : str
        Label of the entry.
    spectra : sequence of Spectrum, optional
        Its spectra, where they are there already.

    Returns
    -------
    list of str
        Labels of the entries.
    """
    labels: list[str] = []
    try:
        for source, spectrum in enumerate(spectra if spectra else spectra_of(result)):
            name = label if result.n_source == 1 else f"{label} {result_name(result, source)}"
            choose_viewer(plugin, result)
            plugin.add_results.add_results_from_plugin(spectrum, label=name, replace=False, format="1D Spectrum")
            labels.append(name)
            plugin.progress = 10.0 + 90.0 * len(labels) / result.n_source
    finally:
        plugin.progress = 0.0
    return labels


def result_name(result: Extraction, source: int) -> str:
    """Name of a source: the recipe's, or its number."""
    items = result.recipe.sources.items
    named = items[source].name if source < len(items) else None
    return named if named is not None else f"source {source + 1}"


def add_images(plugin: Any, frame: Frame, result: Extraction, names: tuple[str, ...], label: str) -> list[str]:
    """Add 2D results to the data collection, as the host holds 2D spectra.

    Returns
    -------
    list of str
        Labels of the entries.
    """
    from specutils import Spectrum

    axis = column_wavelength(frame)
    labels: list[str] = []
    try:
        for name in names:
            plugin.progress = 10.0 + 90.0 * len(labels) / len(names)
            values = np.where(np.isfinite(getattr(result, name)), getattr(result, name), np.nan)
            spectrum = Spectrum(
                flux=u.Quantity(values, frame.unit),
                spectral_axis=np.arange(frame.n_disp) * u.pix if axis is None else axis,
                meta={"plugin": plugin._plugin_name, "optextract_image": name},
            )
            plugin._app._jdaviz_helper.load(
                spectrum, loader="object", format="2D Spectrum", data_label=f"{label} {name}", auto_extract=False,
                viewer=[], ignore_invalid_kwargs=True,
            )  # fmt: skip
            labels.append(f"{label} {name}")
    finally:
        plugin.progress = 0.0
    return labels


def table_row(label: str, result: Extraction, source: int) -> dict[str, Any]:
    """Return the line of the results table for one spectrum."""
    flux = result.flux[source]
    good = np.isfinite(flux)
    flags = int(np.bitwise_or.reduce(result.flags[source])) if result.flags.size else 0
    gain = words.figure(result, "gain", source)
    factor, unit = readable(flux, result.unit)
    return {
        "label": label,
        "median flux": u.Quantity(factor * float(np.median(flux[good])) if good.any() else np.nan, unit),
        "S/N": words.signal_to_noise(result, source),
        "gain": np.nan if gain is None else gain,
        "good columns": int(good.sum()),
        "row": float(result.kernel.centres[source]),
        "FWHM": float(np.nanmedian(result.fwhm[source])) if np.isfinite(result.fwhm[source]).any() else np.nan,
        "trace rms": result.trace.rms,
        "flags": ", ".join(Flag.words(flags)),
    }
