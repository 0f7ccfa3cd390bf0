"""What a fit says of its bins, of wings and of degrees, against the same written with numpy."""

from __future__ import annotations

import numpy as np
import pytest

from optextract.compiled import trust
from optextract.profiles import Gaussian, moffat_between
from optextract.robust import robust_rms
from optextract.solve import model_of, solve_columns

N_BIN, N_CROSS = 21, 15


@pytest.fixture
def bins(rng):
    """Data with noise of their own in each bin, weights with holes and an empty bin, two profiles and a constant."""
    centre, fwhm = np.full(N_BIN, 6.8), np.linspace(2.0, 2.4, N_BIN)
    profiles = [Gaussian().integrate(N_CROSS, centre + away, fwhm) for away in (0.0, 3.0)]
    terms = np.stack([*profiles, np.ones((N_BIN, N_CROSS))], axis=1)
    weight = rng.uniform(0.5, 2.0, (N_BIN, N_CROSS)) * (rng.random((N_BIN, N_CROSS)) > 0.1)
    weight[4] = 0.0
    scatter = rng.uniform(0.5, 4.0, (N_BIN, 1))
    data = 30 * terms[:, 0] + 12 * terms[:, 1] + 2.0 + scatter * rng.normal(size=weight.shape)
    return data, weight, terms


@pytest.fixture
def local(rng):
    """Shifts and widths of bins with their errors; of one bin nothing is known."""
    out = rng.standard_t(2, size=(N_BIN, 4))
    out[:, 1::2] = rng.uniform(0.5, 2.0, (N_BIN, 2))
    out[7] = np.nan, np.inf, np.nan, np.nan
    return out


@pytest.mark.parametrize("least", [5, 60])
def test_bins_that_are_fitted_worse_than_most_count_for_less(bins, least):
    data, weight, terms = bins
    solution = solve_columns(data, weight, terms)
    light = np.einsum("xt,xty->xy", solution.coefficients[:, :2], terms[:, :2])
    residual = data - model_of(terms, solution.coefficients)
    with np.errstate(divide="ignore"):
        misfit = np.where(weight > 0, residual**2 / (1 / weight + (0.05 * light) ** 2), 0.0).sum(axis=1)
    ratio = misfit / np.maximum((weight > 0).sum(axis=1) - 3, 1)
    limit = 1.5 * max(np.median(ratio[ratio > 0]), 1.0)
    factor = np.empty(N_BIN)
    lowered = trust.lowered_by_misfit(data, weight, terms, 2, 0.05, 1.5, least, factor)
    assert lowered == (least == 5)
    expected = (limit / np.maximum(ratio, limit)) ** 2 if lowered else np.ones(N_BIN)
    np.testing.assert_allclose(factor, expected)


def test_bins_that_are_elsewhere_count_for_less(local):
    factor, expected = np.empty(N_BIN), np.ones(N_BIN)
    least = trust.lowered_by_pull(local, factor)
    for value, error in ((local[:, 0], local[:, 1]), (local[:, 2], local[:, 3])):
        known = np.isfinite(error)
        pull = np.where(known, value, 0.0) / np.where(known, error, 1.0)
        scale = max(1.0, robust_rms(pull[known]))
        expected = np.minimum(expected, 1 / (1 + (pull / (3 * scale)) ** 2))
    np.testing.assert_allclose(factor, expected)
    assert least == expected.min() < 1


def test_shifts_that_neighbours_share_are_significant(local):
    pull = np.delete(local[:, 0] / local[:, 1], 7)
    pull = np.clip(pull / max(robust_rms(pull), 1.0), -3.0, 3.0)
    expected = (pull[1:] * pull[:-1]).sum() / (pull**2).mean() / np.sqrt(len(pull))
    assert trust.common_shifts(local, 16, 3.0) == pytest.approx(expected)
    assert trust.common_shifts(local, 22, 3.0) == 0.0


