"""The background beneath the sources where sky lines are bent, tilted, or in a slit as short as the source is wide."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d

import optextract as ox
from optextract.beneath import columns_off, disagreement, near_rows, raised_columns
from optextract.profiles import Gaussian
from optextract.simulate import make_scene, pixel_profile

_SKY = 100.0


def _slit(seed, n_cross, n_disp, fwhm, *, snr=20.0, middle=None, bend=0.0, tilt=0.0, highest=30.0):
    """Frame and true flux of a source on a sky of lines, bent as a parabola by pixels at the ends or tilted."""
    rng, places = np.random.default_rng(seed), np.random.default_rng(77)
    middle = (n_cross - 1) / 2 if middle is None else middle
    centre = middle + 0.5 * np.linspace(-1, 1, n_disp)
    profile = Gaussian().integrate(n_cross, centre, np.full(n_disp, fwhm)).T
    row = np.arange(n_cross)[:, None] - (n_cross - 1) / 2
    column = np.arange(n_disp) - bend * (row / row.max()) ** 2 - tilt * row
    sky = np.full(column.shape, _SKY)
    for _ in range(n_disp // 30):
        at, height = places.uniform(0, n_disp), _SKY * highest * 10 ** places.uniform(-2, 0)
        sky += height * np.exp(-0.5 * ((column - at) / 1.4) ** 2)
    flux = np.full(n_disp, snr * np.sqrt(_SKY / (profile**2).sum(axis=0).mean()))
    variance = sky + flux * profile + 9.0
    data = sky + flux * profile + rng.normal(size=variance.shape) * np.sqrt(variance)
    return ox.Frame(data, variance=variance, meta={"rectified": True}), flux


def _bias_and_pull(result, flux):
    weight = 1 / result.uncertainty[0] ** 2
    bias = ((result.flux[0] - flux) * flux * weight).sum() / (flux**2 * weight).sum()
    return bias, np.sqrt((((result.flux[0] - flux) / result.uncertainty[0]) ** 2).mean())


@pytest.mark.parametrize("bent", [{"bend": 1.0}, {"bend": 2.0}, {"tilt": 0.02}])
def test_bent_sky_lines_of_a_long_slit_are_taken_from_rows_near_the_source(bent):
    frame, flux = _slit(1, 160, 900, 4.0, middle=70.0, highest=100.0, **bent)
    result = ox.extract(frame)
    bias, pull = _bias_and_pull(result, flux)
    assert "from rows near the sources" in result.quality["background"]["choice"]
    assert abs(bias) < 0.01
    assert pull < 1.12
    (low, high) = result.resolved.background.rows[0]
    assert 0 < low < 55
    assert 85 < high < 140
    assert not any("errors are" in words for words in result.quality["warnings"])
    # the far rows keep finite values, and whoever takes the settings gets the spectrum
    assert np.isfinite(result.background).all()
    again = ox.extract(frame, result.resolved)
    np.testing.assert_allclose(again.flux, result.flux, atol=0.1 * result.uncertainty.min())


def test_straight_sky_lines_of_a_long_slit_are_taken_from_all_rows():
    frame, flux = _slit(1, 160, 900, 4.0, middle=70.0, highest=100.0)
    result = ox.extract(frame)
    bias, pull = _bias_and_pull(result, flux)
    assert "near" not in result.quality["background"]["choice"]
    assert result.resolved.background.rows is None
    assert abs(bias) < 0.006
    assert pull < 1.06


def test_sky_lines_that_fit_nowhere_are_told():
    frame, _ = _slit(1, 160, 900, 4.0, middle=70.0, highest=100.0, tilt=0.15)
    words = ox.extract(frame).quality["warnings"]
    assert any("The background beside the source does not fit in" in sentence for sentence in words)


@pytest.mark.parametrize(("n_cross", "fwhm", "snr"), [(15, 3.0, 20.0), (15, 3.0, 5.0), (18, 4.0, 20.0), (9, 2.0, 20.0)])
def test_sky_lines_of_a_short_slit_are_fitted_together_with_the_source(n_cross, fwhm, snr):
    frame, flux = _slit(1, n_cross, 900, fwhm, snr=snr)
    result = ox.extract(frame)
    bias, pull = _bias_and_pull(result, flux)
    assert result.quality["background"]["along"] == "column"
    free = "the rows on both sides vary together" in result.quality["background"]["choice"]
    told = any("fitted together with it in each column" in words for words in result.quality["warnings"])
    assert free != told
    assert abs(bias) < 0.2 / snr
    assert pull < 1.08


def test_short_slit_without_sky_lines_keeps_its_smooth_background():
    frame, flux = _slit(1, 15, 900, 3.0, highest=0.001)
    result = ox.extract(frame)
    bias, pull = _bias_and_pull(result, flux)
    assert result.quality["background"]["along"] == "smooth"
    assert abs(bias) < 0.006
    assert pull < 1.06


@pytest.mark.parametrize(("n_cross", "fwhm"), [(16, 3.0), (12, 2.0)])
def test_sky_lines_widen_no_profile_of_a_short_slit(n_cross, fwhm):
    frame, flux = _slit(1, n_cross, 900, fwhm)
    result = ox.extract(frame)
    assert np.median(result.fwhm) == pytest.approx(fwhm, rel=0.01)
    assert abs(_bias_and_pull(result, flux)[0]) < 0.008


def test_rows_near_are_asked_only_where_most_are_not():
    centre, fwhm = np.full((1, 50), 60.0), np.full((1, 50), 3.0)
    assert near_rows(centre - 48, fwhm, 25) == ()
    assert near_rows(centre - 40, fwhm, 41) == ()
    nearest, *others = near_rows(centre, fwhm, 200)
    assert np.flatnonzero(nearest)[[0, -1]].tolist() == [45, 75]
    assert all((nearest <= rows).all() for rows in others)


def test_disagreement_is_one_where_the_fits_differ_by_their_noise(rng):
    whole = rng.normal(size=(4000, 5))
    part = whole + rng.normal(size=(4000, 5))
    profile = np.tile([0.1, 0.2, 0.4, 0.2, 0.1], (4000, 1))
    variances = (np.full(whole.shape, 2.0), np.ones(whole.shape))
    assert disagreement((part, whole), variances, profile) == pytest.approx(1.0, abs=0.1)
    whole[::5] += 5.0
    assert disagreement((part, whole), variances, profile) > 3.0


def test_columns_off_are_those_whose_rows_beside_the_source_are(rng):
    residual, clear = rng.normal(size=(300, 30)), np.ones((300, 30), dtype=bool)
    clear[:, 10:20] = False
    centre, weight = np.full((1, 300), 14.5), np.ones((300, 30))
    assert columns_off(residual, weight, clear, centre, 2.0, 1.0) == 0
    residual[40:47, 20:24] += 6.0
    residual[100:120, 28:] += 20.0  # far from it
    assert columns_off(residual, weight, clear, centre, 2.0, 1.0) == 7


@pytest.mark.parametrize("kind", ["step", "wave"])
def test_a_step_or_a_wave_that_is_small_in_each_column_is_followed(kind):
    """One sigma of a pixel, where no gap tells of it: the polynomial rings about it, by a fifth of a faint source."""
    biased, errors = [], []
    for seed in range(4):
        scene = make_scene("mid", seed, shape=(31, 600), snr=6.0, fwhm=2.5, centre=15.3, slope=0.0)
        sigma = np.sqrt(np.median(scene.frame.variance))
        along = np.arange(600)
        sky = sigma * (along >= 300) if kind == "step" else 0.4 * sigma * np.sin(2 * np.pi * along / 100)
        result = ox.extract(scene.frame.replace(flux=scene.frame.flux + sky))
        assert result.resolved.background.along == "column"
        left = (result.flux - scene.truth.flux)[0]
        where = np.abs(along - 275) < 25 if kind == "step" else sky > 0.3 * sigma
        biased.append(left[where].sum() / scene.truth.flux[0, where].sum())
        errors.append(np.sqrt((result.uncertainty[0, where] ** 2).sum()) / scene.truth.flux[0, where].sum())
    assert abs(np.mean(biased)) < 3 * np.sqrt(np.mean(np.square(errors)) / 4)


@pytest.mark.parametrize("height", [2.0, 6.0])
@pytest.mark.parametrize("raised", [[250], [100, 101], [40, 41, 300, 500]])
def test_hot_columns_have_a_background_of_their_own(raised, height):
    """Their light was the source's, four times over, without a word; and one changed the profile of all others."""
    pulls = []
    for seed in range(4):
        scene = make_scene("mid", seed, shape=(31, 600), snr=10.0, fwhm=2.5, centre=15.3, slope=0.0)
        flux = scene.frame.flux.copy()
        flux[:, raised] += height * np.sqrt(np.median(scene.frame.variance)) * (-1.0 if seed == 3 else 1.0)
        result, plain = ox.extract(scene.frame.replace(flux=flux)), ox.extract(scene.frame)
        assert result.resolved.background.along == "smooth"
        assert result.quality["background"]["choice"].endswith(f"and {len(raised)} columns by themselves")
        pulls += ((result.flux - scene.truth.flux) / result.uncertainty)[0, raised].tolist()
        assert (result.uncertainty[0, raised] > plain.uncertainty[0, raised]).all()
        others = np.delete(np.arange(600), raised)
        assert np.abs((result.flux - plain.flux) / plain.uncertainty)[0, others].max() < 0.2
        again = ox.extract(scene.frame.replace(flux=flux), result.resolved)
        np.testing.assert_allclose(again.flux[0, raised], result.flux[0, raised], rtol=0.01)
    assert np.abs(pulls).max() < 4.5
    assert np.sqrt(np.mean(np.square(pulls))) < 2.0


