"""The variance: where it may come from, never invented; its revision; what source-free pixels say of it."""

from __future__ import annotations

import re

import numpy as np
import pytest

import optextract as ox
from optextract import Frame, FrameError
from optextract.noise import choose_variance, data_derived_slope, nod_factor, pulls
from optextract.quality import noise_in_words
from optextract.recipe import Noise
from optextract.robust import robust_rms
from optextract.simulate import make_scene
from optextract.uneven import uneven_in_words

SHAPE = (7, 200)
ONE = np.ones(SHAPE)
NO_VARIANCE = (
    "The frame must have a variance. Got none: give Frame a 'variance' or 'variance_parts', or choose noise.variance: "
    "'gain' (with noise.gain and noise.read_noise), 'weight' (a frame with a weight image) or 'empirical' (from the "
    "scatter of the data)."
)


def test_missing_variance_is_an_error_that_names_the_choices():
    frame = Frame(ONE)
    with pytest.raises(FrameError, match=re.escape(NO_VARIANCE)):
        ox.extract(frame)
    with pytest.raises(FrameError, match=re.escape(NO_VARIANCE)):
        ox.boxcar(frame, 1.0, 3.0)


def test_automatic_choice_takes_the_best_that_there_is():
    everything = {"weight": 4 * ONE, "gain": 2.0, "read_noise": 3.0}
    full = Frame(ONE, variance=2 * ONE, variance_parts={"rnoise": ONE}, meta=everything)
    parts = Frame(ONE, variance_parts={"rnoise": ONE, "flat": 2 * ONE}, meta=everything)
    gain = Frame(5 * ONE, meta=everything)
    weight = Frame(ONE, meta={"weight": 4 * ONE})
    kinds = [choose_variance(frame, Noise()) for frame in (full, parts, gain, weight)]
    assert [found.kind for found in kinds] == ["variance", "parts", "gain", "weight"]
    np.testing.assert_allclose([found.total[0, 0] for found in kinds], [2.0, 3.0, 5 / 2 + (3 / 2) ** 2, 0.25])
    assert [bool(found.warnings) for found in kinds] == [False, False, False, True]
    assert kinds[3].warnings[0].startswith("The variance is 1/WHT: drizzle weights are relative")


def test_gain_and_read_noise_are_in_electrons():
    """Counts D of gain g have the variance D / g + (r / g)^2, and none from counts below zero."""
    flux = np.linspace(-50, 950, 7)[:, None] * np.ones(200)
    found = choose_variance(Frame(flux), Noise(variance="gain", gain=4.0, read_noise=8.0))
    np.testing.assert_allclose(found.total, np.clip(flux, 0, None) / 4 + 4.0)
    np.testing.assert_allclose(found.parts["poisson"], np.clip(flux, 0, None) / 4)
    np.testing.assert_allclose(found.parts["rnoise"], 4.0)


