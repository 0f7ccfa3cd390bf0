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
