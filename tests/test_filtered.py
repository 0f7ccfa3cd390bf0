"""What the search for a source asks of rows of bins, against the same written with numpy."""

from __future__ import annotations

import numpy as np
import pytest

from optextract.compiled.filtered import (
    add_twin,
    brightest_rows,
    common_curve,
    common_slope,
    lay_above,
    mark_hot,
    quiet_part,
    score_rows,
    snr_of_rows,
)
from optextract.robust import median

N_BIN, N_CROSS = 40, 17


@pytest.fixture
def bins(rng):
    """Noise on a tilted background with a source, holes, and a row that is not seen."""
    weight = rng.uniform(0.5, 2.0, (N_BIN, N_CROSS)) * (rng.random((N_BIN, N_CROSS)) > 0.2)
    weight[:, 3] = 0.0
    data = rng.normal(size=weight.shape) + 0.3 * np.arange(N_CROSS)
    data[:, 8] += 5.0
    return data, weight, rng.normal(size=N_BIN)


def means(data, weight, middle):
    seen = weight > 0
    count = np.maximum(seen.sum(axis=0), 1)
    return np.where(seen, data - middle[:, None], 0.0).sum(axis=0) / count, seen, count


@pytest.mark.parametrize("light", [0.0, 40.0])
def test_hot_rows(bins, light):
    data, weight, middle = bins
    data[:, 12] += light
    mean, seen, count = means(data, weight, middle)
    error = np.sqrt(np.divide(1.0, weight, out=np.zeros_like(weight), where=seen).sum(axis=0)) / count
    beside = np.pad(mean, 1, constant_values=-np.inf)
    told = (mean > 15.0 * error) & (np.maximum(beside[2:], beside[:-2]) < 0.2 * mean)
    hot = np.empty(N_CROSS, dtype=bool)
    assert mark_hot(data, weight, middle, 15.0, 0.2, hot) == (light > 0)
    np.testing.assert_array_equal(hot, told)
    assert hot[12] == (light > 0)


@pytest.mark.parametrize("bowl", [0.0, 0.5])
def test_slope_that_bins_have_in_common(bins, bowl):
    data, weight, middle = bins
    row = np.arange(N_CROSS) - 0.5 * (N_CROSS - 1)
    data += bowl * row**2
    mean, seen, _ = means(data, weight, middle)
    use = seen.sum(axis=0) > 0.3 * N_BIN
    share = np.ones(use.sum())
    for _ in range(12):
        away = row[use] - np.average(row[use], weights=share)
        above = mean[use] - np.average(mean[use], weights=share)
        slope = (share * away * above).sum() / (share * away**2).sum()
        scale = median(np.abs(above - slope * away))
        share = 1.0 / (1.0 + ((above - slope * away) / (2.0 * scale)) ** 2)
    found, rough = common_slope(data, weight, middle, 2.0)
    assert found == pytest.approx(slope, rel=1e-9)
    assert rough == (scale > 2.0 * median(1.0 / np.sqrt(weight[:, use].sum(axis=0))))
    assert rough == (bowl > 0)
    assert common_slope(data, np.where(np.arange(N_CROSS) < 5, weight, 0.0), middle, 2.0) == (0.0, False)


@pytest.mark.parametrize("degree", [1, 2])
def test_curve_that_rows_have_in_common(rng, degree):
    x = np.linspace(-1, 1, 30)
    terms = np.polynomial.legendre.legvander(x, degree)
    level = rng.normal(size=30) + 3.0 * x + 5.0 * x**2
    level[10:13] += 50.0
    share = np.ones(30)
    for _ in range(30):
        told = np.linalg.lstsq(terms * np.sqrt(share)[:, None], level * np.sqrt(share), rcond=None)[0]
        left = np.abs(level - terms @ told)
        share = 1.0 / (1.0 + (left / (2.0 * median(left))) ** 2)
    found = np.empty(degree + 1)
    assert common_curve(level, terms.T.copy(), 30, found) == pytest.approx(median(left), rel=1e-9)
    np.testing.assert_allclose(found, told, rtol=1e-9)


def test_bins_above_a_level(bins):
    data, weight, middle = bins
    level = 0.3 * np.arange(N_CROSS)
    values, variance = np.empty((2, N_BIN, N_CROSS))
    seen, usable = np.empty(values.shape, dtype=bool), np.empty(N_CROSS, dtype=bool)
    lay_above(data, weight, middle, level, values, variance, seen, usable)
    np.testing.assert_array_equal(seen, weight > 0)
    np.testing.assert_allclose(values, np.where(seen, data - middle[:, None] - level, 0.0), atol=1e-12)
    np.testing.assert_allclose(variance[seen] * weight[seen], 1.0)
    assert not variance[~seen].any()
    assert np.flatnonzero(~usable).tolist() == [0, 2, 3, 4, N_CROSS - 1]


