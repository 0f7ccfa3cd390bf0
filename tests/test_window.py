"""What takes part: pixels that only their variance marks as bad do not."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.compiled.box import suspect, weigh
from optextract.lit import lit_rows
from optextract.lit import lit_slit as found_slit
from optextract.profiles import Gaussian
from optextract.simulate import make_scene


@pytest.mark.parametrize("value", [1e6, 1e30])
def test_pixels_marked_by_a_huge_variance_are_as_good_as_masked(rng, value):
    made = make_scene("mid", 3, shape=(25, 500))
    bad = rng.random(made.frame.shape) < 0.05
    sigma2 = np.median(made.frame.variance)
    told = ox.extract(made.frame.replace(mask=made.frame.mask | bad))
    marked = ox.extract(made.frame.replace(variance=np.where(bad, value * sigma2, made.frame.variance)))
    np.testing.assert_array_equal(marked.flux, told.flux)
    assert marked.quality["warnings"] == told.quality["warnings"]


def test_rows_and_columns_that_are_noisy_as_a_whole_take_part(rng):
    made = make_scene("mid", 3, shape=(25, 400))
    variance = made.frame.variance.copy()
    variance[:, 100:110] = 1e5 * np.median(variance)
    variance[3] = 1e5 * np.median(variance)
    result = ox.extract(made.frame.replace(variance=variance))
    assert np.isfinite(result.residual).all()
    assert np.isfinite(result.flux).all()


def test_bright_line_keeps_its_pixels_though_its_photons_make_the_variance_huge(rng):
    """Ten thousand times the sky's variance on the peak, and all of the light is there."""
    made = make_scene("mid", 2, shape=(25, 400))
    profile, sky = made.truth.profile[0], np.median(made.frame.variance)
    flux = 20_000.0 * sky * np.exp(-0.5 * ((np.arange(400) - 200.0) / 1.2) ** 2)
    photons = flux * profile
    variance = made.frame.variance + photons
    assert variance.max() > 5e3 * sky
    result = ox.extract(
        made.frame.replace(
            flux=made.frame.flux + photons + rng.standard_normal(photons.shape) * np.sqrt(photons), variance=variance
        )
    )
    assert np.isfinite(result.residual[:, 190:211]).all()
    line = slice(195, 206)
    assert (result.flux[0] - made.truth.flux[0])[line].sum() == pytest.approx(flux[line].sum(), rel=0.01)


def lit_slit(rng, *, sky=300.0):
    """An unrectified frame with the sky in it: a slit of 15 rows that shutters' bars cross, dark rows beside it."""
    n_cross, n_disp = 27, 400
    row = np.arange(n_cross)[:, None]
    path = 12.3 + 2.0 * np.linspace(0, 1, n_disp) ** 2
    slit = ((row >= 6) & (row <= 20)) * np.where((row == 10) | (row == 15), 0.8, 1.0)
    light = 40.0 * np.exp(-0.5 * ((row - path) / 0.8) ** 2) / (0.8 * np.sqrt(2 * np.pi))
    variance = 9.0 + sky * slit + light
    flux = sky * slit + light + rng.standard_normal(variance.shape) * np.sqrt(variance)
    return ox.Frame(flux, variance=variance, meta={"rectified": False, "planned_trace": path, "planned_cross": 13.0})


def test_slit_lit_by_the_sky_is_not_the_source(rng):
    frame = lit_slit(rng)
    result = ox.extract(frame)
    np.testing.assert_allclose(result.centre[0], frame.meta["planned_trace"], atol=0.01)
    assert 1.0 < np.median(result.fwhm) < 3.0
    assert np.isnan(result.residual[[4, 22]]).all()
    assert np.isfinite(result.residual[6:21]).all()
    assert any("The sky is still in the frame and lights rows 6 to 20" in words for words in result.quality["warnings"])
    assert (result.flags & int(ox.Flag.PRIOR_SHAPE)).all()


def test_slit_without_the_sky_is_searched_as_ever(rng):
    result = ox.extract(lit_slit(rng, sky=0.0))
    assert not any("sky" in words for words in result.quality["warnings"])
    assert np.isfinite(result.residual[4]).all()


def test_pixels_without_a_variance_that_is_a_number_above_zero_weigh_nothing(rng):
    data, variance = rng.normal(size=(40, 7)), rng.uniform(0.5, 2.0, (40, 7))
    good = rng.random(data.shape) > 0.2
    variance[3], variance[4], variance[5], variance[6] = np.nan, np.inf, -1.0, 0.0
    data[~good] = np.nan
    told = good & (np.arange(40) < 3)[:, None] | good & (np.arange(40) > 6)[:, None]
    values, spread, use, weight = data.copy(), variance.copy(), good.copy(), np.empty(data.shape)
    weigh(values, spread, use, 2.5, weight)
    np.testing.assert_array_equal(use, told)
    np.testing.assert_array_equal(values, np.where(told, data, 0.0))
    np.testing.assert_array_equal(spread, np.where(told, 2.5 * variance, 1.0))
    np.testing.assert_allclose(weight, np.where(told, 1.0 / spread, 0.0))


