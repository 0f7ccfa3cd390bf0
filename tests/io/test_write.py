"""Products: the same numbers back from stdatamodels, specutils, jdaviz, ECSV and ASDF; nothing destroyed."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
import yaml
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from optextract import Extraction, Flag, Recipe, extract
from optextract.errors import OptextractError, ReadError
from optextract.io import read, read_all, read_extraction, read_x1d, write
from optextract.simulate import scene, write_s2d

COLUMNS = (
    "WAVELENGTH", "FLUX", "FLUX_ERROR", "FLUX_VAR_POISSON", "FLUX_VAR_RNOISE", "FLUX_VAR_FLAT", "SURF_BRIGHT",
    "SB_ERROR", "SB_VAR_POISSON", "SB_VAR_RNOISE", "SB_VAR_FLAT", "DQ", "BACKGROUND", "BKGD_ERROR", "BKGD_VAR_POISSON",
    "BKGD_VAR_RNOISE", "BKGD_VAR_FLAT", "NPIXELS",
)  # fmt: skip


@pytest.fixture(scope="module")
def result(single) -> Extraction:
    return extract(read(single))


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Extraction:
    """Two sources in a vertical slit."""
    one = scene(seed=2, shape=(25, 90), snr=40.0, separation=6.0, centre=9.0, background=0.0, dispaxis=2)
    path = write_s2d(one, tmp_path_factory.mktemp("pair") / "pair_s2d.fits")
    return extract(read(path), Recipe(sources={"number": 2, "items": [{"name": "north", "centre": 9.0}]}))


def smacs(data_dir):
    return read(data_dir / "nirspec_mos_smacs_6355/jw02736-o007_s06355_nirspec_f290lp-g395m_s2d.fits")


# x1d -------------------------------------------------------------------------------------------------------------


def test_all_eighteen_columns_say_what_the_result_says(result, tmp_path):
    path = write(result, tmp_path / "x.fits")
    with fits.open(path) as hdus:
        table, header = hdus["EXTRACT1D"].data, hdus["EXTRACT1D"].header
        assert tuple(table.dtype.names) == COLUMNS
        units = {column.name: column.unit for column in hdus["EXTRACT1D"].columns}
        extra = hdus["OPTEXTRACT"].data
        np.testing.assert_array_equal(table["WAVELENGTH"], result.wavelength.to_value(u.um))
        np.testing.assert_array_equal(table["FLUX"], result.flux[0])
        np.testing.assert_array_equal(table["FLUX_ERROR"], result.uncertainty[0])
        np.testing.assert_array_equal(table["FLUX_VAR_POISSON"], result.variance_parts["poisson"][0])
        np.testing.assert_array_equal(table["FLUX_VAR_RNOISE"], result.variance_parts["rnoise"][0])
        assert np.isnan(table["FLUX_VAR_FLAT"]).all()  # the simulated file has none
        np.testing.assert_allclose(table["NPIXELS"], result.boxcar.n_pixels[0])
        area = result.meta["pixel_area_sr"]
        np.testing.assert_allclose(
            table["SURF_BRIGHT"] * table["NPIXELS"] * area * 1e6, result.boxcar.flux[0], rtol=1e-12
        )
        np.testing.assert_allclose(
            table["SB_ERROR"] * table["NPIXELS"] * area * 1e6, result.boxcar.uncertainty[0], rtol=1e-12
        )
        np.testing.assert_array_equal(extra["FLAGS"], result.flags[0])
        np.testing.assert_array_equal(extra["CENTRE"], result.centre[0])
        np.testing.assert_array_equal(extra["BOXCAR_FLUX"], result.boxcar.flux[0])
        assert np.isnan(table["BKGD_VAR_RNOISE"]).all()
        assert header["SRCTYPE"] == "POINT"
        assert (header["EXTRXSTR"], header["EXTRXSTP"]) == (1.0, 80.0)
        assert header["EXTRYSTR"] == pytest.approx(np.median(result.boxcar.lower) + 1.5)
        assert header["EXTRYSTP"] == pytest.approx(np.median(result.boxcar.upper) + 0.5)
        assert header["EXTR_Y"] == pytest.approx(np.median(result.centre) + 1)
        assert units["FLUX"] == "Jy"
        assert u.Unit(units["SURF_BRIGHT"]) == u.MJy / u.sr
        assert u.Unit(units["SB_VAR_FLAT"]) == (u.MJy / u.sr) ** 2
        assert u.Unit(units["BACKGROUND"]) == u.MJy / u.sr


def test_background_is_that_of_the_aperture(tmp_path):
    one = scene(seed=5, shape=(21, 60), snr=50.0, background=8.0, centre=10.0)
    made = extract(read(write_s2d(one, tmp_path / "b_s2d.fits")), Recipe(background={"degree": 1, "along": "column"}))
    table = fits.getdata(write(made, tmp_path / "b.fits"), "EXTRACT1D")
    rows = np.arange(21)
    for column in (5, 30, 55):
        lower, upper = made.boxcar.lower[0, column], made.boxcar.upper[0, column]
        share = np.clip(np.minimum(rows + 0.5, upper) - np.maximum(rows - 0.5, lower), 0, 1)
        expected = np.average(made.background[:, column], weights=share)
        assert table["BACKGROUND"][column] == pytest.approx(expected, rel=1e-12)
        expected = np.average(made.background_uncertainty[:, column], weights=share)
        assert table["BKGD_ERROR"][column] == pytest.approx(expected, rel=1e-12)


def test_flags_become_jwst_bits(result, tmp_path):
    flags = result.flags.copy()
    flags[0, 3] |= Flag.REJECTED_PIXELS
    flags[0, 4] |= Flag.PARTIAL_PROFILE
    flux = result.flux.copy()
    flux[0, 5] = np.nan
    table = fits.getdata(write(dataclasses.replace(result, flags=flags, flux=flux), tmp_path / "x.fits"), "EXTRACT1D")
    from stdatamodels.jwst.datamodels.dqflags import pixel

    assert table["DQ"][3] & pixel["OUTLIER"]
    assert table["DQ"][4] & pixel["FLUX_ESTIMATED"]
    assert table["DQ"][5] & pixel["DO_NOT_USE"]
    assert np.isnan(table["FLUX"][5])


def test_identity_provenance_and_recipe_are_carried(data_dir, tmp_path):
    frame = smacs(data_dir)
    made = extract(frame)
    path = write(made, tmp_path / "smacs_optx1d.fits")
    with fits.open(path) as hdus:
        head = hdus[0].header
        assert head["FILENAME"] == "smacs_optx1d.fits"
        assert head["PROGRAM"] == "02736"
        assert head["CAL_VER"] == "1.12.5"
        assert head["CRDS_CTX"] == "jwst_1185.pmap"
        assert hdus[1].header["SOURCEID"] == 6355
        assert hdus[1].header["SRCRA"] == pytest.approx(110.84459416965377, abs=1e-12)
        assert head["OXINPUT"] == frame.meta["file"]
        assert head["OXSHA256"] == frame.meta["sha256"]
        assert head["OXSRCTYP"] == "EXTENDED"
        assert head["OXVERS"]
        assert head["OXDATE"].startswith("20")
        history = " ".join(head["HISTORY"])
        assert "BUNIT is 'DN/s', which is no unit of flux" in history
        assert "SRCTYPE is POINT because FLUX is the result; OXSRCTYP is the input's." in history
        text = "\n".join(str(line) for line in hdus["OXRECIPE"].data["YAML"])
        recipe = Recipe.from_yaml(text)
        assert recipe == made.resolved
        assert hdus["OXRECIPE"].header["OXDIGEST"] == made.resolved.digest()


def test_x1d_of_smacs_in_stdatamodels_specutils_and_ours(data_dir, tmp_path):
    from specutils import Spectrum
    from stdatamodels.jwst import datamodels

    made = extract(smacs(data_dir))
    path = write(made, tmp_path / "smacs_optx1d.fits")
    with datamodels.open(path) as model:
        assert isinstance(model, datamodels.MultiSpecModel)
        model.validate()
        assert model.meta.cal_step.extract_1d == "COMPLETE"
        assert model.meta.program.pi_name == "Pontoppidan, Klaus M."
        assert model.spec[0].source_id == 6355
        np.testing.assert_array_equal(model.spec[0].spec_table["FLUX"], made.flux[0])
        np.testing.assert_array_equal(model.spec[0].spec_table["FLUX_ERROR"], made.uncertainty[0])
    spectrum = Spectrum.read(path)
    np.testing.assert_array_equal(spectrum.flux.to_value(u.Jy), made.flux[0])
    np.testing.assert_array_equal(spectrum.spectral_axis.to_value(u.um), made.wavelength.value)
    np.testing.assert_array_equal(spectrum.uncertainty.array, made.uncertainty[0])
    ours = read_x1d(path)
    np.testing.assert_array_equal(ours.flux.to_value(u.Jy), made.flux[0])
    np.testing.assert_array_equal(ours["uncertainty"].to_value(u.Jy), made.uncertainty[0])


@pytest.mark.jdaviz
def test_x1d_of_smacs_in_jdaviz(data_dir, tmp_path):
    jdaviz = pytest.importorskip("jdaviz")
    made = extract(smacs(data_dir))
    path = write(made, tmp_path / "smacs_optx1d.fits")
    app = jdaviz.new_app()
    app.load(str(path), format="1D Spectrum")
    label = app._app.data_collection[0].label
    loaded = app._app.data_collection[label].get_object(statistic=None)
    good = np.isfinite(made.flux[0])
    np.testing.assert_allclose(loaded.flux.to_value(u.Jy)[good], made.flux[0][good], rtol=1e-12)
    np.testing.assert_allclose(loaded.spectral_axis.to_value(u.um), made.wavelength.value, rtol=1e-12)
    np.testing.assert_allclose(loaded.uncertainty.array[good], made.uncertainty[0][good], rtol=1e-12)


def test_several_sources_and_slits_are_several_spectra(pair, pristine, tmp_path):
    from specutils import SpectrumList

    two = write(pair, tmp_path / "two.fits")
    with fits.open(two) as hdus:
        tables = [hdu for hdu in hdus if hdu.name == "EXTRACT1D"]
        assert [hdu.header["SRCNAME"] for hdu in tables] == ["north", "SIM_custom_2"]
        # vertical in the file: dispersion along y there
        assert (tables[0].header["EXTRYSTR"], tables[0].header["EXTRYSTP"]) == (1.0, 90.0)
        assert tables[0].header["EXTR_X"] == pytest.approx(np.median(pair.centre[0]) + 1)
        assert tables[0].header["DISPAXIS"] == 2
        assert [hdu.header["OXSOURCE"] for hdu in hdus if hdu.name == "OPTEXTRACT"] == [0, 1]
        assert [hdu.ver for hdu in hdus if hdu.name == "OXRECIPE"] == [1]
    assert len(SpectrumList.read(two)) == 2
    np.testing.assert_array_equal(read_x1d(two, "north").flux.value, pair.flux[0])
    with pytest.raises(ReadError, match=r"must be an index or one of the names \['north', 'SIM_custom_2'\].*Got None"):
        read_x1d(two)
    results = [extract(frame) for frame in read_all(pristine)]
    many = write(results, tmp_path / "many.fits")
    from stdatamodels.jwst import datamodels

    with datamodels.open(many) as model:
        assert [spectrum.name for spectrum in model.spec] == ["100", "101", "102"]
        for spectrum, made in zip(model.spec, results, strict=True):
            np.testing.assert_array_equal(spectrum.spec_table["FLUX"], made.flux[0])


def test_columns_without_a_wavelength_are_left_out(result, tmp_path):
    values = result.wavelength.value.copy()
    values[:7] = np.nan
    made = dataclasses.replace(result, wavelength=values * result.wavelength.unit)
    with fits.open(write(made, tmp_path / "x.fits")) as hdus:
        assert len(hdus["EXTRACT1D"].data) == 73
        assert hdus["OPTEXTRACT"].data["COLUMN"][0] == 7
        np.testing.assert_array_equal(hdus["EXTRACT1D"].data["FLUX"], result.flux[0, 7:])


def test_other_units_other_telescopes_and_air(image_file, tmp_path, rng):
    rows = np.arange(15)[:, None]
    flux = 100 * np.exp(-0.5 * ((rows - 7) / 1.4) ** 2) + rng.normal(0, 2, (15, 60))
    cards = {
        "BUNIT": "electron", "CTYPE1": "AWAV", "CUNIT1": "Angstrom", "CRVAL1": 5000.0, "CRPIX1": 1.0, "CDELT1": 2.0,
        "TELESCOP": "Keck II", "INSTRUME": "DEIMOS", "OBJECT": "M 31", "DATE-OBS": "2005-01-01",
    }  # fmt: skip
    made = extract(read(image_file(SCI=(flux, cards), ERR=np.full((15, 60), 2.0))))
    path = write(made, tmp_path / "keck.fits")
    with fits.open(path) as hdus:
        head = hdus[0].header
        assert "TELESCOP" not in head
        assert head["OXTELESC"] == "Keck II"
        assert head["OXINSTRU"] == "DEIMOS"
        assert head["OBJECT"] == "M 31"
        assert head["OXAIR"] is True
        assert hdus["EXTRACT1D"].columns["FLUX"].unit == "electron"
        np.testing.assert_allclose(hdus["EXTRACT1D"].data["WAVELENGTH"], 0.5 + 2e-4 * np.arange(60), rtol=1e-12)
        assert np.isnan(hdus["EXTRACT1D"].data["SURF_BRIGHT"]).all()
    from stdatamodels.jwst import datamodels

    with datamodels.open(path) as model:
        np.testing.assert_array_equal(model.spec[0].spec_table["FLUX"], made.flux[0])
    ours = read_x1d(path)
    assert ours.flux.unit == u.electron
    np.testing.assert_array_equal(ours.flux.value, made.flux[0])


def test_columns_in_pixels(image_file, tmp_path, rng):
    rows = np.arange(15)[:, None]
    flux = 100 * np.exp(-0.5 * ((rows - 7) / 1.4) ** 2) + rng.normal(0, 2, (15, 60))
    made = extract(read(image_file(SCI=flux, ERR=np.full((15, 60), 2.0))))
    ours = read_x1d(write(made, tmp_path / "pix.fits"))
    assert ours.wavelength.unit == u.pix
    np.testing.assert_array_equal(ours.wavelength.value, np.arange(60))
    assert ours.flux.unit == u.dimensionless_unscaled


# ECSV ------------------------------------------------------------------------------------------------------------


def test_ecsv_holds_all_spectra_with_recipe_and_provenance(pair, result, tmp_path):
    path = write([result, pair], tmp_path / "all.ecsv")
    table = QTable.read(path, format="ascii.ecsv")
    assert sorted(set(table["source"])) == ["SIM_custom", "SIM_custom_2", "north"]
    north = table[table["source"] == "north"]
    np.testing.assert_array_equal(north["flux"].to_value(u.Jy), pair.flux[0])
    np.testing.assert_array_equal(north["var_rnoise"].to_value(u.Jy**2), pair.variance_parts["rnoise"][0])
    np.testing.assert_array_equal(north["flags"], pair.flags[0])
    about = table.meta["optextract"]
    assert about["input_sha256"] == result.meta["sha256"]
    assert about["date"]
    assert "optextract" in about["versions"]
    assert Recipe.from_yaml(next(iter(about["recipes"].values()))) in (result.resolved, pair.resolved)
    assert yaml.safe_load(next(iter(about["recipes"].values())))["schema"] == 1
    np.testing.assert_array_equal(read_x1d(path, "north").flux.value, pair.flux[0])


# ASDF ------------------------------------------------------------------------------------------------------------


def equal(one, two) -> bool:
    if isinstance(one, np.ndarray) or isinstance(two, np.ndarray):
        same = np.array_equal(np.asarray(one), np.asarray(two), equal_nan=np.asarray(one).dtype.kind == "f")
        return same and np.asarray(one).dtype == np.asarray(two).dtype
    if isinstance(one, dict) or hasattr(one, "items"):
        return set(one) == set(two) and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(two) and all(equal(a, b) for a, b in zip(one, two, strict=True))
    return one == two or (one != one and two != two)


def test_a_whole_result_comes_back_from_asdf(pair, tmp_path):
    path = write(pair, tmp_path / "whole.asdf")
    for back in (read_extraction(path), Extraction.read(path)):
        for field in dataclasses.fields(Extraction):
            one, two = getattr(pair, field.name), getattr(back, field.name)
            if field.name in ("boxcar", "trace", "kernel"):
                for inner in dataclasses.fields(one):
                    if inner.name != "compare":
                        assert equal(getattr(one, inner.name), getattr(two, inner.name)), (field.name, inner.name)
            else:
                assert equal(one, two), field.name
        assert back.wavelength.unit == pair.wavelength.unit
        assert [c.kind for c in back.kernel.candidates] == [c.kind for c in pair.kernel.candidates]
        with pytest.raises(ValueError, match="read-only"):
            back.flux[0, 0] = 1.0


def test_the_same_product_from_a_result_read_back(pair, tmp_path):
    back = read_extraction(write(pair, tmp_path / "whole.asdf"))
    first, second = write(pair, tmp_path / "a.fits"), write(back, tmp_path / "b.fits")
    for version in (1, 2):
        one, two = (fits.getdata(path, ("EXTRACT1D", version)) for path in (first, second))
        for name in one.dtype.names:
            np.testing.assert_array_equal(one[name], two[name])


def test_what_is_no_result_is_refused(tmp_path):
    import asdf

    with pytest.raises(ReadError, match="there is no such file"):
        read_extraction(tmp_path / "nowhere.asdf")
    (tmp_path / "text.asdf").write_text("hello")
    with pytest.raises(ReadError, match="is not a result that optextract wrote"):
        read_extraction(tmp_path / "text.asdf")
    asdf.AsdfFile({"a": 1}).write_to(tmp_path / "other.asdf")
    with pytest.raises(ReadError, match="is an ASDF file, but no result that optextract wrote"):
        read_extraction(tmp_path / "other.asdf")
    asdf.AsdfFile({"optextract": {"layout": 99, "extraction": {}}}).write_to(tmp_path / "new.asdf")
    with pytest.raises(ReadError, match="has layout 99; this version of optextract knows 1"):
        read_extraction(tmp_path / "new.asdf")


# nothing is destroyed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["fits", "ecsv", "asdf"])
def test_nothing_existing_is_overwritten_unasked(result, tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    path.write_text("precious")
    with pytest.raises(OptextractError, match=r"exists: overwrite=True replaces it"):
        write(result, path)
    assert path.read_text() == "precious"
    write(result, path, overwrite=True)
    assert path.stat().st_size > 1000
    assert os.listdir(tmp_path) == [path.name]


def test_an_input_is_never_overwritten(single, tmp_path):
    path = tmp_path / "input.fits"
    path.write_bytes(single.read_bytes())
    made = extract(read(path))
    (tmp_path / "link.fits").symlink_to(path)
    for target in (path, tmp_path / "link.fits"):
        with pytest.raises(OptextractError, match="is the input of this result: an input is never overwritten"):
            write(made, target, overwrite=True)
    assert path.read_bytes() == single.read_bytes()


def test_a_failed_write_leaves_what_was_there(result, tmp_path, monkeypatch):
    path = tmp_path / "x.fits"
    write(result, path)
    before = path.read_bytes()

    def fail(self, *args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(fits.HDUList, "writeto", fail)
    with pytest.raises(OSError, match="no space left"):
        write(result, path, overwrite=True)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.fits"]


def test_where_a_product_cannot_go(result, tmp_path):
    with pytest.raises(OptextractError, match=r"must be a file name that ends in .fits, .ecsv or .asdf"):
        write(result, tmp_path / "x.txt")
    with pytest.raises(OptextractError, match="there is no folder"):
        write(result, tmp_path / "absent" / "x.fits")
    (tmp_path / "folder.fits").mkdir()
    with pytest.raises(OptextractError, match="is a folder: give the name of the file to write"):
        write(result, tmp_path / "folder.fits")
    with pytest.raises(OptextractError, match=r"must be a single Extraction where the file is ASDF. Got '2 of them'"):
        write([result, result], tmp_path / "x.asdf")
    with pytest.raises(OptextractError, match="must be an Extraction or several"):
        write([], tmp_path / "x.fits")


# read_x1d --------------------------------------------------------------------------------------------------------


def test_pipeline_and_msaexp_spectra_are_read(data_dir):
    path = data_dir / "nirspec_mos_smacs_6355/jw02736-o007_s06355_nirspec_f290lp-g395m_x1d.fits"
    spectrum = read_x1d(path)
    table = fits.getdata(path, "EXTRACT1D")
    np.testing.assert_array_equal(spectrum.flux.to_value(u.Jy), table["FLUX"])
    np.testing.assert_array_equal(spectrum.uncertainty.value, table["FLUX_ERROR"])
    assert spectrum.name == "2736_6355"
    assert set(spectrum) == {"wavelength", "flux", "uncertainty"}
    msaexp = read_x1d(data_dir / "nirspec_mos_ceers_933/static-test-driz-center-bkg_933.spec.fits")
    assert msaexp.flux.unit == u.uJy
    assert msaexp.columns == ("wave", "flux", "err")


def test_spectra_without_units_or_columns_are_refused(data_dir, tmp_path):
    with pytest.raises(ReadError, match="holds no table with a wavelength and a flux"):
        read_x1d(data_dir / "keck_deimos/1313.104R_ref1d.fits")
    table = fits.BinTableHDU.from_columns(
        [fits.Column("WAVELENGTH", "D", array=[1.0, 2.0], unit="um"), fits.Column("FLUX", "D", array=[1.0, 2.0])]
    )
    table.writeto(tmp_path / "bare.fits")
    with pytest.raises(ReadError, match=r"the column FLUX has no unit that can be read \(there is no TUNIT\)"):
        read_x1d(tmp_path / "bare.fits")
