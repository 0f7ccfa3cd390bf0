"""Loading 2D spectra into the host completely: the loader of the loaders panel, and the way the panel changes slits."""

from __future__ import annotations

import logging
from typing import Any

from .. import pipeline
from ..recipe import Input, Recipe
from . import deliver, source

__all__ = ["load_file", "load_slit", "show_default"]

_log = logging.getLogger(__name__)


def _show(app: Any, path: str, slit: int | None, label: str, settings: Input | None = None) -> str:
    frame = source.read(path, slit, Input() if settings is None else settings)
    label = app.return_unique_name(label)
    spectrum = source.spectrum_of(frame)
    spectrum.meta[source.KEY] = {"path": path, "slit": slit}
    app._jdaviz_helper.load(spectrum, loader="object", format="2D Spectrum", data_label=label, auto_extract=False)
    return label


def load_slit(app: Any, path: str, slit: int, name: str) -> str:
    """Show a slit of a file that another slit has been loaded from, loading it if that has not been done.

    Returns
    -------
    str
        The label of its entry in the data collection.
    """
    for data in app.data_collection:
        if data.meta.get(source.KEY) == {"path": path, "slit": slit}:
            label = data.label
            break
    else:
        stem = path.rsplit("/", 1)[-1].split(".fits")[0]
        label = _show(app, path, slit, f"{stem} [{name}]")
    for viewer in app._jdaviz_helper.viewers.values():
        menu = viewer.data_menu
        if label in menu.data_labels_loaded:
            menu.set_layer_visibility(label, True)
            others = [
                other
                for other in menu.data_labels_loaded
                if source.KEY in app.data_collection[other].meta and other != label
            ]
            for other in others:
                menu.set_layer_visibility(other, False)
    return label


def load_file(app: Any, path: str, settings: Input | None = None) -> str:
    """Load a file of any format that optextract reads, of several slits the first, and show its default extraction.

    Returns
    -------
    str
        Label of the 2D spectrum in the data collection.

    Raises
    ------
    OptextractError, OSError
        As `optextract.read`.
    """
    names = source.slit_names(path)
    stem = path.rsplit("/", 1)[-1].split(".fits")[0]
    label = load_slit(app, path, 0, names[0]) if names else _show(app, path, None, stem, settings)
    show_default(app, label)
    return label


def show_default(app: Any, label: str) -> None:
    """Extract a 2D spectrum with all defaults and show the result, as the host does after loading.

    A failure is none of the loader's business: the panel shows it when it is opened.
    """
    panel = app.get_tray_item_from_name("optextract")
    try:
        frame = source.frame_of(app.data_collection[label], Input())
        result = pipeline.extract(frame, Recipe())
    except (ValueError, ArithmeticError, OSError) as error:
        _log.info("%s is not extracted: %s", label, error)
        return
    deliver.add_spectra(panel, result, f"{label} (auto-ext)")