@pytest.mark.parametrize("bad", [0.0, 0.1])
def test_huge_variances_are_those_beside_the_least_of_the_good_pixels(rng, bad):
    variance, good = rng.uniform(1.0, 2.0, (30, 9)), rng.random((30, 9)) > 0.2
    variance[~good] = 1e-6
    variance[rng.random(good.shape) < bad] = 2e3
    marked = np.empty(good.shape, dtype=bool)
    in_column, in_row = np.empty(30, dtype=bool), np.empty(9, dtype=bool)
    some = suspect(variance, good, 1e3, marked, in_column, in_row)
    told = good & (variance > 1e3 * variance[good].min())
    assert some == told.any() == (bad > 0)
    np.testing.assert_array_equal(marked, told)
    np.testing.assert_array_equal(in_column, told.any(axis=1))
    np.testing.assert_array_equal(in_row, told.any(axis=0))


@pytest.mark.parametrize("value", [1e30, 9.96921e36, -3.4028235e38, 1e100, 1e200])
@pytest.mark.parametrize("part", [0.002, 0.3])
def test_what_files_write_where_there_is_nothing_is_left_out_and_told_of(rng, value, part):
    """Unmasked, it ended the whole process: a trace that is nowhere was looked up in a table."""
    scene = make_scene("mid", 1, shape=(25, 400))
    filled = rng.random(scene.frame.flux.shape) < part
    result = ox.extract(scene.frame.replace(flux=np.where(filled, value, scene.frame.flux)))
    masked = ox.extract(scene.frame.replace(mask=scene.frame.mask | filled))
    np.testing.assert_array_equal(result.flux, masked.flux)
    (told,) = (words for words in result.quality["warnings"] if "hold values beyond 1e+29" in words)
    assert told.startswith(f"{np.count_nonzero(filled & ~scene.frame.mask)} pixels ")


@pytest.mark.parametrize("value", [1e-300, 1e-20])
def test_variances_of_next_to_nothing_are_left_out_and_told_of(rng, value):
    scene = make_scene("mid", 1, shape=(25, 400))
    bad = rng.random(scene.frame.flux.shape) < 0.05
    result = ox.extract(scene.frame.replace(variance=np.where(bad, value, scene.frame.variance)))
    masked = ox.extract(scene.frame.replace(mask=scene.frame.mask | bad))
    np.testing.assert_array_equal(result.flux, masked.flux)
    assert any("have less than 1e-10 of the usual variance" in words for words in result.quality["warnings"])


@pytest.mark.parametrize("factor", [1e32, 1e-32])
def test_a_frame_of_large_numbers_is_a_frame(factor):
    """Nothing is left out only because of its unit."""
    frame = make_scene("mid", 1, shape=(25, 400)).frame
    scaled = ox.extract(frame.replace(flux=frame.flux * factor, variance=frame.variance * factor**2, variance_parts={}))
    np.testing.assert_allclose(scaled.flux / factor, ox.extract(frame).flux, rtol=1e-6)
    assert not any("left out" in words for words in scaled.quality["warnings"])


def test_values_beyond_all_numbers_end_in_no_crash():
    """All pixels hold values whose squares are infinite: there is no answer, but there is an end."""
    frame = make_scene("mid", 1, shape=(12, 60)).frame
    with np.errstate(all="ignore"):
        result = ox.extract(frame.replace(flux=np.where(np.indices(frame.shape)[0] % 3, frame.flux, 1.0) * 1e200))
    assert result.flux.shape == (1, 60)


@pytest.mark.parametrize(("sky", "light"), [(5.0, 1000.0), (20.0, 100.0), (20.0, 1000.0), (60.0, 100.0)])
def test_a_slit_whose_sky_ends_sharply_is_where_the_source_is_looked_for(rng, sky, light):
    """Without a planned trace the slit was the source: three to nine times the light."""
    profile = Gaussian().integrate(31, np.full(600, 15.3), np.full(600, 2.5)).T
    slit = np.clip(np.minimum(np.arange(31) - 7.5, 23.5 - np.arange(31)), 0, 1)[:, None]
    model = light * profile + sky * slit
    variance = model + 25.0
    frame = ox.Frame(model + rng.normal(size=model.shape) * np.sqrt(variance), variance=variance)
    result = ox.extract(frame)
    (told,) = (words for words in result.quality["warnings"] if "are lit alike" in words)
    assert told.startswith("Rows 9 to 22 are lit alike and the rows beyond are dark")
    error = np.sqrt((result.uncertainty**2).sum()) / (600 * light)
    assert np.nanmean(result.flux) / light == pytest.approx(1.0, abs=4 * error + 0.003)
    assert np.median(result.fwhm) == pytest.approx(2.5, rel=0.05)


