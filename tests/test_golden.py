"""Figures that a correct program reproduces from real observations, and from a source injected into one."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

import optextract as ox

SMACS = "nirspec_mos_smacs_6355/jw02736-o007_s06355_nirspec_f290lp-g395m_{}.fits"
Z = 7.665
LINES = {"[O III] 4959": 0.4960295 * (1 + Z), "[O III] 5007": 0.5008240 * (1 + Z)}


@pytest.fixture(scope="module")
def smacs(data_dir):
    return ox.read(data_dir / SMACS.format("s2d"))


@pytest.fixture(scope="module")
def smacs_result(smacs):
    return ox.extract(smacs)


def table(path):
    """A FITS table as float64 arrays in native order."""
    data = fits.getdata(path, 1)
    return {name: np.asarray(data[name], dtype=float) for name in data.columns.names}


# plain sums against the pipeline's own ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lower", "upper", "product"),
    [(20.5, 28.5, "extract1dstep"), (16.0, 24.0, "x1d")],
)
def test_boxcar_is_the_archives_sum_to_machine_precision(data_dir, smacs, lower, upper, product):
    expected = table(data_dir / SMACS.format(product))
    found = ox.boxcar(smacs, lower, upper)
    seen = smacs.good.any(axis=0)
    largest = np.abs(expected["FLUX"]).max()
    np.testing.assert_allclose(found.flux[seen], expected["FLUX"][seen], rtol=0, atol=1e-12 * largest)
    np.testing.assert_allclose(found.wavelength.to_value("um"), expected["WAVELENGTH"], rtol=0, atol=1e-12)
    assert found.unit.to_string() == "Jy"
    # 73 columns without a good pixel: nothing and a flag here, a zero there
    assert int((~seen).sum()) == 73
    assert np.isnan(found.flux[~seen]).all()
    assert np.isnan(found.uncertainty[~seen]).all()
    assert (found.flags[~seen] & ox.Flag.NO_DATA).all()
    assert (expected["FLUX"][~seen] == 0).all()


def test_boxcar_of_whole_rows_has_the_archives_errors(data_dir, smacs):
    expected = table(data_dir / SMACS.format("extract1dstep"))
    found = ox.boxcar(smacs, 20.5, 28.5)
    # one column of the archive's has no error, although four pixels of its aperture are good
    seen = smacs.good.any(axis=0) & np.isfinite(expected["FLUX_ERROR"])
    assert seen.sum() == 1141
    np.testing.assert_allclose(found.uncertainty[seen], expected["FLUX_ERROR"][seen], rtol=1e-7)
    for name in ("poisson", "rnoise", "flat"):
        archive = expected[f"FLUX_VAR_{name.upper()}"][seen]
        np.testing.assert_allclose(found.variance_parts[name][seen], archive, rtol=1e-12)


def test_half_a_row_has_a_quarter_of_its_variance_here_and_half_of_it_in_the_archive(data_dir, smacs):
    """Why FLUX_ERROR of the archive's x1d is not reproduced: it weights variances with w where w^2 is right."""
    archive = table(data_dir / SMACS.format("x1d"))["FLUX_ERROR"]
    weight = np.array([0.5, *[1.0] * 7, 0.5])[:, None]
    variance = np.where(smacs.good, smacs.variance, 0.0)[16:25] * smacs.flux_scale**2
    seen = smacs.good.any(axis=0) & np.isfinite(archive)
    np.testing.assert_allclose(np.sqrt((weight * variance).sum(axis=0))[seen], archive[seen], rtol=1e-7)
    right = np.sqrt((weight**2 * variance).sum(axis=0))
    np.testing.assert_allclose(ox.boxcar(smacs, 16.0, 24.0).uncertainty[seen], right[seen], rtol=1e-12)


# SMACS 6355, a galaxy at z = 7.665 ----------------------------------------------------------------------------------


def test_smacs_source_is_found_at_row_24_and_not_on_a_negative_nod(smacs_result):
    assert np.nanmedian(smacs_result.centre[0]) == pytest.approx(24.0, abs=1.0)
    assert np.ptp(smacs_result.centre[0][np.isfinite(smacs_result.centre[0])]) < 2.0
    assert 2.4 < np.nanmedian(smacs_result.fwhm[0]) < 4.5
    assert np.nanmax(smacs_result.fwhm[0]) < 6.0
    assert smacs_result.unit.to_string() == "Jy"
    assert smacs_result.wavelength.unit.to_string() == "um"


