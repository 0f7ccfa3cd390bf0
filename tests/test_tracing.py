"""Bins of the refined fit: what fills their gaps."""

from __future__ import annotations

import re

import numpy as np
import pytest

import optextract as ox
from optextract import tracing
from optextract.profiles import Gaussian, Moffat
from optextract.simulate import Line, make_scene
from optextract.simulate.score import score


def test_what_no_pixel_shows_does_not_fill_the_gaps_of_a_bin(monkeypatch):
    """Columns of which only one side is left: the flux of a twin on the other side is unknown, and may be anything."""
    frame = make_scene("nods", 2, shape=(25, 400)).frame
    mask = frame.mask.copy()
    mask[14:, 200:206] = True
    made = []
    original = tracing._second_bins

    def watched(window, swept):
        made.append(original(window, swept))
        return made[-1]

    monkeypatch.setattr(tracing, "_second_bins", watched)
    result = ox.extract(frame.replace(mask=mask), ox.Recipe(nods={"mode": "model"}))
    (binned,) = made
    assert np.abs(binned.data).max() < 3 * np.abs(frame.flux[~mask]).max()
    plain = ox.extract(frame, ox.Recipe(nods={"mode": "model"}))
    np.testing.assert_allclose(result.centre, plain.centre, atol=0.05)


@pytest.mark.parametrize(("continuum", "peak"), [(0.3, 100.0), (0.5, 500.0), (3.0, 300.0)])
def test_bright_lines_tell_trace_and_width_where_the_continuum_is_faint(continuum, peak):
    """Medians of many columns see the continuum alone, and what noise makes of its width would cost the lines."""
    columns = np.arange(40.0, 760.0, 57.3)
    made = make_scene(
        "mid",
        5,
        shape=(25, 780),
        snr=continuum,
        fwhm=(1.7, 0.35),
        lines=tuple(Line(float(column), 2.2, peak) for column in columns),
    )
    result = ox.extract(made.frame)
    at = np.round(columns).astype(int)
    fwhm_error = result.fwhm[0, at] / made.truth.fwhm[0, at] - 1
    assert np.abs(fwhm_error).max() < max(0.03, 4 / peak)
    np.testing.assert_allclose(result.centre[0, at], made.truth.centre[0, at], atol=0.02)
    near = at[:, None] + np.arange(-3, 4)
    light = (result.flux - made.truth.flux)[0, near].sum(axis=1)
    pull = light / np.sqrt((result.uncertainty[0, near] ** 2).sum(axis=1))
    assert np.sqrt((pull**2).mean()) < 1.6
    assert not result.rejected[:, at].any()


def test_light_behind_a_break_is_all_there():
    """Three columns in a hundred hold all of the light, at S/N 100 each."""
    made = make_scene("mid", 4, shape=(31, 900), snr=100.0)
    light = made.truth.flux[0] * made.truth.profile[0]
    dark = np.arange(900) < 873
    frame = made.frame.replace(flux=made.frame.flux - np.where(dark, light, 0.0))
    result = ox.extract(frame)
    assert np.nansum(result.flux[0, ~dark]) == pytest.approx(made.truth.flux[0, ~dark].sum(), rel=0.01)
    assert not result.quality["warnings"]


def test_where_nothing_is_found_the_search_for_lines_is_named():
    made = make_scene("lines", 2, snr=0.0, lines=(Line(400.2, 2.8, 100.0),), shape=(31, 900))
    (words,) = ox.extract(made.frame).quality["warnings"]
    assert "sources.find: lines" in words
    assert "may be emission lines" in words


