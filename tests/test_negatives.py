"""Negative traces that no header tells of: found in their pattern, and not invented."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.compiled.search import has_holes
from optextract.kernel import coadd
from optextract.negatives import find_negatives
from optextract.profiles import Gaussian
from optextract.simulate import make_scene, pixel_profile


@pytest.mark.parametrize(
    ("places", "fluxes", "offsets"),
    [
        ((12.0, 7.0, 17.0), (60.0, -25.0, -25.0), (-5.0, 5.0)),
        ((12.0, 6.6), (60.0, -30.0), (-5.4,)),
        ((12.0, 17.4), (60.0, -30.0), (5.4,)),
        ((12.0, 2.0, 7.0, 17.0, 22.0), (60.0, -10.0, -20.0, -20.0, -10.0), (-10.0, -5.0, 5.0, 10.0)),
        ((7.0, 12.0, 17.0), (60.0, -30.0, -30.0), (5.0, 10.0)),
        ((17.0, 12.0, 7.0), (60.0, -30.0, -30.0), (-10.0, -5.0)),
        ((12.0, 17.0, 7.0, 22.0), (60.0, -20.0, -30.0, -10.0), (-5.0, 5.0, 10.0)),
        ((12.0, 7.0, 17.0, 2.0), (60.0, -20.0, -30.0, -10.0), (-10.0, -5.0, 5.0)),
        ((12.0, 8.0, 19.0), (60.0, -25.0, -35.0), (-4.0, 7.0)),
        ((12.0, 2.3, 6.7, 21.0), (60.0, -20.0, -30.0, -20.0), (-9.7, -5.3, 9.0)),
        ((6.0, -0.9, 12.9), (60.0, -30.0, -30.0), (-6.9, 6.9)),
        # a source of its own stands where a negative could have been
        ((12.0, 17.0, 7.0), (60.0, -30.0, 40.0), (5.0,)),
    ],
    ids=[
        "one nod",
        "below",
        "above",
        "two nods",
        "first of three",
        "last of three",
        "middle, unequal",
        "middle, unequal, turned",
        "irregular",
        "irregular, three",
        "cut by the edge",
        "beside a source",
    ],
)
def test_patterns_of_negative_traces_are_found(columns, places, fluxes, offsets):
    cut = coadd(*columns(2000, places=places, fluxes=fluxes), (0, 1999), "mean")
    np.testing.assert_allclose(find_negatives(cut, (places[0],), 1.8), offsets, atol=0.15)


@pytest.mark.parametrize(
    ("places", "fluxes"),
    [
        ((12.0,), (60.0,)),
        ((12.0, 17.0), (60.0, 25.0)),
        ((12.0, 17.0), (60.0, -1.0)),
    ],
    ids=["alone", "a source beside it", "too faint"],
)
def test_what_is_no_negative_trace_is_not_taken_for_one(columns, places, fluxes):
    cut = coadd(*columns(2000, places=places, fluxes=fluxes), (0, 1999), "mean")
    assert find_negatives(cut, (12.0,), 1.8) == ()


def test_few_rows_tell_nothing_of_negative_traces(columns):
    data, weight = columns(2000, places=(12.0, 17.0), fluxes=(60.0, -25.0))
    weight[:, :8] = weight[:, 19:] = 0.0
    assert find_negatives(coadd(data, weight, (0, 1999), "mean"), (12.0,), 1.8) == ()


def test_nods_that_the_header_does_not_tell_are_modelled_with_a_warning():
    one = make_scene("nods", 3, snr=40.0)
    meta = {name: value for name, value in one.frame.meta.items() if not name.startswith("nod")}
    result = ox.extract(one.frame.replace(meta=meta))
    assert result.quality["nods"]["mode"] == "model"
    np.testing.assert_allclose(np.abs(result.quality["nods"]["offsets"]) % 5.0, 0.0, atol=0.2)
    assert any("negative" in sentence.lower() for sentence in result.quality["warnings"])
    bias = np.nansum(result.flux[0]) / one.truth.flux[0].sum() - 1
    assert abs(bias) < 0.01


@pytest.mark.parametrize("snr", [3.0, 30.0])
@pytest.mark.parametrize(
    "nods", [{5.0: 0.5, 10.0: 0.5}, {5.1: 1 / 3, -5.1: 0.5, 10.2: 1 / 6}, {-5.3: 0.4, 8.1: 0.6}, {-15.2: 0.5, 6.2: 0.5}]
)
def test_flux_beside_nods_on_one_side_or_unequal_ones_is_that_of_the_truth(nods, snr):
    one = make_scene("mid", 5, shape=(41, 800), snr=snr, centre=17.7, fwhm=1.7)
    rows, (flux,), (centre,), (fwhm,) = np.arange(41), one.truth.flux, one.truth.centre, one.truth.fwhm
    twins = sum(-depth * flux * pixel_profile(rows, centre + offset, fwhm) for offset, depth in nods.items())
    result = ox.extract(one.frame.replace(flux=one.frame.flux + twins))
    np.testing.assert_allclose(result.quality["nods"]["offsets"], sorted(nods), atol=0.15)
    bias = np.nansum(result.flux[0]) / flux.sum() - 1
    assert abs(bias) < 4 * np.sqrt(np.nansum(result.uncertainty[0] ** 2)) / flux.sum()


@pytest.mark.parametrize("row", [-20.0, -4.0, 4.0])
def test_a_row_that_is_off_leaves_no_pattern_about_a_bright_source(row):
    one = make_scene("mid", 5, shape=(41, 800), snr=60.0, centre=17.7)
    flux = one.frame.flux.copy()
    flux[11] += row * np.sqrt(np.median(one.truth.variance[11]))
    assert ox.extract(one.frame.replace(flux=flux)).quality["nods"]["offsets"] == ()


def test_masks_that_leave_no_flux_are_told_and_name_the_setting():
    one = make_scene("nods", 2, snr=40.0, fwhm=3.4)
    masked = ox.extract(one.frame, ox.Recipe(nods={"mode": "mask"}))
    assert not np.isfinite(masked.flux).any()
    (words,) = (words for words in masked.quality["warnings"] if "masks" in words)
    assert "1298 of 1298 columns have no flux" in words
    assert "nods.mode: model or auto" in words
    free = ox.extract(one.frame)
    assert np.isfinite(free.flux).all()
    assert not any("masks" in words for words in free.quality["warnings"])


def test_a_source_on_the_twin_of_another_is_not_masked():
    one = make_scene("nods", 2, shape=(41, 800), snr=40.0, centre=18.2, nod_step=7)
    light = 0.8 * one.truth.flux[0] * pixel_profile(np.arange(41), one.truth.centre[0] + 7, one.truth.fwhm[0])
    result = ox.extract(one.frame.replace(flux=one.frame.flux + light), ox.Recipe(sources={"number": 2}))
    assert result.quality["nods"]["mode"] == "model"
    assert np.isfinite(result.flux).all()


@pytest.mark.parametrize(("row", "depth"), [(4, 0.5), (4, 0.95), (11, 9.0)])
def test_holes_are_far_below_the_fit_and_away_from_the_source(row, depth):
    terms = Gaussian().integrate(25, np.array([12.0]), np.array([2.0]))[None]
    data, weight = 20.0 * terms[0], np.full((1, 25), 25.0)
    data[0, row] -= depth
    left = data[0] - 20.0 * terms[0, 0]
    away = np.abs(np.arange(25) - 12.0) > 2.5
    told = away & (left < -0.1 * 20.0 * terms.max()) & (left * 5.0 < -4.0)
    coefficients = np.array([[20.0]])
    assert (
        has_holes(data, weight, terms, coefficients, np.array([12.0]), 2.5, 0.1, 4.0) == told.any() == (depth == 0.95)
    )


@pytest.mark.parametrize("number", [1, "auto"])
def test_holes_beyond_a_broad_neighbour_are_no_negative_traces(number):
    """The background bends up beneath what is not modelled, and down where nothing is."""
    one = make_scene("mid", 1, shape=(31, 600), snr=30.0, centre=15.3, fwhm=2.5, slope=0.0)
    light = 0.5 * one.truth.flux[0] * pixel_profile(np.arange(31), one.truth.centre[0] + 8.0, np.full(600, 5.0))
    result = ox.extract(one.frame.replace(flux=one.frame.flux + light), ox.Recipe(sources={"number": number}))
    assert result.quality["nods"]["offsets"] == ()
    assert not any("Negative traces" in words for words in result.quality["warnings"])
    if number == 1:
        assert any(words.startswith("Two sources, at rows") for words in result.quality["warnings"])
    else:
        assert result.n_source == 2
        assert np.nansum(result.flux[0]) / one.truth.flux[0].sum() == pytest.approx(1.0, abs=0.01)
