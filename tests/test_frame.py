"""Frame: what is masked, what is refused and in which words, and from pixels to the unit of a spectrum."""

from __future__ import annotations

import re

import numpy as np
import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from optextract import Frame, FrameError
from optextract.frame import META_KEYS

ZERO, ONE = np.zeros((3, 4)), np.ones((3, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flux": np.zeros(3)}, "The 'flux' parameter of Frame must be a 2D array (n_cross, n_disp). Got 'shape (3,)'"),
        ({"flux": np.zeros((0, 3))}, "must be a 2D array (n_cross, n_disp). Got 'shape (0, 3)' instead."),
        ({"flux": "a"}, "The 'flux' parameter of Frame must be an array of float64 numbers. Got 'a' instead."),
        ({"flux": ONE + 1j}, "The 'flux' parameter of Frame must be an array of real numbers. Got 'complex numbers'"),
        (
            {"variance": np.ones((2, 2))},
            "'variance' parameter of Frame must be an array of the shape of flux, (3, 4).",
        ),
        (
            {"variance": -ONE},
            "must be nowhere negative on unmasked pixels. Got '12 negative values' instead.",
        ),
        (
            {"variance": ONE * u.Jy**2},
            "'variance' parameter of Frame must be in a unit that converts to a plain number.",
        ),
        (
            {"flux": ONE * u.Jy, "variance": ONE * u.Jy},
            "The 'variance' parameter of Frame must be in a unit that converts to Jy2. Got 'Jy' instead.",
        ),
        (
            {"variance_parts": {"dark": ONE}},
            "'variance_parts' parameter of Frame must be named from ('poisson', 'rnoise', 'flat'). Got 'dark' instead.",
        ),
        (
            {"variance_parts": {"flat": -ONE}},
            """The "variance_parts['flat']" parameter of Frame must be nowhere""",
        ),
        (
            {"mask": ONE},
            "'mask' parameter of Frame must be a boolean array of shape (3, 4). Got 'float64",
        ),
        ({"mask": np.zeros((3, 3), bool)}, "must be a boolean array of shape (3, 4). Got 'bool (3, 3)' instead."),
        (
            {"wavelength": np.arange(4.0)},
            "'wavelength' parameter of Frame must be a Quantity with a unit of length (or",
        ),
        ({"wavelength": np.arange(4.0) * u.K}, "a unit of length (or frequency, energy, pixel). Got 'K' instead."),
        ({"wavelength": np.arange(3.0) * u.um}, "'wavelength' parameter of Frame must be of shape (4,) or (3, 4). Got"),
        (
            {"flux": ONE * u.Jy, "unit": "MJy"},
            "The 'unit' parameter of Frame must be the unit of flux (Jy). Got 'MJy'",
        ),
        (
            {"unit": "bananas"},
            "The 'unit' parameter of Frame must be a unit that astropy knows. Got 'bananas'",
        ),
        ({"meta": 5}, "The 'meta' parameter of Frame must be a mapping. Got 5 instead."),
    ],
)
def test_what_cannot_be_a_frame_is_refused(arguments, message):
    with pytest.raises(FrameError, match=re.escape(message)):
        Frame(**{"flux": ZERO, **arguments})


@given(
    flux=hnp.arrays(float, (3, 4), elements=st.floats(allow_nan=True, allow_infinity=True)),
    variance=hnp.arrays(float, (3, 4), elements=st.floats(min_value=0) | st.just(np.nan)),
    mask=hnp.arrays(bool, (3, 4)),
)
def test_a_pixel_is_good_if_everything_about_it_is(flux, variance, mask):
    frame = Frame(flux, variance=variance, mask=mask)
    good = np.isfinite(flux) & np.isfinite(variance) & (variance > 0) & ~mask
    np.testing.assert_array_equal(frame.good, good)
    np.testing.assert_array_equal(frame.mask, ~good)


def test_negative_variance_behind_the_mask_is_nobodys_business():
    variance = np.where(np.arange(4) == 2, -1.0, 1.0) * ONE
    frame = Frame(ZERO, variance=variance, mask=variance < 0)
    assert frame.good.sum() == 9


def test_components_alone_mask_where_they_are_undefined_or_all_zero():
    poisson = np.where(np.arange(4) == 1, np.nan, 1.0) * ONE
    rnoise = np.where(np.arange(4) == 2, 0.0, 1.0) * ONE
    assert Frame(ZERO, variance_parts={"poisson": poisson}).mask.sum() == 3
    assert Frame(ZERO, variance_parts={"rnoise": rnoise}).mask.sum() == 3
    assert Frame(ZERO, variance_parts={"poisson": ONE, "rnoise": rnoise}).mask.sum() == 0