@pytest.mark.parametrize(("bend", "snr"), [(2.5, 6.0), (3.0, 100.0), (5.0, 20.0)])
def test_trace_of_a_frame_that_is_not_as_rectified_as_it_says_is_followed(bend, snr):
    made = make_scene("mid", 3, shape=(31, 900), snr=snr, fwhm=2.2, centre=lambda t: 12 + bend * t**2)
    assert made.frame.meta["rectified"] is True
    result = ox.extract(made.frame)
    np.testing.assert_allclose(result.centre[0], made.truth.centre[0], atol=0.15)
    found = score(made, result.flux[0], result.uncertainty[0])
    assert abs(found.bias) < max(4 * found.bias_error, 0.003)
    assert np.sqrt((found.pull**2).mean()) < 1.1
    assert any("rectified, but its trace" in words for words in result.quality["warnings"])


@pytest.mark.parametrize("snr", [30.0, 200.0, 1500.0])
@pytest.mark.parametrize("fwhm", [1.5, 6.0])
@pytest.mark.parametrize(
    ("bend", "rectified"),
    [
        ((5.0,), False),
        ((5.0,), True),
        ((12.0,), True),
        ((0.0, 18.0), False),
        ((-15.0, 6.0), None),
        ((6.0, 6.0, 4.0), False),
    ],
)
def test_bright_traces_are_followed_however_they_run(bend, rectified, fwhm, snr):
    """At the cap of each bin's say a row at the edge, or one as wide as the tilt, was as good as the trace."""
    made = make_scene(
        "mid",
        3,
        shape=(64, 1200),
        snr=snr,
        fwhm=fwhm,
        centre=lambda t: 30.0 + np.polynomial.legendre.legval(t, (0, *bend)),
    )
    meta = {**made.frame.meta, "rectified": rectified}
    meta = {key: value for key, value in meta.items() if value is not None and not key.startswith("planned")}
    result = ox.extract(made.frame.replace(meta=meta))
    np.testing.assert_allclose(result.centre[0], made.truth.centre[0], atol=0.1)
    np.testing.assert_allclose(result.fwhm[0], fwhm, rtol=0.03)
    found = score(made, result.flux[0], result.uncertainty[0])
    assert abs(found.bias) < max(4 * found.bias_error, 0.002)


@pytest.mark.parametrize("bend", [(12.0,), (0.0, 10.0)])
@pytest.mark.parametrize("light", ["steep", "break"])
def test_bright_traces_are_followed_where_most_of_the_light_is_at_one_end(bend, light):
    """Thirty times brighter at one end, or dark in half of the columns."""
    made = make_scene(
        "mid", 3, shape=(64, 1200), fwhm=2.0, centre=lambda t: 30.0 + np.polynomial.legendre.legval(t, (0, *bend))
    )
    x = np.linspace(0.0, 1.0, 1200)
    flux = 400.0 * (10 ** (1.5 * x) if light == "steep" else np.where(x < 0.5, 0.0, 10.0))
    rng = np.random.default_rng(1)
    model, lit = flux * made.truth.profile[0], flux > 0
    frame = ox.Frame(model + 10.0 * rng.normal(size=model.shape), variance=np.full(model.shape, 100.0))
    result = ox.extract(frame)
    np.testing.assert_allclose(result.centre[0, lit], made.truth.centre[0, lit], atol=0.1)
    pull = (result.flux[0] - flux) / result.uncertainty[0]
    assert np.sqrt(np.mean(pull**2)) < 1.1
    assert result.flux[0].sum() / flux.sum() == pytest.approx(1.0, abs=0.002)


@pytest.mark.parametrize("centre", [(12.0, 3.0), (14.0, 0.0, 0.3)])
def test_tilt_or_slight_bend_of_a_rectified_trace_needs_no_word(centre):
    made = make_scene("mid", 3, shape=(31, 600), centre=centre)
    result = ox.extract(made.frame)
    np.testing.assert_allclose(result.centre[0], made.truth.centre[0], atol=0.15)
    assert not any("rectified" in words for words in result.quality["warnings"])


