"""A second look at a finished fit: two sources that were taken for one are told, nothing else is."""

from __future__ import annotations

import re

import numpy as np
import pytest

import optextract as ox
from optextract.second import unmodelled_in_words
from optextract.simulate import make_scene, pixel_profile


def said(result):
    """What is said of a second source."""
    return [
        sentence for sentence in result.quality["warnings"] if sentence.startswith(("Two sources", "A second source"))
    ]


def test_two_sources_taken_for_one_are_told_with_their_rows():
    one = make_scene("blend", 1)
    (sentence,) = said(ox.extract(one.frame))
    found = re.fullmatch(
        r"Two sources, at rows (\S+) and (\S+), fit the kernel slice better than one \(chi2 lower by \d+\): set "
        r"sources.number to 2 or auto\.",
        sentence,
    )
    np.testing.assert_allclose([float(row) for row in found.groups()], np.median(one.truth.centre, axis=1), atol=0.3)


def test_rows_are_those_of_the_frame():
    frame = make_scene("blend", 1).frame
    whole, part = said(ox.extract(frame)), said(ox.extract(frame, region={"cross": (4, 21)}))
    rows = [[float(row) for row in re.findall(r"\d+\.\d", sentence)] for sentence in (*whole, *part)]
    np.testing.assert_allclose(rows[1], rows[0], atol=0.15)


@pytest.mark.parametrize("number", [1, "auto"])
@pytest.mark.parametrize("name", ["mid", "moffat", "curved", "nods", "cosmic", "lines", "emission", "faint"])
def test_one_source_is_one(name, number):
    """Wings, a bend and negative twins all make a slice that is no single Gaussian, and are no second source."""
    result = ox.extract(make_scene(name, 2).frame, ox.Recipe(sources={"number": number}))
    assert said(result) == []
    assert result.n_source == 1


def test_nothing_is_said_where_two_were_asked_for():
    frame = make_scene("blend", 1).frame
    assert said(ox.extract(frame, ox.Recipe(sources={"number": 2}))) == []


def lit_in(columns, apart, ratio, name="mid"):
    """A frame of a source and of a second one that is in some columns only."""
    one = make_scene(name, 2)
    rows = np.arange(one.frame.flux.shape[0])
    light = ratio * one.truth.flux[0] * pixel_profile(rows, one.truth.centre[0] + apart, one.truth.fwhm[0])
    light[:, : columns[0]] = light[:, columns[1] + 1 :] = 0.0
    return one.frame.replace(flux=one.frame.flux + light), one.truth


#: Fewer than half of the 1298 columns: their median shows nothing of it.
PARTS = [
    ("mid", (900, 999), 2.0, 0.3),
    ("mid", (900, 999), 6.0, 0.3),
    ("mid", (800, 1199), 3.0, 1.0),
    ("mid", (0, 299), 4.0, 1.0),
    ("curved", (1400, 1599), 10.0, 1.0),
]


@pytest.mark.parametrize(("name", "columns", "apart", "ratio"), PARTS)
def test_a_source_in_part_of_the_columns_is_told(name, columns, apart, ratio):
    frame, truth = lit_in(columns, apart, ratio, name)
    result = ox.extract(frame)
    (sentence,) = said(result)
    row, first, last = re.fullmatch(
        r"A second source, at row (\S+), shows in columns (\d+) to (\d+) \(chi2 lower by \d+\): its light may be "
        r"in the flux there; set sources\.number to 2 or auto\.",
        sentence,
    ).groups()
    middle = (int(first) + int(last)) // 2
    assert columns[0] <= middle <= columns[1]
    assert float(row) == pytest.approx(truth.centre[0, middle] + apart, abs=0.4)
    assert result.quality["second_source"]


def test_rows_and_columns_are_those_of_the_frame_and_of_the_trace_there():
    frame, _ = lit_in((900, 999), 3.0, 1.0)
    (whole,), (part,) = said(ox.extract(frame)), said(ox.extract(frame, region={"cross": (4, 21), "disp": (500, 1200)}))
    numbers = [[float(v) for v in re.findall(r"\d+\.?\d*", sentence)[:3]] for sentence in (whole, part)]
    assert numbers[1][0] == pytest.approx(numbers[0][0], abs=0.2)
    assert 900 < 0.5 * (numbers[1][1] + numbers[1][2]) < 999


