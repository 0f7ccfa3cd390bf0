"""extract(): what it refuses, what it passes on, and small or odd frames that must not break it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from astropy import units as u
from hypothesis import given, settings
from hypothesis import strategies as st

import optextract as ox
from optextract.recipe import Region
from optextract.simulate import make_scene

ONE = np.ones((9, 40))


def small(name: str = "mid", seed: int = 2, **changes) -> ox.Frame:
    return make_scene(name, seed, **{"shape": (25, 240), **changes}).frame


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ox.extract(ONE),
            "The 'frame' parameter of extract must be a Frame (see optextract.read). Got 'ndarray'",
        ),
        (lambda: ox.extract(small(), {}), "The 'recipe' parameter of extract must be a Recipe. Got 'dict' instead."),
        (lambda: ox.extract(ox.Frame(ONE)), "The frame must have a variance. Got none: give Frame a 'variance' or"),
        (
            lambda: ox.extract(ox.Frame(ONE * np.nan, variance=ONE)),
            "The frame must have a good pixel inside the region. Got none: all 360 pixels are masked, not finite or",
        ),
        (
            lambda: ox.extract(ox.Frame(ONE, variance=0 * ONE)),
            "The frame must have a good pixel inside the region. Got none: all 360 pixels are masked, not finite or",
        ),
        (
            lambda: ox.extract(small(), region={"cross": (30, 40)}),
            "The 'region.cross' parameter of Recipe must be inside the frame (0 to 24). Got (30.0, 40.0) instead.",
        ),
        (
            lambda: ox.extract(small(), region={"polygon": ((300, 0), (310, 0), (305, 9))}),
            "The 'region.polygon' parameter of Recipe must be one that holds the centre of a pixel of the frame.",
        ),
        (
            lambda: ox.extract(small(), region={"crss": (3, 9)}),
            "unknown field 'region.crss' (known: cross, disp,",
        ),
        (
            lambda: ox.extract(small().replace(unit="MJy/sr")),
            "The 'pixel_area_sr' parameter of Frame.meta must be a positive number of steradian (PIXAR_SR)",
        ),
        (
            lambda: ox.extract(small(), ox.Recipe(noise={"nod_term": True})),
            "The 'noise.nod_term' parameter of Recipe must be false where the frame does not tell its number of nods",
        ),
        (
            lambda: ox.extract(small(), ox.Recipe(nods={"mode": "mask"})),
            "The 'nods.offsets' parameter of Recipe must be given where neither the frame nor its kernel slice",
        ),
        (
            lambda: ox.extract(small(), ox.Recipe(sources={"number": 2, "items": [{}, {}, {}]})),
            "The 'sources.number' parameter of Recipe must be at least the number of sources.items (3). Got 2 instead.",
        ),
        (
            lambda: ox.extract(small(), ox.Recipe(input={"unit": "bananas"})),
            "The 'unit' parameter of Frame must be a unit that astropy knows. Got 'bananas' instead.",
        ),
        (
            lambda: ox.extract(small(), ox.Recipe(profile={"kind": "template"})),
            "The 'profile.template' parameter of Recipe must be a file where profile.kind is 'template'. Got None",
        ),
        (
            lambda: ox.extract(small(), ox.Recipe(profile={"kind": "model"})),
            "The 'model' parameter of Profile must be 'module:attr'. Got None instead.",
        ),
        (
            lambda: ox.extract(small(), ox.Recipe(profile={"kind": "moffat", "index": 1.2})),
            "must be at least 1.5. Got 1.2 instead.",
        ),
    ],
)
def test_what_cannot_be_extracted_is_refused_in_words(call, message):
    with pytest.raises(ox.OptextractError, match=re.escape(message)):
        call()


def test_region_is_short_for_a_recipe_with_it():
    frame, region = small(), {"cross": (4, 20), "disp": (10, 200)}
    results = [
        ox.extract(frame, region=region),
        ox.extract(frame, region=Region(**region)),
        ox.extract(frame, ox.Recipe(region=region)),
        ox.extract(frame, ox.Recipe(region={"cross": (0, 3)}), region=Region(**region)),
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(result.flux, results[0].flux)
    assert results[0].recipe.region.cross == (4.0, 20.0)


def test_recipe_comes_back_as_asked_and_as_resolved():
    asked = ox.Recipe(trace={"degree": 1})
    result = ox.extract(small(), asked)
    assert result.recipe == asked
    assert result.resolved.trace.degree == 1
    assert result.resolved != asked


@pytest.mark.parametrize("name", ["mid", "blend", "moffat", "cosmic", "nods", "poisson20"])
def test_the_resolved_recipe_obeys_the_rules(name):
    """It is put together without looking at each rule again, because that would take long."""
    resolved = ox.extract(small(name), ox.Recipe(sources={"number": 2 if name == "blend" else 1})).resolved
    again = ox.Recipe(**resolved.model_dump(by_alias=True))
    assert again == resolved
    assert ox.Recipe.from_yaml(resolved.to_yaml(full=True)) == resolved


@pytest.mark.parametrize("name", ["mid", "blend", "moffat", "cosmic", "nods"])
def test_resolved_recipe_extracts_what_was_extracted(name):
    """What was chosen, asked for: the same spectrum within a fraction of its error."""
    frame = small(name)
    first = ox.extract(frame, ox.Recipe(sources={"number": 2 if name == "blend" else 1}))
    again = ox.extract(frame, first.resolved)
    away = np.abs(again.flux - first.flux) / first.uncertainty
    assert np.nanmedian(away) < 0.5
    assert np.nanquantile(away, 0.95) < 1.0
    np.testing.assert_allclose(np.nanmedian(again.uncertainty / first.uncertainty), 1.0, rtol=0.01)
    assert again.n_source == first.n_source


def test_unit_and_area_of_the_recipe_replace_those_of_the_frame():
    frame = small()
    result = ox.extract(frame, ox.Recipe(input={"unit": "MJy/sr", "pixel_area_sr": 5e-13}))
    assert result.unit == u.Jy
    np.testing.assert_allclose(result.flux, 5e-7 * ox.extract(frame).flux, rtol=1e-12)


def test_two_sources_told_by_position_stay_in_that_order():
    frame = small("blend")
    items = [{"name": "b", "centre": 12.9}, {"name": "a", "centre": 10.9}]
    result = ox.extract(frame, ox.Recipe(sources={"items": items}))
    assert result.n_source == 2
    assert np.median(result.centre[0]) > np.median(result.centre[1])
    assert [item.name for item in result.resolved.sources.items] == ["b", "a"]
    other = ox.extract(frame, ox.Recipe(sources={"items": items[::-1]}))
    np.testing.assert_allclose(other.flux, result.flux[::-1], atol=0.05 * np.median(result.uncertainty))
    truth = make_scene("blend", 2, shape=(25, 240)).truth
    np.testing.assert_allclose(np.median(other.centre, axis=1), np.median(truth.centre, axis=1), atol=0.1)


@pytest.mark.parametrize("separation", [2.0, 4.0, 6.0])
def test_of_two_sources_the_planned_one_is_first(separation):
    scene = make_scene("blend", 2, separation=separation, planned_sigma=0.1)
    for planned, place in ((scene.truth.centre[0], 0), (scene.truth.centre[1], 1)):
        meta = {**scene.frame.meta, "planned_cross": float(np.median(planned))}
        result = ox.extract(scene.frame.replace(meta=meta), ox.Recipe(sources={"number": 2}))
        assert np.median(result.centre[0]) == pytest.approx(float(np.median(scene.truth.centre[place])), abs=0.1)


def test_number_of_sources_by_the_evidence():
    auto = ox.Recipe(sources={"number": "auto"})
    assert all(ox.extract(make_scene("mid", seed).frame, auto).n_source == 1 for seed in range(5))
    assert all(ox.extract(make_scene("blend", seed).frame, auto).n_source == 2 for seed in range(5))
    assert ox.extract(make_scene("empty", 1).frame, auto).n_source == 1


def test_one_source_on_a_blend_is_told_of_in_words():
    result = ox.extract(make_scene("blend", 1).frame)
    assert any(
        "Two sources, at rows" in words and "set sources.number to 2" in words for words in result.quality["warnings"]
    )


def test_a_fit_that_ends_at_a_limit_has_converged():
    """Gaussian data under a Moffat: the index goes to its upper limit, and all else to its optimum."""
    frame = make_scene("bright", 2).frame
    result = ox.extract(frame, ox.Recipe(profile={"kind": "moffat", "empirical": False}))
    # of a profile that differs, which this one does, chi2 tells
    assert [words for words in result.quality["warnings"] if not words.startswith("Reduced chi2")] == []
    assert result.resolved.profile.index.value == 12.0
    np.testing.assert_allclose(result.centre, ox.extract(frame).centre, atol=5e-3)


def test_a_width_at_its_limit_is_told_in_words():
    frame = make_scene("mid", 1).frame
    told = [
        ox.extract(frame, ox.Recipe(profile={"fwhm": {"bounds": (0.5, most)}})).quality["warnings"] for most in (1.2, 5)
    ]
    sentence = (
        "The FWHM, 1.2 pixels, ends at the upper limit of its range: what was fitted may be background; "
        "profile.fwhm.bounds sets the range."
    )
    assert [sentence in words for words in told] == [True, False]


def test_a_width_at_its_lower_limit_is_told_in_words():
    frame = make_scene("mid", 1).frame
    told = [
        ox.extract(frame, ox.Recipe(profile={"fwhm": {"bounds": (least, 9.0)}})).quality["warnings"]
        for least in (0.5, 3.0)
    ]
    sentence = (
        "The FWHM, 3.0 pixels, ends at the lower limit of its range: the source is narrower than the kernel slice, or "
        "what was fitted is none; profile.fwhm.bounds sets the range."
    )
    assert [sentence in words for words in told] == [False, True]


# small and odd frames ------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 60)),
    seed=st.integers(0, 99),
    masked=st.sampled_from([0.0, 0.3, 0.95]),
    level=st.sampled_from([0.0, 5.0, 1e4]),
)
def test_frame_of_any_shape_has_a_result_or_a_reason(shape, seed, masked, level):
    rng = np.random.default_rng(seed)
    row = np.arange(shape[0])[:, None]
    light = level * np.exp(-0.5 * ((row - shape[0] / 2) / 0.8) ** 2)
    mask = rng.random(shape) < masked
    frame = ox.Frame(light + rng.standard_normal(shape), variance=np.ones(shape), mask=mask)
    if mask.all():
        with pytest.raises(ox.FrameError, match="must have a good pixel"):
            ox.extract(frame)
        return
    result = ox.extract(frame)
    assert result.flux.shape == (1, shape[1])
    lost = ~np.isfinite(result.flux[0])
    assert (result.flags[0, lost] != 0).all()
    assert (np.isfinite(result.uncertainty[0]) == ~lost).all()
    assert (result.uncertainty[0, ~lost] > 0).all()
    assert (result.flags[0, mask.all(axis=0)] & ox.Flag.NO_DATA).all()
    assert ox.Recipe.from_yaml(result.resolved.to_yaml(full=True)) == result.resolved


@pytest.mark.parametrize("value", [0.0, 7.0, -3.0])
def test_constant_frame_has_no_source(value):
    result = ox.extract(ox.Frame(np.full((15, 100), value), variance=np.ones((15, 100))))
    assert np.nanmax(np.abs(result.flux / result.uncertainty)) < 1e-3 + 3 * abs(value)
    assert any("No source stands out" in words for words in result.quality["warnings"])


@pytest.mark.parametrize("dynamic", [1e-30, 1e30])
def test_units_of_any_size(dynamic):
    frame = small()
    scaled = frame.replace(
        flux=frame.flux * dynamic,
        variance=frame.variance * dynamic**2,
        variance_parts={name: part * dynamic**2 for name, part in frame.variance_parts.items()},
    )
    np.testing.assert_allclose(ox.extract(scaled).flux / dynamic, ox.extract(frame).flux, rtol=1e-9)


def test_half_of_the_columns_missing_and_half_of_the_rows():
    one = make_scene("mid", 2, shape=(25, 400))
    mask = np.zeros(one.frame.shape, dtype=bool)
    mask[:, ::2] = True
    mask[18:] = True
    result = ox.extract(one.frame.replace(mask=mask))
    pull = ((result.flux - one.truth.flux) / result.uncertainty)[0, 1::2]
    assert np.isnan(result.flux[0, ::2]).all()
    assert abs(pull.mean()) < 0.35
    assert pull.std() == pytest.approx(1.0, abs=0.2)


def test_row_without_variance_takes_no_part():
    frame = small()
    variance = np.array(frame.variance)
    variance[3] = np.inf
    variance[4] = 0.0
    result = ox.extract(frame.replace(variance=variance))
    masked = frame.mask.copy()
    masked[3:5] = True
    np.testing.assert_array_equal(result.flux, ox.extract(frame.replace(mask=masked)).flux)


def test_provenance_names_the_input_and_the_versions():
    result = ox.extract(small().replace(meta={"file": "a_s2d.fits", "slit": "S1"}))
    assert result.provenance["file"] == "a_s2d.fits"
    assert result.provenance["slit"] == "S1"
    assert result.provenance["versions"]["numpy"] == np.__version__
    assert result.provenance["versions"]["optextract"] == ox.__version__