def test_a_very_hot_column_leaves_the_others_as_they_are():
    scene = make_scene("mid", 1, shape=(31, 600), snr=10.0, fwhm=2.5, centre=15.3, slope=0.0)
    flux = scene.frame.flux.copy()
    flux[:, 250] += 200.0 * np.sqrt(np.median(scene.frame.variance))
    result, plain = ox.extract(scene.frame.replace(flux=flux)), ox.extract(scene.frame)
    others = np.delete(np.arange(600), 250)
    assert np.abs((result.flux - plain.flux) / plain.uncertainty)[0, others].max() < 0.2
    pull = (result.flux - scene.truth.flux)[0, 250] / result.uncertainty[0, 250]
    assert abs(pull) < 5 or result.flags[0, 250] != 0


def test_columns_that_are_raised_on_one_side_are_not(rng):
    """Something lies there: it is no background of the source."""
    weight = np.ones((100, 21))
    row = np.arange(21)
    sides = row < 7, row > 13
    data = rng.normal(size=weight.shape)
    data[30, :7] += 50.0
    data[60] += 5.0
    data[70, :7] += 5.0
    data[70, 14:] -= 5.0
    assert raised_columns(data, weight, sides).tolist() == [60]
    weight[60, 14:] = 0.0
    assert raised_columns(data, weight, sides).tolist() == []


@pytest.mark.parametrize("correlated", [False, True])
def test_noise_is_no_wave(correlated):
    """Drizzled noise is correlated along the dispersion, but not from one side of the source to the other."""
    for seed in range(8):
        scene = make_scene("mid", seed, shape=(31, 600), snr=6.0, fwhm=2.5, centre=15.3)
        noise = np.random.default_rng(seed).normal(size=(31, 606))
        if correlated:
            noise = uniform_filter1d(noise, 7, axis=1) * np.sqrt(7.0)
        sigma = np.sqrt(np.median(scene.frame.variance))
        light = scene.truth.flux[0] * pixel_profile(np.arange(31), scene.truth.centre[0], scene.truth.fwhm[0])
        frame = scene.frame.replace(flux=light + sigma * noise[:, 3:603])
        assert ox.extract(frame).resolved.background.along == "smooth"
