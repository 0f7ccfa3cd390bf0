"""How all that is on a frame moves along it, whatever it is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial.legendre import legval

from optextract.simulate import pixel_profile
from optextract.straight import common_bend, straightened

N_DISP, N_CROSS = 640, 41
X = np.linspace(-1, 1, N_DISP)


def draw(rng, shift, fluxes, places=(14.0, 17.0, 26.0)):
    """Columns of sources that move together, on a gradient, with unit noise."""
    rows = np.arange(N_CROSS)
    light = sum(
        flux * pixel_profile(rows, place + shift, np.full(N_DISP, 1.9)).T
        for place, flux in zip(places, fluxes, strict=True)
    )
    return light + 5 + 0.1 * rows + rng.standard_normal((N_DISP, N_CROSS)), np.ones((N_DISP, N_CROSS))


@pytest.mark.parametrize("fluxes", [(60.0, 0.0, 0.0), (60.0, 30.0, 0.0), (20.0, 20.0, 20.0), (50.0, -25.0, 12.0)])
@pytest.mark.parametrize("bend", [(0.0, 4.0, 1.5), (0.0, -6.0), (0.0, 0.0, -3.0, 0.5)])
def test_a_bend_is_that_of_the_truth_whatever_there_is(rng, fluxes, bend):
    shift = legval(X, bend)
    found = legval(X, common_bend(*draw(rng, shift, fluxes)))
    np.testing.assert_allclose(found - found.mean(), shift - shift.mean(), atol=0.1)


@pytest.mark.parametrize("fluxes", [(0.0, 0.0, 0.0), (0.3, 0.0, 0.0), (60.0, 30.0, 0.0)])
def test_noise_and_straight_traces_do_not_bend(rng, fluxes):
    assert common_bend(*draw(rng, np.zeros(N_DISP), fluxes)) is None


def test_a_frame_of_few_columns_or_rows_is_not_asked(rng):
    data, weight = draw(rng, legval(X, (0.0, 4.0)), (60.0, 0.0, 0.0))
    assert common_bend(data[:100], weight[:100]) is None
    assert common_bend(data[:, :8], weight[:, :8]) is None


def test_columns_move_by_whole_rows_and_nothing_comes_from_beyond_the_edge(rng):
    data, weight = draw(rng, np.zeros(N_DISP), (60.0, 0.0, 0.0))
    moved, kept = straightened(data, weight, np.where(np.arange(N_DISP) < 300, 2.4, -1.0))
    np.testing.assert_array_equal(moved[:300, :-2], data[:300, 2:])
    np.testing.assert_array_equal(moved[300:, 1:], data[300:, :-1])
    assert not kept[:300, -2:].any()
    assert not kept[300:, 0].any()
    assert kept.sum() == weight.sum() - 2 * 300 - 340
