"""Whether several sources are equally wide: found by the evidence, and not invented."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.simulate import make_scene, pixel_profile

TWO = ox.Recipe(sources={"number": 2})


def beside(apart, fwhm, *, snr=30.0, first=1.5, bend=0.0):
    """Two sources of equal S/N and of widths that may differ, and their flux."""
    centre = (14.0, 0.0, bend / 1.5) if bend else 14.0
    one = make_scene("mid", 3, shape=(31, 800), snr=snr, centre=centre, fwhm=first, slope=0.0, rectified=not bend)
    flux = one.truth.flux[0]
    light = flux * pixel_profile(np.arange(31), one.truth.centre[0] + apart, np.full(800, fwhm))
    return one.frame.replace(flux=one.frame.flux + light), flux


@pytest.mark.parametrize("apart", [2.0, 4.0, 6.0])
@pytest.mark.parametrize("bend", [0.0, 6.0])
def test_sources_that_differ_in_width_have_widths_and_fluxes_of_their_own(apart, bend):
    frame, truth = beside(apart, 3.0, bend=bend)
    result = ox.extract(frame, TWO)
    assert result.resolved.sources.shape == "separate"
    order = np.argsort(np.median(result.centre, axis=1))
    np.testing.assert_allclose(np.median(result.fwhm[order], axis=1), (1.5, 3.0), rtol=0.04)
    for k in order:
        assert np.mean(result.flux[k] / truth) == pytest.approx(1.0, abs=0.02)


def test_a_common_width_when_asked_for_is_common():
    frame, _ = beside(4.0, 3.0)
    result = ox.extract(frame, TWO.updated(sources={"shape": "common"}))
    assert result.resolved.sources.shape == "common"
    np.testing.assert_array_equal(result.fwhm[0], result.fwhm[1])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"snr": 300.0},
        {"snr": 100.0, "profile": "moffat"},
        {"separation": 4.0, "ratio": 0.1},
        {"cosmic_rate": 0.004},
    ],
    ids=["blend", "bright", "wings", "faint second", "cosmic rays"],
)
def test_one_width_will_do_where_it_does(changes):
    """Width and ratio of fluxes change along these frames, which looks like a difference on a slice of all columns."""
    for seed in (1, 2):
        result = ox.extract(make_scene("blend", seed, **changes).frame, TWO)
        assert result.resolved.sources.shape == "common"


def test_what_was_resolved_is_extracted_again():
    frame, _ = beside(4.0, 3.0)
    first = ox.extract(frame, TWO)
    again = ox.extract(frame, first.resolved)
    np.testing.assert_allclose(again.flux, first.flux, atol=0.1 * float(np.median(first.uncertainty)))