def test_counts_without_read_noise_have_no_variance_of_zero():
    """Nothing counted is no bad pixel: the mean of ten neighbours to either side, or one count in the whole row."""
    flux = np.zeros((3, 200))
    flux[0, 100], flux[1] = 42.0, 3.0
    flux[1, 5] = np.nan
    found = choose_variance(Frame(flux), Noise(variance="gain", gain=2.0, read_noise=0.0))
    np.testing.assert_allclose(found.total[0, [100, 99, 90, 110]], [21.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(found.total[0, [89, 111]], 0.25 / 200)
    np.testing.assert_allclose(np.delete(found.total[1], 5), 1.5)
    np.testing.assert_allclose(found.total[2], 0.25 / 200)


@pytest.mark.parametrize("variance", ["flux", "constant", "unmasked"])
def test_zeros_that_are_no_counts_are_nothing_to_tell(variance):
    flux = np.where(np.arange(200) % 10 == 0, 0.0, 4.0) * ONE
    given = {"flux": flux, "constant": np.where(flux == 0, 0.0, 3.0 + np.arange(200)), "unmasked": flux + 1.0}[variance]
    told = choose_variance(Frame(flux, variance=given), Noise()).warnings
    assert bool(told) is (variance == "flux")


def test_weights_are_inverse_variances_on_another_pixel_scale():
    frame = Frame(ONE, meta={"weight": np.where(np.arange(200) % 7 == 0, 0.0, 4.0) * ONE})
    found = choose_variance(frame, Noise(variance="weight", weight_scale=0.5))
    np.testing.assert_allclose(found.total[:, 1], 1 / (4 * 0.5**4))
    assert np.isinf(found.total[:, 0]).all()
    result = ox.extract(frame.replace(flux=make_scene("mid", 1, shape=SHAPE, centre=3.0).frame.flux))
    assert np.isnan(result.flux[0, ::7]).all()


@pytest.mark.parametrize("weight", [1e-6, 0.5, 1.0, 1e6])
def test_weights_of_any_size_are_weights(weight):
    found = choose_variance(Frame(ONE, meta={"weight": weight * ONE}), Noise(variance="weight"))
    np.testing.assert_allclose(found.total, 1 / weight, rtol=1e-14)


@pytest.mark.parametrize("kind", ["variance", "parts", "gain", "weight"])
def test_what_the_frame_lacks_cannot_be_chosen(kind):
    message = rf"'noise.variance' parameter of Recipe must be one that the frame has \(.*\). Got '{kind}' instead"
    with pytest.raises(FrameError, match=message):
        choose_variance(Frame(ONE), Noise(variance=kind))


def test_empirical_variance_is_that_of_each_row_and_blind_to_the_spectrum(rng):
    sigma = np.linspace(1, 5, 7)[:, None]
    flux = sigma * rng.standard_normal((7, 4000)) + 100 * np.sin(np.arange(4000) / 300)
    flux[3, ::50] += 1000
    found = choose_variance(Frame(flux), Noise(variance="empirical"))
    np.testing.assert_allclose(np.sqrt(found.total[:, 0]), sigma[:, 0], rtol=0.06)
    assert found.warnings[0].startswith("The variance is empirical")
    with pytest.raises(FrameError, match=r"Got 'empirical', but no row has 10 pairs of good neighbours"):
        choose_variance(Frame(np.ones((3, 5))), Noise(variance="empirical"))


def test_nod_factor_is_that_of_subtracting_the_mean_of_the_others():
    assert nod_factor(Frame(ONE, meta={"nod_count": 3})) == pytest.approx(1.5)
    assert nod_factor(Frame(ONE, meta={"nod_count": 2})) == pytest.approx(2.0)
    for meta in ({}, {"nod_count": 1}):
        with pytest.raises(
            ox.RecipeError, match=r"'noise.nod_term' parameter of Recipe must be false where the frame does"
        ):
            nod_factor(Frame(ONE, meta=meta))


# variances made from the data themselves ----------------------------------------------------------------------------


@pytest.mark.parametrize(("gain", "share"), [(1.0, 1.0), (4.0, 1.0), (1.0, 0.0)])
def test_slope_tells_a_data_derived_variance_from_a_true_one(rng, gain, share):
    model = np.linspace(20, 400, 30_000)
    counts = rng.poisson(model * gain) / gain
    variance = (share * counts + (1 - share) * model) / gain + 9.0
    slope, significance = data_derived_slope(variance, counts, model, np.ones(len(model), bool))
    assert slope == pytest.approx(share / gain, abs=0.01)
    assert (significance > 10 and slope > 1e-6) == bool(share)


def test_slope_does_not_depend_on_the_unit(rng):
    """MJy/sr or electrons: a change of unit by k changes variances by k^2 and their slope by k."""
    model = np.linspace(20, 400, 3_000)
    counts = rng.poisson(model).astype(float)
    variance = counts + 9.0 + rng.standard_normal(len(model))
    slope, significance = data_derived_slope(variance, counts, model, np.ones(len(model), bool))
    assert 100 < significance < np.inf
    for k in (1e-9, 1e-4, 1e6):
        found = data_derived_slope(variance * k**2, counts * k, model * k, np.ones(len(model), bool))
        np.testing.assert_allclose(found, (slope * k, significance), rtol=1e-6)


def test_thirty_pixels_are_enough_to_see_a_slope(rng):
    model = np.full(31, 100.0) + np.arange(31)
    residual = np.where(np.arange(31) % 2 == 0, 1.0, -1.0) * (5.0 + np.arange(31) % 7)
    variance = model + residual + 0.01 * rng.standard_normal(31)
    for n, enough in ((29, False), (30, True), (31, True)):
        found = data_derived_slope(variance[:n], (model + residual)[:n], model[:n], np.ones(n, bool))
        if enough:
            assert found[0] == pytest.approx(1.0, abs=0.01)
            assert found[1] > 100
        else:
            assert found == (0.0, 0.0)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_significance_has_the_sign_of_the_slope_where_nothing_else_varies(rng, sign):
    model = rng.uniform(20.0, 40.0, 500)
    flux = model + rng.normal(size=500)
    slope, significance = data_derived_slope(100.0 + sign * flux, flux, model, np.ones(500, dtype=bool))
    assert slope == pytest.approx(sign, rel=1e-6)
    assert sign * significance > 1e4


def test_noisy_pixels_do_not_pass_for_a_data_derived_variance(rng):
    """A variance that differs from row to row for reasons of its own, faint light, noise on both sides of zero."""
    for _ in range(10):
        variance = np.broadcast_to(np.geomspace(1.0, 100.0, 40)[:, None], (40, 500))
        model = np.full(variance.shape, 3.0)
        flux = model + np.sqrt(variance) * rng.standard_normal(variance.shape)
        _, significance = data_derived_slope(variance, flux, model, np.ones(variance.shape, dtype=bool))
        assert abs(significance) < 5


# the check -----------------------------------------------------------------------------------------------------------


def test_robust_rms_is_a_standard_deviation_about_zero(rng):
    values = rng.normal(scale=3.0, size=100_000)
    assert robust_rms(values) == pytest.approx(3.0, rel=0.02)
    values[::50] = 1e9
    assert robust_rms(values) == pytest.approx(3.0, rel=0.05)
    assert np.isnan(robust_rms(np.array([])))


def blank(rng, n_disp=1200, n_cross=41, factor=1.0, smooth=1):
    """Source-free residuals whose errors are `factor` too small and correlated over `smooth` columns."""
    noise = rng.standard_normal((n_disp + smooth - 1, n_cross))
    noise = np.sqrt(smooth) * np.stack([noise[k : k + n_disp] for k in range(smooth)]).mean(axis=0)
    row = np.arange(n_cross)
    profile = np.exp(-0.5 * ((row - 20) / 0.8) ** 2)
    clear = np.abs(row - 20) > 4
    return (
        factor * noise,
        np.ones((n_disp, n_cross)),
        np.tile(profile / profile.sum(), (n_disp, 1)),
        np.tile(clear, (n_disp, 1)),
    )


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.7])
def test_pulls_of_white_noise_are_its_factor_in_every_bin(rng, factor):
    found = pulls(*blank(rng, factor=factor))
    for name in ("pixel", "profile", "bin5", "bin10", "bin20"):
        assert found[name] == pytest.approx(factor, rel=0.2 if name == "bin20" else 0.1), name


