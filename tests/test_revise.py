"""Variances that follow their own pixel's noise: found, and replaced by the model's."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import optextract as ox
from optextract.noise import Variance
from optextract.profiles import Gaussian
from optextract.recipe import Noise
from optextract.revise import find_slope, model_light, revised_variance
from optextract.simulate import make_scene
from optextract.simulate.score import score, summarise
from optextract.window import Window


def test_a_pixel_gains_no_weight_by_what_its_model_misses():
    """The revision takes the pixel's own noise out of its variance, and no more noise than there can be."""
    data = np.full((4, 5), 100.0)
    variance = np.full((4, 5), 100.0)
    window = Window(data, 1 / variance, variance, 0, 0, (5, 4))
    meant = np.array([[100.0, 90.0, 60.0, 0.0, 1000.0]] * 4)
    found = revised_variance(window, meant, 1.0, False)
    np.testing.assert_allclose(found[0], [100.0, 90.0, 60.0, 60.0, 140.0])


def test_what_stops_at_zero_flux_is_revised_above_it_only():
    """A Poisson variance of clipped counts knows nothing of how far below zero a pixel is."""
    data = np.array([[-30.0, 10.0, 0.0]])
    variance = np.full((1, 3), 25.0)
    window = Window(data, 1 / variance, variance, 0, 0, (3, 1))
    meant = np.array([[4.0, 4.0, -8.0]])
    np.testing.assert_allclose(revised_variance(window, meant, 1.0, True), [[29.0, 19.0, 25.0]])
    np.testing.assert_allclose(revised_variance(window, meant, 1.0, False), [[45.0, 19.0, 17.0]])


def test_no_pixel_gets_more_weight_than_twenty_medians():
    variance = np.array([[100.0, 100.0, 100.0, 2.0]])
    weight = np.array([[0.01, 0.01, 0.01, 0.5]])
    window = Window(np.array([[0.0, 0.0, 0.0, 3.0]]), weight, variance, 0, 0, (4, 1))
    np.testing.assert_allclose(revised_variance(window, np.zeros((1, 4)), 1.0, False)[0], [100.0, 100.0, 100.0, 5.0])
    bad = Window(window.data, weight * [[0, 1, 1, 1]], variance, 0, 0, (4, 1))
    assert revised_variance(bad, np.full((1, 4), 9.0), 1.0, False)[0, 0] == 100.0  # not looked at: as it was


def test_light_of_the_sources_is_without_background_and_smooth_where_it_agrees(rng):
    profiles = np.repeat(Gaussian().integrate(15, np.array([7.0]), np.array([1.8]))[None, :, :], 300, axis=0)
    flux = np.full(300, 40.0)
    flux[150] = 400.0  # a line: no neighbour has it
    light = flux[:, None] * profiles[:, 0]
    data = light + 5.0 + rng.standard_normal((300, 15))
    window = Window(data, np.ones_like(data), np.ones_like(data), 0, 0, (15, 300))
    background = SimpleNamespace(image=np.full((300, 15), 5.0))
    plain = model_light(window, profiles, background, window.weight).sum(axis=1)
    smooth = model_light(window, profiles, background, window.weight, smooth=10).sum(axis=1)
    far = np.abs(np.arange(300) - 150) > 12
    assert np.std(plain[far] - flux[far]) == pytest.approx(1.6, rel=0.25)
    assert np.std(smooth[far] - flux[far]) < 0.6 * np.std(plain[far] - flux[far])
    assert smooth[150] == pytest.approx(plain[150], rel=1e-12)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_slope_of_the_poisson_part_is_looked_at_where_there_is_one(rng, share):
    model = np.full((400, 15), 200.0)
    counts = rng.poisson(model).astype(float)
    poisson = share * counts + (1 - share) * model
    window = Window(counts, 1 / (poisson + 9), poisson + 9, 0, 0, (15, 400))
    variance = Variance(poisson.T + 9, {"poisson": poisson.T}, "frame", "a test")
    background = SimpleNamespace(image=model)
    profiles = np.repeat(Gaussian().integrate(15, np.array([7.0]), np.array([1.8]))[None, :, :], 400, axis=0)
    slope, stops = find_slope(window, variance, profiles, background, window.weight, Noise())
    assert slope == pytest.approx(share, abs=0.02)
    assert stops is True
    assert find_slope(window, variance, profiles, background, window.weight, Noise(revise=False)) == (0.0, True)


