"""The loader of the host's loaders panel: shows the slits of a file, and loads those that are chosen completely."""

from __future__ import annotations

from typing import Any

from astropy.io import fits
from jdaviz.core.loaders.importers.importer import BaseImporter
from jdaviz.core.registries import loader_importer_registry
from jdaviz.core.template_mixin import with_spinner
from jdaviz.core.user_api import ImporterUserApi
from traitlets import Bool, List, Unicode, observe

from ..errors import OptextractError, bad_value
from . import loader, source

__all__ = ["FORMAT", "SlitImporter"]

#: Name of the format in the host: ``app.load(path, format=FORMAT, slits=["S1", "S3"])``.
FORMAT = "2D Spectra with errors (optextract)"


@loader_importer_registry(FORMAT)
class SlitImporter(BaseImporter):
    """Loads the chosen slits of a FITS file with flux, errors, mask and wavelength.

    The host's own 2D loader takes one slit, pairs it with the first ERR, and loses the wavelength or the errors.
    """

    template_file = __file__, "importer.vue"

    rows: Any = List().tag(sync=True)
    chosen: Any = List().tag(sync=True)
    auto_extract: Any = Bool(True).tag(sync=True)
    data_label_value: Any = Unicode("").tag(sync=True)

    def __init__(self, app: Any, resolver: Any, parser: Any, input: Any, **kwargs: Any) -> None:
        super().__init__(app=app, resolver=resolver, parser=parser, input=input, **kwargs)
        self._path: Any = getattr(parser, "input", None) if isinstance(input, fits.HDUList) else None
        self._found: tuple[Any, ...] = ()
        if self._wanted and source.is_fits(self._path):
            self._look()

    @property
    def _wanted(self) -> bool:
        """Only in the loaders panel, or by name: one more format must not make ``app.load(path)`` ambiguous."""
        named = getattr(self._resolver, "_restrict_to_formats", None)
        return named is not None if getattr(self._resolver, "open_callback", None) is None else True

    def _look(self) -> None:
        try:
            self._found = source.slits_of(self._path)
        except (OptextractError, OSError):
            return
        names = source.slit_names(self._path)
        self.rows = [
            {
                "name": names[slit.index] if names else loader.stem_of(self._path),
                "source": slit.source_name,
                "kind": slit.kind,
                "shape": f"{slit.shape[0]} x {slit.shape[1]}",
                "snr": "" if slit.snr != slit.snr else f"{slit.snr:.1f}",
            }
            for slit in self._found
        ]
        self.chosen = [0]
        self.data_label_value = loader.stem_of(self._path)

    @observe("chosen")
    def _on_chosen(self, change: Any) -> None:
        self.import_disabled_msg = "" if self.chosen else "Choose a slit."

    @property
    def is_valid(self) -> bool:
        """Whether the file is one that optextract knows."""
        return bool(self._found)

    @property
    def target(self) -> dict[str, str]:
        """Where the result goes, as the host asks."""
        return {"type": "viewer", "icon": "mdi-window-maximize", "label": "2D Spectrum"}

    @property
    def slits(self) -> list[str]:
        """Names of the chosen slits."""
        return [self.rows[index]["name"] for index in self.chosen]

    @slits.setter
    def slits(self, names: Any) -> None:
        known = [row["name"] for row in self.rows]
        wanted = [names] if isinstance(names, str | int) else list(names)
        chosen = []
        for name in wanted:
            matches = [index for index, label in enumerate(known) if name in (index, label, label.split(" (")[0])]
            if len(matches) != 1:
                raise bad_value("slits", FORMAT, f"names or indices of slits: {', '.join(known)}", name)
            chosen += matches
        self.chosen = chosen

    @property
    def user_api(self) -> ImporterUserApi:
        """What a notebook sees."""
        return ImporterUserApi(self, ["slits", "auto_extract"])

    def reset_and_check_existing_data_in_dc(self, change: Any = None) -> None:
        """Nothing to do: a slit that is loaded already is shown, not loaded again."""

    @with_spinner("import_spinner")
    def __call__(self) -> None:
        """Load the chosen slits; the first is the one that is shown."""
        labels = []
        for index in self.chosen:
            if len(self._found) > 1:
                labels.append(loader.load_slit(self._app, self._path, index, self.rows[index]["name"]))
            else:
                labels.append(loader.show(self._app, self._path, None, self.data_label_value))
            if self.auto_extract:
                loader.show_default(self._app, labels[-1])
        if len(labels) > 1:
            loader.bring_to_front(self._app, labels[0])
