"""Rows that no light explains are left out, and no source is."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.simulate import make_scene
from optextract.simulate.score import score


@pytest.mark.parametrize(("row", "offset"), [(3, -2.0), (3, 1.5), (16, -2.0), (16, 2.0), (16, 4.0), (24, 1.5)])
def test_row_that_stands_out_alone_is_left_out_and_told(row, offset):
    """Faint beside the noise of a pixel, and yet some of the flux; near the source (row 16) it must exceed a lobe."""
    made = make_scene("mid", 6, shape=(25, 800))
    flux = made.frame.flux.copy()
    flux[row] += offset * np.sqrt(np.median(made.frame.variance))
    result = ox.extract(made.frame.replace(flux=flux))
    assert any(f"Row {row}:" in words for words in result.quality["warnings"])
    assert score(made, result.flux[0], result.uncertainty[0]).bias == pytest.approx(0.0, abs=0.004)


@pytest.mark.parametrize(("faint", "bright"), [(4.0, 30.0), (-3.0, 30.0), (3.0, -40.0)])
def test_a_bright_stripe_hides_no_faint_one(faint, bright):
    made = make_scene("mid", 6, shape=(31, 800), centre=(15.3, 0.0))
    flux, sigma = made.frame.flux.copy(), np.sqrt(np.median(made.frame.variance))
    flux[5] += faint * sigma
    flux[24] += bright * sigma
    result = ox.extract(made.frame.replace(flux=flux))
    told = " ".join(words for words in result.quality["warnings"] if words.startswith("Row "))
    assert "5" in told
    assert "24" in told
    assert score(made, result.flux[0], result.uncertainty[0]).bias == pytest.approx(0.0, abs=0.004)


@pytest.mark.parametrize(("row", "offset"), [(3, 8.0), (3, -6.0), (20, 4.0), (22, 20.0)])
@pytest.mark.parametrize(("number", "ratio"), [("auto", 0.0), ("auto", 0.5), (2, 0.5)])
def test_row_that_stands_out_alone_is_no_source(row, offset, number, ratio):
    """Where more than one source is looked for, too."""
    two = {"separation": 7.0, "ratio": ratio} if ratio else {}
    made = make_scene("mid", 6, shape=(25, 800), centre=(9.3, 0.0), **two)
    flux = made.frame.flux.copy()
    flux[row] += offset * np.sqrt(np.median(made.frame.variance))
    result = ox.extract(made.frame.replace(flux=flux), ox.Recipe(sources={"number": number}))
    assert any(f"Row {row}:" in words for words in result.quality["warnings"])
    assert len(result.flux) == (2 if ratio else 1)
    assert score(made, result.flux[0], result.uncertainty[0]).bias == pytest.approx(0.0, abs=0.006)


@pytest.mark.parametrize("fwhm", [1.0, 1.5, 4.0])
@pytest.mark.parametrize("middle", [10.0, 10.5])
@pytest.mark.parametrize("profile", ["gaussian", "moffat"])
def test_row_of_a_source_is_not_left_out(fwhm, middle, profile):
    made = make_scene("bright", 6, shape=(25, 400), fwhm=fwhm, centre=(middle, 0.0), profile=profile)
    assert not any("Row " in words for words in ox.extract(made.frame).quality["warnings"])


@pytest.mark.parametrize("middle", [10.0, 10.4])
def test_second_source_that_is_not_modelled_is_not_left_out(middle):
    made = make_scene("mid", 6, shape=(25, 600), fwhm=1.1, centre=(middle, 0.0), separation=8.0, ratio=0.5)
    assert not any("Row " in words for words in ox.extract(made.frame).quality["warnings"])


@pytest.mark.parametrize("snr", [40.0, 300.0])
def test_lobe_of_the_profile_is_not_left_out(snr):
    """Two lobes of five and three per cent, two FWHM from the core, as diffraction makes them."""
    made = make_scene("bright", 6, shape=(31, 600), snr=snr, fwhm=1.5, centre=(15.3, 0.0))
    light = made.truth.model - made.truth.background
    lobes = 0.05 * np.roll(light, 3, axis=0) + 0.03 * np.roll(light, -3, axis=0)
    result = ox.extract(made.frame.replace(flux=made.frame.flux + lobes))
    assert not any("Row " in words for words in result.quality["warnings"])


def _with_light_beyond(row, snr, profile="gaussian", last=False, fwhm=2.5):
    """A source of S/N 30 in the middle of 30 rows, and one that lies rows beyond an edge."""
    made = make_scene("bright", 5, shape=(30, 800), snr=30.0, fwhm=fwhm, centre=(14.3, 0.0), profile=profile)
    light = (made.truth.model - made.truth.background) * snr / 30.0
    there = np.zeros_like(light)
    shift = round(14.3 - row)
    there[: 30 - shift] = light[shift:]
    there = there[::-1] if last else there
    return made, made.frame.replace(flux=made.frame.flux + there)


@pytest.mark.parametrize("profile", ["gaussian", "moffat"])
@pytest.mark.parametrize(("snr", "last"), [(30.0, False), (100.0, False), (100.0, True)])
def test_light_of_something_beyond_the_edge_is_no_background(profile, snr, last):
    made, frame = _with_light_beyond(-2.0, snr, profile, last)
    frame = frame.replace(meta={**frame.meta, "planned_cross": 14.3})
    result = ox.extract(frame)
    names = "27, 28, 29" if last else "0, 1, 2"
    assert any(names in words and "beyond the edge" in words for words in result.quality["warnings"])
    assert score(made, result.flux[0], result.uncertainty[0]).bias == pytest.approx(
        0.0, abs=0.008 if profile == "gaussian" else 0.015
    )


def test_background_that_rises_towards_an_edge_is_no_light_beyond_it():
    made = make_scene("mid", 6, shape=(30, 800), centre=(14.3, 0.0))
    rise = 3.0 * np.sqrt(np.median(made.frame.variance)) * np.linspace(1, -0.2, 30)[:, None] ** 2
    result = ox.extract(made.frame.replace(flux=made.frame.flux + rise))
    assert not any("Row" in words for words in result.quality["warnings"])
    assert score(made, result.flux[0], result.uncertainty[0]).bias == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("snr", [100.0, 200.0])
def test_light_of_something_beyond_the_edge_makes_no_negative_traces(snr):
    made, frame = _with_light_beyond(-2.0, snr, fwhm=4.0)
    result = ox.extract(frame.replace(meta={**frame.meta, "planned_cross": 14.3}))
    assert result.quality["nods"]["offsets"] == ()
    assert score(made, result.flux[0], result.uncertainty[0]).bias == pytest.approx(0.0, abs=0.008)