@pytest.mark.parametrize(("rise", "snr"), [(1.0, 3.0), (3.0, 3.0), (10.0, 10.0)])
def test_background_that_rises_to_both_ends_is_no_source(rise, snr):
    made = make_scene("mid", 3, shape=(27, 900), snr=snr, fwhm=1.7)
    across = np.linspace(-1.0, 1.0, 27)[:, None]
    bowl = rise * np.sqrt(np.median(made.frame.variance)) * across**2
    result = ox.extract(made.frame.replace(flux=made.frame.flux + bowl))
    np.testing.assert_allclose(result.centre[0], made.truth.centre[0], atol=0.1)
    np.testing.assert_allclose(result.fwhm[0], 1.7, rtol=0.1)
    found = score(made, result.flux[0], result.uncertainty[0])
    assert abs(found.bias) < 2.5 * found.bias_error
    assert np.sqrt((found.pull**2).mean()) < 1.06


def test_trace_that_waves_gets_the_degree_that_it_needs():
    made = make_scene(
        "mid",
        3,
        shape=(31, 1200),
        snr=50.0,
        fwhm=2.2,
        centre=lambda t: 14 + 0.3 * np.sin(3 * np.pi * t),
        rectified=False,
    )
    result = ox.extract(made.frame)
    np.testing.assert_allclose(result.centre[0, 10:-10], made.truth.centre[0, 10:-10], atol=0.05)
    found = score(made, result.flux[0], result.uncertainty[0])
    assert abs(found.bias) < 0.002
    assert found.lost == 0
    assert result.trace.degree == result.resolved.trace.degree > 10


def test_trace_that_waves_more_than_was_asked_for_is_told():
    made = make_scene("mid", 3, shape=(31, 800), snr=50.0, fwhm=2.2, centre=lambda t: 14 + 0.3 * np.sin(3 * np.pi * t))
    words = ox.extract(made.frame, ox.Recipe(trace={"degree": 2})).quality["warnings"]
    told = [float(found[1]) for word in words if (found := re.match(r"The trace waves by ([0-9.]+) pixels", word))]
    t = np.linspace(-1, 1, 800)
    wave = 0.3 * np.sin(3 * np.pi * t)
    left = wave - np.polyval(np.polyfit(t, wave, 2), t)
    assert told == [pytest.approx(left.std(), abs=0.05)]


@pytest.mark.parametrize("seed", [272735492, 3])
def test_tracks_along_a_faint_source_are_no_lines(seed):
    """Hits that run along dispersion stand out in several columns; one pixel high, they tell nothing of the trace."""
    scene = make_scene("cosmic", seed, snr=2.05, centre=(12.02, 0.15))
    result = ox.extract(scene.frame)
    assert result.trace.degree <= 2
    np.testing.assert_allclose(np.median(result.centre), np.median(scene.truth.centre), atol=0.1)
    np.testing.assert_allclose(np.median(result.fwhm), np.median(scene.truth.fwhm), rtol=0.12)
    pull = (result.flux[0] - scene.truth.flux[0]) / result.uncertainty[0]
    assert np.nanstd(pull) < 1.25


def light_of(shape, centre, fwhm, n_cross):
    """Profiles, shape (n_cross, n_disp)."""
    centre, fwhm = (np.broadcast_to(each, np.broadcast(centre, fwhm).shape).astype(float) for each in (centre, fwhm))
    return shape.integrate(n_cross, np.array(centre), np.array(fwhm)).T


