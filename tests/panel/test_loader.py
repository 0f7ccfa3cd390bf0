"""Files of several slits: listed, loaded completely, gone through one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import optextract as ox
from optextract import io
from optextract.panel.importer import FORMAT
from optextract.panel.loader import load_file
from optextract.panel.source import KEY
from optextract.simulate import make_scene, write_s2d

from .conftest import LABEL, new_app, viewers


def test_the_loader_shows_the_slits_and_loads_those_that_are_chosen(fresh: Any, three_slits: Path) -> None:
    loader = fresh.loaders["file"]
    loader.filepath = str(three_slits)
    loader.format = FORMAT
    importer = loader.importer._obj
    assert [row["name"] for row in importer.rows] == ["S7 (SIM_emission)", "S8 (SIM_emission)", "S9 (SIM_emission)"]
    assert {row["kind"] for row in importer.rows} == {"POINT"}
    assert all(float(row["snr"]) > 1 for row in importer.rows)
    assert importer.rows[0]["shape"] == "25 x 1298"
    loader.importer.slits = ["S7", "S9"]
    loader.load()
    origins = [data.meta.get(KEY, {}).get("slit") for data in fresh._app.data_collection]
    assert [origin for origin in origins if origin is not None] == [0, 2]


def test_every_plane_is_that_of_its_slit(fresh: Any, three_slits: Path, same: Any) -> None:
    fresh.load(str(three_slits), format=FORMAT, slits=[0, 1, 2])
    for index in range(3):
        frame = io.read(three_slits, index)
        entry = next(d for d in fresh._app.data_collection if d.meta.get(KEY, {}).get("slit") == index)
        assert same(entry.get_component("flux").data, frame.flux)
        assert np.array_equal(entry.get_component("uncertainty").data, np.sqrt(frame.variance))
        assert np.array_equal(entry.get_component("mask").data, frame.mask)


def test_next_and_previous_slit(fresh: Any, three_slits: Path, same: Any) -> None:
    fresh.load(str(three_slits), format=FORMAT, slits=[0])
    plg = fresh.plugins[LABEL]
    with plg.as_active():
        assert plg.slit.selected == "S7 (SIM_emission)"
        plg.next_slit()
        assert plg.slit.selected == "S8 (SIM_emission)"
        expected = ox.extract(io.read(three_slits, 1))
        assert same(plg.extract(add_data=False).flux.value, expected.to_spectrum().flux.value)
        viewer = viewers(fresh, True)[0]
        assert [x.layer.label for x in viewer.layers if x.visible] == [plg.dataset.selected]
        plg.next_slit()
        plg.next_slit()
        assert plg.slit.selected == "S7 (SIM_emission)"
        plg.previous_slit()
        assert plg.slit.selected == "S9 (SIM_emission)"
        # going round loads nothing twice
        origins = [d.meta[KEY]["slit"] for d in fresh._app.data_collection if KEY in d.meta]
        assert sorted(origins) == [0, 1, 2]
        plg.slit = "S8 (SIM_emission)"
        assert plg.dataset.selected.endswith("[S8 (SIM_emission)]")


def test_choosing_a_dataset_sets_the_slit(fresh: Any, three_slits: Path, sample: Path) -> None:
    fresh.load(str(three_slits), format=FORMAT, slits=[0, 2])
    load_file(fresh._app, str(sample))
    plg = fresh.plugins[LABEL]
    with plg.as_active():
        plg.dataset = next(label for label in plg.dataset.choices if "S9" in label)
        assert plg.slit.selected == "S9 (SIM_emission)"
        plg.dataset = "sample_s2d"
        assert plg.slit.choices == []
        with pytest.raises(ox.OptextractError, match="from a file of several slits"):
            plg.next_slit()


def test_the_host_s_own_loader_pairs_every_slit_with_its_own_errors(fresh: Any, tmp_path: Path, same: Any) -> None:
    """The host alone gives the second SCI the first ERR."""
    scenes = [make_scene("emission", 1), make_scene("faint", 2)]
    path = write_s2d(scenes, tmp_path / "two_s2d.fits", slits=["A", "B"])
    with fits.open(path) as hdus:
        science = [index for index, hdu in enumerate(hdus) if hdu.name == "SCI"]
    fresh.load(str(path), format="2D Spectrum", extension=f"{science[1]}: SCI", data_label="second")
    entry = fresh._app.data_collection["second"]
    assert entry.meta[KEY]["slit"] == 1
    frame = io.read(path, 1)
    good = frame.good
    assert np.allclose(entry.get_component("uncertainty").data[good], np.sqrt(frame.variance)[good])
    plg = fresh.plugins[LABEL]
    assert same(plg.extract(add_data=False).flux.value, ox.extract(frame).to_spectrum().flux.value)


def test_an_hdu_that_is_no_flux_is_left_as_it_is(fresh: Any, tmp_path: Path) -> None:
    path = tmp_path / "plain.fits"
    header = fits.Header(
        {"CTYPE1": "WAVE", "CRVAL1": 1.0, "CDELT1": 0.001, "CRPIX1": 1.0, "CUNIT1": "um", "BUNIT": "Jy"}
    )
    hdus = [fits.ImageHDU(np.full((20, 300), 1.0 + k), header, name=name) for k, name in enumerate(("SCI", "WHT"))]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    fresh.load(str(path), format="2D Spectrum", extension="2: WHT", data_label="weights")
    assert KEY not in fresh._app.data_collection["weights"].meta
    assert fresh._app.data_collection["weights"].get_component("flux").data[0, 0] == 2.0


def test_one_more_format_makes_nothing_ambiguous(fresh: Any, sample: Path) -> None:
    """``app.load(path)`` without a format finds what it found before."""
    from jdaviz.core.loaders.resolvers.file.file import FileResolver

    found = FileResolver.from_input(fresh._app, str(sample)).format.choices
    assert FORMAT not in found
    assert FORMAT in FileResolver.from_input(fresh._app, str(sample), format=FORMAT).format.choices


def test_a_slit_that_is_not_there(fresh: Any, three_slits: Path) -> None:
    with pytest.raises(ox.OptextractError, match=r"'slits' parameter of .* must be names or indices of slits: S7"):
        fresh.load(str(three_slits), format=FORMAT, slits=["S1"])


def test_no_slit_chosen_is_said(fresh: Any, three_slits: Path) -> None:
    loader = fresh.loaders["file"]
    loader.filepath = str(three_slits)
    loader.format = FORMAT
    loader.importer._obj.chosen = []
    with pytest.raises(ValueError, match="Choose a slit"):
        loader.load()


@pytest.mark.parametrize(
    "name", ["keck_deimos/1313.104R_2d.fits.gz", "nirspec_mos_ceers_933/static-test-driz-center-bkg_933.spec.fits"]
)
def test_files_that_the_host_cannot_read(style: str, data_dir: Path, name: str, same: Any) -> None:
    app = new_app(style)
    label = load_file(app._app, str(data_dir / name))
    plg = app.plugins[LABEL]
    assert plg.dataset.selected == label
    frame = io.read(data_dir / name)
    assert same(plg.extract(add_data=False).flux.value, ox.extract(frame).to_spectrum().flux.value)


def test_loading_shows_the_default_extraction(fresh: Any, sample: Path) -> None:
    label = load_file(fresh._app, str(sample))
    shown = [x.layer.label for viewer in viewers(fresh, False) for x in viewer.layers]
    assert shown == [f"{label} (auto-ext)"]