def test_rows_and_columns_without_a_good_pixel_have_no_say_in_the_pulls(rng):
    residual, weight, profile, clear = blank(rng)
    residual[:, :10], weight[:, :10] = 1e9, 0.0
    residual[::5], weight[::5] = 1e9, 0.0
    found = pulls(residual, weight, profile, clear)
    for name in ("pixel", "profile", "bin10"):
        assert found[name] == pytest.approx(1.0, abs=0.1)


def test_pulls_of_correlated_noise_grow_with_the_bin(rng):
    found = pulls(*blank(rng, smooth=4))
    assert found["pixel"] == pytest.approx(1.0, rel=0.05)
    assert found["profile"] == pytest.approx(1.0, rel=0.1)
    assert 1.4 < found["bin5"] < found["bin10"] < found["bin20"] < 2.2


def test_pulls_where_there_is_too_little_are_not_made_up(rng):
    residual, weight, profile, clear = blank(rng)
    found = pulls(residual, weight, profile, np.zeros_like(clear))
    assert np.isnan(found["pixel"])
    assert np.isnan(found["profile"])
    assert found["n"] == 0


def test_words_begin_outside_the_range_of_trust():
    ten = {"pixel": 1.0, "bin10": 2.5, "n_bin10": 200}
    assert noise_in_words({"profile": 1.1, "bin10": 1.2, "n_bin10": 200}) == []
    assert noise_in_words({"profile": 1.0, "bin10": 1.5, "n_bin10": 30}) == []  # of so few it may be chance
    (correlated,) = noise_in_words({"profile": 1.1, **ten})
    assert "neighbouring columns are correlated" in correlated
    assert "2.50 times too small" in correlated
    assert noise_in_words({"profile": 1.8, **ten}) == [
        "The errors are 1.80 times too small according to source-free pixels; for line fluxes (10 columns) by 2.50."
    ]
    assert noise_in_words({"profile": 0.5, "pixel": 1.0, "bin10": float("nan")}) == [
        "The errors are 2.00 times too large according to source-free pixels."
    ]
    nothing = {"profile": float("nan"), "pixel": float("nan"), "bin10": float("nan")}
    assert noise_in_words(nothing) == ["The errors could not be checked: there are too few source-free pixels."]


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_wrong_errors_are_told_and_left_as_they_are_unless_asked(factor):
    one = make_scene("mid", 2)
    frame = one.frame.replace(variance=one.frame.variance * factor**-2, variance_parts=None)
    told = ox.extract(frame)
    assert told.quality["pull"]["profile"] == pytest.approx(factor, rel=0.12)
    word = "small" if factor > 1 else "large"
    assert any(f"times too {word} according to source-free pixels" in words for words in told.quality["warnings"])
    true = ox.extract(one.frame)
    np.testing.assert_allclose(np.nanmedian(told.uncertainty / true.uncertainty), 1 / factor, rtol=0.02)
    scaled = ox.extract(frame, ox.Recipe(noise={"scale": "auto"}))
    np.testing.assert_allclose(scaled.uncertainty / told.uncertainty, told.quality["pull"]["profile"], rtol=1e-9)
    np.testing.assert_array_equal(scaled.flux, told.flux)