def test_revised_variance_takes_the_bias_away():
    biased, revised = [], []
    for seed in range(10):
        one = make_scene("poisson20", seed)
        for scores, revise in ((biased, False), (revised, "auto")):
            result = ox.extract(one.frame, ox.Recipe(noise={"revise": revise}))
            scores.append(score(one, result.flux[0], result.uncertainty[0]))
        assert result.quality["revised_slope"] == pytest.approx(1.0, abs=0.1)
        assert result.resolved.noise.revise is True
    assert summarise(biased).bias < -0.007
    whole = summarise(revised)
    assert abs(whole.bias) < max(0.005, 2 * whole.bias_error)


@pytest.mark.parametrize("constant", [False, True])
def test_true_variance_is_not_revised(constant):
    frame = make_scene("mid", 1).frame
    if constant:
        frame = frame.replace(variance=np.full(frame.shape, 100.0), variance_parts=None)
    result = ox.extract(frame)
    assert result.quality["revised_slope"] == 0.0
    assert result.resolved.noise.revise is False


@pytest.mark.parametrize("noise", [{"scale": 1.0}, {"scale": 4.0}, {"nod_term": True}])
def test_a_variance_that_follows_its_pixel_is_revised_whatever_it_is_multiplied_with(noise):
    """The slope was that of the frame's own part, and was taken out of a variance that had been multiplied."""
    random = np.random.default_rng(3)
    profile = Gaussian().integrate(30, np.full(600, 14.3), np.full(600, 2.2)).T
    counts = random.poisson(60.0 * profile) + 2.0 * random.normal(size=profile.shape)
    parts = {"poisson": np.maximum(counts, 0.0), "rnoise": np.full(counts.shape, 4.0)}
    frame = ox.Frame(counts, variance_parts=parts, meta={"nod_count": 2})
    result = ox.extract(frame, ox.Recipe(noise={"revise": True, **noise}, background={"degree": "none"}))
    assert result.quality["revised_slope"] > 0
    assert np.nanmean(result.flux) == pytest.approx(60.0, abs=0.8)


def few_counts(seed, flux, sky, read_noise=0.0):
    """Photons of a source that waves along the dispersion, and what was in each pixel before the read noise."""
    random, columns = np.random.default_rng(seed), np.arange(1298)
    profile = Gaussian().integrate(25, 12.3 + 0.5 * columns / 1298, np.full(1298, 3.0)).T
    truth = flux * (1 + 0.3 * np.sin(columns / 200))
    counts = random.poisson(profile * truth + sky).astype(float)
    return counts + read_noise * random.normal(size=counts.shape), counts, truth


def excess(frames, recipe=None):
    """Mean of the summed flux over the truth, less one, and the last result."""
    results = [(ox.extract(frame, recipe), truth) for frame, truth in frames]
    return np.mean([np.nansum(result.flux) / truth.sum() - 1 for result, truth in results]), results[-1][0]


@pytest.mark.parametrize(
    ("flux", "sky", "most"), [(100.0, 0.0, 0.005), (20.0, 0.0, 0.04), (100.0, 1.0, 0.012), (20.0, 1.0, 0.05)]
)
@pytest.mark.parametrize("kind", ["floor", "before the read noise"])
def test_a_variance_that_follows_only_where_there_is_light(kind, flux, sky, most):
    """It was made to run against its pixels elsewhere: +9 % and -8 % for 20 counts a column."""
    frames = []
    for seed in range(4):
        data, counts, truth = few_counts(seed, flux, sky, read_noise=0.0 if kind == "floor" else 2.0)
        variance = np.maximum(counts, 1.0) if kind == "floor" else counts + 4.0
        frames.append((ox.Frame(data, variance=variance), truth))
    bias, result = excess(frames)
    assert result.resolved.noise.revise is True
    assert abs(bias) < most
    # zeros without scatter tell nothing of the errors, and not that they are a million times too large
    assert "times too large" not in " ".join(result.quality["warnings"]) or sky > 0


@pytest.mark.parametrize(("flux", "sky", "most"), [(100.0, 0.0, 0.005), (20.0, 0.0, 0.04), (20.0, 1.0, 0.05)])
def test_pixels_that_have_counted_nothing(flux, sky, most):
    """Counts with themselves as variance leave them out, and it is told; from the gain they have what is expected."""
    drawn = [few_counts(seed, flux, sky) for seed in range(4)]
    bias, result = excess([(ox.Frame(data, variance=counts), truth) for data, counts, truth in drawn])
    assert bias < -most
    empty = np.count_nonzero(drawn[-1][0] == 0)
    assert any(
        line.startswith(f"The variance is the counts themselves: {empty} pixels that have counted nothing")
        for line in result.quality["warnings"]
    )
    counting = ox.Recipe(noise={"variance": "gain", "gain": 1.0, "read_noise": 0.0})
    bias, result = excess([(ox.Frame(data), truth) for data, _, truth in drawn], counting)
    assert abs(bias) < most
    assert not any("counts themselves" in line for line in result.quality["warnings"])
