"""The kernel slice: per column, honest errors, right columns, and the fit to it."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.finder import detect
from optextract.kernel import choose_columns, coadd, cross_basis, fit_slice
from optextract.profiles import Gaussian
from optextract.recipe import Kernel
from optextract.simulate import make_scene

N_CROSS = 25


@pytest.mark.parametrize(("combine", "cost"), [("median", np.sqrt(np.pi / 2)), ("mean", 1.0)])
def test_slice_is_per_column_with_the_error_of_its_estimator(columns, combine, cost):
    slices = [coadd(*columns(200), (20, 179), combine) for _ in range(80)]
    values = np.array([cut.binned.data[0] for cut in slices])
    light = 50 * Gaussian().integrate(N_CROSS, np.array([11.7]), np.array([1.8]))[0] + 3
    np.testing.assert_allclose(values.mean(axis=0), light, atol=4 * cost / np.sqrt(160 * 80))
    stated = 1 / np.sqrt(slices[0].binned.weight[0])
    np.testing.assert_allclose(stated, cost / np.sqrt(160), rtol=0.02)
    np.testing.assert_allclose(values.std(axis=0).mean() / stated.mean(), 1.0, atol=0.06)
    assert slices[0].columns == (20, 179)
    assert slices[0].n_columns == 160
    assert slices[0].centre_column == 99.5


@pytest.mark.parametrize("combine", ["median", "mean"])
def test_slice_is_deaf_to_cosmic_rays_and_counts_the_columns_that_took_part(rng, columns, combine):
    data, weight = columns(200)
    data[rng.integers(0, 200, 40), rng.integers(0, N_CROSS, 40)] += 1e5
    weight[50:80] = 0.0
    cut = coadd(data, weight, (0, 199), combine)
    light = 50 * Gaussian().integrate(N_CROSS, np.array([11.7]), np.array([1.8]))[0] + 3
    np.testing.assert_allclose(cut.binned.data[0], light, atol=0.6)
    assert cut.n_columns == 170


def test_columns_are_those_of_highest_signal_to_noise(columns):
    data, weight = columns(640, fluxes=(0.0,))
    data[400:560] += 8 * Gaussian().integrate(N_CROSS, np.array([11.7]), np.array([1.8]))[0]
    found = choose_columns(detect(data, weight), 640, Kernel(), 0)
    assert 360 <= found[0] < found[1] < 600
    low, high = choose_columns(detect(*columns(640)), 640, Kernel(), 0)
    assert high - low + 1 == 640


def test_columns_of_the_recipe_are_those_of_the_frame():
    frame = make_scene("mid", 2, shape=(25, 300)).frame
    result = ox.extract(frame, ox.Recipe(kernel={"disp": (120, 180)}), region={"disp": (100, 250)})
    assert result.kernel.columns == (120, 180)
    assert result.kernel.n_columns == 61
    with pytest.raises(ox.RecipeError, match=r"'kernel.disp' parameter of Recipe must be inside the region's columns"):
        ox.extract(frame, ox.Recipe(kernel={"disp": (10, 50)}), region={"disp": (100, 250)})


def test_slice_fit_recovers_place_and_width(columns, problem):
    cut = coadd(*columns(), (0, 399), "median")
    fit = fit_slice(cut, (11.2,), 2.5, problem())
    error = np.sqrt(np.diag(np.linalg.inv(fit.hessian)))
    assert abs(fit.geometry.centre[0] - 11.7) < 5 * error[0]
    assert abs(fit.geometry.log_fwhm[0, 0] - np.log(1.8)) < 5 * error[1]


@pytest.mark.parametrize("degree", [-1, 0, 1, 4])
def test_background_terms_are_legendre_polynomials(degree):
    basis = cross_basis(21, degree)
    assert basis.shape == (degree + 1, 21)
    x = np.linspace(-1, 1, 21)
    for k in range(degree + 1):
        np.testing.assert_allclose(basis[k], np.polynomial.legendre.legval(x, np.eye(5)[k]), atol=1e-12)


# in whole extractions ------------------------------------------------------------------------------------------------


def test_slice_of_negatives_is_not_a_source():
    """A plain sum or a weighted |mean| would peak on a negative trace: the median and its sign do not."""
    one = make_scene("nods", 2)
    result = ox.extract(one.frame)
    assert np.nanmedian(result.centre[0]) == pytest.approx(np.median(one.truth.centre[0]), abs=0.2)
    assert result.kernel.data[np.abs(result.kernel.rows - 12) <= 1].max() > 0
    assert np.nanmin(result.kernel.data) < 0
