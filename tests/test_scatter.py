"""The loops over whole images that rejection and noise are made of, against the same written with numpy."""

from __future__ import annotations

import numpy as np
import pytest

from optextract.compiled.follow import follow_sums, last_alone
from optextract.compiled.misfit import find_bright, tolerate
from optextract.compiled.scatter import above, leave_out, pixel_scatter, row_scatter


@pytest.fixture
def images(rng):
    """Pixel values, a model of them, weights with holes, and pixels that may be used."""
    shape = (110, 9)
    weight = rng.uniform(0.2, 3.0, shape) * (rng.random(shape) > 0.2)
    return rng.normal(size=shape), rng.normal(size=shape), weight, rng.random(shape) > 0.3


def test_what_is_left_of_pixels_and_weights(images):
    data, model, weight, use = images
    out = np.empty(data.shape)
    above(data, model, weight, out)
    np.testing.assert_array_equal(out, np.where(weight > 0, data - model, 0.0))
    leave_out(weight, use, out)
    np.testing.assert_array_equal(out, np.where(use, 0.0, weight))


@pytest.mark.parametrize("enough", [100, 10_000])
def test_scatter_of_pixels(images, enough):
    data, model, weight, use = images
    pull = (np.abs(data - model) * np.sqrt(weight))[use & (weight > 0)]
    n, middle = pixel_scatter(data, model, weight, use, enough)
    assert n == len(pull)
    assert middle == pytest.approx(np.median(pull[:: max(n // enough, 1)]))
    assert pixel_scatter(data, model, weight, np.zeros_like(use), enough)[0] == 0


def test_scatter_of_means(images):
    data, model, weight, use = images
    use[40:60, 3] = False
    left = (weight * use)[:100].reshape(5, 20, 9)
    top, bottom = ((data - model)[:100].reshape(5, 20, 9) * left).sum(axis=1), left.sum(axis=1)
    n, middle = row_scatter(data, model, weight, use, 20)
    assert n == np.count_nonzero(bottom) == 44
    assert middle == pytest.approx(np.median(np.abs(top[bottom > 0]) / np.sqrt(bottom[bottom > 0])))
    assert row_scatter(data[:19], model[:19], weight[:19], use[:19], 20)[0] == 0


def test_sums_of_a_variance_that_follows(rng):
    n = 400
    model = rng.normal(5.0, 4.0, n)
    flux = model + rng.normal(size=n)
    flux[::50] += 4.0  # outliers that are less than the model
    variance, good = model + 3.0 + 0.3 * (flux - model), rng.random(n) > 0.1
    variance[~good] = np.nan
    matrix, vector = np.empty((4, 4)), np.empty(4)
    count, clip, square = follow_sums(variance, flux, model, good, 4.0, matrix, vector)
    residual = flux - model
    picked = good & (np.abs(residual) < model)
    assert clip == pytest.approx(4.0 * np.median(np.abs(residual[picked])))
    picked &= np.abs(residual) < clip
    assert count == picked.sum()
    terms = np.stack([np.ones(count), model[picked], np.sqrt(model[picked]), residual[picked]])
    np.testing.assert_allclose(matrix, terms @ terms.T, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(vector, terms @ variance[picked], rtol=1e-10)
    assert square == pytest.approx((variance[picked] ** 2).sum())
    assert follow_sums(variance, flux, model, np.zeros(n, bool), 4.0, matrix, vector) == (0, 0.0, 0.0)


@pytest.mark.parametrize("degenerate", [False, True])
def test_last_of_some_terms(rng, degenerate):
    terms, values = rng.normal(size=(4, 50)), rng.normal(size=50)
    if degenerate:
        terms[2] = terms[0] - 2.0 * terms[1]
    coefficient, explained = last_alone(terms @ terms.T, terms @ values)
    solution, *_ = np.linalg.lstsq(terms.T, values, rcond=1e-6)
    assert coefficient == pytest.approx(solution[3])
    assert explained == pytest.approx(((solution @ terms) ** 2).sum())
    terms[3] = terms[0]
    assert last_alone(terms @ terms.T, terms @ values)[0] == 0.0


def test_bright_columns(rng):
    coefficients = rng.normal(10.0, 20.0, (50, 3))
    covariance = rng.uniform(0.5, 2.0, (50, 3, 3))
    covariance[:5, 0, 0] = np.inf
    bright = np.empty(50, dtype=bool)
    n = find_bright(coefficients, covariance, 2, 10.0, bright)
    error = np.sqrt(np.maximum(covariance[:, 0, 0], covariance[:, 1, 1]))
    np.testing.assert_array_equal(bright, np.maximum(coefficients[:, :2], 0.0).sum(axis=1) > 10.0 * error)
    assert 0 < n == bright.sum() < 45


def test_tolerance_is_the_floor_or_the_misfit(rng):
    profiles, systematic = rng.random((20, 3, 7)), 0.02 * rng.random((20, 7))
    out = np.empty((20, 2, 7))
    tolerate(profiles, systematic, 0.02, out)
    np.testing.assert_array_equal(out, np.maximum(0.02 * profiles[:, :2], systematic[:, None]))
