"""The flux scale: synthetic photometry, the correction and its interval, losses, what is refused."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from scipy import stats

import optextract as ox
from optextract.calibrate import (
    Photometry,
    add_to_product,
    aperture_fraction,
    band_weights,
    calibrate,
    calibrate_spectrum,
    compare,
    load_band,
    make_band,
    plot,
    profile_fraction,
    read_catalogue,
    slit_throughput,
)
from optextract.templates import load_template

CENTRES = {"B1": 1.2, "B2": 1.6, "B3": 2.1, "B4": 2.8, "B5": 3.6, "B6": 4.4}


def bands():
    out = []
    for name, centre in CENTRES.items():
        x = np.linspace(0.8, 1.2, 81) * centre
        through = np.exp(-0.5 * ((x / centre - 1) / 0.09) ** 8)
        out.append(make_band(name, x * u.um, np.where((x > x[0]) & (x < x[-1]), through, 0.0)))
    return out


def spectrum(wavelength):
    return 2e-6 * (1 + 0.4 * np.sin(3 * wavelength)) + 3e-6 * np.exp(-0.5 * ((wavelength - 2.1) / 0.01) ** 2)


def tilt(wavelength, low=0.9, high=5.2):
    """From 0.925 at one end to 1.075 at the other, in log wavelength: 15 % in all."""
    x = (2 * np.log(wavelength) - np.log(low) - np.log(high)) / (np.log(high) - np.log(low))
    return 1.0 + 0.075 * x


def frame_like(wavelength, flux, error, rng):
    return flux + rng.normal(0, error, flux.shape), np.full(flux.shape, error)


# --- synthetic photometry


def test_the_mean_through_a_band_is_synphots():
    with u.add_enabled_units([]):  # without it its units stay enabled, and jdaviz in the same process fails on them
        from synphot import Observation, SourceSpectrum
        from synphot import units as synphot_units
        from synphot.models import Empirical1D

    wavelength = np.linspace(0.9, 5.2, 900)
    flux = spectrum(wavelength)
    points = wavelength * 1e4 * u.AA
    source = SourceSpectrum(
        Empirical1D, points=points, keep_neg=True,
        lookup_table=(flux * u.Jy).to(synphot_units.PHOTLAM, u.spectral_density(points)),
    )  # fmt: skip
    for band in bands()[:3]:
        from synphot import SpectralElement

        element = SpectralElement(Empirical1D, points=band.wavelength * u.um, lookup_table=band.throughput)
        theirs = Observation(source, element, binset=element.waveset, force="none").effstim(u.Jy).value
        weights, covered = band_weights(wavelength, band)
        assert covered == pytest.approx(1.0)
        assert weights.sum() == pytest.approx(1.0)
        assert weights @ flux == pytest.approx(theirs, rel=2e-4)
        assert band.pivot == pytest.approx(element.pivot().to_value(u.um))


def test_units_that_jdaviz_cannot_parse_do_not_stay_enabled():
    import subprocess
    import sys

    code = (
        "import numpy as np, astropy.units as u\n"
        "from optextract.calibrate import make_band\n"
        "make_band('FLAT', np.linspace(1, 2, 9) * u.um, np.ones(9))\n"
        "import sys; assert 'synphot' in sys.modules\n"
        "print([str(x) for x in u.get_current_unit_registry().all_units if str(x).startswith('PHOT')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_flat_spectrum_has_its_flux_in_every_band(data_dir):
    wavelength = np.linspace(0.8, 5.3, 1000)
    for path in sorted((data_dir / "filters").glob("*.par")):
        band = load_band(path)
        assert band.name == path.stem.split("_")[1].upper()
        weights, covered = band_weights(wavelength, band)
        assert weights @ np.full(1000, 3.0) == pytest.approx(3.0 * covered, rel=1e-6)
        assert covered > 0.999
    assert load_band(data_dir / "filters" / "jwst_f200w.par").pivot == pytest.approx(1.99, abs=0.01)


# --- the correction


def test_95_percent_intervals_hold_the_truth_in_95_percent_of_500_realisations():
    rng = np.random.default_rng(5)
    wavelength, curves = np.linspace(0.9, 5.2, 400), bands()
    truth = spectrum(wavelength)
    fluxes = [band_weights(wavelength, band)[0] @ truth for band in curves]
    inside, joint, chi2 = [], [], []
    at = np.array([1.2, 2.2, 4.2])
    for _ in range(500):
        seen, error = frame_like(wavelength, truth / tilt(wavelength), 2e-7, rng)
        catalogue = [
            Photometry(b.name, f * (1 + 0.05 * rng.normal()), 0.05 * f) for b, f in zip(curves, fluxes, strict=True)
        ]
        found = calibrate_spectrum(wavelength, seen, error, u.Jy, catalogue, curves)
        low, high = found.interval(at)
        inside.append((low <= tilt(at)) & (tilt(at) <= high))
        away = found.coefficients - [1.0, 0.075]
        joint.append(away @ np.linalg.solve(found.covariance, away) < stats.chi2.ppf(0.95, 2))
        chi2.append(found.chi2)
        assert found.freedom == 4
    for share in (*np.mean(inside, axis=0), np.mean(joint)):
        assert share == pytest.approx(0.95, abs=0.03)
    assert np.mean(chi2) == pytest.approx(4.0, abs=0.4)


def test_the_spectrums_own_noise_is_in_the_interval():
    """A spectrum noisier than its photometry: without its noise the interval would be far too small."""
    rng = np.random.default_rng(6)
    wavelength, curves = np.linspace(0.9, 5.2, 400), bands()
    truth = spectrum(wavelength)
    catalogue = [Photometry(b.name, band_weights(wavelength, b)[0] @ truth, 1e-9) for b in curves]
    inside, values = [], []
    for _ in range(300):
        seen, error = frame_like(wavelength, truth, 6e-7, rng)
        found = calibrate_spectrum(wavelength, seen, error, u.Jy, catalogue, curves)
        low, high = found.interval([2.2])
        inside.append(low[0] <= 1.0 <= high[0])
        values.append(found.at([2.2])[0][0])
    assert np.mean(inside) == pytest.approx(0.95, abs=0.04)
    assert np.mean(values) == pytest.approx(1.0, abs=0.004)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_an_exact_correction_comes_back(degree):
    wavelength, curves = np.linspace(0.9, 5.2, 400)[::-1], bands()
    truth = spectrum(wavelength)
    wanted = 1.3 * (tilt(wavelength) if degree else 1.0)
    catalogue = [Photometry(b.name, band_weights(wavelength[::-1], b)[0] @ truth[::-1], 1e-8) for b in curves]
    found = calibrate_spectrum(
        wavelength, truth / wanted, np.full(400, 1e-12), u.Jy, catalogue, curves, degree=degree
    )  # fmt: skip
    np.testing.assert_allclose(found.scale, wanted, rtol=1e-3)
    np.testing.assert_allclose(found.calibrated, truth, rtol=1e-3)
    assert found.chi2 < 1
    assert found.words()[0].startswith("Photometry in B1, B2, B3, B4, B5, B6 asks for a factor 1.")


def result_of(seed=0, **meta):
    from optextract.simulate import make_scene

    scene = make_scene("bright", seed)
    n = scene.frame.n_disp
    frame = scene.frame.replace(
        wavelength=np.linspace(0.9, 5.2, n) * u.um, unit="uJy", meta={**scene.frame.meta, "flux_unit": "uJy", **meta}
    )
    return ox.extract(frame)


def measured(result, curves, factor=1.0, relative=0.03):
    good = np.isfinite(result.flux[0])
    waves = result.wavelength.value
    return [
        Photometry(b.name, factor * float(band_weights(waves[good], b)[0] @ result.flux[0, good]) * 1e-6,
                   relative * float(band_weights(waves[good], b)[0] @ result.flux[0, good]) * 1e-6)
        for b in curves
    ]  # fmt: skip


def test_an_extraction_is_calibrated_and_its_flux_left_alone(tmp_path):
    from optextract.io import write

    result, curves = result_of(), bands()
    found = calibrate(result, measured(result, curves, 1.2), curves)
    np.testing.assert_allclose(found.scale, 1.2, rtol=2e-3)
    path = write(result, tmp_path / "one_optx1d.fits")
    path = tmp_path / "one_optx1d.fits" if path is None else path
    before = fits.getdata(path, "EXTRACT1D")["FLUX"].copy()
    add_to_product(found, path)
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(hdus["EXTRACT1D"].data["FLUX"], before)
        table, header = hdus["OPTEXTRACT"].data, hdus["OPTEXTRACT"].header
        np.testing.assert_allclose(table["FLUX_CAL"], before * table["FLUX_SCALE"], rtol=1e-9)
        assert header["OXCALBND"] == "B1,B2,B3,B4,B5,B6"
        assert header["OXCALDEG"] == 1
        assert header["OXCAL0"] == pytest.approx(found.coefficients[0])
        assert header["OXCV01"] == pytest.approx(found.covariance[0, 1])
        assert header["OXRESULT"] == 1  # what was there is kept
        assert "CENTRE" in table.columns.names
    from stdatamodels.jwst import datamodels

    with datamodels.open(path) as model:
        np.testing.assert_array_equal(model.spec[0].spec_table["FLUX"], before)
    with pytest.raises(ox.OptextractError, match="must be a product that is not calibrated"):
        add_to_product(found, path)
    add_to_product(found, path, overwrite=True)
    with pytest.raises(ox.OptextractError, match="must be one of the 1 spectra of the product"):
        add_to_product(found, path, source=1)


def test_the_figure_is_drawn(tmp_path):
    result, curves = result_of(), bands()
    figure = plot(calibrate(result, measured(result, curves, 1.2), curves))
    assert [axis.get_ylabel() for axis in figure.axes] == ["Flux density (µJy)", "Photometry / spectrum"]
    assert figure.axes[1].get_xlabel() == "Wavelength (µm)"
    figure.savefig(tmp_path / "calibration.png")
    assert (tmp_path / "calibration.png").stat().st_size > 10_000


def test_the_command_calibrates_a_product(tmp_path, capsys):
    from optextract.cli import main
    from optextract.io import write

    result, curves = result_of(), bands()
    product = tmp_path / "one_optx1d.fits"
    write(result, product)
    catalogue = {"id": [3]}
    for item, band in zip(measured(result, curves, 1.2), curves, strict=True):
        catalogue |= {f"{band.name}_flux": [item.flux * 1e6], f"{band.name}_flux_err": [item.error * 1e6]}
        Table({"wavelength": band.wavelength * u.um, "throughput": band.throughput}).write(
            tmp_path / f"{band.name}.ecsv"
        )
    Table(catalogue).write(tmp_path / "cat.csv", format="ascii.csv")
    words = ["calibrate", str(product), str(tmp_path / "cat.csv"), "--match", "id=3", "--unit", "uJy"]
    words += [f"--filter={band.name}={tmp_path / band.name}.ecsv" for band in curves]
    assert main([*words, "--plot", str(tmp_path / "one.png")]) == 0
    said = capsys.readouterr().out
    assert "asks for a factor 1.200 +- 0.0" in said
    assert "FLUX_CAL beside FLUX" in said
    with fits.open(product) as hdus:
        scale = hdus["OPTEXTRACT"].data["FLUX_SCALE"]
        np.testing.assert_allclose(scale[np.isfinite(scale)], 1.2, rtol=3e-3)
    assert main(words) == 2
    assert "must be a product that is not calibrated" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--degree", "6"]) == 2
    assert "'degree' parameter of calibrate must be a whole number from 0 to 5" in capsys.readouterr().err


# --- what is refused and what is spoken of


def test_bands_that_are_not_covered_are_refused_by_name():
    wavelength, curves = np.linspace(0.9, 3.6, 300), bands()
    flux, error = spectrum(wavelength), np.full(300, 1e-7)
    catalogue = [Photometry(b.name, 2e-6, 1e-7) for b in curves]
    with pytest.raises(ox.OptextractError) as caught:
        calibrate_spectrum(wavelength, flux, error, u.Jy, catalogue, curves)
    said = str(caught.value)
    assert said.startswith("Bands must be covered by the spectrum (0.900 to 3.600 um). B5: the spectrum covers ")
    assert "B6: the spectrum covers 0 % of its photons" in said
    assert "B4" not in said
    found = calibrate_spectrum(wavelength, flux, error, u.Jy, catalogue, curves, uncovered="skip")
    assert found.bands == ("B1", "B2", "B3", "B4")
    assert any(line.startswith("B6 was left out: the spectrum covers 0 %") for line in found.words())
    hole = np.where((wavelength > 1.55) & (wavelength < 1.65), np.nan, flux)
    with pytest.raises(ox.OptextractError, match=r"B2: the spectrum covers \d\d % of its photons"):
        calibrate_spectrum(wavelength, hole, error, u.Jy, catalogue[:4], curves)
    single = flux.copy()
    single[70] = np.nan
    assert calibrate_spectrum(wavelength, single, error, u.Jy, catalogue[:4], curves).bands[1] == "B2"


def test_what_cannot_be_fitted_is_refused():
    wavelength, curves = np.linspace(0.9, 5.2, 300), bands()
    flux, error = spectrum(wavelength), np.full(300, 1e-7)
    catalogue = [Photometry(b.name, 2e-6, 1e-7) for b in curves]
    with pytest.raises(ox.OptextractError, match=r"'degree' parameter of calibrate must be at most 0 for 1 bands"):
        calibrate_spectrum(wavelength, flux, error, u.Jy, catalogue[:1], curves)
    with pytest.raises(ox.OptextractError, match=r"with a curve for each measurement .* Got 'B9'"):
        calibrate_spectrum(wavelength, flux, error, u.Jy, [Photometry("B9", 1e-6, 1e-7)], curves)
    with pytest.raises(ox.OptextractError, match=r"in a flux density per frequency. Got 'electron'"):
        calibrate_spectrum(wavelength, flux, error, u.electron, catalogue, curves)
    with pytest.raises(ox.OptextractError, match=r"from 0 to 5. Got True"):
        calibrate_spectrum(wavelength, flux, error, u.Jy, catalogue, curves, degree=True)
    faint = calibrate_spectrum(wavelength, flux, 40 * error, u.Jy, catalogue, curves)
    assert any("S/N below 10 through" in said for said in faint.warnings)
    apart = [Photometry(p.band, p.flux * (3 if k % 2 else 1), 1e-8) for k, p in enumerate(catalogue)]
    found = calibrate_spectrum(wavelength, flux, error, u.Jy, apart, curves)
    assert any("scatter more than their errors allow" in said for said in found.warnings)


# --- catalogues and curves


@pytest.mark.parametrize("suffix", ["csv", "ecsv", "fits"])
def test_catalogues_of_each_kind(tmp_path, suffix):
    table = Table({"id": [7, 8], "f200w_flux": [1.0, 2.0], "f200w_flux_err": [0.1, 0.2]})
    table["F444W_mag"], table["e_F444W_mag"] = [23.9, 25.0], [0.1, 0.05]
    table["F115W"], table["e_F115W"] = [np.nan, np.nan], [1.0, 1.0]
    if suffix != "csv":
        table["f200w_flux"].unit = "uJy"
        table["F444W_mag"].unit = None if suffix == "fits" else u.Unit("mag(AB)")
    path = tmp_path / f"cat.{suffix}"
    table.write(path, format="ascii.csv" if suffix == "csv" else None)
    wanted = ("F115W", "F200W", "F444W")
    columns = {"F200W": ("f200w_flux", "f200w_flux_err"), "F444W": ("F444W_mag", "e_F444W_mag")}
    if suffix == "csv":
        flux = read_catalogue(path, ["F200W"], match=("id", 8), unit="uJy")
        magnitude = read_catalogue(path, ["F444W"], match=("id", 8))
        found = (*flux, *magnitude)
    else:
        found = read_catalogue(path, wanted, match=("id", 8))
    assert [p.band for p in found] == ["F200W", "F444W"]
    assert (found[0].flux, found[0].error) == pytest.approx((2e-6, 0.2e-6))
    assert found[1].flux == pytest.approx(3631 * 10**-10)
    assert found[1].error / found[1].flux == pytest.approx(0.05 * np.log(10) / 2.5)
    again = read_catalogue(path, ["F444W"], row=1, columns=columns)
    assert again[0] == found[1]


def test_catalogues_that_do_not_say_enough_are_refused():
    table = Table({"id": [1, 1], "f200w_flux": [1.0, 2.0], "f200w_flux_err": [0.1, -0.2], "f277w_flux": [1.0, 1.0]})
    with pytest.raises(
        ox.OptextractError, match=r"'row' parameter of read_catalogue must be given for a table of 2 rows"
    ):
        read_catalogue(table, ["F200W"])
    with pytest.raises(ox.OptextractError, match=r"one row of the table. Got 'id = 1, 2 rows'"):
        read_catalogue(table, ["F200W"], match=("id", 1))
    with pytest.raises(ox.OptextractError, match="given where the column f200w_flux has no unit"):
        read_catalogue(table, ["F200W"], row=0)
    with pytest.raises(
        ox.OptextractError, match=r"'f200w_flux_err' parameter of read_catalogue must be a positive error"
    ):
        read_catalogue(table, ["F200W"], row=1, unit="uJy")
    with pytest.raises(ox.OptextractError, match=r"with an error of f277w_flux \(such as f277w_flux_err\)"):
        read_catalogue(table, ["F277W"], row=0, unit="uJy")
    with pytest.raises(ox.OptextractError, match="must be measured in the table"):
        read_catalogue(table, ["F999W"], row=0, unit="uJy")
    with pytest.raises(ox.OptextractError, match=r"a flux density per frequency, or ABmag\. Got 'kg'"):
        read_catalogue(table, ["F200W"], row=0, unit="kg")


def test_filter_curves_from_tables_and_the_svo(tmp_path, monkeypatch):
    x = np.linspace(1.8, 2.2, 41)
    through = np.where(np.abs(x - 2) < 0.15, 1.0, 0.0)
    Table({"wavelength": x * u.um, "throughput": through}).write(tmp_path / "band.ecsv")
    Table({"wavelength": x * 1e4, "throughput": through}).write(tmp_path / "band.csv", format="ascii.csv")
    one, two = load_band(tmp_path / "band.ecsv", "X"), load_band(tmp_path / "band.csv", "X")
    assert one.pivot == pytest.approx(two.pivot) == pytest.approx(2.0, abs=0.01)

    class SvoFps:
        @staticmethod
        def get_transmission_data(identifier):
            if identifier.endswith("F200W"):
                return Table({"Wavelength": x * 1e4, "Transmission": through})
            raise IndexError("no such filter")

    monkeypatch.setitem(sys.modules, "astroquery.svo_fps", types.SimpleNamespace(SvoFps=SvoFps))
    assert load_band("JWST/NIRCam.F200W").name == "F200W"
    with pytest.raises(ox.OptextractError, match=r"the filter JWST/NIRCam\.F201W could not be fetched from the SVO"):
        load_band("JWST/NIRCam.F201W")
    with pytest.raises(ox.OptextractError, match=r"must be a file, or an SVO identifier .* Got 'nothing.par'"):
        load_band("nothing.par")
    (tmp_path / "words.par").write_text("not numbers\n")
    with pytest.raises(ox.OptextractError, match="cannot be read"):
        load_band(tmp_path / "words.par")


# --- losses


def test_slit_throughput_of_the_empirical_table(data_dir):
    path = data_dir / "psf" / "nirspec_merged_s200a1_exp_psf_lookup_001.fits.gz"
    with fits.open(path) as hdus:
        loss, waves, offsets = hdus["LOSS"].data, hdus["WAVE"].data, hdus["LOSS_XOFFSET"].data
    found = slit_throughput(path, waves, offset=-float(offsets[5]))
    np.testing.assert_allclose(found, loss[:, 0, 5])
    middle = slit_throughput(path, [2.0, 2.0], source_size=0.5), slit_throughput(path, [2.0] * u.um, source_size=0.5)
    assert middle[0][0] == middle[1][0] < slit_throughput(path, [2.0])[0]
    edge = slit_throughput(path, [2.0], offset=0.5)[0]
    assert 0.4 < edge < 0.55  # a source on the edge of the slit loses half of its light
    assert np.isnan(slit_throughput(path, [np.nan, 2.0])[0])
    with pytest.raises(
        ox.OptextractError, match=r"'offset' parameter of slit_throughput must be between 0 and 0.5. Got 0.7"
    ):
        slit_throughput(path, [2.0], offset=-0.7)
    with pytest.raises(
        ox.OptextractError, match=r"'wavelength' parameter of slit_throughput must be between 0.5 and 5.7 um"
    ):
        slit_throughput(path, [2.0, 9.0])


def test_aperture_fraction_is_what_the_aperture_holds(data_dir):
    template = load_template(data_dir / "psf" / "nirspec_merged_s200a1_exp_psf_lookup_001.fits.gz")
    waves = np.linspace(1, 5, 20)
    image = template.image(31, 15.2, waves)
    inside = aperture_fraction(template, waves, 12.5, 18.5, 15.2)
    np.testing.assert_allclose(inside, image[13:19].sum(axis=0), atol=1e-6)
    assert (np.diff(aperture_fraction(template, waves, 14.5, 16.5, 15.2)) < 0.02).all()
    with pytest.raises(ox.OptextractError, match="must be lower below upper"):
        aperture_fraction(template, waves, 18.5, 12.5, 15.2)
    result = result_of()
    centre = float(np.nanmedian(result.centre[0]))
    assert np.nanmin(profile_fraction(result, -0.5, 200.0)) > 0.99
    assert 0.4 < np.nanmedian(profile_fraction(result, centre, 200.0)) < 0.6


# --- comparison


def test_comparison_tells_ratio_pulls_and_sign():
    result = result_of()
    other = {
        "wavelength": result.wavelength, "flux": u.Quantity(0.5 * result.flux[0], result.unit),
        "uncertainty": u.Quantity(result.uncertainty[0], result.unit),
    }  # fmt: skip
    same = compare(result, other, label="half")
    assert same.comparison.ratio == pytest.approx(0.5, rel=1e-2)
    assert same.sign == 1
    assert same.correlation == pytest.approx(1.0, abs=1e-6)
    assert abs(same.pull_median) < 0.2
    turned = compare(result, {**other, "flux": -other["flux"]})
    assert turned.sign == -1
    assert "the opposite sign" in turned.words()[-1]
    rng = np.random.default_rng(0)
    noise = compare(result, {**other, "flux": u.Quantity(rng.normal(0, 1, result.flux.shape[1]), result.unit)})
    assert noise.sign == 0


def test_comparison_with_a_pipelines_spectrum(data_dir):
    from optextract.io import read, read_x1d

    folder = data_dir / "nirspec_mos_smacs_6355"
    result = ox.extract(read(folder / "jw02736-o007_s06355_nirspec_f290lp-g395m_s2d.fits"))
    theirs = read_x1d(folder / "jw02736-o007_s06355_nirspec_f290lp-g395m_extract1dstep.fits")
    found = compare(result, theirs, label="pipeline")
    assert found.sign == 1
    assert 0.6 < found.comparison.ratio < 1.1  # its eight rows hold part of the negative nods
    assert found.pull_rms < 1.5