@pytest.mark.parametrize("length", [5, 41])
def test_snr_of_rows(rng, length):
    values, variance = rng.normal(size=(3, 9)), rng.uniform(0.5, 2.0, (3, 9))
    seen = rng.random((3, 9)) > 0.2
    kernel, out = rng.normal(size=length), np.empty((3, 9))
    snr_of_rows(values, variance, seen, kernel, out)
    half = length // 2
    for line in range(3):
        top = np.convolve(values[line], kernel[::-1])[half : half + 9]
        bottom = np.convolve(variance[line], kernel[::-1] ** 2)[half : half + 9]
        np.testing.assert_allclose(out[line], np.where(seen[line], top / np.sqrt(bottom), 0.0))
    snr_of_rows(values, np.zeros((3, 9)), seen, kernel, out)
    assert not out.any()


@pytest.mark.parametrize("n_bin", [4, 7, 40])
@pytest.mark.parametrize("light", [0.0, 6.0, 20.0])
def test_scores_of_rows(rng, n_bin, light):
    snr = rng.normal(size=(n_bin, N_CROSS)) * (rng.random((n_bin, N_CROSS)) > 0.2)
    snr[: n_bin // 2, 5] += light
    clipped, seen = np.clip(snr, -12.0, 12.0), np.maximum(np.count_nonzero(snr, axis=0), 1)
    told = clipped.sum(axis=0) / np.sqrt(seen)
    if told.max() < 24.0:
        for part in (2, 4, 8, 16):
            size = n_bin // part
            if size < 3:
                break
            windows = np.lib.stride_tricks.sliding_window_view(clipped, size, axis=0)
            best = ((windows.sum(axis=2) - windows.max(axis=2)) / np.sqrt(size - 1)).max(axis=0)
            told = np.maximum(told, np.sqrt(np.maximum(np.maximum(best, 0) ** 2 - 2 * np.log(2 * part), 0)))
    score = np.empty(N_CROSS)
    score_rows(snr, 12.0, 24.0, score)
    np.testing.assert_allclose(score, told + 1e-3 * snr.sum(axis=0) / seen, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("offset", [-20.0, -4.3, 0.0, 3.0, 5.5])
def test_what_negative_twins_say_for_a_source(rng, offset):
    score, rows = rng.normal(size=N_CROSS, scale=8.0), np.arange(N_CROSS)
    seen = (rows + offset >= 0) & (rows + offset <= N_CROSS - 1)
    told = np.where(seen, np.clip(-np.interp(rows + offset, rows, score), -3.0, 10.0), 0.0)
    added = np.ones(N_CROSS)
    add_twin(score, offset, added)
    np.testing.assert_allclose(added, 1.0 + told, atol=1e-12)


def test_rows_at_which_bins_are_brightest(rng):
    snr, usable = rng.normal(size=(N_BIN, N_CROSS)), rng.random(N_CROSS) > 0.3
    own = np.where(usable, snr, -np.inf)
    bright = own.max(axis=1) > 2.0
    lit = np.zeros(N_CROSS, dtype=np.intp)
    assert brightest_rows(snr, usable, 2.0, lit) == np.count_nonzero(bright)
    np.testing.assert_array_equal(lit, np.bincount(own.argmax(axis=1)[bright], minlength=N_CROSS))


@pytest.mark.parametrize("still", [0.5, 1.0, 2.0, 99.0])
@pytest.mark.parametrize("n_bin", [1, 7, 30])
def test_part_of_highest_snr_in_which_a_source_keeps_its_row(rng, n_bin, still):
    row, snr = np.cumsum(rng.choice([0.0, 0.4, -0.4], n_bin)), rng.uniform(0.0, 9.0, n_bin)
    told, sizes = {}, n_bin // 2 ** np.arange(6)
    for size in sizes[sizes > 0]:
        for first in range(0, n_bin - size + 1, max(1, size // 2)):
            if np.ptp(row[first : first + size]) <= still:
                mean = snr[first : first + size].sum() / np.sqrt(size)
                told[(first, first + size)] = mean * (1 + 0.02 * size / n_bin)
    assert quiet_part(row, snr, still) == max(told, key=lambda part: told[part])