@pytest.mark.parametrize("line", LINES)
def test_smacs_lines_are_there_and_survive_rejection(smacs_result, line):
    wavelength = smacs_result.wavelength.value
    centre = int(np.nanargmin(np.abs(wavelength - LINES[line])))
    near = slice(centre - 6, centre + 7)
    snr = (smacs_result.flux / smacs_result.uncertainty)[0, near]
    peak = int(np.nanargmax(snr))
    assert snr[peak] >= 10
    assert wavelength[near][peak] == pytest.approx(LINES[line], abs=0.003)
    kept, plain = np.nansum(smacs_result.flux[0, near]), np.nansum(smacs_result.flux_unrejected[0, near])
    assert abs(kept / plain - 1) < 0.02


@pytest.mark.parametrize("first", [500, 600, 700])
def test_smacs_source_is_the_same_in_a_part_of_the_columns(smacs, first):
    """Between twins of free depth, a source as wide as the nods fits the slice of these columns better than it does."""
    result = ox.extract(smacs, region={"disp": (first, 1214)})
    assert 2.4 < np.nanmedian(result.fwhm) < 4.5
    wavelength, flux = result.wavelength.to_value("um"), result.flux[0]
    lines = []
    for rest in (0.500824, 0.4960295):
        away = np.abs(wavelength - rest * 8.665)
        level = np.nanmedian(flux[(away > 0.0072) & (away < 0.024)])
        lines.append(np.nansum(flux[away < 0.006] - level))
        assert np.nanmedian(result.centre[0][away < 0.006]) == pytest.approx(24.3, abs=0.5)
    assert lines[0] / lines[1] == pytest.approx(2.98, abs=0.2)


def test_smacs_archive_aperture_misses_half_of_the_light_and_holds_a_negative_nod(smacs, smacs_result):
    """It is centred on row 20: the trace is at 24.3, and the negative one, a nod below, at 19.2."""
    centre = int(np.nanargmin(np.abs(smacs_result.wavelength.value - LINES["[O III] 5007"])))
    profile = smacs_result.profile[0][:, centre]
    assert 0.3 < 0.5 * profile[16] + profile[17:24].sum() + 0.5 * profile[24] < 0.6
    near = slice(centre - 4, centre + 5)
    archive = np.nansum(ox.boxcar(smacs, 16.0, 24.0).flux[near])
    assert archive < 0.3 * np.nansum(smacs_result.flux[0, near])


def test_smacs_errors_are_said_to_be_too_small_in_words(smacs_result):
    pull = smacs_result.quality["pull"]
    # seen elsewhere: 1.2 to 1.6 per pixel, 1.8 per column, 2.5 and 3.3 in bins of 10 and 20
    assert 1.2 < pull["pixel"] < 1.8
    assert 1.5 < pull["profile"] < 2.6
    assert pull["profile"] < min(pull["bin5"], pull["bin10"], pull["bin20"])
    words = " ".join(smacs_result.quality["warnings"])
    assert f"The errors are {pull['profile']:.2f} times too small according to source-free pixels" in words
    assert f"for line fluxes (10 columns) by {pull['bin10']:.2f}" in words
    assert (
        "The file does not tell whether its errors hold the noise of subtracting 3 nods (factor 1.22 if not)" in words
    )


def test_smacs_errors_are_scaled_on_request_and_only_then(smacs, smacs_result):
    scaled = ox.extract(smacs, ox.Recipe(noise={"scale": "auto"}))
    factor = smacs_result.quality["pull"]["profile"]
    ratio = (scaled.uncertainty / smacs_result.uncertainty)[0]
    np.testing.assert_allclose(ratio[np.isfinite(ratio)], factor, rtol=1e-9)
    np.testing.assert_array_equal(scaled.flux, smacs_result.flux)
    assert scaled.resolved.noise.scale == pytest.approx(factor)


def test_smacs_columns_without_data_stay_empty_and_their_neighbours_do_not(smacs, smacs_result):
    seen = smacs.good.any(axis=0)
    assert np.isnan(smacs_result.flux[0, ~seen]).all()
    assert (smacs_result.flags[0, ~seen] & ox.Flag.NO_DATA).all()
    assert np.isfinite(smacs_result.flux[0, seen]).mean() > 0.97


# a source injected into real detector frames ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def injected(data_dir):
    frame = ox.read(data_dir / "nirspec_mos_injected" / "inject_mid_s2d.fits")
    truth = table(data_dir / "nirspec_mos_injected" / "inject_mid_truth.fits")["flux_noiseless_s2d_sum"] * 1e6
    return frame, truth


