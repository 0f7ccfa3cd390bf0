"""Loading 2D spectra into the host completely: the loader of the loaders panel, and the way the panel changes slits."""

from __future__ import annotations

import logging
import os
from typing import Any

import optextract

from ..recipe import Input, Recipe
from . import deliver, source

__all__ = ["bring_to_front", "load_file", "load_slit", "show", "show_default", "stem_of"]

_log = logging.getLogger(__name__)


def stem_of(path: str | os.PathLike[str]) -> str:
    """Return the name of a file without folder and endings."""
    return os.path.basename(path).split(".fits")[0]


def show(app: Any, path: str, slit: int | None, label: str, settings: Input | None = None) -> str:
    """Load one 2D spectrum into the data collection and a 2D viewer.

    Returns
    -------
    str
        Its label, which is another one where there is such an entry already.

    Raises
    ------
    OptextractError, OSError
        As `optextract.read`.
    """
    frame = source.read(path, slit, Input() if settings is None else settings)
    label = app.return_unique_name(label)
    spectrum = source.spectrum_of(frame)
    spectrum.meta[source.KEY] = {"path": os.path.abspath(path), "slit": slit}
    app._jdaviz_helper.load(spectrum, loader="object", format="2D Spectrum", data_label=label, auto_extract=False)
    return label


def load_slit(app: Any, path: str, slit: int, name: str) -> str:
    """Show a slit of a file, loading it if that has not been done.

    Returns
    -------
    str
        The label of its entry in the data collection.
    """
    origin = {"path": os.path.abspath(path), "slit": slit}
    loaded = [data.label for data in app.data_collection if data.meta.get(source.KEY) == origin]
    label = loaded[0] if loaded else show(app, path, slit, f"{stem_of(path)} [{name}]")
    bring_to_front(app, label)
    return label


def bring_to_front(app: Any, label: str) -> None:
    """Make one 2D spectrum the visible one wherever it is loaded; the others stay loaded."""
    for viewer in app._viewer_store.values():
        shown = [layer.layer.label for layer in viewer.layers]
        if label in shown and app.data_collection[label].ndim == 2:
            for layer in viewer.layers:
                other = layer.layer
                if other.label == label or source.KEY in getattr(other, "meta", {}):
                    layer.visible = other.label == label


def load_file(app: Any, path: str, settings: Input | None = None, *, extract: bool = True) -> str:
    """Load a file of any format that optextract reads, of several slits the first, and show its default extraction.

    Parameters
    ----------
    app : jdaviz app
        What to load into.
    path : str
        The file.
    settings : optextract.recipe.Input, optional
        How the file is read.
    extract : bool, optional
        False leaves the extraction out.

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
    label = load_slit(app, path, 0, names[0]) if names else show(app, path, None, stem_of(path), settings)
    if extract:
        show_default(app, label)
    return label


def show_default(app: Any, label: str) -> None:
    """Extract a 2D spectrum with all defaults and show the result, as the host does after loading.

    A failure is none of the loader's business: the panel shows it when it is opened.
    """
    panel = app.get_tray_item_from_name("optextract")
    try:
        frame = source.frame_of(app.data_collection[label], Input())
        result = optextract.extract(frame, Recipe())
    except (ValueError, ArithmeticError, OSError) as error:
        _log.info("%s is not extracted: %s", label, error)
        return
    deliver.add_spectra(panel, result, f"{label} (auto-ext)")