@pytest.mark.parametrize("snr", [10.0, 20.0, 100.0, 1000.0])
@pytest.mark.parametrize("across", [8, 12, 20, 30])
@pytest.mark.parametrize("fwhm", [2.0, 4.0])
def test_a_tilted_trace_is_no_slit(rng, across, fwhm, snr):
    """It lights as many rows alike, but in no column more than its profile does."""
    column = np.arange(1200)
    profile = Gaussian().integrate(45, 22.0 + across * (column / 1200 - 0.5), np.full(1200, fwhm))
    flux = snr / np.sqrt((profile**2).sum(axis=1))[:, None]
    data, ones = flux * profile + rng.normal(size=profile.shape), np.ones(profile.shape)
    assert found_slit(data, ones, ones > 0) is None
    assert lit_rows(data, ones, ones > 0) is None


def test_a_tilted_trace_keeps_all_its_columns(rng):
    """It was cut off at both ends, as what lies beyond a slit."""
    column = np.arange(1200)
    profile = Gaussian().integrate(40, 20.3 + 0.01 * (column - 600), np.full(1200, 2.0)).T
    model = 37.0 * profile
    result = ox.extract(ox.Frame(model + rng.normal(size=model.shape), variance=np.ones(model.shape)))
    assert not any("are lit alike" in words for words in result.quality["warnings"])
    assert np.isfinite(result.flux).all()
    pull = (result.flux - 37.0) / result.uncertainty
    assert np.sqrt(np.mean(pull**2)) == pytest.approx(1.0, abs=0.08)
    assert abs(pull.mean()) < 4.0 / np.sqrt(1200) + 0.02


@pytest.mark.parametrize("shape", ["gaussian", "exponential", "de Vaucouleurs"])
@pytest.mark.parametrize("amplitude", [3.0, 30.0, 3000.0])
@pytest.mark.parametrize("rows", [15, 31, 60])
def test_galaxies_are_no_slits(rng, shape, amplitude, rows):
    for width in np.geomspace(1.0, 12.0, 12):
        away = np.abs(np.arange(rows) - rows / 2 - rng.uniform(-2, 2)) / width
        light = {
            "gaussian": np.exp(-0.5 * away**2),
            "exponential": np.exp(-1.4 * away),
            "de Vaucouleurs": np.exp(-1.68 * (away / 1.2) ** 0.25),
        }[shape]
        model = np.repeat(amplitude * light[None], 300, axis=0)
        variance = model + 5.0
        data = model + rng.normal(size=model.shape) * np.sqrt(variance)
        assert found_slit(data, variance, np.ones(data.shape, dtype=bool)) is None


@pytest.mark.parametrize("value", [0.0, -3.5])
@pytest.mark.parametrize(("rows", "columns"), [((), (40, 41, 200)), ((3, 20), ()), ((2, 6, 17, 22), (77,))])
def test_lines_without_scatter_are_left_out_and_told_of(value, rows, columns):
    """A dead column is no faint one: its flux was 0 +- 2 where 27 was true."""
    made = make_scene("mid", 4, shape=(25, 400))
    flux, dead = made.frame.flux.copy(), np.zeros(made.frame.shape, dtype=bool)
    dead[list(rows)] = True
    dead[:, list(columns)] = True
    flux[dead] = value * np.sqrt(np.median(made.frame.variance))
    result = ox.extract(made.frame.replace(flux=flux))
    masked = ox.extract(made.frame.replace(mask=made.frame.mask | dead))
    np.testing.assert_array_equal(result.flux, masked.flux)
    (told,) = (words for words in result.quality["warnings"] if "one and the same value" in words)
    assert told.startswith(f"{np.count_nonzero(dead & ~made.frame.mask)} pixels ")
    assert np.isnan(result.flux[0, list(columns)]).all()


@pytest.mark.parametrize("sky", [0.0, 0.02])
def test_counts_of_few_photons_are_not_dead(rng, sky):
    made = make_scene("mid", 4, shape=(25, 400))
    expected = 20.0 * made.truth.profile[0] + sky
    frame = ox.Frame(rng.poisson(expected).astype(float), variance=expected + 0.05)
    assert not any("same value" in words for words in ox.extract(frame).quality["warnings"])
    without_noise = ox.Frame(expected, variance=expected + 0.05)
    assert not any("same value" in words for words in ox.extract(without_noise).quality["warnings"])
