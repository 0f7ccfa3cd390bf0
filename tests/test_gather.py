"""What columns and rows hold of sources, against the same written with numpy."""

from __future__ import annotations

import numpy as np
import pytest

from optextract.bins import edges_uniform, mean_bins, split_moving
from optextract.compiled import gather
from optextract.profiles import Gaussian
from optextract.solve import known_of, model_of, solve_columns

N_DISP, N_CROSS = 60, 17
LEAST = 0.3


@pytest.fixture
def pixels(rng):
    """Two sources and a negative twin; some columns without one of them, one without all."""
    fwhm = rng.uniform(1.8, 2.2, N_DISP)
    profiles = np.stack([Gaussian().integrate(N_CROSS, np.full(N_DISP, row), fwhm) for row in (4.0, 8.0, 13.0)], axis=1)
    weight = rng.uniform(0.5, 2.0, (N_DISP, N_CROSS)) * (rng.random((N_DISP, N_CROSS)) > 0.05)
    weight[10:14, :6], weight[20:23, 11:], weight[30] = 0.0, 0.0, 0.0
    background = rng.normal(size=weight.shape)
    data = 20 * profiles[:, 0] + 9 * profiles[:, 1] - 5 * profiles[:, 2] + background + rng.normal(size=weight.shape)
    return data, background, weight, profiles


def test_hits_have_no_neighbour_as_bright_as_a_profile_makes_it(rng):
    """A source, a hit on its row, a source one of whose neighbours is bad, and a column without a good pixel nearby."""
    data, weight = rng.normal(3.0, 0.1, (4, N_CROSS)), np.ones((4, N_CROSS))
    rows, fwhm = np.full(4, 8), np.full(4, 1.8)
    data[[0, 2]] += 50.0 * Gaussian().integrate(N_CROSS, np.full(2, 8.2), fwhm[:2])
    data[1, 8] += 50.0
    data[:, 15] += 90.0  # far from the trace
    weight[2, 9] = 0.0
    weight[3, 4:13] = 0.0
    columns, wide = np.array([0, 1, 2]), np.empty(3, dtype=bool)
    gather.spreads(data, weight, columns, rows, fwhm, np.full(3, 0.3), wide)
    light = np.where(
        weight > 0, data - np.array([np.median(d[w > 0]) for d, w in zip(data, weight, strict=True)])[:, None], -np.inf
    )
    beside = np.maximum(light[:3, 7], light[:3, 9])
    np.testing.assert_array_equal(wide, beside > 0.3 * light[:3, 8])
    assert wide.tolist() == [True, False, True]
    gather.spreads(data, weight, np.array([3, 3, 3]), rows, fwhm, np.full(3, 0.3), wide)
    assert wide.all()  # nothing is compared with nothing


def test_columns_are_solved_where_enough_is_seen_of_their_sources(pixels):
    data, background, weight, profiles = pixels
    coefficients, whole = np.empty((N_DISP, 3)), np.empty(N_DISP, dtype=bool)
    flux, strength = np.empty(N_DISP), np.empty(N_DISP)
    covariance = known_of(weight, profiles).covariance
    gather.light_of_columns(*pixels, covariance, 2, LEAST, coefficients, whole, flux, strength)
    seen = (profiles * (weight > 0)[:, None, :]).sum(axis=2) > LEAST * profiles.sum(axis=2)
    np.testing.assert_array_equal(whole, seen[:, :2].all(axis=1))
    assert not whole[10:14].any()
    assert whole[20:23].all()
    assert (coefficients[20:23, 2] == 0).all()
    kept = np.where(whole[:, None], weight, 0.0)
    solution = solve_columns(np.where(kept > 0, data - background, 0.0), kept, profiles)
    np.testing.assert_allclose(coefficients, np.where(seen & whole[:, None], solution.coefficients, 0.0), atol=1e-12)
    np.testing.assert_allclose(flux, solution.coefficients[:, :2].max(axis=1), atol=1e-12)
    signal = solution.coefficients[:, :2] ** 2 / np.einsum("xtt->xt", solution.covariance)[:, :2]
    np.testing.assert_allclose(strength, np.maximum(signal.max(axis=1) - 1.0, 0.0), atol=1e-12)
    edges, mean, inverse, column = edges_uniform(N_DISP, 7), *np.empty((2, 7, N_CROSS)), np.empty(7)
    gather.means_of_light(*pixels, coefficients, whole, flux, edges, mean, inverse, column)
    expected = mean_bins(data - background, kept, model_of(profiles, coefficients), edges)
    np.testing.assert_allclose(mean, expected.data)
    np.testing.assert_allclose(inverse, expected.weight)


def test_column_of_a_bin_is_where_its_light_is():
    ones, edges, mean = np.ones((40, 3)), np.array([0, 10, 40]), np.empty((2, 2, 3))
    flux, column = np.zeros(40), np.empty(2)
    flux[[2, 35]] = 100.0
    whole = np.ones(40, dtype=bool)
    gather.means_of_light(ones, ones, ones, ones[:, None], ones[:, :1].copy(), whole, flux, edges, *mean, column)
    # a column without flux counts a little: a bin of noise alone must not lie at the end that its noise prefers
    np.testing.assert_allclose(column, [2.0, 35.0], atol=2.0)


def test_columns_that_stand_out_of_their_bin(rng):
    snr, edges = rng.normal(size=50), np.array([0, 7, 17, 50])
    snr[17:] += 6.0
    snr[[3, 40]] = 9.0, 30.0
    middle, stands = np.empty(3), np.empty(50, dtype=bool)
    assert gather.lines_above(snr, edges, 8.0, 3.0, middle, stands)
    np.testing.assert_allclose(middle, [np.median(snr[a:b]) for a, b in ((0, 7), (7, 17), (17, 50))])
    np.testing.assert_array_equal(np.flatnonzero(stands), [3, 40])
    assert not gather.lines_above(snr, edges, 40.0, 3.0, middle, stands)


def test_way_of_a_trace(rng):
    centre, most, path = np.cumsum(rng.normal(size=40)), rng.uniform(1.0, 2.0, 40), np.empty(40)
    edges = np.array([0, 1, 2, 40])
    assert gather.path_along(centre, most, edges, path)
    np.testing.assert_allclose(path, np.append(0.0, np.cumsum(np.abs(np.diff(centre)) / most[1:])))
    assert not gather.path_along(centre, 100 * most, edges, path)
    assert split_moving(edges, centre, 100 * most) is edges


def test_sums_of_rows_are_those_over_the_bins(pixels):
    data, _, weight, terms = pixels
    coefficients = solve_columns(data, weight, terms).coefficients
    residual, sums = np.empty(weight.shape), np.empty((3, N_CROSS))
    gather.sums_of_rows(data, weight, terms, coefficients, 2, residual, sums)
    left = np.where(weight > 0, data - model_of(terms, coefficients), 0.0)
    light = np.einsum("xt,xty->xy", coefficients[:, :2], terms[:, :2])
    np.testing.assert_allclose(residual, left, atol=1e-12)
    np.testing.assert_allclose(sums, [np.sum(weight * each, axis=0) for each in (1.0, left, light)], atol=1e-10)
