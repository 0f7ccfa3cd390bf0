"""What people do to a panel: it says what is wrong, and recovers."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from specutils import Spectrum

import optextract as ox
from optextract import io
from optextract.recipe import Recipe
from optextract.simulate import make_scene, write_s2d

from .conftest import LABEL, new_app, viewers


def spectrum_2d(*, uncertainty: bool = True, nan: bool = False) -> Spectrum:
    frame = make_scene("emission").frame
    flux = np.full(frame.shape, np.nan) if nan else frame.flux
    return Spectrum(
        flux=u.Quantity(flux, u.MJy),
        spectral_axis=frame.wavelength,
        uncertainty=StdDevUncertainty(np.sqrt(frame.variance)) if uncertainty else None,
    )


def test_no_variance_in_the_data(fresh: Any) -> None:
    fresh.load(spectrum_2d(uncertainty=False), format="2D Spectrum")
    plg = fresh.plugins[LABEL]
    with plg.as_active():
        assert "variance" in plg._obj.err_msg
        with pytest.raises(ox.OptextractError, match="variance"):
            plg.extract()
        plg._obj.vue_extract()
        assert "variance" in plg._obj.err_msg
        # one of the choices that the message names
        plg.set("noise.variance", "empirical")
        assert plg._obj.err_msg == ""
        assert np.isfinite(plg.extract().flux).any()


def test_nan_everywhere(fresh: Any) -> None:
    # the host's own Cross Dispersion Profile raises on such data, after they were loaded
    host_fails = fresh._app.config == "deconfigged"
    with pytest.raises(ValueError, match="Image is fully masked") if host_fails else contextlib.nullcontext():
        fresh.load(spectrum_2d(nan=True), format="2D Spectrum")
    plg = fresh.plugins[LABEL]
    with plg.as_active():
        assert "The frame must have a good pixel inside the region" in plg._obj.err_msg
        fresh.load(spectrum_2d(), format="2D Spectrum", data_label="good one")
        plg.dataset = "good one"
        assert plg._obj.err_msg == ""
        assert np.isfinite(plg.extract(add_data=False).flux).any()


def test_the_dataset_is_removed_while_active(fresh: Any, sample: Path, marks: Any) -> None:
    fresh.load(str(sample), format="2D Spectrum")
    plg = fresh.plugins[LABEL]
    viewer = viewers(fresh, True)[0]
    with plg.as_active():
        assert "trace" in marks(plg._obj, viewer)
        fresh._app.data_item_remove(plg.dataset.selected)
        assert plg.dataset.selected == ""
        assert plg._obj.err_msg == ""
        assert marks(plg._obj, viewer) == {}
        if fresh._app.config == "specviz2d":
            assert plg._obj.disabled_msg == "Load a 2D spectrum first."
        else:
            assert plg._obj.irrelevant_msg != ""
        with pytest.raises(ox.OptextractError, match="'dataset' parameter of the panel must be a 2D spectrum"):
            plg._obj.extract()
        fresh.load(str(sample), format="2D Spectrum")
        assert plg._obj._result is not None


def test_another_dataset_is_removed_while_active(app: Any, plg: Any) -> None:
    plg.add_images("model")
    result = plg._obj._result
    app._app.data_item_remove(f"{plg.dataset.selected} model")
    assert plg._obj._result is result


def test_two_apps_in_one_kernel(style: str, sample: Path, same: Any) -> None:
    one, two = new_app(style), new_app(style)
    for app in (one, two):
        app.load(str(sample), format="2D Spectrum")
    first, second = one.plugins[LABEL], two.plugins[LABEL]
    with first.as_active(), second.as_active():
        plain = second.extract(add_data=False)
        first.set("profile.kind", "moffat")
        first.region = (4, 20)
        assert second.recipe == Recipe()
        assert same(second.extract(add_data=False).flux.value, plain.flux.value)
        assert second._obj._views._overlays.keys().isdisjoint(first._obj._views._overlays)


def test_units_changed_by_unit_conversion(app: Any, plg: Any, viewer1d: Any, marks: Any, same: Any) -> None:
    before = plg.extract(add_data=False)
    shown = marks(plg._obj, viewer1d)["preview"]
    y = np.array(shown.y)
    conversion = app.plugins["Unit Conversion"]
    old = conversion.spectral_unit.selected
    try:
        conversion.spectral_unit = "Angstrom"
        assert np.allclose(marks(plg._obj, viewer1d)["preview"].x, before.spectral_axis.to_value(u.AA))
        assert same(plg.extract(add_data=False).flux.value, before.flux.value)
        assert plg.extract(add_data=False).spectral_axis.unit == u.um
    finally:
        conversion.spectral_unit = old
    flux = conversion.flux_unit.selected
    try:
        conversion.flux_unit = "mJy" if flux != "mJy" else "Jy"
        factor = u.Unit(flux).to(conversion.flux_unit.selected)
        assert np.allclose(marks(plg._obj, viewer1d)["preview"].y, y * factor, equal_nan=True)
        assert same(plg.extract(add_data=False).flux.value, before.flux.value)
    finally:
        conversion.flux_unit = flux


def test_an_app_with_1d_spectra_only(style: str) -> None:
    app = new_app(style)
    spectrum = Spectrum(flux=np.ones(100) * u.Jy, spectral_axis=np.linspace(1, 2, 100) * u.um)
    app.load(spectrum, format="1D Spectrum")
    panel = app._app.get_tray_item_from_name("optextract")
    panel.keep_active = True
    assert panel.dataset_selected == ""
    assert panel.err_msg == ""
    assert panel.irrelevant_msg or panel.disabled_msg


def test_the_file_is_deleted_after_loading(style: str, tmp_path: Path) -> None:
    path = write_s2d(make_scene("emission"), tmp_path / "gone_s2d.fits")
    app = new_app(style)
    app.load(str(path), format="2D Spectrum")
    plg = app.plugins[LABEL]
    path.unlink()
    with pytest.raises(
        ox.OptextractError, match=r"the file of 'gone_s2d.*' is gone: .*gone_s2d.fits \(load it again\)"
    ):
        plg.extract()


def test_the_file_is_replaced_after_loading(style: str, tmp_path: Path, same: Any) -> None:
    path = write_s2d(make_scene("emission", 1), tmp_path / "x_s2d.fits")
    app = new_app(style)
    app.load(str(path), format="2D Spectrum")
    plg = app.plugins[LABEL]
    before = plg.extract(add_data=False)
    write_s2d(make_scene("emission", 2), path, overwrite=True)
    after = plg.extract(add_data=False)
    assert not same(before.flux.value, after.flux.value)
    assert same(after.flux.value, ox.extract(io.read(path), Recipe()).to_spectrum().flux.value)


def test_a_unit_that_has_to_be_given(fresh: Any, tmp_path: Path) -> None:
    from astropy.io import fits

    path = write_s2d(make_scene("emission"), tmp_path / "x_s2d.fits")
    with fits.open(path, mode="update") as hdus:
        hdus["SCI"].header["BUNIT"] = "DN/s"
        hdus[0].header["S_PHOTOM"] = "SKIPPED"
    fresh.load(str(path), format="2D Spectrum")
    plg = fresh.plugins[LABEL]
    with plg.as_active():
        assert "input.unit" in plg._obj.err_msg
        plg.set("input.unit", "MJy / sr")
        assert plg._obj.err_msg == ""
        assert plg.extract().flux.unit == u.Jy


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("trace.degree", "2.5", r"the 'trace\.degree' parameter .* Got"),
        ("trace.degree", "many", r"the 'trace\.degree' parameter .* Got"),
        ("region.cross", ["9", "3"], r"must be \(lower, upper\) with lower < upper"),
        ("region.cross", ["9", ""], "must be two numbers or none"),
        (
            "profile.fwhm",
            {"value": "2", "fixed": False, "lower": "3", "upper": "4"},
            r"the 'profile\.fwhm' parameter .* bounds",
        ),
        (
            "profile.fwhm",
            {"value": "2", "fixed": False, "lower": "1", "upper": ""},
            r"bounds of 'profile\.fwhm' must be two numbers",
        ),
        ("background.rows", "[[1, 2", "cannot be understood"),
        ("rejection.threshold", "-3", "greater than 0"),
        ("trace.dgree", "2", "'name' parameter of set must be a field of the recipe"),
    ],
)
def test_values_that_are_refused(plg: Any, name: str, value: Any, message: str) -> None:
    before = plg.recipe
    with pytest.raises(ox.RecipeError, match=message):
        plg.set(name, value)
    assert plg.recipe == before
    plg._obj.vue_set_field({"name": name, "value": value})
    assert plg.recipe == before
    assert plg._obj.err_msg != ""
    # a good value for anything clears it
    plg.set("trace.degree", 1)
    assert plg._obj.err_msg == ""


def test_a_field_that_was_refused_says_so_in_its_place(panel: Any) -> None:
    panel.open_step = "trace"
    panel.vue_set_field({"name": "trace.degree", "value": "many"})
    step = next(step for step in panel.steps if step["key"] == "trace")
    assert step["wrong"]
    field = step["fields"][0]
    assert field["value"] == "many"
    assert "trace.degree" in field["error"]
    panel.vue_set_field({"name": "trace.degree", "value": "1"})
    assert not next(step for step in panel.steps if step["key"] == "trace")["wrong"]


def test_a_recipe_that_cannot_be_read(plg: Any, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("trace: {degre: 2}\n")
    before = plg.recipe
    with pytest.raises(ox.RecipeError, match=r"unknown field 'trace\.degre'"):
        plg.import_recipe(tmp_path / "r.yaml")
    plg._obj.vue_import_recipe(str(tmp_path / "none.yaml"))
    assert "cannot be read" in plg._obj.err_msg
    assert plg.recipe == before


def test_viewers_that_come_and_go(fresh: Any, sample: Path, marks: Any) -> None:
    if fresh._app.config != "deconfigged":
        pytest.skip("the older app has its viewers for good")
    fresh.load(str(sample), format="2D Spectrum")
    plg = fresh.plugins[LABEL]
    with plg.as_active():
        creator = fresh.new_viewers["2D Spectrum"]
        creator.dataset = plg.dataset.selected
        creator()
        second = viewers(fresh, True)[-1]
        assert {"trace", "region"} <= marks(plg._obj, second).keys()
        fresh._app.vue_destroy_viewer_item(second.reference_id)
        assert second not in plg._obj._views._overlays
        plg.set("trace.degree", 1)
        assert plg._obj.err_msg == ""


def test_nothing_is_drawn_while_the_panel_is_closed(app: Any, viewer2d: Any, marks: Any) -> None:
    api = app.plugins[LABEL]
    api.set("trace.degree", 1)
    assert marks(api._obj, viewer2d) == {}
    with api.as_active():
        assert "trace" in marks(api._obj, viewer2d)
    assert marks(api._obj, viewer2d) == {}


def test_a_closed_panel_computes_nothing(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    api = app.plugins[LABEL]

    def refuse(*_: Any) -> None:
        raise AssertionError("extracted behind closed doors")

    monkeypatch.setattr(ox, "extract", refuse)
    api.set("trace.degree", 1)
    api.region = (3, 20)


def test_flapping_activity_does_not_extract_again(app: Any, plg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    result = plg._obj._result
    monkeypatch.setattr(ox, "extract", lambda *_: pytest.fail("extracted again"))
    for _ in range(5):
        plg._obj.keep_active = False
        plg._obj.keep_active = True
    assert plg._obj._result is result
