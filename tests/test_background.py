"""Background: recovered with its errors, chosen by the evidence, and never taken from the source."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.profiles import Gaussian
from optextract.simulate import make_scene
from optextract.simulate.score import score, summarise


def test_default_finds_the_background_of_a_scene_and_says_so():
    for seed in range(4):
        one = make_scene("mid", seed)
        result = ox.extract(one.frame)
        chosen = result.quality["background"]
        assert chosen["choice"].startswith("smooth, degree ")
        assert chosen["along"] == "smooth"
        assert np.abs(result.background - one.truth.background).max() < 1.0
        assert result.resolved.background.degree in (0, 1, 2)


def test_default_finds_no_background_where_there_is_none():
    choices = []
    for seed in range(10):
        one = make_scene("mid", seed, background=0.0)
        result = ox.extract(one.frame)
        choices.append(result.resolved.background.degree)
        assert np.abs(result.background).max() < 0.5
    assert choices.count("none") >= 8


def test_sky_that_varies_from_column_to_column_is_followed():
    """Rows on both sides vary together: that is what a background free in each column is for."""
    rng = np.random.default_rng(4)
    bump = 60 * rng.gamma(0.5, 1.0, 1298)
    scores = []
    for seed in range(4):
        one = make_scene("mid", seed, background=lambda t: bump, background_gradient=0.0)
        result = ox.extract(one.frame)
        assert result.quality["background"]["along"] == "column"
        assert "per column: the rows on both sides vary together" in result.quality["background"]["choice"]
        scores.append(score(one, result.flux[0], result.uncertainty[0]))
    whole = summarise(scores)
    assert abs(whole.bias) < 0.01
    assert 0.95 < whole.pull_rms < 1.06


@pytest.mark.parametrize("gap", [None, (560, 690)])
def test_background_may_step_at_a_detector_gap_and_only_there(gap):
    step = 25.0

    def level(t):
        return np.where(t > 0, 5.0 + step, 5.0)

    one = make_scene("mid", 3, background=level, background_gradient=0.0, gap=gap)
    result = ox.extract(one.frame)
    if gap is None:
        assert "stepping" not in result.quality["background"]["choice"]
        return
    assert "stepping at gaps" in result.quality["background"]["choice"]
    difference = result.background[12, 1000] - result.background[12, 200]
    assert difference == pytest.approx(step, abs=1.0)
    flux = score(one, result.flux[0], result.uncertainty[0])
    assert flux.pull_rms == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("along", ["smooth", "column"])
@pytest.mark.parametrize("degree", [0, 1, 2])
def test_degree_asked_for_is_the_degree_fitted(degree, along):
    one = make_scene("mid", 2, shape=(25, 300), background=lambda t: 30 + 0 * t, background_gradient=0.8)
    result = ox.extract(one.frame, ox.Recipe(background={"degree": degree, "along": along, "along_degree": 0}))
    row = np.linspace(-1, 1, 25)
    for column in (10, 150):
        left = result.background[:, column] - np.polyval(np.polyfit(row, result.background[:, column], degree), row)
        assert np.abs(left).max() < 1e-9
    assert result.resolved.background.degree == degree
    assert result.resolved.background.along == along


@pytest.mark.parametrize("degree", [0, 1])
def test_bright_source_does_not_leak_into_the_background(degree):
    """The fluxes are free in every column: what is left of a bright source's wings is not background."""
    one = make_scene("bright", 2, background=0.0)
    recipe = ox.Recipe(background={"degree": degree, "along": "smooth", "along_degree": 0})
    result = ox.extract(one.frame, recipe)
    peak = (one.truth.profile[0] * one.truth.flux[0]).max()
    assert np.abs(result.background).max() < 1e-4 * peak


def test_none_is_none():
    result = ox.extract(make_scene("mid", 2, shape=(25, 300)).frame, ox.Recipe(background={"degree": "none"}))
    assert (result.background == 0).all()
    assert (result.background_uncertainty == 0).all()
    assert result.quality["background"]["choice"] == "none, as asked for"


@pytest.mark.parametrize("along", ["smooth", "column"])
def test_background_costs_noise_and_the_errors_know_it(along):
    """Against the same frame with its true background taken off and none fitted."""
    pulls, cost = [], []
    for seed in range(6):
        one = make_scene("mid", seed, shape=(9, 400), centre=4.0)
        fitted = ox.extract(one.frame, ox.Recipe(background={"degree": 0, "along": along, "along_degree": 1}))
        known = ox.extract(
            one.frame.replace(flux=one.frame.flux - one.truth.background), ox.Recipe(background={"degree": "none"})
        )
        cost.append(np.median(fitted.uncertainty / known.uncertainty))
        pulls.append(score(one, fitted.flux[0], fitted.uncertainty[0]).pull)
    assert np.std(np.concatenate(pulls)) == pytest.approx(1.0, abs=0.06)
    if along == "column":
        assert np.mean(cost) > 1.05
    else:
        assert 1.0 <= np.mean(cost) < 1.03