@pytest.mark.parametrize(
    ("rows", "width", "factor", "snr", "fall", "rise", "twin"),
    [(27, 1.4, 0.5, 30.0, 2.3, 1.5, None), (50, 2.8, 0.45, 60.0, 1.5, 2.0, 18.0)],
    ids=["a prism", "MIRI's LRS, beside one negative trace"],
)
def test_a_width_that_more_than_doubles_is_followed_into_the_faint_end(rows, width, factor, snr, fall, rise, twin):
    """The kernel slice is where the source is bright and narrow; a fifth of the faint quarter's light was lost."""
    off = []
    for seed in range(6):
        rng, x = np.random.default_rng(seed), np.linspace(-1.0, 1.0, 430)
        fwhm, centre = width * np.exp(factor * x), 13.4 + 0.4 * x - 0.3 * x**2
        profile = light_of(Gaussian(), centre, fwhm, rows)
        flux = snr / np.sqrt(np.median((profile**2).sum(axis=0))) * np.exp(-fall * x)
        twins = 0.0 if twin is None else flux * light_of(Gaussian(), centre + twin, fwhm, rows)
        variance = np.exp(rise * x) + 0.03 * flux * profile
        data = flux * profile - twins + rng.normal(size=profile.shape) * np.sqrt(variance)
        result = ox.extract(ox.Frame(data, variance=variance))
        np.testing.assert_allclose(result.fwhm[0], fwhm, rtol=0.12)
        assert not any("converge" in words for words in result.quality["warnings"])
        power, faint = result.uncertainty[0] ** -2, slice(320, 430)
        error = ((result.flux[0] - flux) * flux * power)[faint].sum() / np.sqrt((flux**2 * power)[faint].sum())
        off.append(error)
    assert abs(np.mean(off)) < 3.0 / np.sqrt(6.0)


@pytest.mark.parametrize(("index", "snr"), [(3.0, 15.0), (3.0, 50.0), (4.765, 15.0), (4.765, 50.0)])
def test_wings_are_seen_beside_negative_traces(index, snr):
    """A Gaussian lost six and three per cent, in silence."""
    bias = []
    for seed in range(4):
        rng, x = np.random.default_rng(seed), np.linspace(-1.0, 1.0, 900)
        shape, width = Moffat(index), np.full(900, 2.2)
        profile = light_of(shape, 15.3 + 0.3 * x, width, 31)
        twins = sum(light_of(shape, 15.3 + offset + 0.3 * x, width, 31) for offset in (-5.0, 5.0))
        flux = snr / np.sqrt((profile**2).sum(axis=0).mean()) * (1.0 + 0.3 * np.sin(9 * x))
        model = flux * (profile - 0.5 * twins)
        meta = {"rectified": True, "nod_offsets": (-5.0, 5.0), "nod_noise": "included"}
        frame = ox.Frame(model + rng.normal(size=model.shape), variance=np.ones(model.shape), meta=meta)
        result = ox.extract(frame)
        bias.append(result.flux[0].sum() / flux.sum() - 1)
    assert np.mean(bias) == pytest.approx(0.0, abs=max(0.015, 0.1 / snr))


def test_a_gaussian_stays_one_beside_negative_traces():
    """Wings are there only where the evidence for them is strong."""
    for seed in range(6):
        assert ox.extract(make_scene("nods", seed, snr=60.0).frame).quality["profile"] == "gaussian"


@pytest.mark.parametrize("snr", [15.0, 50.0])
def test_wings_that_no_index_describes_are_told_beside_negative_traces(snr):
    """An exponential disk: a tenth of its light and more passes for background between the twins."""
    rng, x = np.random.default_rng(3), np.linspace(-1.0, 1.0, 900)
    row = np.arange(31.0)[:, None] - 15.3
    edges = np.stack([row - 0.5, row + 0.5]) * 2 * np.log(2.0) / 2.5

    def disk(offset):
        below, above = edges - offset * 2 * np.log(2.0) / 2.5
        cumulative = [np.where(each < 0, 0.5 * np.exp(each), 1 - 0.5 * np.exp(-each)) for each in (below, above)]
        return (cumulative[1] - cumulative[0]) * np.ones(900)

    flux = snr / np.sqrt((disk(0.0) ** 2).sum(axis=0).mean()) * (1.0 + 0.3 * np.sin(9 * x))
    model = flux * (disk(0.0) - 0.5 * disk(-5.0) - 0.5 * disk(5.0))
    meta = {"rectified": True, "nod_offsets": (-5.0, 5.0), "nod_noise": "included"}
    frame = ox.Frame(model + rng.normal(size=model.shape), variance=np.ones(model.shape), meta=meta)
    assert any("Moffat of the least index allowed (2.0)" in words for words in ox.extract(frame).quality["warnings"])