def in_bins(deviation, error, use, size):
    """Sums of `size` columns in a row of those used, over their error."""
    index = np.flatnonzero(use)
    groups = index[: len(index) // size * size].reshape(-1, size)
    return deviation[groups].sum(axis=1) / np.sqrt((error[groups] ** 2).sum(axis=1))


def test_injected_source_is_recovered_within_four_percent(injected, record_property):
    """The rest is the profile: resampling leaves wings that a Gaussian does not have."""
    frame, truth = injected
    result = ox.extract(frame, ox.Recipe(profile={"kind": "gaussian", "empirical": False}))
    flux, error = result.flux[0], result.uncertainty[0]
    good = np.isfinite(flux) & np.isfinite(truth)
    bright = good & (flux > 10 * error)
    assert bright.sum() > 60
    weight = (truth / error)[bright] ** 2
    ratio = ((flux / truth)[bright] * weight).sum() / weight.sum()
    record_property("flux over truth", float(ratio))
    assert ratio == pytest.approx(1.0, abs=0.04)
    assert result.unit.to_string() == "Jy"


def test_injected_source_has_honest_errors_by_column_and_in_bins(injected):
    """Drizzled: ERR is no plain sigma of a pixel, and neighbours are correlated."""
    frame, truth = injected
    result = ox.extract(frame)
    flux, error = result.flux[0], result.uncertainty[0]
    good = np.isfinite(flux) & np.isfinite(truth)
    pull = ((flux - truth) / error)[good]
    assert 0.65 < np.sqrt(np.mean(pull**2)) < 1.2
    assert 0.65 < np.sqrt(np.mean(in_bins(flux - truth, error, good, 10) ** 2)) < 1.2


# a slit of DEEP2, with the survey's own spectra ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def deimos(data_dir):
    folder = data_dir / "keck_deimos"
    return ox.read(folder / "1313.104R_2d.fits.gz"), table(folder / "1313.104R_ref1d.fits")


def against_survey(result, survey):
    """Scale to the survey's Horne spectrum over its bright columns, scatter about it, and errors over the survey's."""
    known = survey["horne_err"] > 0
    flux, error = result.flux[0], result.uncertainty[0]
    bright = known & np.isfinite(flux) & (survey["horne"] > 20 * np.where(known, survey["horne_err"], np.inf))
    assert bright.sum() > 2000
    ratio = flux[bright] / survey["horne"][bright]
    scale = np.median(ratio)
    return scale, np.std(ratio / scale), np.median(error[bright] / scale / survey["horne_err"][bright])


def test_deimos_agrees_with_the_survey_after_one_factor(deimos):
    frame, survey = deimos
    scale, scatter, errors = against_survey(ox.extract(frame), survey)
    assert scatter < 0.03
    assert errors < 1.0
    assert 1.05 < scale < 1.3


def test_deimos_factor_is_the_window(deimos):
    """The wings go on to the end of the slit: the narrower the window, the nearer the flux is to the survey's."""
    frame, survey = deimos
    region = {"flux": {"window": "region"}}
    scales = {}
    for rows in ((27, 43), (25, 45)):
        scales[rows] = against_survey(ox.extract(frame, ox.Recipe(**region), region={"cross": rows}), survey)[0]
    whole = against_survey(ox.extract(frame), survey)[0]
    assert scales[27, 43] < scales[25, 45] < whole
    assert scales[27, 43] == pytest.approx(1.0, abs=0.08)
    assert whole - 1 > 2 * (scales[27, 43] - 1)


def test_deimos_factor_is_the_background_too(deimos):
    """What is taken for background and what for the source's wings moves the flux by some percent."""
    frame, survey = deimos
    scales = [
        against_survey(ox.extract(frame, ox.Recipe(background=background)), survey)[0]
        for background in ({"degree": "none"}, {}, {"degree": 0, "along": "column"})
    ]
    assert np.ptp(scales) > 0.02


# the shape of STScI's notebook: gap, cosmic rays, nod negatives, curved trace, varying width ------------------------


def test_synthetic_slit_is_recovered(data_dir):
    folder = data_dir / "nirspec_mos_simulated"
    frame = ox.read(folder / "synthetic_s2d.fits")
    truth = table(folder / "synthetic_truth.fits")
    result = ox.extract(frame)
    expected = truth["flux"] * frame.flux_scale
    flux, error = result.flux[0], result.uncertainty[0]
    good = np.isfinite(flux)
    assert good.sum() > 0.85 * good.size
    weight = np.where(good, 1 / error**2, 0.0)
    ratio = np.nansum(weight * flux * expected) / np.sum(weight * expected**2)
    assert ratio == pytest.approx(1.0, abs=0.01)
    pull = ((flux - expected) / error)[good]
    assert 0.95 < np.sqrt(np.mean(pull**2)) < 1.06
    assert (np.abs(pull) > 5).mean() < 0.001
    np.testing.assert_allclose(result.centre[0, good], truth["trace_y"][good], atol=0.05)
    np.testing.assert_allclose(result.fwhm[0, good], 2.3548 * truth["sigma"][good], rtol=0.06)
