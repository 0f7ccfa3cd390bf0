"""Figures: every axis named with its unit, limits that hot pixels do not decide, files whole or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

import optextract as ox
from optextract.report import compare, save_summary, summary_figure
from optextract.report.card import card_of, packed
from optextract.report.figures import spectrum_limits
from optextract.report.units import label, readable, robust_limits, words
from optextract.simulate import make_scene


@pytest.fixture(scope="module")
def extracted():
    scene = make_scene("blend", 1).calibrated()
    return scene, ox.extract(scene.frame, ox.Recipe(sources={"number": 2}))


def test_every_axis_has_a_name_and_a_unit(extracted):
    scene, result = extracted
    spectrum = {"wavelength": scene.frame.wavelength, "flux": 0.5 * scene.truth.flux[0] * u.Jy}
    figure = summary_figure(scene.frame, result, [compare(result, spectrum, label="x1d"), None], title="a <b> $c$")
    shown = [axes for axes in figure.axes if axes.get_visible()]
    named = {axes.get_xlabel() for axes in shown} | {axes.get_ylabel() for axes in shown}
    assert named - {""} == {
        "dispersion (pixel)",
        "cross-dispersion (pixel)",
        "pixel value (MJy/sr)",
        "mean per column (MJy/sr)",
        "residual (σ)",
        "flux (µJy)",
        "wavelength (µm)",
        "other / optimal",
    }
    assert figure.get_suptitle() == "a <b> $c$"


def test_figure_file_is_whole(extracted, tmp_path):
    scene, result = extracted
    path = save_summary(scene.frame, result, tmp_path / "a.png")
    assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_an_empty_frame_has_a_figure_too(tmp_path):
    scene = make_scene("empty", 0)
    save_summary(scene.frame, ox.extract(scene.frame), tmp_path / "a.png")


def test_limits_show_lines_and_not_wild_columns():
    flux, sigma = np.ones(100), np.full(100, 0.1)
    flux[50], sigma[50] = 30.0, 0.6  # a line
    flux[70], sigma[70] = -500.0, 400.0  # a column without weight
    lower, upper = spectrum_limits(flux, sigma)
    assert 30 < upper < 40
    assert -5 < lower < 0
    assert spectrum_limits(np.full(3, np.nan), np.ones(3)) == (-1.0, 1.0)


def test_grey_scale_is_robust():
    pixels = np.random.default_rng(1).normal(0, 1, (25, 400))
    pixels[3, 7] = 1e6
    lower, upper = robust_limits(pixels)
    assert -6 < lower < 0 < upper < 8
    assert robust_limits(np.full((2, 2), np.nan)) == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [(2e-6, u.Jy, u.uJy), (3e-9, u.Jy, u.nJy), (5.0, u.mJy, u.mJy), (7.0, u.electron, u.electron), (0.0, u.Jy, u.Jy)],
)
def test_readable_units(value, unit, shown):
    factor, found = readable(np.full(5, value), unit)
    assert found == shown
    assert factor * value == pytest.approx((value * unit).to_value(shown))


def test_labels():
    assert label("flux", u.uJy) == "flux (µJy)"
    assert label("flux", u.dimensionless_unscaled) == "flux (no unit)"
    assert words(u.MJy / u.sr) == "MJy/sr"


def unpacked(code):
    import base64

    numbers = np.frombuffer(base64.b64decode(code["data"]), dtype="<i2").astype(float)
    return np.where(numbers == -32768, np.nan, code["low"] + code["step"] * (numbers + 32767))


def test_packed_numbers_come_back(rng):
    values = rng.normal(1e-6, 1e-7, 300)
    values[7] = np.nan
    np.testing.assert_allclose(unpacked(packed(values)), values, atol=np.ptp(values[np.isfinite(values)]) * 2e-5)
    assert np.isnan(unpacked(packed(np.full(4, np.nan)))).all()


def test_a_card_is_small_and_holds_the_spectrum(extracted):
    import json

    scene, result = extracted
    card = card_of(scene.frame, result)
    assert len(json.dumps(card)) < 40_000
    flux = unpacked(card["sources"][0]["flux"])
    assert np.nanmedian(flux) == pytest.approx(np.median(result.flux[0]) * 1e6, rel=0.01)
    assert card["flux_unit"] == "µJy"
    assert card["wavelength_unit"] == "µm"
    assert len(card["sources"]) == 2
