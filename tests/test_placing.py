"""Sources placed on the kernel slice, faint ones beside bright ones too, and one more looked for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import optextract as ox
from optextract.kernel import coadd
from optextract.placing import another_source, place_sources, width_at
from optextract.profiles import Gaussian, Moffat
from optextract.simulate import make_scene, pixel_profile


@pytest.mark.parametrize("places", [(11.7,), (9.1, 14.0), (10.2, 12.3), (7.0, 12.0, 16.4)])
def test_sources_are_placed_where_they_are(columns, places):
    data, weight = columns(places=places, fluxes=(50.0, 35.0, 30.0)[: len(places)])
    cut = coadd(data, weight, (0, 399), "median")
    found = place_sources(cut, places[0], 2.0, len(places), (), (0.5, 8.0))
    np.testing.assert_allclose(sorted(found.positions), places, atol=0.4)
    assert found.fwhm == pytest.approx(1.8, rel=0.35)


@pytest.mark.parametrize(("places", "fluxes"), [((11.7,), (50.0,)), ((9.1, 14.0), (50.0, 35.0))])
def test_width_is_that_of_given_positions(columns, places, fluxes):
    cut = coadd(*columns(places=places, fluxes=fluxes), (0, 399), "median")
    assert width_at(cut, places, 3.0, (), (0.5, 8.0)) == pytest.approx(1.8, rel=0.15)
    assert width_at(cut, places, 3.0, (), (2.5, 8.0)) == pytest.approx(2.5, rel=0.01)


def test_sources_are_placed_inside_the_good_rows(columns):
    data, weight = columns(places=(15.0,))
    weight[:, :12] = 0.0
    (row,) = place_sources(coadd(data, weight, (0, 399), "median"), 4.0, 2.0, 1, (), (0.5, 8.0)).positions
    assert 12.0 < row < 24.0


def test_two_good_rows_do_not_tell_where_a_source_is(columns):
    data, weight = columns()
    weight[:, :11] = weight[:, 13:] = 0.0
    found = place_sources(coadd(data, weight, (0, 399), "median"), 11.6, 1.9, 2, (), (0.5, 8.0))
    assert (found.positions, found.fwhm) == ((11.6, 11.6), 1.9)


def test_sources_for_which_there_is_no_room_stand_beside_the_first(columns):
    """They are to be judged by the fit, which says how little is known of them."""
    data, weight = columns()
    weight[:, :10] = weight[:, 14:] = 0.0
    found = place_sources(coadd(data, weight, (0, 399), "median"), 11.7, 6.0, 4, (), (5.0, 8.0))
    np.testing.assert_allclose(np.diff(found.positions), found.fwhm)
    assert 5.0 <= found.fwhm <= 8.0


def test_a_place_without_light_stays_where_it_was_asked_for(columns):
    cut = coadd(*columns(fluxes=(-500.0,), fwhm=9.0), (0, 399), "median")
    found = place_sources(cut, 11.7, 2.0, 1, (), (0.5, 8.0))
    assert abs(found.positions[0] - 11.7) <= 2.0
    assert found.fwhm == 2.0


def test_width_at_a_place_without_light_is_the_approximate_one(columns):
    data, weight = columns(fluxes=(-50.0,))
    assert width_at(coadd(data, weight, (0, 399), "median"), (11.7,), 2.2, (), (0.5, 8.0)) == 2.2


@pytest.mark.parametrize("apart", [1.3, 2.5, 6.0])
def test_one_source_more_is_found_with_its_evidence(columns, apart):
    cut = coadd(*columns(2000, places=(10.2, 10.2 + apart * 1.8), fluxes=(50.0, 20.0)), (0, 1999), "mean")
    placed, evidence = another_source(cut, (10.2,), 2.0, (), (0.5, 8.0))
    np.testing.assert_allclose(sorted(placed.positions), (10.2, 10.2 + apart * 1.8), atol=0.1)
    assert placed.fwhm == pytest.approx(1.8, rel=0.05)
    assert evidence > 500


def test_no_source_more_where_one_explains_the_slice(columns):
    cut = coadd(*columns(2000), (0, 1999), "mean")
    assert another_source(cut, (11.7,), 1.8, (), (0.5, 8.0)) is None


def test_a_second_source_too_close_or_too_faint_is_none(columns):
    near = coadd(*columns(2000, places=(10.2, 11.0), fluxes=(50.0, 50.0)), (0, 1999), "mean")
    assert another_source(near, (10.6,), 2.0, (), (0.5, 8.0)) is None
    for places, fluxes in (((10.2, 16.0), (50.0, 0.6)), ((10.2, 12.4), (50.0, 4.0))):
        faint = coadd(*columns(20000, places=places, fluxes=fluxes), (0, 19999), "mean")
        assert another_source(faint, (10.2,), 1.8, (), (0.5, 8.0)) is None


@pytest.mark.parametrize("ratio", [0.03, 0.06])
def test_a_faint_source_far_from_a_bright_one_is_a_source_and_lobes_are_not(columns, ratio):
    """What is on both sides of a source belongs to its profile."""
    alone = coadd(*columns(20000, places=(12.2, 17.0), fluxes=(50.0, 50.0 * ratio)), (0, 19999), "mean")
    placed, evidence = another_source(alone, (12.2,), 1.8, (), (0.5, 8.0))
    np.testing.assert_allclose(placed.positions, (12.2, 17.0), atol=0.15)
    assert evidence > 100
    lobes = (50.0, 50.0 * ratio, 50.0 * ratio * 0.9)
    both = coadd(*columns(20000, places=(12.2, 17.0, 7.4), fluxes=lobes), (0, 19999), "mean")
    assert another_source(both, (12.2,), 1.8, (), (0.5, 8.0)) is None


def test_a_slice_of_few_rows_has_no_place_for_another_source(columns):
    data, weight = columns(2000, places=(10.2, 13.0), fluxes=(50.0, 40.0))
    weight[:, :8] = weight[:, 17:] = 0.0
    assert another_source(coadd(data, weight, (0, 1999), "mean"), (10.2,), 1.8, (), (0.5, 8.0)) is None


@pytest.mark.parametrize("shape", [None, Moffat(2.5)], ids=["gaussian", "moffat"])
@pytest.mark.parametrize(("apart", "ratio"), [(2.0, 3), (3.0, 10), (4.0, 50), (6.0, 10), (8.0, 50)])
def test_a_faint_source_beside_a_bright_one_is_placed_and_the_bright_one_is_not_split(columns, apart, ratio, shape):
    """What a grid leaves of the bright source, and the wings that a Gaussian lacks, are more than the faint one."""
    places = (9.2, 9.2 + apart)
    data, weight = columns(2000, places=places, fluxes=(400.0, 400.0 / ratio), shape=shape)
    found = place_sources(coadd(data, weight, (0, 1999), "mean"), 9.0, 2.0, 2, (), (0.5, 8.0))
    np.testing.assert_allclose(found.positions, places, atol=0.1)
    assert found.fwhm == pytest.approx(1.8, rel=0.02)


def test_sources_stand_in_the_order_of_their_flux(columns):
    data, weight = columns(2000, places=(8.0, 12.0, 16.0), fluxes=(10.0, 90.0, 40.0))
    found = place_sources(coadd(data, weight, (0, 1999), "mean"), 12.0, 2.0, 3, (), (0.5, 8.0))
    np.testing.assert_allclose(found.positions, (12.0, 16.0, 8.0), atol=0.1)


def test_wings_are_no_further_source(columns):
    cut = coadd(*columns(2000, fluxes=(400.0,), shape=Moffat(2.5)), (0, 1999), "mean")
    assert another_source(cut, (11.7,), 1.8, (), (0.5, 8.0)) is None


def test_a_third_source_is_no_reason_to_doubt_the_second(columns):
    """What two of three leave is far from noise, and all of it is the third one."""
    data, weight = columns(2000, places=(11.0, 18.0, 5.0), fluxes=(100.0, 60.0, 40.0))
    seen = another_source(coadd(data, weight, (0, 1999), "mean"), (11.0,), 1.8, (), (0.5, 8.0))
    np.testing.assert_allclose(seen[0].positions, (11.0, 18.0), atol=0.1)
    assert seen[1] > 1000


def test_a_source_of_another_width_is_a_source(columns):
    cut = coadd(*columns(2000, places=(8.0,), fluxes=(100.0,)), (0, 1999), "mean")
    wide, _ = columns(2000, places=(16.0,), fluxes=(60.0,), fwhm=3.8)
    cut = dataclasses.replace(cut, binned=dataclasses.replace(cut.binned, data=cut.binned.data + wide.mean(axis=0)))
    seen = another_source(cut, (8.0,), 1.8, (), (0.5, 8.0))
    np.testing.assert_allclose(seen[0].positions, (8.0, 16.0), atol=0.2)
    assert seen[1] > 500


def test_a_brighter_source_than_the_one_that_is_planned_is_seen(columns):
    """A source of a twentieth of the light may be a lobe of the bright one, but not the bright one a lobe of it."""
    cut = coadd(*columns(2000, places=(10.0, 19.0), fluxes=(20.0, 400.0)), (0, 1999), "mean")
    seen = another_source(cut, (10.0,), 1.8, (), (0.5, 8.0))
    np.testing.assert_allclose(sorted(seen[0].positions), (10.0, 19.0), atol=0.1)
    assert another_source(cut, (19.0,), 1.8, (), (0.5, 8.0)) is None


# in whole extractions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("apart", "ratio", "snr"), [(6.0, 10, 30.0), (3.0, 50, 100.0)])
def test_fluxes_of_a_faint_and_a_bright_source_are_those_of_the_truth(apart, ratio, snr):
    one = make_scene("mid", 3, shape=(31, 800), snr=snr, centre=12.2, fwhm=1.8, slope=0.0)
    second = one.truth.flux[0] / ratio
    light = second * pixel_profile(np.arange(31), one.truth.centre[0] + apart, one.truth.fwhm[0])
    result = ox.extract(one.frame.replace(flux=one.frame.flux + light), ox.Recipe(sources={"number": 2}))
    for flux, error, truth in zip(result.flux, result.uncertainty, (one.truth.flux[0], second), strict=True):
        assert abs(np.nanmean(flux - truth)) < 4 * np.sqrt(np.nanmean(error**2) / 800)
    np.testing.assert_allclose(np.median(result.centre, axis=1), (12.2, 12.2 + apart), atol=0.1)


@pytest.mark.parametrize("apart", [4.0, 6.0, 8.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sources_of_opposite_colours_are_both_found(apart, seed):
    """On the slice of the first one the second is nothing but noise: the other columns show it."""
    rng = np.random.default_rng(seed)
    along = np.linspace(-1, 1, 1000)
    row = 14.3 + 0.6 * along
    blue, red = (Gaussian().integrate(30, row + away, np.full(1000, 2.5)).T for away in (0.0, apart))
    light = 45.0 * ((along < 0) * blue + (along > 0) * red)
    variance = 1.0 + 0.1 * light
    noisy = light + rng.normal(size=light.shape) * np.sqrt(variance)
    frame = ox.Frame(noisy, variance=variance, meta={"rectified": True})
    result = ox.extract(frame, ox.Recipe(sources={"number": 2}))
    np.testing.assert_allclose(np.sort(np.median(result.centre, axis=1)), [14.3, 14.3 + apart], atol=0.2)
    brightest = np.argsort(np.median(result.centre, axis=1))
    sums = [np.nansum(result.flux[k][half]) for k, half in zip(brightest, (along < 0, along > 0), strict=True)]
    np.testing.assert_allclose(sums, 45.0 * 500, rtol=0.01)


def three_in_a_slit(seed=1):
    """Sources of 1, 0.6 and 0.4 times the light at rows 15, 20 and 8."""
    one = make_scene("mid", seed, shape=(31, 600), snr=30.0, centre=15.2, fwhm=2.5, slope=0.0)
    rows = np.arange(31)
    light = sum(
        ratio * one.truth.flux[0] * pixel_profile(rows, one.truth.centre[0] + apart, one.truth.fwhm[0])
        for apart, ratio in ((5.0, 0.6), (-7.0, 0.4))
    )
    return one, one.frame.replace(flux=one.frame.flux + light)


def test_three_sources_are_found_by_the_evidence_and_told_of_where_one_is_asked_for():
    one, frame = three_in_a_slit()
    result = ox.extract(frame, ox.Recipe(sources={"number": "auto"}))
    np.testing.assert_allclose(np.sort(np.median(result.centre, axis=1)), (8.2, 15.2, 20.2), atol=0.15)
    first = int(np.argmin(np.abs(np.median(result.centre, axis=1) - 15.2)))
    ratio = np.nansum(result.flux[first]) / one.truth.flux[0].sum()
    assert ratio == pytest.approx(1.0, abs=0.01)
    assert any("set sources.number to 2 or auto" in words for words in ox.extract(frame).quality["warnings"])


def test_a_bright_neighbour_of_a_planned_source_is_told_of_and_found_by_the_evidence():
    bright = make_scene("mid", 2, shape=(31, 600), snr=200.0, centre=24.0, fwhm=2.5, slope=0.0)
    flux = 0.05 * bright.truth.flux[0]
    light = flux * pixel_profile(np.arange(31), bright.truth.centre[0] - 9.0, bright.truth.fwhm[0])
    meta = {**bright.frame.meta, "planned_cross": 15.0}
    frame = bright.frame.replace(flux=bright.frame.flux + light, meta=meta)
    told = [words for words in ox.extract(frame).quality["warnings"] if words.startswith("Two sources, at rows")]
    assert len(told) == 1
    assert "15.0 and 24.0" in told[0]
    result = ox.extract(frame, ox.Recipe(sources={"number": "auto"}))
    np.testing.assert_allclose(np.median(result.centre, axis=1), (15.0, 24.0), atol=0.1)
    pull = np.nansum(result.flux[0] - flux) / np.sqrt(np.nansum(result.uncertainty[0] ** 2))
    assert abs(pull) < 4
