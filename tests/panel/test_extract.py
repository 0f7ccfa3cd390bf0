"""The main job in both styles: what the panel extracts is what the library extracts, bit for bit, and where it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from astropy import units as u

import optextract as ox
from optextract import io
from optextract.recipe import Recipe
from optextract.simulate import make_scene, write_s2d

from .conftest import LABEL, new_app, viewers


def test_extract_alone_gives_the_library_s_spectrum(plg: Any, sample: Path, same: Any) -> None:
    spectrum = plg.extract(add_data=False)
    result = ox.extract(io.read(sample), Recipe())
    expected = result.to_spectrum()
    assert same(spectrum.flux.value, expected.flux.value)
    assert same(spectrum.uncertainty.array, expected.uncertainty.array)
    assert same(spectrum.spectral_axis.value, expected.spectral_axis.value)
    assert spectrum.flux.unit == u.Jy
    assert spectrum.spectral_axis.unit == u.um
    assert np.array_equal(spectrum.mask, ~np.isfinite(spectrum.flux.value))


def test_a_rectangle_drawn_through_the_api_becomes_the_region(app: Any, plg: Any, sample: Path, same: Any) -> None:
    from glue.core.roi import RectangularROI

    viewers(app, True)[0].apply_roi(RectangularROI(99.3, 1100.2, 4.6, 19.4))
    plg.region = "Subset 1"
    assert plg.recipe.region.cross == (4.6, 19.4)
    assert plg.recipe.region.disp == (99.3, 1100.2)
    spectrum = plg.extract()
    recipe = Recipe().updated(region={"cross": (4.6, 19.4), "disp": (99.3, 1100.2)})
    assert same(spectrum.flux.value, ox.extract(io.read(sample), recipe).to_spectrum().flux.value)
    added = app._app.data_collection[plg.add_results.label]
    assert same(added.get_component("flux").data, spectrum.flux.value)
    assert added.get_component("flux").units == "Jy"
    assert same(added.get_component("uncertainty").data, spectrum.uncertainty.array)
    assert np.array_equal(added.get_component("mask").data, spectrum.mask)
    loaded = added.get_object()
    assert loaded.spectral_axis.unit == u.um
    assert same(loaded.spectral_axis.value, spectrum.spectral_axis.value)


def test_the_exported_recipe_gives_the_same_flux_from_the_command(
    app: Any, plg: Any, sample: Path, tmp_path: Path, same: Any
) -> None:
    from optextract.cli import main

    plg.region = (3, 21)
    plg.set("profile.kind", "moffat")
    plg.set("trace.degree", "2")
    spectrum = plg.extract(add_data=False)
    plg.export_recipe(tmp_path / "night.yaml")
    assert main(["run", str(sample), "--recipe", str(tmp_path / "night.yaml"), "-o", str(tmp_path / "out"), "-q"]) == 0
    product = io.read_x1d(next((tmp_path / "out").glob("*_optx1d.fits")))
    assert same(product.flux.to_value(u.Jy)[np.isfinite(product.flux)], spectrum.flux.value[np.isfinite(spectrum.flux)])


def test_the_exported_recipe_holds_every_setting(plg: Any, tmp_path: Path) -> None:
    """Those that were left alone too: another version may have other defaults, and who edits it sees what there is."""
    plg.set("profile.kind", "moffat")
    plg.export_recipe(tmp_path / "night.yaml")
    written = yaml.safe_load((tmp_path / "night.yaml").read_text(encoding="utf-8"))
    whole = yaml.safe_load(plg.recipe.to_yaml(full=True))
    assert written == whole
    assert whole["trace"]["degree"] == "auto"
    assert ox.Recipe.load(tmp_path / "night.yaml") == plg.recipe


def test_the_result_is_shown_in_a_1d_viewer_in_both_styles(app: Any, plg: Any, viewer1d: Any) -> None:
    plg.extract()
    label = plg.add_results.label
    assert label.endswith("(optimal)")
    layers = {layer.layer.label: layer for viewer in viewers(app, False) for layer in viewer.layers}
    assert layers[label].visible
    assert np.nanmax(np.abs(layers[label].line_mark.y)) > 0


def test_the_default_label_names_the_dataset(app: Any, plg: Any) -> None:
    assert plg.add_results.label == f"{plg.dataset.selected} (optimal)"


def test_extracting_again_replaces_the_entry_and_its_row(app: Any, plg: Any) -> None:
    plg.extract()
    plg.set("profile.kind", "moffat")
    plg.extract()
    labels = [data.label for data in app._app.data_collection]
    assert labels.count(plg.add_results.label) == 1
    assert len(plg.results) == 1
    assert plg.extractions[plg.add_results.label].recipe.profile.kind == "moffat"


def test_one_spectrum_for_each_source_of_a_blend(app: Any, plg: Any) -> None:
    from specutils import SpectrumList

    plg.sources = [12.2, 17.0]
    spectra = plg.extract()
    assert isinstance(spectra, SpectrumList)
    assert len(spectra) == 2
    labels = [data.label for data in app._app.data_collection]
    assert [label for label in labels if label.endswith(("source 1", "source 2"))] == [
        f"{plg.add_results.label} source 1",
        f"{plg.add_results.label} source 2",
    ]
    assert list(plg.results["label"]) == labels[-2:]


def test_what_is_wrong_with_the_fit_is_said_above_the_steps(style: str, tmp_path: Path) -> None:
    """A blend that is taken for one source: nobody would look for that in a closed step."""
    app = new_app(style)
    app.load(str(write_s2d(make_scene("blend"), tmp_path / "b_s2d.fits")), format="2D Spectrum")
    plg = app.plugins[LABEL]
    with plg.as_active():
        assert any("set sources.number to 2 or auto" in line for line in plg._obj.warnings)
        plg.sources = 2
        assert plg._obj.warnings == []


def test_images_can_be_added(app: Any, plg: Any, same: Any) -> None:
    names = plg.add_images("model", "residual")
    assert names == [f"{plg.dataset.selected} model", f"{plg.dataset.selected} residual"]
    for name in names:
        assert same(app._app.data_collection[name].get_component("flux").data, getattr(plg.preview, name.split()[-1]))
    with pytest.raises(ox.OptextractError, match="'name' parameter of add_images must be one of model, background"):
        plg.add_images("modle")


@pytest.mark.parametrize("suffix", [".fits", ".ecsv", ".asdf"])
def test_saving(plg: Any, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"spectrum{suffix}"
    plg.save(path)
    assert path.is_file()
    with pytest.raises(ox.OptextractError, match="exists"):
        plg.save(path)


def test_the_results_table_can_be_exported(plg: Any, tmp_path: Path) -> None:
    plg.extract()
    table = plg.export_table(tmp_path / "results.ecsv")
    assert (tmp_path / "results.ecsv").is_file()
    row = table[0]
    assert row["median flux"].unit.is_equivalent(u.Jy)
    snr = plg.preview.flux[0] / plg.preview.uncertainty[0]
    assert row["S/N"] == pytest.approx(np.nanmedian(snr))


def test_real_data_wavelength_errors_and_unit_are_the_file_s(fresh: Any, data_dir: Path, same: Any) -> None:
    path = next((data_dir / "nirspec_mos_smacs_6355").glob("*_s2d.fits"))
    fresh.load(str(path), format="2D Spectrum")
    plg = fresh.plugins[LABEL]
    frame = io.read(path)
    entry = fresh._app.data_collection[0]
    # the host alone: DN / s, pixels, and an ERR or a wavelength that is lost, depending on WCSAXES
    assert entry.get_component("flux").units == "MJy / sr"
    assert entry.get_object().spectral_axis.unit == u.um
    good = frame.good
    assert np.allclose(entry.get_component("uncertainty").data[good], np.sqrt(frame.variance)[good], rtol=1e-6)
    spectrum = plg.extract()
    assert same(spectrum.flux.value, ox.extract(frame, Recipe()).to_spectrum().flux.value)
    assert spectrum.spectral_axis.unit == u.um
    assert 23 <= plg.preview.kernel.centres[0] <= 25.5


@pytest.mark.parametrize("wcsaxes", [None, 2, 3])
def test_every_way_the_host_reads_a_file_ends_in_the_file_s_own_planes(
    style: str, wcsaxes: int | None, tmp_path: Path, same: Any
) -> None:
    from optextract.simulate import make_scene, write_s2d

    path = write_s2d(make_scene("emission"), tmp_path / "x_s2d.fits", wcsaxes=wcsaxes)
    app = new_app(style)
    app.load(str(path), format="2D Spectrum")
    entry = app._app.data_collection[0]
    assert entry.get_object().spectral_axis.unit == u.um
    assert "uncertainty" in [str(component) for component in entry.components]
    spectrum = app.plugins[LABEL].extract(add_data=False)
    assert same(spectrum.flux.value, ox.extract(io.read(path), Recipe()).to_spectrum().flux.value)


def test_a_spectrum_without_a_file_is_used_as_it_is(fresh: Any, same: Any) -> None:
    from astropy.nddata import StdDevUncertainty
    from specutils import Spectrum

    from optextract.simulate import make_scene

    scene = make_scene("emission")
    frame = scene.frame
    spectrum = Spectrum(
        flux=u.Quantity(frame.flux, frame.unit),
        spectral_axis=frame.wavelength,
        uncertainty=StdDevUncertainty(np.sqrt(frame.variance)),
        mask=np.array(frame.mask),
    )
    fresh.load(spectrum, format="2D Spectrum", data_label="made here")
    extracted = fresh.plugins[LABEL].extract(add_data=False)
    expected = ox.extract(io.read(spectrum), Recipe()).to_spectrum()
    assert same(extracted.flux.value, expected.flux.value)


def test_the_button_below_the_table_exports_it(plg: Any, tmp_path: Path) -> None:
    from astropy.table import QTable

    panel = plg._obj
    plg.extract()
    panel.vue_export_table(str(tmp_path / "results.ecsv"))
    assert panel.err_msg == ""
    assert panel.done_msg == f"table written to {tmp_path / 'results.ecsv'}"
    assert list(QTable.read(panel.table_path)["label"]) == list(plg.results["label"])
    # what is there is not overwritten, and the panel says so
    panel.vue_export_table(panel.table_path)
    assert "already exists" in panel.err_msg


def test_a_button_acts_on_what_stands_beside_it(plg: Any, tmp_path: Path) -> None:
    """The path that was typed last may be told to Python after the click, so the click brings it."""
    panel = plg._obj
    panel.save_path = panel.recipe_path = str(tmp_path / "before.txt")
    panel.vue_save(str(tmp_path / "night_x1d.fits"))
    panel.vue_export_recipe(str(tmp_path / "night.yaml"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["night.yaml", "night_x1d.fits"]
    assert panel.save_path == str(tmp_path / "night_x1d.fits")
    assert panel.recipe_path == str(tmp_path / "night.yaml")
    before = plg.recipe
    plg.recipe = before.updated(trace={"degree": 1})
    panel.recipe_path = str(tmp_path / "before.txt")
    panel.vue_import_recipe(str(tmp_path / "night.yaml"))
    assert panel.err_msg == ""
    assert plg.recipe == before


def test_the_progress_bar_is_gone_when_the_work_is_done(fresh: Any, sample: Path) -> None:
    from optextract.panel.loader import load_file

    panel = fresh._app.get_tray_item_from_name("optextract")
    load_file(fresh._app, str(sample))
    assert panel.progress == 0.0, "a default extraction that is over is shown as going on"
    seen: list[float] = []
    panel.observe(lambda change: seen.append(change["new"]), "progress")
    panel.vue_extract()
    panel.vue_add_images()
    assert panel.progress == 0.0
    assert panel.err_msg == ""
    assert seen == [10.0, 100.0, 0.0, 10.0, 40.0, 70.0, 0.0]
