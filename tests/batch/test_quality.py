"""Figures and score: quiet about what is good, loud about what is not, and in that order."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import optextract as ox
from optextract.batch.quality import CRITERIA, figures_of, rate
from optextract.simulate import make_scene


def rated(name, seed=1, recipe=None, **changes):
    scene = make_scene(name, seed, **changes)
    result = ox.extract(scene.frame, ox.Recipe() if recipe is None else recipe)
    figures = figures_of(scene.frame, result)
    return figures, rate(figures)


@pytest.mark.parametrize("name", ["faint", "mid", "bright", "emission", "gap"])
def test_good_spectra_score_next_to_nothing(name):
    figures, rating = rated(name, planned_sigma=0.1)
    assert rating.score < 5, rating
    assert figures["optimal_over_boxcar"] == pytest.approx(1.0, abs=0.02)
    assert figures["gain"] > 0.99
    assert figures["efficiency"] > 0.97
    assert figures["jump"] < 1.0


def test_an_empty_frame_is_worth_a_look():
    _, rating = rated("empty")
    assert rating.score > 10
    assert any(flag.startswith("hardly any source") for flag in rating.flags)


def test_a_blend_taken_for_one_source_is_worth_a_look():
    figures, rating = rated("blend", planned_sigma=0.1)
    assert figures["second_source"] == 1.0
    assert rating.score > 10
    assert "two sources fit better than one" in rating.flags
    assert rated("blend", recipe=ox.Recipe(sources={"number": 2}))[0]["second_source"] == 0.0


def test_wrong_errors_are_told():
    scene = make_scene("mid", 1)
    frame = scene.frame.replace(
        variance=scene.frame.variance / 9, variance_parts={k: v / 9 for k, v in scene.frame.variance_parts.items()}
    )
    figures = figures_of(frame, ox.extract(frame))
    assert figures["pull"] == pytest.approx(3.0, abs=0.3)
    assert rate(figures).score >= 20
    assert any("source-free pull 3." in flag or "source-free pull 2.9" in flag for flag in rate(figures).flags)


def test_a_source_far_from_its_planned_position_is_told():
    scene = make_scene("mid", 1)
    frame = scene.frame.replace(meta={**scene.frame.meta, "planned_cross": 17.0})
    result = ox.extract(frame, ox.Recipe(sources={"planned": False}))
    figures = figures_of(frame, result)
    assert figures["jump"] == pytest.approx(17.0 - np.median(scene.truth.centre), abs=0.2)
    assert any(flag.endswith("px from the planned position") for flag in rate(figures).flags)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_hit_that_rejection_left_in_the_flux_is_told_and_nothing_else(seed):
    scene = make_scene("cosmic", seed, planned_sigma=0.1)
    result = ox.extract(scene.frame)
    pull = (result.flux[0] - scene.truth.flux[0]) / result.uncertainty[0]
    figures = figures_of(scene.frame, result)
    left = float(np.nanmax(pull))
    assert (figures["spike"] > 10) == (left > 10)
    if left > 10:
        assert figures["spike"] == pytest.approx(left, rel=0.1)
    else:
        assert rate(figures).score < 5


def test_one_column_alone_is_told_and_a_line_is_not():
    """What rejection misses of a hit is one column high; an undersampled line, FWHM 1.2 pixels, is not."""
    scene = make_scene("mid", 3, snr=5.0, shape=(19, 160), centre=(8.7, 0.1))
    result = ox.extract(scene.frame)
    sigma = float(np.nanmedian(result.uncertainty[0]))

    def told(shape):
        flux = np.array(result.flux)
        flux[0, 70 : 70 + len(shape)] += 60 * sigma * np.array(shape)
        changed = dataclasses.replace(result, flux=flux)
        figures = figures_of(scene.frame, changed)
        return figures, rate(figures)

    figures, rating = told([1.0])
    assert figures["spike"] == pytest.approx(60, rel=0.2)
    assert rating.score >= 15
    assert any("one column alone stands" in flag and figures["spike_at"] in flag for flag in rating.flags)
    figures, rating = told([0.25, 1.0, 0.25])
    assert figures["spike"] < 10
    assert not any("alone" in flag for flag in rating.flags)
    # a hit beside a lost column is not judged
    flux = np.array(result.flux)
    flux[0, 70] += 60 * sigma
    flux[0, 71] = np.nan
    assert figures_of(scene.frame, dataclasses.replace(result, flux=flux))["spike"] < 10


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: criterion.figure)
def test_points_rise_from_good_to_bad_and_not_beyond(criterion):
    assert criterion.points(criterion.good) == 0
    assert criterion.points(criterion.bad) == criterion.weight
    assert criterion.points(100 * criterion.bad) == criterion.weight
    assert criterion.points(math.nan) == 0
    half = criterion.points(0.5 * (criterion.good + criterion.bad))
    assert half == pytest.approx(0.5 * criterion.weight)


def test_worst_comes_first_and_the_score_ends_at_100():
    everything = {"snr_total": 1.0, "pull": 5.0, "jump": 9.0, "chi2": 9.0, "trace_rms": 3.0, "trace_error": 0.05,
                  "lost_fraction": 0.9, "optimal_over_boxcar": 3.0, "optimal_over_boxcar_error": 0.01,
                  "masked_fraction": 0.9, "gain": 0.3, "rejection_effect": 0.5, "x1d_ratio": 3.0,
                  "x1d_ratio_error": 0.01, "fwhm_drift": 9.0, "prior_shape": 1.0, "blended": 1.0,
                  "n_warnings": 9, "second_source": 1.0, "spike": 90.0, "spike_at": "column 7"}  # fmt: skip
    rating = rate(everything)
    assert rating.score == 100
    assert len(rating.flags) == len(CRITERIA)
    assert rating.flags[0] == "hardly any source: total S/N 1.0"
    assert rate({"snr_total": math.nan}).score == CRITERIA[0].weight


def test_figures_are_plain_and_complete():
    figures, _ = rated("blend", recipe=ox.Recipe(sources={"number": 2}))
    for name, value in figures.items():
        assert type(value) in (int, float, str), (name, type(value))
    assert math.isnan(figures["optimal_over_boxcar"])
    assert figures["n_source"] == 2