@pytest.mark.parametrize("part", [0.0, 0.2, 0.5, 0.87, 1.0])
def test_what_a_part_of_the_bins_does_not_reach(rng, part):
    amplitude, error = rng.normal(size=(N_BIN, 2)), rng.uniform(1.0, 2.0, (N_BIN, 2))
    error[3] = 0.0
    expected = np.quantile(np.abs(np.delete(amplitude / np.maximum(error, 1e-9), 3, axis=0)[:, 0]), part)
    assert trust.lower_part(amplitude, error, part) == pytest.approx(expected)
    assert trust.lower_part(amplitude, np.zeros((N_BIN, 2)), part) == 0.0


def test_wings_are_what_is_left_along_them_once_all_else_is_fitted(bins):
    """The rise of chi2's fit by one more linear term, the width and the fluxes of each bin among the others."""
    data, weight, terms = bins
    flux = solve_columns(data, weight, terms).coefficients
    centre, fwhm = np.full(N_BIN, 6.8), np.linspace(2.0, 2.4, N_BIN)
    places = [centre, centre + 3.0]
    winged = np.stack([moffat_between(6.0).integrate(N_CROSS, place, fwhm) for place in places], axis=1)
    wider = np.stack([Gaussian().integrate(N_CROSS, place, 1.001 * fwhm) for place in places], axis=1)
    wings = ((winged - terms[:, :2]) * flux[:, :2, None]).sum(axis=1)
    data = data + 6.0 * wings
    found = trust.wings(data, weight, terms, winged, wider, 1e-3)
    flux = solve_columns(data, weight, terms).coefficients
    fields = [((to - terms[:, :2]) * flux[:, :2, None]).sum(axis=1).ravel() for to in (winged, wider)]
    own = np.zeros((N_BIN, 3, N_BIN, N_CROSS))
    for x in range(N_BIN):
        own[x, :, x] = terms[x]
    root = np.sqrt(weight.ravel())
    without = np.array([fields[1], *own.reshape(3 * N_BIN, -1)]).T * root[:, None]
    left = [
        np.linalg.lstsq(design, data.ravel() * root)[0] @ design.T - data.ravel() * root
        for design in (without, np.column_stack([fields[0] * root, without]))
    ]
    assert found == pytest.approx((left[0] ** 2).sum() - (left[1] ** 2).sum(), rel=1e-5)
    assert trust.wings(data - 12.0 * wings, weight, terms, winged, wider, 1e-3) == 0.0


def test_degrees_are_those_of_the_lowest_criterion(rng):
    """Each choice costs what chi2 rises by where the coefficients beyond it are fixed at zero, and its own number."""
    root = rng.normal(size=(6, 6))
    hessian = root @ root.T + np.eye(6)
    covariance = np.linalg.inv(hessian)
    of_centre, of_width = np.array([0, 2, -1, -1, -1, -1]), np.array([-1, -1, 0, 1, 2, -1])  # the slope is fixed
    for noise, extra in ((1.0, 0.0), (1.0, 30.0), (2.0, 0.0), (0.3, 3.0)):
        values = np.append(3.0 * rng.normal(size=5), 0.0)
        centre, log_fwhm = np.array([values[0], 0.7, values[1]]), values[2:5][None, :].copy()
        costs = {}
        for degree in range(3):
            for width in range(1, 3):
                gone = np.flatnonzero((of_centre > degree) | (of_width > width))
                lost = values[gone] @ np.linalg.solve(covariance[np.ix_(gone, gone)], values[gone])
                price = (degree + width + 2) * 2.5 + extra * (max(degree - 1, 0) + max(width - 1, 0))
                costs[degree, width] = lost / noise**2 + price
        free = np.array([True, False, True]), np.ones(3, dtype=bool)
        found = trust.cheapest(hessian, centre, log_fwhm, *free, (0, 2), (1, 2), noise, 2.5, extra)
        assert found == min(costs, key=costs.get)
