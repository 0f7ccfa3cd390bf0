"""The loops beneath the background and the profile's correction against what they stand for, written with numpy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial.legendre import legvander

from optextract.bins import edges_uniform
from optextract.compiled import hats, sky
from optextract.profiles import Gaussian
from optextract.reduced import reduced_by
from optextract.smooth import assemble, assemble_all, solve_symmetric
from optextract.solve import known_of, model_of, solve_columns

N_DISP, N_CROSS = 61, 13


@pytest.fixture
def pixels(rng):
    """Data, weights with bad pixels and a column without any, profiles of two sources."""
    weight = rng.uniform(0.5, 2.0, (N_DISP, N_CROSS)) * (rng.random((N_DISP, N_CROSS)) > 0.2)
    weight[7] = 0.0
    fwhm = rng.uniform(1.5, 2.5, N_DISP)
    profiles = np.stack([Gaussian().integrate(N_CROSS, np.full(N_DISP, c), fwhm) for c in (4.0, 7.0)], axis=1)
    return rng.normal(size=(N_DISP, N_CROSS)) + 20 * profiles[:, 0], weight, profiles


def test_pixels_near_traces(rng):
    centre, fwhm = rng.uniform(-2, 14, (3, N_DISP)), rng.uniform(0.3, 2.0, (3, N_DISP))
    offsets, times = np.array([0.0, -4.5]), np.array([1.5, 0.7])
    covered = rng.random((N_DISP, N_CROSS)) < 0.1
    told = covered.copy()
    for offset, each in zip(offsets, times, strict=True):
        reach = np.maximum(each * fwhm + 0.2, 0.8)
        told |= (np.abs(np.arange(N_CROSS) - centre[:, :, None] - offset) <= reach[:, :, None]).any(axis=0)
    assert (told & ~covered).any(axis=0).all()
    sky.cover(centre, fwhm, offsets, times, 0.2, 0.8, covered)
    np.testing.assert_array_equal(covered, told)


def test_free_pixels_are_counted(rng, pixels):
    _, weight, _ = pixels
    rows, clear = np.arange(N_CROSS) > 1, rng.random(weight.shape) < 0.6
    clear[:, 4] = True
    apart, per_row = np.empty(weight.shape), np.empty(N_CROSS)
    usable, free = np.empty((2, N_DISP + 1))
    n = sky.free_pixels(weight, rows, clear, apart, usable, free, per_row)
    np.testing.assert_array_equal(apart, weight * rows * clear)
    seen = (weight * rows > 0).any(axis=1)
    assert n == seen.sum() == N_DISP - 1
    np.testing.assert_array_equal(usable[:n], np.count_nonzero(weight * rows, axis=1)[seen])
    np.testing.assert_array_equal(free[:n], np.count_nonzero(apart, axis=1)[seen])
    np.testing.assert_array_equal(per_row, np.count_nonzero(apart, axis=0))
    every = np.empty(N_CROSS, dtype=bool)
    sky.free_in_all(clear, every)
    np.testing.assert_array_equal(every, clear.all(axis=0))


@pytest.mark.parametrize("n_source", [1, 2])
def test_wings_are_those_of_a_fit_without_background(pixels, n_source):
    data, weight, profiles = pixels
    profiles = np.ascontiguousarray(profiles[:, :n_source])
    apart, light = weight * (np.arange(N_CROSS) > 8), np.empty(data.shape)
    most, heaviest = sky.wings(data, weight, profiles, apart, light)
    told = model_of(profiles, solve_columns(data, weight, profiles).coefficients)
    np.testing.assert_allclose(light, told, atol=1e-12)
    assert most == pytest.approx(np.abs(told[apart > 0]).max())
    assert heaviest == weight.max()


def test_both_sides_of_the_sources(pixels):
    data, weight, _ = pixels
    weight[9, :3] = 0.0
    sides = np.arange(N_CROSS) < 3, np.arange(N_CROSS) > 9
    model, (out, error) = np.full(data.shape, 0.3), np.empty((2, 2, N_DISP + 1))
    column = np.empty(N_DISP + 1, dtype=np.intp)
    n = sky.both_sides(data, model, weight, *sides, out, error, column)
    use = np.all([weight[:, side].any(axis=1) for side in sides], axis=0)
    assert n == use.sum() < N_DISP - 1
    np.testing.assert_array_equal(column[:n], np.flatnonzero(use))
    for found, of_mean, side in zip(out, error, sides, strict=True):
        part = weight[use][:, side]
        told = (part * (data - model)[use][:, side]).sum(axis=1) / np.sqrt(part.sum(axis=1))
        np.testing.assert_allclose(found[:n], told, atol=1e-12)
        np.testing.assert_allclose(of_mean[:n], 1.0 / np.sqrt(part.sum(axis=1)))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("n_source", [0, 1, 2])
def test_background_terms_without_the_sources(pixels, degree, n_source):
    data, weight, profiles = pixels
    basis = legvander(np.linspace(-1, 1, N_CROSS), degree).T
    reduced = reduced_by(data, weight, profiles[:, :n_source], basis)
    for x in range(N_DISP):
        terms = np.concatenate([profiles[x, :n_source], basis])
        matrix, vector = (terms * weight[x]) @ terms.T, (terms * weight[x]) @ data[x]
        if weight[x].any():
            own, cross = matrix[:n_source, :n_source], matrix[n_source:, :n_source]
            gain = cross @ np.linalg.inv(own)
            matrix = matrix[n_source:, n_source:] - gain @ cross.T
            vector = vector[n_source:] - gain @ vector[:n_source]
        else:
            matrix, vector = matrix[n_source:, n_source:], vector[n_source:]
        np.testing.assert_allclose(reduced.matrix[x], matrix, atol=1e-8)
        np.testing.assert_allclose(reduced.vector[x], vector, atol=1e-8)
    np.testing.assert_array_equal(reduced.used, weight.any(axis=1))


@pytest.mark.parametrize("n_source", [0, 2])
def test_only_columns_that_differ_are_reduced_anew_and_it_does_not_show(pixels, n_source):
    data, weight, profiles = pixels
    profiles = profiles[:, :n_source]
    basis = legvander(np.linspace(-1, 1, N_CROSS), 2).T
    before = reduced_by(data, weight, profiles, basis)
    others = [(data, weight), (data + 0.0, np.where(np.arange(N_CROSS) == 4, 0.0, weight)), (data + 0.1, weight)]
    others[1][1][::3] = weight[::3]
    for values, weights in others:
        found = reduced_by(values, weights, profiles, basis[:2], before=before)
        told = reduced_by(values, weights, profiles, basis[:2], known_of(weight, profiles) if n_source else None)
        for name in ("matrix", "vector", "used"):
            np.testing.assert_allclose(getattr(found, name), getattr(told, name), rtol=1e-9, atol=1e-12)
    unlike = reduced_by(data, weight, profiles + 0.01, basis, before=before)
    np.testing.assert_array_equal(unlike.matrix, reduced_by(data, weight, profiles + 0.01, basis).matrix)


@pytest.mark.parametrize("degree", [0, 1, 4])
@pytest.mark.parametrize("gaps", [[], [20]])
def test_normal_equations_of_products_of_polynomials(pixels, degree, gaps):
    data, weight, profiles = pixels
    basis = legvander(np.linspace(-1, 1, N_CROSS), 2).T
    reduced = reduced_by(data, weight, profiles[:, :0], basis)
    along, matrix, vector = assemble_all(reduced, degree, gaps)
    polynomial = legvander(np.linspace(-1, 1, N_DISP), degree)
    steps = [(np.arange(N_DISP) >= gap) - 0.5 for gap in gaps]
    np.testing.assert_allclose(along, np.column_stack([polynomial, *steps]), atol=1e-13)
    terms = np.einsum("iy,xp->ipxy", basis, along).reshape(-1, weight.size)
    np.testing.assert_allclose(matrix, (terms * weight.ravel()) @ terms.T, atol=1e-9)
    np.testing.assert_allclose(vector, terms @ (weight * data).ravel(), atol=1e-9)
    for found, told in zip(assemble(reduced, along), (matrix, vector), strict=True):
        np.testing.assert_allclose(found, told, atol=1e-9)


@pytest.mark.parametrize("apart", [1.0, 1e-3, 1e-9, 0.0])
def test_directions_that_nothing_sees_stay_zero(rng, apart):
    """Terms that are nearly one and the same share what they hold; a term without data has neither value nor error."""
    terms = rng.normal(size=(40, 4)) * (1.0, 30.0, 1e-4, 0.0)
    terms[:, 2] = 1e-4 * terms[:, 0] + apart * terms[:, 2]
    truth = np.array([2.0, -0.3, 0.0, 0.0])
    solution, covariance = solve_symmetric(terms.T @ terms, terms.T @ (terms @ truth))

    assert terms @ solution == pytest.approx(terms @ truth, abs=1e-6)
    assert solution[3] == 0.0
    assert not covariance[3].any()
    assert not covariance[:, 3].any()
    # the sum of both is known as well as one alone would be
    both = np.array([1.0, 0.0, 1e-4, 0.0])
    left = terms[:, 0] - terms[:, 1] * (terms[:, 0] @ terms[:, 1]) / (terms[:, 1] @ terms[:, 1])
    if apart < 1e-6:
        assert both / (both @ both) @ solution == pytest.approx(2.0 / (both @ both), rel=1e-4)
        assert np.abs(covariance).max() < 2.0e8 / (left @ left)
    else:
        inverse = np.linalg.inv((terms.T @ terms)[:3, :3])
        assert covariance[:3, :3] == pytest.approx(inverse, rel=1e-6, abs=1e-9 * np.abs(inverse).max())
        assert solution[:3] == pytest.approx(truth[:3], abs=1e-5 / apart)


def test_slow_pulls_are_those_of_bins(pixels):
    data, weight, profiles = pixels
    weight[20:40] = 0.0
    basis, level = legvander(np.linspace(-1, 1, N_CROSS), 1).T, np.linspace(0, 1, 2 * N_DISP).reshape(N_DISP, 2)
    reduced = reduced_by(data, weight, profiles[:, :0], basis)
    out = np.empty(N_DISP // 20 + 1)
    assert sky.slow_pulls(reduced.matrix, reduced.vector, level, 20, out) == 2
    left = weight * (data - level @ basis)
    for found, first in zip(out, (0, 40), strict=False):
        part = slice(first, first + 20)
        assert found == pytest.approx(left[part].sum() / np.sqrt(weight[part].sum()))


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_a_background_is_laid_out(rng, degree):
    level, basis, image = (
        rng.normal(size=(N_DISP, degree + 1)),
        rng.normal(size=(degree + 1, N_CROSS)),
        np.empty((N_DISP, N_CROSS)),
    )
    sky.spread(level, basis, image)
    np.testing.assert_allclose(image, level @ basis, atol=1e-14)
    edges, shared = edges_uniform(N_DISP, 4), rng.normal(size=N_DISP)
    bins = rng.normal(size=(4, N_CROSS))
    sky.raise_bins(bins, edges, shared, image)
    np.testing.assert_array_equal(image, np.repeat(bins, np.diff(edges), axis=0) + shared[:, None])


def test_hats_about_a_trace(rng, pixels):
    """Half of the offsets are knots, where rounding must not decide."""
    _, _, profiles = pixels
    centre, fwhm = rng.uniform(3, 9, (2, N_DISP)), rng.uniform(1.5, 2.5, (2, N_DISP))
    centre[:, ::2], fwhm[:, ::2] = 5.0, 2.0
    offsets = np.empty((2, N_DISP, N_CROSS))
    hats.offsets_from(centre, fwhm, offsets)
    np.testing.assert_allclose(offsets, (np.arange(N_CROSS) - centre[:, :, None]) / fwhm[:, :, None])
    knots, reach = np.arange(-10, 11) * 0.25, 2.4
    height, out = 0.1 * rng.normal(size=len(knots)), np.empty(profiles.shape)
    hats.hats_of(profiles, offsets, knots, height, out)
    for k in range(2):
        told = np.interp(offsets[k], knots, height, left=0.0, right=0.0)
        np.testing.assert_allclose(out[:, k], np.maximum(told, -profiles[:, k]), atol=1e-15)
    total, count = np.empty((2, len(knots)))
    hats.near_knots(profiles, offsets, 3, knots, reach, total, count)
    inside = np.abs(offsets[0, ::3]) <= reach
    near = np.searchsorted(knots, offsets[0, ::3][inside])
    np.testing.assert_array_equal(count, np.bincount(near, minlength=len(knots)))
    np.testing.assert_allclose(total, np.bincount(near, weights=profiles[::3, 0][inside], minlength=len(knots)))
