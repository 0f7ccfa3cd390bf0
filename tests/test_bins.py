"""Bins of columns: nothing lost, errors that match the scatter, a median that no cosmic ray moves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optextract.bins import edges_by_signal, edges_uniform, mean_bins, median_bins, split_moving
from optextract.compiled.order import any_beyond

few = settings(max_examples=60)


@few
@given(n_disp=st.integers(1, 3000), n_bin=st.integers(1, 400))
def test_uniform_bins_hold_every_column_once_and_are_equal(n_disp, n_bin):
    edges = edges_uniform(n_disp, n_bin)
    assert (edges[0], edges[-1]) == (0, n_disp)
    assert (np.diff(edges) > 0).all()
    assert np.ptp(np.diff(edges)) <= 1
    assert len(edges) == min(n_bin, n_disp) + 1


@few
@given(seed=st.integers(0, 999), n=st.integers(1, 500), least=st.floats(0.1, 300), most=st.integers(1, 60))
def test_bins_by_signal_hold_every_column_once_and_enough_signal(seed, n, least, most):
    signal = np.random.default_rng(seed).gamma(0.3, 10.0, n)
    edges = edges_by_signal(signal, least, most)
    assert (edges[0], edges[-1]) == (0, n)
    assert (np.diff(edges) > 0).all()
    assert 1 <= len(edges) - 1 <= most
    held = np.add.reduceat(signal, edges[:-1])
    # an edge cannot cut a column: a bin may fall short by one
    assert (held >= min(least, signal.sum()) - signal.max() - 1e-9).all()


def test_no_column_takes_the_bins_from_all_others():
    signal = np.ones(40)
    signal[7] = 1e6
    edges = edges_by_signal(signal, 10.0, 40, most=10.0)
    np.testing.assert_array_equal(edges, edges_by_signal(np.minimum(signal, 10.0), 10.0, 40))
    assert len(edges) == 5


def test_bins_by_signal_without_any_are_one():
    np.testing.assert_array_equal(edges_by_signal(np.zeros(50), 25.0, 10), [0, 50])


def test_bins_split_where_the_trace_moves():
    centre = np.concatenate([np.zeros(50), np.linspace(0, 5, 50)])
    edges = split_moving(np.array([0, 50, 100]), centre, np.full(100, 0.5))
    assert set(np.array([0, 50, 100])) <= set(edges)
    for low, high in pairwise(edges):
        assert np.ptp(centre[low:high]) <= 0.5 + 5 / 49
    assert len(edges[edges <= 50]) == 2


@few
@given(seed=st.integers(0, 999), masked=st.floats(0, 0.5))
def test_mean_fills_holes_with_the_model_and_keeps_the_flux(seed, masked):
    rng = np.random.default_rng(seed)
    model = rng.uniform(1, 9, (60, 7))
    good = rng.random((60, 7)) >= masked
    weight = np.where(good, rng.uniform(0.5, 2, (60, 7)), 0.0)
    edges = edges_uniform(60, 6)
    binned = mean_bins(np.where(good, model, 1e9), weight, model, edges)
    np.testing.assert_allclose(binned.data, model.reshape(6, 10, 7).mean(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(binned.weight > 0, good.reshape(6, 10, 7).any(axis=1))


@pytest.mark.parametrize(("make", "factor"), [(mean_bins, 1.0), (median_bins, 1.0)])
def test_weights_of_bins_match_their_scatter(rng, make, factor):
    n, size = 4000, 25
    sigma = rng.uniform(0.5, 2.0, 3)
    data = rng.normal(size=(n * size, 3)) * sigma
    weight = np.broadcast_to(1 / sigma**2, data.shape)
    edges = edges_uniform(n * size, n)
    binned = (
        mean_bins(data, weight, np.zeros_like(data), edges) if make is mean_bins else median_bins(data, weight, edges)
    )
    np.testing.assert_allclose(binned.data.std(axis=0) * np.sqrt(binned.weight.mean(axis=0)), factor, rtol=0.05)


def test_median_is_that_of_the_good_pixels_and_shrugs_at_cosmic_rays(rng):
    data = rng.normal(size=(60, 5)) + 10
    weight = np.ones_like(data)
    weight[::7, 2] = 0
    weight[:, 4] = 0
    struck = data.copy()
    struck[5::12] += 1e6
    binned = median_bins(struck, weight, edges_uniform(60, 3))
    for k in range(3):
        part = slice(20 * k, 20 * k + 20)
        for row in range(4):
            values = struck[part, row][weight[part, row] > 0]
            assert binned.data[k, row] == pytest.approx(np.median(values))
    assert np.abs(binned.data[:, :4] - 10).max() < 1.0
    assert (binned.data[:, 4] == 0).all()
    assert (binned.weight[:, 4] == 0).all()


def test_column_of_a_bin_is_its_middle():
    data, weight = np.ones((40, 3)), np.ones((40, 3))
    edges = np.array([0, 10, 40])
    np.testing.assert_allclose(mean_bins(data, weight, data, edges).column, [4.5, 24.5])
    np.testing.assert_allclose(median_bins(data, weight, edges).column, [4.5, 24.5])


@pytest.mark.parametrize("shift", [0.0, 0.5, 0.95, -1.05, 1.5, -1.5, 3.0])
def test_a_median_far_from_zero_is_announced_by_a_count(rng, shift):
    """No median beyond the limit is missed, and none is announced where all are well within it."""
    data, weight = rng.normal(size=(120, 9)), rng.uniform(0.5, 2.0, (120, 9)) * (rng.random((120, 9)) > 0.1)
    edges, limit = edges_uniform(120, 5), 6.0
    error = 1.0 / np.sqrt(median_bins(data, weight, edges).weight[3, 4])
    data[edges[3] : edges[4], 4] += shift * limit * error
    binned = median_bins(data, weight, edges)
    beyond = bool((np.abs(binned.data) * np.sqrt(binned.weight) > limit).any())
    told = any_beyond(data, weight, edges, limit)
    assert told or not beyond
    if not 0.5 < abs(shift) < 1.5:  # in between the noise of the median decides
        assert told == (abs(shift) > 1.0)
    weight[edges[3] : edges[4], 4] = 0.0
    assert not any_beyond(data, weight, edges, limit)