def test_rows_outside_the_windows_carry_no_background():
    one = make_scene("mid", 2, shape=(25, 300), background=0.0)
    flux = np.array(one.frame.flux)
    flux[:4] += 500.0  # a neighbour's light
    recipe = ox.Recipe(background={"degree": 0, "along": "smooth", "along_degree": 0, "rows": ((5, 8), (17, 24))})
    result = ox.extract(one.frame.replace(flux=flux), recipe)
    assert np.abs(result.background).max() < 1.0
    with pytest.raises(
        ox.RecipeError, match=r"'background.rows' parameter of Recipe must be windows that hold a row of"
    ):
        ox.extract(one.frame, ox.Recipe(background={"degree": 0, "rows": ((40, 50),)}))


def test_columns_without_data_have_no_say_and_no_flux():
    one = make_scene("mid", 2, shape=(25, 300), gap=(100, 140))
    result = ox.extract(one.frame, ox.Recipe(background={"degree": 1, "along": "column"}))
    assert np.isnan(result.flux[0, 100:141]).all()
    others = np.r_[0:100, 141:300]
    assert np.isfinite(result.flux[0, others]).all()
    assert np.isfinite(result.uncertainty[0, others]).all()


@pytest.mark.parametrize("tilt", [0.0, 0.02])
def test_sky_lines_that_are_tilted_or_uneven_have_a_slope_in_each_column(rng, tilt):
    """Lines 50 sigma high, brighter at one end of the slit by a tenth, or moving by a fiftieth of a pixel per row."""
    made = make_scene("mid", 3, shape=(27, 900), snr=20.0, centre=(12.7, 0.0))
    sigma = np.sqrt(np.median(made.frame.variance))
    column, across = np.arange(900.0), np.arange(27.0)[:, None] - 13.0
    lines = sum(np.exp(-0.5 * ((column - at) / 1.5) ** 2) for at in rng.uniform(0, 900, 30))
    sky = 50 * sigma * np.interp(column + tilt * across, column, lines)
    if tilt == 0:
        sky = sky * (1 + 0.05 * across / 13)
    result = ox.extract(made.frame.replace(flux=made.frame.flux + sky))
    assert result.quality["background"]["along"] == "column"
    assert result.quality["background"]["degree"] >= 1
    found = score(made, result.flux[0], result.uncertainty[0])
    assert abs(found.bias) < 0.005
    assert np.sqrt((found.pull**2).mean()) < 1.25


@pytest.mark.parametrize("background", [{"along": "column"}, {"along": "column", "degree": 1}, {}])
def test_a_column_that_does_not_tell_its_background_has_no_flux(background):
    """The whole sky was in it, with a small error: in both columns only pixels of the core are left."""
    scene = make_scene("mid", 2, shape=(31, 300), snr=20.0, fwhm=2.2, centre=15.2, slope=0.0)
    sigma = np.sqrt(np.median(scene.frame.variance))
    sky = 20.0 * sigma * (1.0 + 0.5 * np.sin(2.1 * np.arange(300)) + np.random.default_rng(1).random(300))
    mask = scene.frame.mask.copy()
    mask[:, [100, 120]] = True
    mask[14:17, 100] = mask[13:18, 120] = False
    result = ox.extract(scene.frame.replace(flux=scene.frame.flux + sky, mask=mask), ox.Recipe(background=background))
    assert result.resolved.background.along == "column"
    assert np.isnan(result.flux[0, 100])
    assert np.isnan(result.boxcar.flux[0, 100])
    assert ox.Flag.NO_BACKGROUND in ox.Flag(int(result.flags[0, 100]))
    assert ox.Flag.NO_BACKGROUND in ox.Flag(int(result.boxcar.flags[0, 100]))
    others = np.delete(np.arange(300), [100, 120])
    assert not (result.flags[0, others] & ox.Flag.NO_BACKGROUND).any()
    pull = ((result.flux - scene.truth.flux) / result.uncertainty)[0, others]
    assert 0.9 < np.sqrt(np.mean(pull**2)) < 1.1


@pytest.mark.parametrize("fwhm", [1.0, 1.3])
def test_four_rows_leave_no_room_for_a_slope(fwhm):
    """With one in the fit of trace and width these were half as wide, and the flux a sixth too small."""
    left = []
    for seed in range(4):
        profile = Gaussian().integrate(4, np.full(600, 1.6), np.full(600, fwhm)).T
        model = 100.0 * profile
        noise = np.random.default_rng(seed).normal(size=model.shape)
        result = ox.extract(ox.Frame(model + noise * np.sqrt(model + 25.0), variance=model + 25.0))
        left.append(np.nanmean(result.flux) / 100.0 - 1.0)
        assert np.median(result.fwhm) == pytest.approx(fwhm, rel=0.15)
    assert abs(np.mean(left)) < 0.02
