"""The kernel slice: per column, honest errors, right columns; sources placed and profiles compared on it."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.candidates import compare_profiles
from optextract.finder import detect
from optextract.geometry import Problem
from optextract.kernel import choose_columns, coadd, cross_basis, fit_slice, place_sources
from optextract.profiles import Gaussian, Moffat
from optextract.recipe import Kernel
from optextract.simulate import make_scene

N_CROSS = 25


def columns(rng, n=400, *, places=(11.7,), fluxes=(50.0,), fwhm=1.8, shape=None, background=3.0):
    shape = Gaussian() if shape is None else shape
    light = sum(
        f * shape.integrate(N_CROSS, np.array([c]), np.array([fwhm]))[0] for c, f in zip(places, fluxes, strict=True)
    )
    data = light + background + rng.standard_normal((n, N_CROSS))
    return data, np.ones_like(data)


def problem(**changes) -> Problem:
    return Problem(**{"shape": Gaussian(), "background": cross_basis(N_CROSS, 1), "prior_taper": None, **changes})


@pytest.mark.parametrize(("combine", "cost"), [("median", np.sqrt(np.pi / 2)), ("mean", 1.0)])
def test_slice_is_per_column_with_the_error_of_its_estimator(rng, combine, cost):
    slices = [coadd(*columns(rng, 200), (20, 179), combine) for _ in range(80)]
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
def test_slice_is_deaf_to_cosmic_rays_and_counts_the_columns_that_took_part(rng, combine):
    data, weight = columns(rng, 200)
    data[rng.integers(0, 200, 40), rng.integers(0, N_CROSS, 40)] += 1e5
    weight[50:80] = 0.0
    cut = coadd(data, weight, (0, 199), combine)
    light = 50 * Gaussian().integrate(N_CROSS, np.array([11.7]), np.array([1.8]))[0] + 3
    np.testing.assert_allclose(cut.binned.data[0], light, atol=0.6)
    assert cut.n_columns == 170


def test_columns_are_those_of_highest_signal_to_noise(rng):
    data, weight = columns(rng, 640, fluxes=(0.0,))
    data[400:560] += 8 * Gaussian().integrate(N_CROSS, np.array([11.7]), np.array([1.8]))[0]
    found = choose_columns(detect(data, weight), 640, Kernel(), 0)
    assert 360 <= found[0] < found[1] < 600
    low, high = choose_columns(detect(*columns(rng, 640)), 640, Kernel(), 0)
    assert high - low + 1 == 640


def test_columns_of_the_recipe_are_those_of_the_frame():
    frame = make_scene("mid", 2, shape=(25, 300)).frame
    result = ox.extract(frame, ox.Recipe(kernel={"disp": (120, 180)}), region={"disp": (100, 250)})
    assert result.kernel.columns == (120, 180)
    assert result.kernel.n_columns == 61
    with pytest.raises(ox.RecipeError, match=r"'kernel.disp' parameter of Recipe must be inside the region's columns"):
        ox.extract(frame, ox.Recipe(kernel={"disp": (10, 50)}), region={"disp": (100, 250)})


@pytest.mark.parametrize("places", [(11.7,), (9.1, 14.0), (10.2, 12.3), (7.0, 12.0, 16.4)])
def test_sources_are_placed_where_they_are(rng, places):
    data, weight = columns(rng, places=places, fluxes=(50.0, 35.0, 30.0)[: len(places)])
    cut = coadd(data, weight, (0, 399), "median")
    found, width = place_sources(cut, places[0], 2.0, len(places), (), (0.5, 8.0))
    np.testing.assert_allclose(sorted(found), places, atol=0.4)
    assert width == pytest.approx(1.8, rel=0.35)


def test_slice_fit_recovers_place_and_width(rng):
    cut = coadd(*columns(rng), (0, 399), "median")
    fit = fit_slice(cut, (11.2,), 2.5, problem())
    error = np.sqrt(np.diag(np.linalg.inv(fit.hessian)))
    assert abs(fit.geometry.centre[0] - 11.7) < 5 * error[0]
    assert abs(fit.geometry.log_fwhm[0, 0] - np.log(1.8)) < 5 * error[1]


@pytest.mark.parametrize(("shape", "best"), [(Gaussian(), "gaussian"), (Moffat(2.0), "moffat")])
def test_profiles_are_ranked_by_their_evidence(rng, shape, best):
    cut = coadd(*columns(rng, 2000, shape=shape, fluxes=(200.0,)), (0, 1999), "mean")
    candidates = compare_profiles(cut, (11.7,), 1.8, problem())
    assert candidates[0].kind == best
    assert [c.bic for c in candidates] == sorted(c.bic for c in candidates)
    assert {c.kind for c in candidates} == {"gaussian", "moffat", "voigt"}
    gaussian = next(c for c in candidates if c.kind == "gaussian")
    moffat = next(c for c in candidates if c.kind == "moffat")
    assert moffat.n_parameters == gaussian.n_parameters + 1
    if best == "moffat":
        assert moffat.chi2 < gaussian.chi2 - 100
    assert gaussian.curve.shape == (N_CROSS,)
    if best == "gaussian":
        np.testing.assert_allclose(gaussian.curve, cut.binned.data[0], atol=6 / np.sqrt(2000))


@pytest.mark.parametrize("degree", [-1, 0, 1, 4])
def test_background_terms_are_legendre_polynomials(degree):
    basis = cross_basis(21, degree)
    assert basis.shape == (degree + 1, 21)
    x = np.linspace(-1, 1, 21)
    for k in range(degree + 1):
        np.testing.assert_allclose(basis[k], np.polynomial.legendre.legval(x, np.eye(5)[k]), atol=1e-12)


# in whole extractions ------------------------------------------------------------------------------------------------


def test_slice_of_a_result_is_data_model_and_parts():
    result = ox.extract(make_scene("blend", 1).frame, ox.Recipe(sources={"number": 2}), region={"cross": (2, 22)})
    kernel = result.kernel
    np.testing.assert_array_equal(kernel.rows, np.arange(2, 23))
    assert kernel.components.shape == (2, 21)
    np.testing.assert_allclose(kernel.model, kernel.background + kernel.components.sum(axis=0), atol=1e-9)
    # columns of other widths and places are coadded: the model is that of the middle column
    np.testing.assert_allclose(kernel.data, kernel.model, atol=0.02 * kernel.data.max())
    for centre, component in zip(kernel.centres, kernel.components, strict=True):
        assert abs(kernel.rows[component.argmax()] - centre) <= 1.0


def test_slice_of_negatives_is_not_a_source():
    """A plain sum or a weighted |mean| would peak on a negative trace: the median and its sign do not."""
    one = make_scene("nods", 2)
    result = ox.extract(one.frame)
    assert np.nanmedian(result.centre[0]) == pytest.approx(np.median(one.truth.centre[0]), abs=0.2)
    assert result.kernel.data[np.abs(result.kernel.rows - 12) <= 1].max() > 0
    assert np.nanmin(result.kernel.data) < 0


def test_candidates_are_made_when_first_asked_for():
    result = ox.extract(make_scene("mid", 1, shape=(25, 200)).frame)
    assert "candidates" not in vars(result.kernel)
    first = result.kernel.candidates
    assert first is result.kernel.candidates
    assert len(first) == 3