@pytest.mark.parametrize(("factor", "size"), [(0.25, "small"), (4.0, "large"), (1.0, None)])
def test_errors_that_are_wrong_in_some_columns_are_told(factor, size):
    """All pixels together said nothing of a quarter of the columns whose variances are four times wrong."""
    frame = make_scene("mid", 4).frame
    variance = frame.variance.copy()
    variance[:, 325:650] *= factor
    result = ox.extract(frame.replace(variance=variance, variance_parts=None))
    told = [line for line in result.quality["warnings"] if line.startswith("Source-free pixels of columns")]
    assert len(result.quality["pull"]["along"]) == 8
    if size is None:
        assert told == []
        return
    pull = 1 / np.sqrt(factor)
    (line,) = told
    found = re.fullmatch(
        r"Source-free pixels of columns (\d+) to (\d+) scatter by ([\d.]+) of their errors, those of others by "
        rf"([\d.]+): the errors are too {size} there beside the rest\.",
        line,
    )
    assert found is not None
    first, last, here, others = (float(value) for value in found.groups())
    assert (first, last) == (324, 648)
    assert here == pytest.approx(pull, rel=0.08)
    assert others == pytest.approx(1.0, abs=0.06)
    assert line in result.quality["noise"]


def test_few_or_uneven_pixels_are_no_reason_to_doubt_the_errors():
    even = [(1.0, 400)] * 6
    assert uneven_in_words([*even, (1.3, 400), (0.8, 400)], 800, 0) == []
    assert uneven_in_words([*even, (9.0, 60), (float("nan"), 0)], 800, 0) == []
    assert uneven_in_words([(1.0, 40)] * 7 + [(9.0, 4000)], 800, 0) == []
    assert uneven_in_words((), 800, 0) == []
    (half,) = uneven_in_words([(2.0, 400)] * 4 + [(1.0, 400)] * 4, 800, 0)
    assert "columns 0 to 399 scatter by 2.00 of their errors, those of others by 1.00" in half
    (line,) = uneven_in_words([(3.0, 400), (3.2, 400), *even], 800, 10)
    assert "columns 10 to 209 scatter by 3.10 of their errors, those of others by 1.00" in line


@pytest.mark.parametrize("sky", [0.0, 2.0, 5.0])
def test_few_counts_are_not_called_uneven(rng, sky):
    """Medians of whole numbers jump: honest errors of some columns were called half as large again as of others."""
    rows, columns = np.arange(25)[:, None], np.arange(1298)
    light = 40.0 * np.exp(-((rows - 12.3) ** 2) / 3.2)
    counts = rng.poisson(light + sky + 0.3 * sky * columns / 1298).astype(float)
    result = ox.extract(Frame(counts, variance=np.maximum(counts, 1.0)))
    assert not any(line.startswith("Source-free pixels of columns") for line in result.quality["warnings"])
