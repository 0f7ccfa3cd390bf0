"""The compiled search for light that runs on along dispersion, against the same written with numpy."""

from __future__ import annotations

import numpy as np
import pytest

from optextract.coherent import coherent
from optextract.compiled.lines import levels, near_sources
from optextract.compiled.outliers import leave_one_out
from optextract.profiles import Gaussian
from optextract.solve import model_of, solve_columns

N_DISP, N_CROSS, NOISE, THRESHOLD = 160, 24, 1.2, 5.0
SIDES = (-1, 0, 1)


def frame(rng, n_twin):
    """A continuum with compact lines, hits, holes and, where asked for, a negative twin."""
    centre = 9.3 + 0.4 * np.linspace(-1, 1, N_DISP)
    places = [centre, *[centre + 7.1] * n_twin]
    profiles = np.stack([Gaussian().integrate(N_CROSS, at, np.full(N_DISP, 4.0)) for at in places], axis=1)
    compact = Gaussian().integrate(N_CROSS, centre, np.full(N_DISP, 2.4))
    column, depths = np.arange(N_DISP), np.array([1.0, *[-0.5] * n_twin])
    line = sum(400.0 * np.exp(-0.5 * ((column - at) / 2.0) ** 2) for at in (40, 75, 120))
    light = 60.0 * model_of(profiles, np.tile(depths, (N_DISP, 1))) + line[:, None] * compact
    variance = 1.0 + 0.1 * np.abs(light)
    data = light + rng.normal(size=light.shape) * np.sqrt(variance)
    data[rng.random(data.shape) < 0.02] += 60.0
    return data, np.where(rng.random(data.shape) < 0.03, 0.0, 1.0 / variance), profiles


def shifted(values, by):
    """Values of the row that is `by` further, 0 beyond the ends."""
    wide = np.pad(values, ((0, 0), (2, 2)))
    return wide[:, 2 + by : 2 + by + values.shape[1]]


def smooth_rows(light, variance):
    spread = np.sqrt(variance + shifted(variance, 1) + shifted(variance, -1))
    return shifted(light, 1) + shifted(light, -1) > light - 1.5 * spread


def three_rows(light, variance):
    row = {k: shifted(light, k) for k in (-2, -1, 1, 2)}
    runs = [np.minimum(row[a], row[b]) for a, b in ((-1, -2), (1, 2), (-1, 1))]
    return np.max(runs, axis=0) > 0.2 * light - 1.5 * np.sqrt(variance)


def level_about(coefficients, x):
    """Lower one of the medians nearby and further off."""
    both = []
    for first, end in ((3, 11), (11, 31)):
        away = np.concatenate([-np.arange(first, end), np.arange(first, end)])
        both.append(np.median(coefficients[np.clip(x + away, 0, N_DISP - 1)], axis=0))
    return np.where(np.abs(both[0]) < np.abs(both[1]), *both)


def near_source(profiles):
    """Rows of a column with light, and two to either side."""
    return np.convolve(np.abs(profiles).max(axis=0) > 0.003, np.ones(5), mode="same") > 0.5


def runs_on(plain, level, x):
    flux, error = plain.coefficients[:, 0], NOISE * np.sqrt(plain.covariance[:, 0, 0])
    for first in range(max(x - 2, 0), min(x, N_DISP - 3) + 1):
        three = slice(first, first + 3)
        excess = flux[three] - level
        if (excess > 3.0 * error[three]).all() and excess.min() > 0.05 * excess.max():
            return True
    return False


def lacks_alike(data, weight, profiles, pixels, x):
    alike = np.zeros(N_CROSS, dtype=bool)
    for own in (False, True):
        left, spread = [], []
        for k in SIDES:
            at = slice(x + k, x + k + 1)
            clean = solve_columns(data[at], weight[at] * ~(pixels[x] | (own & pixels[at])), profiles[at])
            seen = (weight[at] > 0) & np.isfinite(clean.covariance[0, 0, 0])
            left.append(np.where(seen, data[at] - model_of(profiles[at], clean.coefficients), np.nan)[0])
            spread.append(np.where(seen, NOISE**2 / np.where(seen, weight[at], 1.0), np.nan)[0])
        beside = np.array([left[0], left[2]])
        known = np.isfinite(beside).sum(axis=0)
        together = np.where(known > 0, np.nansum(beside, axis=0) * 2 / np.maximum(known, 1), np.nan)
        doubt = np.nan_to_num(spread[0]) + np.nan_to_num(spread[2]) + spread[1]
        alike |= np.sign(left[1]) * together > 0.9 * np.abs(left[1]) - 1.5 * np.sqrt(doubt)
    return alike


