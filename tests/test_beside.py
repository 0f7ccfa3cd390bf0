"""Lines beside their continuum, and lines on a continuum that hardly shows: neither is a cosmic ray."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.beside import has_flanks
from optextract.profiles import Gaussian

N_CROSS, N_DISP, CENTRE, FWHM = 27, 400, 13.3, 1.7
UNIT = 1 / np.sqrt((Gaussian().integrate(N_CROSS, np.array([CENTRE]), np.array([FWHM])) ** 2).sum())
LINES = (60.0, 150.2, 240.4, 330.5)


def light(centre, fwhm=FWHM):
    return Gaussian().integrate(N_CROSS, np.full(N_DISP, centre), np.broadcast_to(fwhm, N_DISP)).T


def lines(snr, sigma):
    column = np.arange(N_DISP)
    return UNIT * snr * sum(np.exp(-0.5 * ((column - place) / sigma) ** 2) for place in LINES)


def extracted(image, seed=1):
    noise = np.random.default_rng(seed).standard_normal(image.shape)
    return ox.extract(ox.Frame(image + noise, variance=np.ones(image.shape)))


def near(place):
    return slice(round(place) - 5, round(place) + 6)


@pytest.mark.parametrize(("offset", "snr", "continuum"), [(0.5, 150.0, 100.0), (1.0, 150.0, 100.0), (1.0, 150.0, 30.0)])
def test_line_beside_its_continuum_is_measured_with_it(offset, snr, continuum):
    """Rotation moves the gas of a galaxy against its stars."""
    line = lines(snr, 1.5)
    result = extracted(UNIT * continuum * light(CENTRE) + line * light(CENTRE + offset))
    assert np.isfinite(result.flux).all()
    for place in LINES:
        excess = (result.flux[0] - UNIT * continuum)[near(place)].sum()
        assert excess == pytest.approx(line[near(place)].sum(), rel=0.04)
        assert result.flags[0, round(place)] & ox.Flag.RESTORED_PIXELS
        # the profile of the brightest column is that of both
        where = (np.arange(N_CROSS) * result.profile[0][:, round(place)]).sum()
        assert where == pytest.approx(CENTRE + offset * snr / (snr + continuum), abs=0.1)
    away = line < 1e-3
    assert np.mean(result.flux[0, away]) == pytest.approx(UNIT * continuum, rel=0.003)


def test_the_same_light_in_one_column_is_a_hit():
    image = UNIT * 30.0 * light(CENTRE)
    struck = np.array([round(place) for place in LINES])
    image[14:16, struck] += 60.0
    result = extracted(image)
    assert result.rejected[14:16, struck].all()
    assert not (result.flags[0, struck] & ox.Flag.RESTORED_PIXELS).any()
    np.testing.assert_allclose(result.profile[0][:, struck], result.profile[0][:, struck + 3], atol=1e-6)


def test_lines_on_a_faint_continuum_shape_the_profile():
    """The first trace knows the continuum alone: what it cannot fit are lines, and the second one needs them."""
    column = np.arange(1200)
    places, width = np.arange(40, 1180, 57), 1.3 + 0.8 * column / 1200
    shape = Gaussian().integrate(N_CROSS, np.full(1200, CENTRE), width).T
    line = UNIT * 500.0 * np.exp(-0.5 * (column[:, None] - places) ** 2).sum(axis=1)
    pulls = []
    for seed in range(3):
        result = extracted((UNIT * 3.0 + line) * shape, seed)
        assert np.isfinite(result.flux).all()
        np.testing.assert_allclose(result.fwhm[0], width, rtol=0.02)
        for place in places:
            left = (result.flux[0] - UNIT * 3.0 - line)[near(place)].sum()
            pulls.append(left / np.sqrt((result.uncertainty[0, near(place)] ** 2).sum()))
    assert np.sqrt(np.mean(np.square(pulls))) < 1.3


def test_a_line_runs_on_to_both_sides_of_its_peak():
    error = np.ones(21)
    line = 10.0 + 100.0 * np.exp(-4 * np.log(2) * ((np.arange(21) - 10.3) / 1.6) ** 2)
    assert all(has_flanks(line, error, column, 10.0) for column in (9, 10, 11))
    assert not has_flanks(line, error, 16, 10.0)
    for hit in ([10], [10, 11]):
        struck = np.full(21, 10.0)
        struck[hit] = 110.0
        assert not has_flanks(struck, error, 10, 10.0)
    unknown = error.copy()
    unknown[9] = np.inf
    assert not has_flanks(line, unknown, 10, 10.0)
