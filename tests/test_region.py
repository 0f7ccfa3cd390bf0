"""Which pixels take part: centres inside, limits included; what holds no pixel is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import optextract as ox
from optextract import Frame, FrameError, RecipeError
from optextract.recipe import FileRef, Region
from optextract.region import select

SHAPE = (12, 30)
FRAME = Frame(np.ones(SHAPE), variance=np.ones(SHAPE))
y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]


def test_no_region_is_everything():
    assert select(FRAME, Region()).all()


@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(a=st.floats(-3, 14), b=st.floats(-3, 14), c=st.floats(-3, 33), d=st.floats(-3, 33))
def test_box_holds_the_pixels_whose_centre_it_holds(a, b, c, d):
    assume(a < b and c < d)
    expected = (y >= a) & (y <= b) & (x >= c) & (x <= d)
    assume(expected.any())
    np.testing.assert_array_equal(select(FRAME, Region(cross=(a, b), disp=(c, d))), expected)


@settings(max_examples=40)
@given(corners=st.lists(st.tuples(st.floats(-5, 35), st.floats(-5, 17)), min_size=3, max_size=7))
def test_polygon_is_that_of_matplotlib(corners):
    from matplotlib.path import Path

    # centres on an edge are inside by one rule and outside by another
    shifted = tuple((a + 1e-3 * np.pi, b + 1e-3 * np.e) for a, b in corners)
    inside = Path(shifted).contains_points(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(SHAPE)
    assume(inside.any())
    np.testing.assert_array_equal(select(FRAME, Region(polygon=shifted)), inside)


def test_triangle_by_hand():
    found = select(FRAME, Region(polygon=((0.5, 0.5), (4.5, 0.5), (0.5, 4.5))))
    expected = (x >= 1) & (y >= 1) & (x + y < 5)
    np.testing.assert_array_equal(found, expected)


def test_box_polygon_and_mask_all_hold(tmp_path):
    image = np.zeros(SHAPE)
    image[:, ::2] = 7
    np.save(tmp_path / "m.npy", image)
    region = Region(
        cross=(2, 9), polygon=((-1, -1), (40, -1), (40, 5.5), (-1, 5.5)), mask=FileRef(path=str(tmp_path / "m.npy"))
    )
    np.testing.assert_array_equal(select(FRAME, region), (y >= 2) & (y <= 5) & (x % 2 == 0))


def test_mask_from_fits_is_that_from_npy(tmp_path):
    image = (np.random.default_rng(1).random(SHAPE) > 0.5).astype(np.uint8)
    np.save(tmp_path / "m.npy", image)
    fits.writeto(tmp_path / "m.fits", image)
    masks = [select(FRAME, Region(mask=FileRef.of(tmp_path / name))) for name in ("m.npy", "m.fits")]
    np.testing.assert_array_equal(masks[0], image > 0)
    np.testing.assert_array_equal(masks[1], image > 0)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (
            {"cross": (12.0, 20.0)},
            "'region.cross' parameter of Recipe must be inside the frame (0 to 11). Got (12.0,",
        ),
        (
            {"disp": (-9.0, -1.0)},
            "'region.disp' parameter of Recipe must be inside the frame (0 to 29). Got (-9.0,",
        ),
        (
            {"cross": (3.2, 3.7)},
            "'region.cross' parameter of Recipe must be a range that holds the centre of a pixel",
        ),
        (
            {"polygon": ((50.0, 50.0), (51.0, 50.0), (50.0, 51.0))},
            "The 'region.polygon' parameter of Recipe must be one that holds the centre of a pixel of the frame. Got",
        ),
        (
            {"cross": (0.0, 2.0), "polygon": ((0.0, 5.0), (20.0, 5.0), (20.0, 9.0))},
            "The 'region' parameter of Recipe must be a region that holds a pixel. Got",
        ),
    ],
)
def test_region_without_a_pixel_is_refused(region, message):
    with pytest.raises(RecipeError, match=re.escape(message)):
        ox.extract(FRAME, region=region)


def test_mask_of_another_shape_is_refused(tmp_path):
    np.save(tmp_path / "m.npy", np.ones((3, 3)))
    with pytest.raises(RecipeError, match=r"'region.mask' parameter of Recipe must be an image of the frame's shape"):
        select(FRAME, Region(mask=FileRef.of(tmp_path / "m.npy")))


def test_region_of_bad_pixels_is_refused():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:3] = True
    with pytest.raises(FrameError, match=r"a good pixel inside the region. Got none: all 90 pixels are masked"):
        ox.extract(FRAME.replace(mask=mask), region={"cross": (0, 2)})


def test_pixels_outside_the_region_do_not_matter():
    from optextract.simulate import make_scene

    frame = make_scene("mid", 3, shape=(25, 200)).frame
    region = {"cross": (4, 20), "disp": (30, 169)}
    inside = select(frame, Region(**region))
    wild = np.where(inside, frame.flux, 1e9)
    one, other = ox.extract(frame, region=region), ox.extract(frame.replace(flux=wild), region=region)
    np.testing.assert_array_equal(one.flux, other.flux)
    assert np.isfinite(one.flux[0, 30:170]).all()
    assert np.isnan(one.flux[0, :30]).all()
    assert np.isnan(one.flux[0, 170:]).all()
    assert (one.flags[0, :30] == ox.Flag.NO_DATA).all()
    for image in (one.model, one.background, one.residual):
        np.testing.assert_array_equal(np.isfinite(image), inside)


def test_region_by_polygon_and_by_box_are_the_same():
    from optextract.simulate import make_scene

    frame = make_scene("mid", 3, shape=(25, 200)).frame
    box = ox.extract(frame, region={"cross": (4, 20), "disp": (30, 169)})
    polygon = ox.extract(frame, region={"polygon": ((29.5, 3.5), (169.5, 3.5), (169.5, 20.5), (29.5, 20.5))})
    np.testing.assert_array_equal(box.flux, polygon.flux)
