"""What the panel does with what it has found: results into the host, into files, beside other spectra."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import QTable
from jdaviz.core.events import SnackbarMessage
from jdaviz.core.template_mixin import with_spinner

from .. import io
from ..errors import ReadError, bad_value
from ..report.compare import Comparison, compare, find_aperture
from ..results import Extraction
from . import deliver, words
from .controls import TROUBLE
from .part import Part
from .source import KEY

if TYPE_CHECKING:
    from specutils import Spectrum, SpectrumList

    from ..validate import Certificate

__all__ = ["Actions"]


class Actions(Part):
    """Part of the panel that acts; each action is one method for the notebook and for the button."""

    _extractions: dict[str, Extraction]
    _rows: list[dict[str, Any]]
    _result: Extraction | None

    @property
    def _origin(self) -> tuple[str | None, Any]:
        """Path and slit of the selected dataset, None where it did not come from a file."""
        item = self._entry(self.dataset_selected)
        origin = {} if item is None else item.meta.get(KEY, {})
        return origin.get("path"), origin.get("slit")

    def _entry(self, label: str) -> Any:
        """Return an entry of the data collection, None where there is none (any more)."""
        return next((data for data in self._app.data_collection if data.label == label), None)

    def as_python(self) -> str:
        """Return the present extraction as Python code."""
        return words.as_python(self.recipe, *self._origin)

    def as_command(self) -> str:
        """Return the present extraction as a command; it needs the exported recipe."""
        return words.as_command(self.recipe_path, *self._origin)

    # ------------------------------------------------------------------------------------------------ extraction

    @with_spinner()
    def extract(self, add_data: bool = True) -> Spectrum | SpectrumList:
        """Extract with the present settings.

        Parameters
        ----------
        add_data : bool, optional
            Add the spectrum, or one for each source, to the data collection and to a 1D viewer.

        Returns
        -------
        Spectrum or SpectrumList
            One spectrum; a list where there are several sources.

        Raises
        ------
        OptextractError
            If there is no data, or the settings and the data do not fit.
        """
        from specutils import SpectrumList

        self.progress = 10.0
        try:
            result = self._compute()
            spectra = deliver.spectra_of(result)
            if add_data:
                with self._drawn_once():
                    for source, name in enumerate(deliver.add_spectra(self, result, self.results_label, spectra)):
                        self._extractions[name] = result
                        self._add_row(deliver.table_row(name, result, source))
        finally:
            self.progress = 0.0
        return spectra[0] if len(spectra) == 1 else SpectrumList(spectra)

    def __call__(self, add_data: bool = True) -> Spectrum | SpectrumList:
        """Extract, as the host calls it."""
        return self.extract(add_data=add_data)

    def add_images(self, *names: str) -> list[str]:
        """Add model, background and residual images (or those named) to the data collection.

        Returns
        -------
        list of str
            Labels of the entries.
        """
        wanted = names if names else deliver.IMAGES
        for name in wanted:
            if name not in deliver.IMAGES:
                raise bad_value("name", "add_images", f"one of {', '.join(deliver.IMAGES)}", name)
        result = self._compute()
        return deliver.add_images(self, self._frame, result, wanted, self.dataset_selected)

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Write the present extraction: x1d FITS, ECSV or ASDF, by the ending of the name."""
        io.write(self._compute(), Path(path).expanduser(), overwrite=overwrite)

    @property
    def extractions(self) -> dict[str, Extraction]:
        """What has been extracted, by the label of its spectrum."""
        return dict(self._extractions)

    @property
    def results(self) -> QTable:
        """What has been extracted, a line each."""
        table = self.table.export_table() if self._rows else None
        return QTable() if table is None else table

    def export_table(self, filename: str | Path | None = None, overwrite: bool = False) -> QTable:
        """Return the table of results, and write it where a file is named."""
        if filename is not None:
            self.results.write(str(filename), overwrite=overwrite)
        return self.results

    def clear_results(self) -> None:
        """Empty the table of results; the spectra stay in the data collection."""
        self._rows, self.has_results = [], False
        self._extractions.clear()
        self.table._clear_table()

    def _add_row(self, row: dict[str, Any]) -> None:
        rows = [old for old in self._rows if old["label"] != row["label"]] + [row]
        self._rows = rows
        self.table._clear_table()
        for line in rows:
            self.table.add_item(line)
        self.has_results = True

    # ------------------------------------------------------------------------------------------------ comparison

    def compare_with(self, path: str | Path | None) -> None:
        """Compare with a spectrum from a file, such as the pipeline's x1d; None for none.

        Raises
        ------
        ReadError
            If it cannot be read, or holds several spectra and none of this source or slit.
        """
        self._x1d = None if path is None else (Path(path).name, self._read_x1d(Path(path).expanduser()))
        self.compare_selected = "None"
        self._update()

    def _read_x1d(self, path: Path) -> io.ExtractedSpectrum:
        frame = self._read()
        names = () if frame is None or frame.meta is None else (frame.meta.get("source_name"), frame.meta.get("slit"))
        for name in names:
            try:
                return io.read_x1d(path, None if name is None else str(name))
            except ReadError:
                continue  # a file of one spectrum need not name it, or names it otherwise
        return io.read_x1d(path)

    def _compared(self) -> list[Comparison]:
        """The other spectra on the columns of the result."""
        found: list[Comparison] = []
        if self._result is None:
            return found
        others: list[tuple[str, Any]] = [] if self._x1d is None else [self._x1d]
        entry = self._entry(self.compare_selected)
        if entry is not None:
            spectrum = entry.get_object()
            other = {"wavelength": spectrum.spectral_axis, "flux": spectrum.flux}
            if spectrum.uncertainty is not None:
                other["uncertainty"] = spectrum.uncertainty.quantity
            others.append((self.compare_selected, other))
        for label, other in others:
            found.append(compare(self._result, other, label=label, aperture=self._aperture(other)))
        return found

    def _aperture(self, other: Any) -> tuple[float, float] | None:
        """Rows that another spectrum is the plain sum of, where it is one of this frame's."""
        frame = self._frame
        if (
            frame is None
            or other["flux"].shape != (frame.n_disp,)
            or not other["flux"].unit.is_equivalent(frame.flux_unit)
        ):
            return None
        return find_aperture(frame, other["flux"].to_value(frame.flux_unit))

    def _others(self) -> dict[str, tuple[Any, Any]]:
        """Spectra for the ratio: the matched boxcar and those chosen, each of shape (n_disp,)."""
        if self._result is None or self.open_step != "compare":
            return {}
        box = self._result.boxcar
        others = {"matched boxcar": (np.atleast_2d(box.flux)[0], np.atleast_2d(box.uncertainty)[0])}
        for found in self._comparisons():
            others[found.label] = (found.flux, found.uncertainty)
        return others

    def _comparisons(self) -> list[Comparison]:
        try:
            return self._compared()
        except TROUBLE as error:
            self.err_msg = str(error)
            return []

    def certify(self) -> Certificate:
        """Inject sources of known flux into this frame, and extract them with the present settings.

        Returns
        -------
        optextract.validate.Certificate
            Bias, pull and completeness against S/N; the panel shows them too.

        Raises
        ------
        OptextractError
            If there is no row to inject into.
        """
        from ..validate import LEVELS, combine, validate

        result, frame = self._compute(), self._frame
        found = []
        self.progress = 1.0
        try:
            for level in LEVELS:
                found.append(validate(frame, self.recipe, levels=(level,), result=result))
                self.progress = 100.0 * len(found) / len(LEVELS)
        finally:
            self.progress = 0.0
        certificate = combine(found, self.dataset_selected)
        if result is self._result:
            self.certificate = words.certificate(certificate)
        return certificate

    # ------------------------------------------------------------------------------------------------ buttons

    def _press(self, action: Any, done: str = "") -> None:
        """Do what a button says; a failure is told in the panel and by the host."""
        self.err_msg = self.done_msg = ""
        try:
            action()
        except TROUBLE as error:
            self.err_msg = str(error)
            self._tell(str(error), "error", traceback=error)
        else:
            self.done_msg = done
            if done:
                self._tell(done, "success")

    def _tell(self, text: str, colour: str, **kwargs: Any) -> None:
        """Say something in the host's message bar, or in its history where it does not show such messages."""
        self._app.hub.broadcast(SnackbarMessage(f"Optimal Extraction: {text}", color=colour, sender=self, **kwargs))

    def vue_extract(self, _: Any = None) -> None:
        """Extract and add the result."""
        self._press(self.extract)

    def vue_add_images(self, _: Any = None) -> None:
        """Add model, background and residual."""
        self._press(self.add_images, "model, background and residual are in the data collection")

    # A path comes with the click: what was typed last may be told after it.

    def vue_save(self, path: str) -> None:
        """Write the result to the file that is named in the panel."""
        self.save_path = path
        self._press(lambda: self.save(path), f"{path} written")

    def vue_export_table(self, path: str) -> None:
        """Write the table of results to the file that is named in the panel."""
        self.table_path = path
        self._press(lambda: self.export_table(Path(path).expanduser()), f"table written to {path}")

    def vue_export_recipe(self, path: str) -> None:
        """Write the recipe to the file that is named in the panel."""
        self.recipe_path = path
        self._press(lambda: self.export_recipe(path), f"recipe written to {Path(path).resolve()}")

    def vue_import_recipe(self, path: str) -> None:
        """Read the recipe from the file that is named in the panel."""
        self.recipe_path = path
        self._press(lambda: self.import_recipe(path), f"recipe read from {path}")

    def vue_compare_file(self, path: str) -> None:
        """Compare with the file that is named in the panel."""
        self.x1d_path = path
        self._press(lambda: self.compare_with(path if path.strip() else None))

    def vue_certify(self, _: Any = None) -> None:
        """Inject and recover, beside everything else: it takes seconds."""
        if not self.progress:
            threading.Thread(target=self._press, args=(self.certify,), daemon=True).start()

    def vue_next_slit(self, _: Any = None) -> None:
        """Go to the next slit."""
        self._press(self.next_slit)

    def vue_previous_slit(self, _: Any = None) -> None:
        """Go to the previous slit."""
        self._press(self.previous_slit)