def test_masked_array_masks():
    values = np.ma.masked_array(ONE, mask=np.arange(4) * ONE == 3)
    frame = Frame(values, variance=ONE)
    np.testing.assert_array_equal(frame.mask, values.mask)


def test_quantities_are_converted_not_stripped():
    frame = Frame(ONE * u.mJy, variance=ONE * u.Jy**2, variance_parts={"flat": ONE * u.uJy**2})
    assert frame.unit == u.mJy
    np.testing.assert_allclose(frame.variance, 1e6)
    np.testing.assert_allclose(frame.variance_parts["flat"], 1e-6)


@pytest.mark.parametrize("dtype", [">f4", "<f8", "i2", "f2", "u1"])
def test_any_number_becomes_native_float64(dtype):
    frame = Frame(np.arange(12).reshape(3, 4).astype(dtype), variance=ONE.astype(dtype))
    assert frame.flux.dtype == np.dtype(float)
    assert frame.flux.dtype.isnative
    assert frame.flux.flags.c_contiguous
    np.testing.assert_array_equal(frame.flux, np.arange(12.0).reshape(3, 4))


@pytest.mark.parametrize(
    ("unit", "meta", "flux_unit", "scale"),
    [
        # SCI in MJy/sr: 1e6 PIXAR_SR sum, in Jy
        ("MJy/sr", {"pixel_area_sr": 4.8e-13}, u.Jy, 4.8e-7),
        ("mJy/sr", {"pixel_area_sr": 2.0}, u.Jy, 2e-3),
        ("MJy/sr", {"pixel_area_sr": 4.8e-13, "flux_unit": "uJy"}, u.uJy, 0.48),
        ("uJy", {}, u.uJy, 1.0),
        ("MJy", {"flux_unit": "Jy"}, u.Jy, 1e6),
        ("electron", {}, u.electron, 1.0),
        (None, {}, u.dimensionless_unscaled, 1.0),
        ("erg / (s cm2 AA)", {}, u.erg / u.s / u.cm**2 / u.AA, 1.0),
    ],
)
def test_from_pixel_values_to_a_spectrum(unit, meta, flux_unit, scale):
    frame = Frame(ONE, unit=unit, meta=meta)
    assert frame.flux_unit == flux_unit
    assert frame.flux_scale == pytest.approx(scale, rel=1e-14)


@pytest.mark.parametrize("area", [None, 0.0, -1.0, np.nan, np.inf])
def test_missing_pixel_area_is_refused_never_one(area):
    frame = Frame(ONE, unit="MJy/sr", meta={} if area is None else {"pixel_area_sr": area})
    with pytest.raises(FrameError, match=r"'pixel_area_sr' parameter of Frame.meta must be a positive number of"):
        _ = frame.flux_scale


def test_flux_unit_that_does_not_fit_is_refused():
    with pytest.raises(FrameError, match=r"'flux_unit' parameter of Frame.meta must be a unit that MJy converts to"):
        _ = Frame(ONE, unit="MJy", meta={"flux_unit": "um"}).flux_scale


def test_replace_keeps_the_rest_and_drops_no_mask():
    wavelength, mask = np.arange(4.0) * u.um, np.eye(3, 4, dtype=bool)
    frame = Frame(ONE, variance=ONE, mask=mask, wavelength=wavelength, unit="Jy", meta={"a": 1})
    other = frame.replace(flux=2 * ONE)
    np.testing.assert_array_equal(other.mask, frame.mask)
    assert other.unit == u.Jy
    assert other.meta["a"] == 1
    np.testing.assert_array_equal(other.wavelength, frame.wavelength)
    assert frame.flux[0, 0] == 1.0


def test_frame_says_what_it_is():
    frame = Frame(ONE, variance=ONE, variance_parts={"poisson": ONE}, mask=np.eye(3, 4, dtype=bool), unit="Jy")
    assert repr(frame) == "<Frame 3 x 4 (cross, disp), unit Jy, variance yes (poisson), 3 bad pixels>"
    assert (frame.shape, frame.n_cross, frame.n_disp) == ((3, 4), 3, 4)


def test_every_meta_key_that_a_stage_reads_is_listed():
    """Whoever writes a reader looks at META_KEYS, and nowhere else."""
    from pathlib import Path

    import optextract

    package = Path(optextract.__file__).parent
    read = set()
    for path in package.rglob("*.py"):
        read |= set(re.findall(r"frame\.meta(?:\.get\(|\[)[\"'](\w+)[\"']", path.read_text(encoding="utf-8")))
    assert len(read) > 10
    assert read - set(META_KEYS) == set()
