"""Plain sums: fractional rows, every variance component, and what a missing pixel does."""

from __future__ import annotations

import re

import numpy as np
import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st

from optextract import Flag, Frame, OptextractError, boxcar
from optextract.aperture import coverage, wavelength_along
from optextract.recipe import Noise
from optextract.simulate import make_scene

SHAPE = (9, 20)


@pytest.fixture
def frame(rng) -> Frame:
    parts = {name: rng.uniform(1, 2, SHAPE) for name in ("poisson", "rnoise")}
    return Frame(rng.normal(size=SHAPE), variance=sum(parts.values()), variance_parts=parts, unit="mJy")


@given(lower=st.floats(-3, 11), width=st.floats(0.01, 14))
def test_coverage_is_the_length_inside_each_pixel(lower, width):
    part = coverage(9, np.array(lower), np.array(lower + width))
    inside = max(min(lower + width, 8.5) - max(lower, -0.5), 0.0)
    assert part.sum() == pytest.approx(inside, abs=1e-12)
    assert (part >= 0).all()
    assert (part <= 1).all()


@given(lower=st.floats(-0.5, 7), width=st.floats(0.1, 3))
def test_sum_is_linear_and_weights_enter_squared(lower, width):
    rng = np.random.default_rng(3)
    flux, variance = rng.normal(size=SHAPE), rng.uniform(1, 2, SHAPE)
    found = boxcar(Frame(flux, variance=variance), lower, lower + width)
    part = coverage(9, np.array(lower), np.array(lower + width))[:, None]
    np.testing.assert_allclose(found.flux, (part * flux).sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.uncertainty**2, (part**2 * variance).sum(axis=0), rtol=1e-12)


def test_pixel_i_covers_i_minus_a_half_to_i_plus_a_half(frame):
    np.testing.assert_allclose(boxcar(frame, 2.5, 5.5).flux, frame.flux[3:6].sum(axis=0))
    np.testing.assert_allclose(boxcar(frame, 3.0, 5.0).flux, 0.5 * frame.flux[3] + frame.flux[4] + 0.5 * frame.flux[5])
    np.testing.assert_allclose(boxcar(frame, -0.5, 8.5).flux, frame.flux.sum(axis=0))


def test_components_go_through_the_same_sum(frame):
    found = boxcar(frame, 1.2, 6.1)
    np.testing.assert_allclose(sum(found.variance_parts.values()), found.uncertainty**2, rtol=1e-12)
    assert set(found.variance_parts) == {"poisson", "rnoise"}
    assert found.unit == u.mJy


def test_apertures_that_follow_a_trace(frame):
    lower = np.linspace(0.0, 4.0, 20)
    found = boxcar(frame, lower, lower + 2.5)
    for column in (0, 7, 19):
        one = boxcar(frame, lower[column], lower[column] + 2.5)
        assert found.flux[column] == pytest.approx(one.flux[column], rel=1e-12)


def test_missing_pixels_are_left_out_and_flagged_and_empty_columns_are_nan(frame):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[4, 3] = True
    mask[:, 7] = True
    flux = np.where(mask, 1e30, frame.flux)
    found = boxcar(frame.replace(flux=flux, mask=mask), 2.5, 5.5)
    assert found.flux[3] == pytest.approx(frame.flux[3, 3] + frame.flux[5, 3])
    assert found.n_pixels[3] == 2.0
    assert found.flags[3] == Flag.PARTIAL_PROFILE
    assert np.isnan(found.flux[7])
    assert np.isnan(found.uncertainty[7])
    assert np.isnan(found.variance_parts["poisson"][7])
    assert found.flags[7] == Flag.NO_DATA
    assert found.n_pixels[7] == 0
    assert found.flags[5] == 0


def test_aperture_over_the_edge_is_flagged(frame):
    found = boxcar(frame, -2.0, 3.0)
    assert (found.flags & Flag.EDGE).all()
    np.testing.assert_allclose(found.flux, frame.flux[:3].sum(axis=0) + 0.5 * frame.flux[3])


