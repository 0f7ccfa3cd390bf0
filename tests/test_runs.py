"""Hits that run over a core: the loop that tries all runs side by side, against one that tries each with numpy."""

from __future__ import annotations

import numpy as np
import pytest

from optextract.compiled.hits import reconsider
from optextract.profiles import Gaussian
from optextract.solve import known_of, solve_columns

N_CROSS, ROW, FWHM = 21, 10.3, 2.4
WING, FLANK, THRESHOLD = 0.02, 0.3, 5.0


def scene(rng, n_term):
    """Flat spectra on 60 columns, one with outliers on three pixels of the core, of which two were struck."""
    rows = (ROW, ROW - 6.0, ROW + 6.5)[:n_term]
    place = np.full(60, FWHM)
    profiles = np.stack([Gaussian().integrate(N_CROSS, np.full(60, row), place) for row in rows], axis=1)
    data = 60.0 * profiles[:, 0] - 20.0 * profiles[:, 1:].sum(axis=1) + rng.normal(size=(60, N_CROSS))
    weight = np.ones(data.shape)
    weight[30, 3], weight[30, 15] = 0.0, 4.0
    data[30, 10:12] += rng.uniform(40.0, 60.0, 2)
    pixels = np.zeros(data.shape, dtype=bool)
    pixels[30, [9, 10, 11, 18]] = True
    return data, weight, profiles, pixels


def cheapest(data, weight, terms, pixels, rows, level, most):
    """Outliers of a column: as they are, or a run of up to six pixels between two rows in their place."""
    inside = np.zeros(N_CROSS, dtype=bool)
    inside[rows] = True
    tries = [pixels]
    for length in range(1, 7):
        for start in range(rows.start, rows.stop - length + 1):
            run = np.where(inside, False, pixels)
            run[start : start + length] = True
            tries.append(run)
    costs = []
    for out in tries:
        left = np.where(out, 0.0, weight)
        normal = (terms * left) @ terms.T
        inverse = np.linalg.inv(normal)
        linear = inverse @ (terms @ (left * data))
        cost = (left * (data - linear @ terms) ** 2).sum() + 0.5 * THRESHOLD**2 * (out & (weight > 0)).sum()
        cost += min((linear[0] - level) ** 2 / (inverse[0, 0] + (0.5 * level) ** 2), 16.0)
        costs.append(cost + 40.0 * (linear[0] > most + 3.0 * np.sqrt(inverse[0, 0])))
    return tries[int(np.argmin(costs))] & (weight > 0)


@pytest.mark.parametrize("n_term", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_all_runs_are_tried(n_term, seed):
    data, weight, profiles, pixels = scene(np.random.default_rng(seed), n_term)
    n_disp = len(data)
    plain = solve_columns(data, weight, profiles)
    near, alone = np.zeros(n_disp, dtype=np.intp), np.zeros(n_disp, dtype=bool)
    near[30] = 3
    tolerance, found = np.zeros((n_disp, 1, N_CROSS)), pixels.copy()
    covariance = known_of(weight, profiles).covariance
    reconsider(
        data, weight, profiles, plain.coefficients, covariance, tolerance, THRESHOLD, 1.0, WING, FLANK, near, found,
        alone,
    )  # fmt: skip
    kept = solve_columns(data, np.where(pixels, 0.0, weight), profiles).coefficients[:, 0]
    level = max(np.median(kept[25:36]), 0.0)
    most = level + max(max(kept[29], kept[31]) - level, 0.0) / FLANK
    light = np.flatnonzero(np.abs(profiles[30, 0]) > WING)
    rows = slice(light[0] - 1, light[-1] + 2)
    expected = pixels.copy()
    expected[30] = cheapest(data[30], weight[30], profiles[30], pixels[30], rows, level, most)
    np.testing.assert_array_equal(found, expected)
    assert found[30, [9, 10, 11, 18]].tolist() == [False, True, True, True]
