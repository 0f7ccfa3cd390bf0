"""Everything that optextract changes in its host, Jdaviz 5.0: each change guarded, looked for first, with its reason.

Nothing here is done twice, whoever calls: the entry point, `optextract.panel.register` and the standalone app all do.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

__all__ = ["LABEL", "NAME", "register"]

#: Name of the panel in Jdaviz's registry, and what the user sees.
NAME = "optextract"
LABEL = "Optimal Extraction"

#: Configurations with a tray of their own, and the tray item that the panel follows.
AFTER = {"specviz2d": "spectral-extraction-2d", "mosviz": "g-slit-overlay"}

_log = logging.getLogger(__name__)


def register() -> None:
    """Add the panel, the viewer tools and the loader to Jdaviz, and the panel to every app that exists already.

    The ``glue.plugins`` entry point does this by itself; call it where ``~/.glue/plugins.cfg`` switches the plugin off.
    An older-style app (``Specviz2d``) that exists already cannot be found from here: make it after this call.
    """
    from . import importer, plugin, tools  # noqa: F401  (importing them fills the host's registries)

    _tray_of_configurations()
    _tools_of_viewers()
    _complete_imports()
    import jdaviz

    for app in getattr(jdaviz, "get_all_apps", list)():
        app._app.update_tray_items_from_registry()


def _once(owner: Any, name: str, build: Callable[[Any], Any]) -> None:
    """Replace ``owner.name`` by ``build(owner.name)`` unless that was done; say so where there is no such name."""
    original = getattr(owner, name, None)
    if original is None:
        _log.warning("this version of jdaviz has no %s.%s: part of the panel is off", owner.__name__, name)
        return
    if getattr(original, "_optextract", False):
        return
    changed: Any = functools.wraps(original)(build(original))
    changed._optextract = True
    setattr(owner, name, changed)


def _tray_of_configurations() -> None:
    """Put the panel into the tray of Specviz2d and Mosviz.

    They read the names of their tray items from YAML inside the package; there is no hook (the generalised app takes
    its tray from the registry and needs nothing).
    """
    import jdaviz.app

    def build(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        def read_configuration(path: str | None = None) -> dict[str, Any]:
            configuration = original(path=path)
            after = AFTER.get(configuration.get("settings", {}).get("configuration"))
            tray = configuration.get("tray")
            if after is not None and tray is not None and NAME not in tray:
                tray.insert(tray.index(after) + 1 if after in tray else len(tray), NAME)
            return configuration

        return read_configuration

    _once(jdaviz.app, "read_configuration", build)


def _tools_of_viewers() -> None:
    """Give the 2D spectrum viewers a rectangle and a row range to draw, and the panel's own mouse tools.

    The host's 2D viewer has only an x range: it has no tool for a region in both directions.
    """
    from jdaviz.configs.mosviz.plugins.viewers import MosvizProfile2DView
    from jdaviz.configs.specviz.plugins.viewers import Spectrum2DViewer

    from .tools import TOOLS

    subset = ["bqplot:xrange"]
    for viewer in (Spectrum2DViewer, MosvizProfile2DView):
        groups = [list(group) for group in getattr(viewer, "tools_nested", [])]
        if list(TOOLS) in groups:
            continue
        for place, group in enumerate(groups):
            if group == subset:
                groups[place : place + 1] = [["bqplot:rectangle", "bqplot:xrange", "bqplot:yrange"], list(TOOLS)]
                break
        else:
            _log.warning("%s has changed its tools: draw regions with what it has", viewer.__name__)
            continue
        viewer.tools_nested = groups


def _complete_imports() -> None:
    """Remember the file and the slit of each 2D spectrum, and complete what the host's loader lost of it.

    The host keeps no path. Of a JWST file it loses ERR or the wavelength, depending on WCSAXES (spacetelescope/jdaviz
    #4015, reverted in #4381), believes a BUNIT that lies, and pairs every SCI with the first ERR.
    """
    from jdaviz.core.loaders.importers.spectrum2d.spectrum2d import Spectrum2DImporter

    from . import source

    def build(original: Callable[..., Any]) -> Callable[..., Any]:
        def add_to_data_collection(
            self: Any, data: Any, data_label: str | None = None, *args: Any, **kwargs: Any
        ) -> None:
            origin = source.origin_of(self) if getattr(getattr(data, "flux", None), "ndim", 0) == 2 else None
            if origin is not None:
                data = source.completed(data, origin)
            original(self, data, data_label, *args, **kwargs)
            label = (self.data_label_value if data_label is None else data_label).strip()
            if origin is not None and label in self._app.data_collection:
                self._app.data_collection[label].meta[source.KEY] = origin

        return add_to_data_collection

    _once(Spectrum2DImporter, "add_to_data_collection", build)
    _complete_mosviz()


def _complete_mosviz() -> None:
    """Hand Mosviz complete 2D spectra in place of paths: its parser keeps no path, no error and no choice of slit."""
    import jdaviz.configs.mosviz.helper

    from . import source

    def build(original: Callable[..., int]) -> Callable[..., int]:
        def mos_spec2d_parser(app: Any, data_obj: Any, *args: Any, **kwargs: Any) -> int:
            if app.config == "mosviz":
                data_obj = source.spectra_of(data_obj)
            return original(app, data_obj, *args, **kwargs)

        return mos_spec2d_parser

    _once(jdaviz.configs.mosviz.helper, "mos_spec2d_parser", build)