def test_surface_brightness_becomes_flux_density(frame):
    surface = Frame(frame.flux, variance=frame.variance, unit="MJy/sr", meta={"pixel_area_sr": 4.8e-13})
    found = boxcar(surface, 2.5, 5.5)
    np.testing.assert_allclose(found.flux, 4.8e-7 * frame.flux[3:6].sum(axis=0))
    np.testing.assert_allclose(found.uncertainty, 4.8e-7 * np.sqrt(frame.variance[3:6].sum(axis=0)))
    assert found.unit == u.Jy


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ((5.0, 5.0), "The 'lower, upper' parameter of boxcar must be finite, with lower below upper. Got (5.0, 5.0)"),
        ((np.nan, 5.0), "must be finite, with lower below upper. Got (nan, 5.0)"),
        ((9.0, 12.0), "'lower, upper' parameter of boxcar must be inside the frame (-0.5 to 8.5). Got (9.0, 12.0)"),
        ((-5.0, -0.5), "must be inside the frame (-0.5 to 8.5). Got (-5.0, -0.5)"),
        (([1.0, 2.0], 5.0), "The 'lower, upper' parameter of boxcar must be numbers or arrays of shape (20,). Got"),
    ],
)
def test_aperture_that_is_none_is_refused(frame, edges, message):
    with pytest.raises(OptextractError, match=re.escape(message)):
        boxcar(frame, *edges)


def test_variance_may_be_chosen_as_in_a_recipe(frame):
    found = boxcar(frame.replace(variance=9 * frame.variance), 2.5, 5.5, Noise(variance="parts"))
    np.testing.assert_allclose(found.uncertainty, np.sqrt(frame.variance[3:6].sum(axis=0)))


# wavelength along a trace --------------------------------------------------------------------------------------------


def test_wavelength_image_is_read_along_the_trace():
    y, x = np.mgrid[:9, :20]
    image = (2.0 + 0.1 * x + 0.01 * y) * u.um
    frame = Frame(np.ones(SHAPE), variance=np.ones(SHAPE), wavelength=image)
    trace = np.linspace(1.3, 6.8, 20)
    np.testing.assert_allclose(wavelength_along(frame, trace).value, 2.0 + 0.1 * np.arange(20) + 0.01 * trace)
    np.testing.assert_allclose(boxcar(frame, 1.0, 4.0).wavelength.value, 2.0 + 0.1 * np.arange(20) + 0.025)


def test_wavelength_next_to_a_hole_is_that_of_the_neighbour_and_of_a_hole_is_none():
    image = np.ones(SHAPE)
    image[4, 5] = np.nan
    image[:, 6] = np.nan
    frame = Frame(np.ones(SHAPE), variance=np.ones(SHAPE), wavelength=image * u.um)
    found = wavelength_along(frame, np.full(20, 3.5)).value
    assert found[5] == 1.0
    assert np.isnan(found[6])
    assert boxcar(frame, 2.5, 4.5).flags[6] == Flag.NO_WAVELENGTH


def test_frame_without_wavelength_counts_columns():
    found = boxcar(Frame(np.ones(SHAPE), variance=np.ones(SHAPE)), 1.0, 3.0)
    assert found.wavelength.unit == u.pix
    np.testing.assert_array_equal(found.wavelength.value, np.arange(20))


def test_plain_sum_of_a_scene_is_unbiased_and_its_errors_true():
    pulls = []
    for seed in range(10):
        one = make_scene("mid", seed, background=0.0)
        found = boxcar(one.frame, 6.0, 18.0)
        pulls.append((found.flux - one.truth.flux[0]) / found.uncertainty)
    pulls = np.concatenate(pulls)
    assert abs(pulls.mean()) < 0.05
    assert pulls.std() == pytest.approx(1.0, abs=0.03)
