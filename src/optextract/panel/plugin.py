"""The Optimal Extraction panel: an adapter between Jdaviz and one recipe. No numerics, no settings of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from glue.core.message import DataCollectionDeleteMessage
from jdaviz.core.events import (
    AddDataMessage,
    GlobalDisplayUnitChanged,
    RemoveDataMessage,
    ViewerRemovedMessage,
    ViewerVisibleLayersChangedMessage,
)
from jdaviz.core.registries import tray_registry
from jdaviz.core.template_mixin import (
    AddResultsMixin,
    DatasetSelect,
    PluginTemplateMixin,
    SelectPluginComponent,
    SubsetSelect,
    Table,
)
from jdaviz.core.user_api import PluginUserApi
from traitlets import Bool, Dict, Float, List, Unicode, observe

import optextract

from ..errors import bad_value
from ..frame import Frame
from ..results import Extraction
from . import fields, source, subsets, words
from .actions import Actions
from .controls import TROUBLE, Controls
from .plots import Gallery
from .register import LABEL, NAME
from .reviewing import Reviewing
from .state import Settings
from .views import Views, showing

__all__ = ["OptimalExtraction"]

_BUSY_SECONDS = 5.0  # for which a busy kernel may keep the pings of a page waiting

BY_NUMBERS = "Numbers"
ALL_COLUMNS = "All columns"
#: Live updates that take longer than this, twice in a row, are paused; the panel then offers a button. It is time at
#: work, not time on the clock, and the first one also loads what is compiled: a busy machine is no slow extraction.
SLOW_MS = 3000.0


def synced(trait: Any) -> Any:
    """Return a trait that the template sees."""
    return trait.tag(sync=True)


class RegionSelect(SubsetSelect):
    """Subsets that limit rows, or numbers: a pair of rows, fields of a `Region`, None for the whole image."""

    def map_value(self, attr: str, value: Any) -> Any:
        """Take anything but a label as a region in numbers."""
        if attr == "selected" and not isinstance(value, str):
            self._plugin.set_region(value)
            return BY_NUMBERS
        return super().map_value(attr, value)


@tray_registry(NAME, label=LABEL, category="data:reduction", overwrite=True)
class OptimalExtraction(PluginTemplateMixin, AddResultsMixin, Controls, Actions, Reviewing):
    """Optimally extract 1D spectra from a 2D spectrum.

    Only the following attributes and methods are available through the public plugin API:

    * ``dataset`` : the 2D spectrum; ``slit`` : which slit of its file
    * ``region`` : a subset of the 2D viewer, or numbers: rows ``(18, 30)``, ``{"cross": (18, 30), "disp": (100, 900)}``
    * ``spectral_range`` : a range of wavelengths or columns, drawn in a 1D or a 2D viewer
    * ``recipe`` : every setting (`optextract.Recipe`); set it whole, or one field by :meth:`set`
    * ``sources`` : their number, or their positions in pixels
    * ``preview`` : what the present settings give (`optextract.Extraction`)
    * ``live`` : whether that is shown while they change
    * ``results``, ``extractions`` : what has been extracted, as a table and one by one
    * ``compare`` : a 1D spectrum to compare with; :meth:`compare_with` : one from a file
    * ``add_results`` : label and viewer of the next result
    * :meth:`extract`, :meth:`save`, :meth:`add_images`, :meth:`export_table`, :meth:`clear_results`, :meth:`certify`
    * :meth:`set`, :meth:`undo`, :meth:`reset`, :meth:`import_recipe`, :meth:`export_recipe`
    * :meth:`as_python`, :meth:`as_command`, :meth:`next_slit`, :meth:`previous_slit`
    """

    template_file = __file__, "plugin.vue"
    uses_active_status = synced(Bool(True))

    dataset_items = synced(List())
    dataset_selected = synced(Unicode())
    slit_items = synced(List())
    slit_selected = synced(Unicode())
    region_items = synced(List())
    region_selected = synced(Unicode())
    range_items = synced(List())
    range_selected = synced(Unicode())
    compare_items = synced(List())
    compare_selected = synced(Unicode())

    steps = synced(List())
    open_step = synced(Unicode(""))
    figures = synced(List())
    legend = synced(List())
    has_results = synced(Bool(False))
    candidates = synced(List())
    source_rows = synced(List())
    badges = synced(List())
    notes = synced(List())
    warnings = synced(List())
    comparison = synced(List())
    certificate = synced(Dict())
    can_undo = synced(Bool(False))
    code = synced(Dict())
    review = synced(Dict())
    live = synced(Bool(True))
    slow = synced(Bool(False))
    progress = synced(Float(0))
    err_msg = synced(Unicode(""))
    done_msg = synced(Unicode(""))
    recipe_path = synced(Unicode("recipe.yaml"))
    save_path = synced(Unicode(""))
    table_path = synced(Unicode("results.ecsv"))
    x1d_path = synced(Unicode(""))
    table_widget = synced(Unicode(""))
    latency_ms = synced(Float(0))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._settings, self._views, self._gallery = Settings(), Views(), Gallery(self.move_source)
        self._frame: Frame | None = None
        self._result: Extraction | None = None
        self._key: tuple[Any, ...] | None = None
        self._stale, self._unlinking, self._ready, self._held, self._updated = True, False, False, False, 0.0
        self._left = -np.inf  # when the panel was last left
        self._took = 0.0  # milliseconds of work in the update before
        self._extractions: dict[str, Extraction] = {}
        self._rows: list[dict[str, Any]] = []
        self._x1d: tuple[str, Any] | None = None
        super().__init__(*args, **kwargs)
        self._plugin_description = "Optimally extract 1D spectra from a 2D spectrum."
        self.docs_description = (
            "Optimal (profile-weighted) extraction. Every step states what it holds: open one to change it, "
            "or press Extract as it is."
        )
        self.docs_link = "https://optextract.readthedocs.io"
        self.dataset = DatasetSelect(
            self,
            "dataset_items",
            "dataset_selected",
            filters=["layer_in_spectrum_2d_viewer", "not_trace", "not_from_this_plugin"],
        )
        self.slit = SelectPluginComponent(self, items="slit_items", selected="slit_selected", manual_options=[])
        self.region = RegionSelect(
            self, "region_items", "region_selected", default_text=BY_NUMBERS, filters=[subsets.is_cross_or_area],
            subset_selected_changed_callback=self._on_subset,
        )  # fmt: skip
        self.spectral_range = SubsetSelect(
            self, "range_items", "range_selected", default_text=ALL_COLUMNS, filters=[subsets.is_dispersion_range],
            subset_selected_changed_callback=self._on_subset,
        )  # fmt: skip
        self.compare = DatasetSelect(
            self,
            "compare_items",
            "compare_selected",
            default_text="None",
            filters=["is_spectrum", "not_from_this_plugin"],
        )
        self.table = Table(self, name="results", clear_callback=self.clear_results)
        self.table_widget = "IPY_MODEL_" + self.table.model_id
        for message in (ViewerVisibleLayersChangedMessage, AddDataMessage, RemoveDataMessage, GlobalDisplayUnitChanged):
            self.hub.subscribe(self, message, handler=lambda _: self._redraw())
        self.hub.subscribe(
            self, ViewerRemovedMessage, handler=lambda _: self._views.forget(self._app._viewer_store.values())
        )
        self.hub.subscribe(self, DataCollectionDeleteMessage, handler=lambda _: self._on_dataset())
        self._ready = True
        if self.config == "deconfigged":
            self.observe_traitlets_for_relevancy(traitlets_to_observe=["dataset_items"])
        self._on_dataset()

    @staticmethod
    def _get_supported_viewers() -> list[dict[str, str]]:
        return [{"label": "1D Spectrum", "reference": "spectrum-1d-viewer"}]

    @property
    def user_api(self) -> PluginUserApi:
        """What a notebook sees."""
        expose = (
            "dataset", "slit", "region", "spectral_range", "recipe", "sources", "preview", "live", "results",
            "extractions", "compare", "compare_with", "add_results", "extract", "save", "add_images", "export_table",
            "clear_results", "certify", "set", "undo", "reset", "import_recipe", "export_recipe", "as_python",
            "as_command", "next_slit", "previous_slit",
        )  # fmt: skip
        return PluginUserApi(self, expose=expose, readonly=("preview", "results", "extractions"))

    # ------------------------------------------------------------------------------------------- data and regions

    @observe("dataset_selected", "dataset_items")
    def _on_dataset(self, change: Any = None) -> None:
        if not self._ready:
            return
        if self.config != "deconfigged":
            self.disabled_msg = "" if self.dataset_items else "Load a 2D spectrum first."
        self.results_label_default = (
            f"{self.dataset_selected} (optimal)" if self.dataset_selected else "optimal extraction"
        )
        path, slit = self._origin
        names = source.slit_names(path) if path is not None else []
        self.slit_items = [{"label": name} for name in names]
        self.slit_selected = names[slit] if names and isinstance(slit, int) else ""
        if path is not None:
            stem = Path(path).name.split(".fits")[0]
            self.recipe_path, self.save_path = f"{stem}_recipe.yaml", f"{stem}_optx1d.fits"
        if change is None or change["name"] == "dataset_selected":
            self._update()

    @observe("slit_selected")
    def _on_slit(self, change: Any) -> None:
        path, slit = self._origin
        names = [item["label"] for item in self.slit_items]
        if not self._ready or self.slit_selected not in names or names.index(self.slit_selected) == slit:
            return
        from .loader import load_slit

        self.progress = 10.0
        try:
            self.dataset.selected = load_slit(self._app, str(path), names.index(self.slit_selected), self.slit_selected)
        finally:
            self.progress = 0.0

    def next_slit(self) -> None:
        """Go to the next slit of the file."""
        self._step_slit(1)

    def previous_slit(self) -> None:
        """Go to the previous slit of the file."""
        self._step_slit(-1)

    def _step_slit(self, step: int) -> None:
        names = [item["label"] for item in self.slit_items]
        if not names:
            raise bad_value("dataset", "the panel", "from a file of several slits", self.dataset_selected)
        self.slit.selected = names[(names.index(self.slit_selected) + step) % len(names)]

    @observe("region_selected", "range_selected")
    def _on_subset(self, change: Any = None) -> None:
        """Follow the subsets: on a choice, and whenever one is drawn anew or dragged."""
        if self._ready and not self._unlinking and (change is None or change["old"] != ""):
            self._try(self._follow_subsets)

    @observe("region_items", "range_items")
    def _on_drawn(self, change: Any) -> None:
        """Take what is drawn while the Region step is open and nothing has been chosen there."""
        which, known = change["name"].split("_")[0], {item["label"] for item in change["old"]}
        drawn = [item["label"] for item in change["new"] if item["label"] not in known]
        free = {"region": BY_NUMBERS, "range": ALL_COLUMNS}[which]
        # the host's pings stop for a moment where the kernel is busy: what was active just now is still looked at
        active = self.is_active or time.monotonic() - self._left < _BUSY_SECONDS
        listening = self._ready and active and self.open_step == "region"
        if listening and len(drawn) == 1 and getattr(self, f"{which}_selected") == free != drawn[0]:
            setattr(self, f"{which}_selected", drawn[0])

    def _follow_subsets(self) -> None:
        frame, item = self._read(), self._entry(self.dataset_selected)
        by_numbers = self.region_selected == BY_NUMBERS
        if frame is None or (by_numbers and self.range_selected == ALL_COLUMNS):
            return
        region = {**subsets.NOTHING, "cross": self.recipe.region.cross} if by_numbers else dict(subsets.NOTHING)
        for component, free in ((self.region, BY_NUMBERS), (self.spectral_range, ALL_COLUMNS)):
            if component.selected != free:
                limits = subsets.region_of(component.selected_subset_state, item, frame)
                region |= {key: value for key, value in limits.items() if value is not None}
        self._settings.replace(self.recipe.updated(region=region))

    def _unlink(self) -> None:
        """Numbers were typed: the region no longer follows a subset."""
        self._unlinking = True
        self.region_selected, self.range_selected = BY_NUMBERS, ALL_COLUMNS
        self._unlinking = False

    # ------------------------------------------------------------------------------------------------- preview

    def _read(self) -> Frame | None:
        item = self._entry(self.dataset_selected)
        return None if item is None else source.frame_of(item, self.recipe.input)

    def _compute(self) -> Extraction:
        """Extract with the present settings; the same frame and recipe are not extracted twice."""
        self._frame = self._read()
        if self._frame is None:
            raise bad_value("dataset", "the panel", "a 2D spectrum that is shown in a 2D viewer", self.dataset_selected)
        if self._result is not None and self._is_current():
            return self._result
        self._result, self.certificate = None, {}
        self._result = optextract.extract(self._frame, self.recipe)
        self._key = (self._frame, self.recipe)
        return self._result

    def _is_current(self) -> bool:
        """Whether the result at hand is what the present frame and settings give."""
        if self._result is None or self._key is None:
            return False
        return self._key[0] is self._frame and bool(self._key[1] == self.recipe)

    @property
    def preview(self) -> Extraction | None:
        """What the present settings give; None while the panel is built, when the host looks at every attribute."""
        return self._compute() if self._ready else None

    @observe("is_active", "live", "slow")
    def _on_active(self, change: Any) -> None:
        if change["name"] == "is_active" and change["old"]:
            self._left = time.monotonic()
        if self._ready:
            self._views.show(self.is_active and self.live)
            if self.is_active and self._stale:
                self._update()

    @observe("open_step")
    def _on_open(self, change: Any) -> None:
        self._show_form()
        self._draw_figures()
        self._redraw()

    @observe("compare_selected")
    def _on_compare(self, change: Any) -> None:
        if self._ready:
            self._on_open(change)

    def _update(self) -> None:
        """Bring the screen up to date: the one path from any change to everything that is shown."""
        if not self._ready:
            return
        self.can_undo = self._settings.can_undo
        if not (self.is_active and self.live and not self.slow and self._tray_instance):
            self._stale = True
            self._show_form()
            return
        start, worked, self._stale, self.err_msg = time.perf_counter(), time.thread_time(), False, ""
        self.done_msg = ""
        try:
            if self.dataset_selected:
                self._compute()
            else:
                self._frame = self._result = None
        except TROUBLE as error:
            self._result, self.err_msg = None, str(error)
        self._redraw()
        self._show_form()
        self._draw_figures()
        self._updated = time.perf_counter()
        self.latency_ms = 1e3 * (self._updated - start)
        before, self._took = self._took, 1e3 * (time.thread_time() - worked)
        self.slow = min(before, self._took) > SLOW_MS

    @contextmanager
    def _drawn_once(self) -> Iterator[None]:
        """Draw at the end what each step of the host asks to be drawn anew."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self._redraw()

    def _redraw(self) -> None:
        """Draw into the viewers what is known."""
        if not self._ready or self._stale or not self._tray_instance or self._held:
            return
        spectra: dict[str, Any] = {}
        if self._result is not None:
            spectra = {"preview": self._result.flux, "uncertainty": self._result.uncertainty}
            if self.open_step == "compare":
                spectra["boxcar"] = np.atleast_2d(self._result.boxcar.flux)
                spectra["compare"] = (
                    np.array([found.flux for found in self._comparisons()]) if self._comparisons() else None
                )
        self._views.shown = self.is_active and self.live
        viewers = showing(self._app._viewer_store.values(), self.dataset_selected)
        self._views.draw(self.recipe, self._frame, self._result, viewers, self.spectrum_1d_viewers, spectra)
        self.legend = self._views.legend()

    def _draw_figures(self) -> None:
        if self._result is None or self._frame is None:
            self.figures = []
            return
        self._gallery.update(self.open_step, self._frame, self._result, self._others())
        self.figures = self._gallery.shown(self.open_step)

    def _show_form(self) -> None:
        """Bring the form and everything in words up to date."""
        # while live updates are off or paused, what other settings gave is not said of these
        result, frame = self._result if self._is_current() else None, self._frame
        lines = words.summaries(self.dataset_selected, frame, self.recipe, result)
        resolved = None if result is None else result.resolved
        self.steps = fields.form(self.recipe, resolved, lines, self._settings.errors, self.open_step)
        self.source_rows = fields.source_rows(self.recipe, self._centres(), self._settings.errors)
        self.code = {
            "python": self.as_python(),
            "command": self.as_command(),
            "sources": fields.sources_api(self.recipe),
        }
        self.badges = [] if result is None else words.badges(result)
        # profiles are compared when somebody looks: that takes as long as an extraction
        self.candidates = words.candidates(result) if result is not None and self.open_step == "kernel" else []
        told = () if result is None else result.quality.get("warnings", ())
        self.warnings = [words.typeset(line) for line in told]
        self.notes = [words.typeset(line) for line in (() if frame is None else (frame.meta or {}).get("notes", ()))]
        self.comparison = []
        if result is not None and self.open_step == "compare":
            self.comparison = [words.typeset(line) for found in self._comparisons() for line in found.words()]