@pytest.mark.parametrize("number", [2, "auto"])
@pytest.mark.parametrize(("name", "columns", "apart", "ratio"), PARTS)
def test_a_source_in_part_of_the_columns_is_taken_apart(name, columns, apart, ratio, number):
    frame, truth = lit_in(columns, apart, ratio, name)
    result = ox.extract(frame, ox.Recipe(sources={"number": number}))
    assert result.n_source == 2
    k = int(np.argmin(np.abs(np.median(result.centre - truth.centre[0], axis=1))))
    np.testing.assert_allclose(result.centre[1 - k] - result.centre[k], apart, atol=0.15)
    inside = np.zeros(len(truth.flux[0]), dtype=bool)
    inside[columns[0] : columns[1] + 1] = True
    for which, expected in ((k, 1.0), (1 - k, ratio * inside)):
        pull = (result.flux[which] - expected * truth.flux[0]) / result.uncertainty[which]
        assert np.sqrt(np.nanmean(pull[inside] ** 2)) == pytest.approx(1.0, abs=0.2)
        assert np.sqrt(np.nanmean(pull[~inside] ** 2)) == pytest.approx(1.0, abs=0.1)


def beside(apart, bend=0.0, ratio=1.0, shape="gaussian", snr=30.0):
    """A frame of two sources (or of one, where the ratio is 0) on a trace that moves by so many rows."""
    shape_of = {"profile": shape, "rectified": bend == 0, "shape": (41, 800), "fwhm": 1.8, "slope": 0.0}
    one = make_scene("mid", 3, snr=snr, centre=(18.0, 0.0, bend / 1.5) if bend else 18.2, **shape_of)
    light = ratio * one.truth.flux[0] * pixel_profile(np.arange(41), one.truth.centre[0] + apart, one.truth.fwhm[0])
    return one.frame.replace(flux=one.frame.flux + light), one.truth


@pytest.mark.parametrize("apart", [3.0, 4.0, 6.0])
@pytest.mark.parametrize("bend", [0.0, 8.0])
def test_two_equal_sources_that_look_like_a_wide_one_are_told(apart, bend):
    """Each is less than half as wide as what was fitted to both."""
    (sentence,) = said(ox.extract(beside(apart, bend)[0]))
    low, high = (float(row) for row in re.findall(r"\d+\.\d", sentence))
    assert high - low == pytest.approx(apart, abs=0.5)


def test_a_bright_source_with_wings_on_a_trace_that_bends_is_one():
    assert said(ox.extract(beside(0.0, 8.0, ratio=0.0, shape="moffat", snr=300.0)[0])) == []


@pytest.mark.parametrize(("apart", "ratio"), [(2.0, 1.0), (3.0, 0.2), (6.0, 0.5)])
@pytest.mark.parametrize("number", [2, "auto"])
def test_two_sources_on_a_trace_that_bends_are_those_of_the_truth(apart, ratio, number):
    frame, truth = beside(apart, 8.0, ratio)
    result = ox.extract(frame, ox.Recipe(sources={"number": number}))
    assert result.n_source == 2
    order = np.argsort(np.median(result.centre, axis=1))
    for k, place, flux in zip(order, (0.0, apart), (1.0, ratio), strict=True):
        np.testing.assert_allclose(result.centre[k], truth.centre[0] + place, atol=0.1)
        pull = (result.flux[k] - flux * truth.flux[0]) / result.uncertainty[k]
        assert np.sqrt(np.nanmean(pull**2)) == pytest.approx(1.0, abs=0.1)


def test_what_is_not_modelled_is_told_of_by_chi2():
    """Two sources with negative twins that no header tells of look like one broad one, with three times the light."""
    c, rows = np.full(600, 20.3), np.arange(41)
    model = sum(
        depth * 100.0 * pixel_profile(rows, c + apart + away, np.full(600, 2.5))
        for apart in (0.0, 5.0)
        for away, depth in ((0.0, 1.0), (-10.0, -0.5), (10.0, -0.5))
    )
    variance = 25.0 + np.abs(model)
    noise = np.random.default_rng(1).normal(size=model.shape)
    result = ox.extract(ox.Frame(model + noise * np.sqrt(variance), variance=variance))
    (told,) = (words for words in result.quality["warnings"] if words.startswith("Reduced chi2"))
    found = re.match(r"Reduced chi2 is (\S+), and 1\.5 in source-free pixels: something is not modelled", told)
    assert float(found[1]) == pytest.approx(result.quality["chi2"], abs=0.06)


def test_chi2_is_told_where_the_pull_is_not():
    """A reduced chi2 of 1.7 beside a pull of 1.23 was told by neither: each was within the other's allowance."""
    assert unmodelled_in_words(1.7, 1.23)
    assert not unmodelled_in_words(1.6, 1.25)
    assert not unmodelled_in_words(2.2, 1.31)
    assert unmodelled_in_words(2.3, 1.31)
    assert not unmodelled_in_words(1.29, float("nan"))
    assert unmodelled_in_words(1.31, float("nan"))


@pytest.mark.parametrize("name", ["mid", "bright", "moffat", "poisson20", "nods", "cosmic", "emission"])
def test_chi2_says_nothing_where_the_model_fits(name):
    assert not any("Reduced chi2" in words for words in ox.extract(make_scene(name, 2).frame).quality["warnings"])