def given_back(data, weight, profiles, plain, tolerance, pixels, x):
    """Outliers of one column that hold the light of a line."""
    nothing = np.zeros(N_CROSS, dtype=bool)
    seen = near_source(profiles[x, :1]) & pixels[x]
    level = level_about(plain.coefficients, x)
    level[0] = max(level[0], 0.0)
    if not seen.any() or not runs_on(plain, level[0], x):
        return nothing
    three = slice(x - 1, x + 2)
    above = data[three] - model_of(profiles[three], np.tile(level, (3, 1)))
    good = weight[three] > 0
    variance = np.where(good, NOISE**2 / np.where(good, weight[three], 1.0), 0.0)
    good[::2] &= smooth_rows(above, variance)[::2]
    for this, other in ((0, 2), (2, 0)):
        above[this] = np.where(good[this], above[this], np.where(good[other], above[other], 0.0))
        variance[this] = np.where(good[this], variance[this], variance[other])
    known = good[1] & (good[0] | good[2])
    left = np.where(known, 1.0 / (variance[1] + 0.4 * (variance[0] + variance[2]) + 1e-300), 0.0)[None]
    terms, values = np.concatenate([above[::2], profiles[x]])[None], data[x : x + 1]
    wrong = np.concatenate([0.03 * np.abs(above[::2]), tolerance[x]])[None]
    fit, odd = solve_columns(values, left, terms), np.empty((1, N_CROSS), dtype=bool)
    leave_one_out(values, left, terms, fit.coefficients, fit.covariance, 3, THRESHOLD, wrong, 1.0, 12, odd)
    odd = odd & seen
    predicted = solve_columns(values, left * ~odd, terms).coefficients[0, :2] @ above[::2]
    light = np.where(odd | ~good[1], predicted, above[1])
    is_smooth = (smooth_rows(light, variance[1:2]) & three_rows(light, variance[1:2]))[0]
    given = seen & ~odd[0] & known & is_smooth & lacks_alike(data, weight, profiles, pixels, x)
    misfit = max(plain.coefficients[x, 0], 0.0) * tolerance[x, 0]
    usable = weight[x] / (NOISE**2 + weight[x] * misfit**2)
    hits = solve_columns(values, (usable * ~pixels[x])[None], profiles[x : x + 1]).chi2[0] + 12.0 * seen.sum()
    rest = left / (1.0 + left * ((0.03 * np.maximum(predicted, 0.0)) ** 2 + misfit**2)) * ~(pixels[x] & ~given)
    line = solve_columns(values, rest, terms).chi2[0] + 12.0 * (seen & ~given).sum() + 8.0
    return given if line < hits else nothing


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_twin", [0, 1, 2])
def test_lines_are_those_that_columns_one_by_one_tell(seed, n_twin):
    data, weight, profiles = frame(np.random.default_rng(seed), min(n_twin, 1))
    if n_twin == 2:  # three terms, of which one is seen nowhere
        profiles = np.concatenate([profiles, np.zeros((N_DISP, 1, N_CROSS))], axis=1)
    tolerance = 0.02 * profiles[:, :1]
    plain, pixels = solve_columns(data, weight, profiles), np.empty(data.shape, dtype=bool)
    coefficients, covariance = plain.coefficients, plain.covariance
    leave_one_out(data, weight, profiles, coefficients, covariance, 1, THRESHOLD, tolerance, NOISE, 12, pixels)
    found = coherent(data, weight, profiles, plain, tolerance, pixels, THRESHOLD, NOISE)
    told = np.zeros(found.shape, dtype=bool)
    for x in range(1, N_DISP - 1):
        told[x] = given_back(data, weight, profiles, plain, tolerance, pixels, x)
    np.testing.assert_array_equal(found, told)
    assert found.sum() > 5
    assert (pixels & ~found).sum() > 20


def test_levels_and_rows_near_a_source(rng):
    values, at, out = rng.normal(size=(N_DISP, 3)), np.array([0, 5, 80, N_DISP - 1]), np.empty((4, 3))
    levels(values, at, out)
    np.testing.assert_allclose(out, [level_about(values, x) for x in at], rtol=1e-12)
    profiles = frame(rng, 1)[2]
    near = np.empty((N_DISP, N_CROSS), dtype=bool)
    near_sources(profiles, 2, near)
    np.testing.assert_array_equal(near, [near_source(one) for one in profiles])
