"""The linear solve: Horne's closed form, numpy's least squares, errors that match the scatter, columns without data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optextract.profiles import Gaussian
from optextract.solve import condition, invert_normal, known_of, model_of, normal_equations, solve_columns

few = settings(max_examples=30)


def problem(rng, n_disp=40, n_cross=13, n_source=1, n_background=0, masked=0.1):
    """Random data, weights and terms: sources two pixels apart, then powers of the row."""
    centre = 4.0 + 2.3 * np.arange(n_source)
    fwhm = rng.uniform(1.1, 2.5, n_disp)
    profiles = np.stack([Gaussian().integrate(n_cross, np.full(n_disp, c), fwhm) for c in centre], axis=1)
    row = np.linspace(-1, 1, n_cross)
    background = np.broadcast_to(row ** np.arange(n_background)[:, None], (n_disp, n_background, n_cross))
    terms = np.concatenate([profiles, background], axis=1)
    weight = rng.uniform(0.2, 3.0, (n_disp, n_cross)) * (rng.random((n_disp, n_cross)) > masked)
    data = rng.normal(size=(n_disp, n_cross)) + 20 * terms[:, 0]
    return data, weight, terms


@few
@given(seed=st.integers(0, 10**6), scale=st.floats(-30, 30))
def test_one_source_is_horne_1986(seed, scale):
    rng = np.random.default_rng(seed)
    data, weight, terms = problem(rng)
    data, weight = data * 10**scale, weight * 10 ** (-2 * scale)
    found = solve_columns(data, weight, terms)
    profile = terms[:, 0]
    norm = (profile**2 * weight).sum(axis=1)
    np.testing.assert_allclose(found.coefficients[:, 0], (profile * data * weight).sum(axis=1) / norm, rtol=1e-12)
    np.testing.assert_allclose(found.covariance[:, 0, 0], 1 / norm, rtol=1e-12)
    chi2 = (weight * (data - found.coefficients * profile) ** 2).sum(axis=1)
    np.testing.assert_allclose(found.chi2, chi2, rtol=1e-9)


@few
@given(seed=st.integers(0, 10**6), n_source=st.integers(1, 3), n_background=st.integers(0, 3))
def test_joint_solution_is_that_of_least_squares(seed, n_source, n_background):
    rng = np.random.default_rng(seed)
    data, weight, terms = problem(rng, n_source=n_source, n_background=n_background)
    found = solve_columns(data, weight, terms)
    for column in range(len(data)):
        root = np.sqrt(weight[column])
        design = (terms[column] * root).T
        expected, *_ = np.linalg.lstsq(design, data[column] * root, rcond=None)
        np.testing.assert_allclose(found.coefficients[column], expected, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(found.covariance[column], np.linalg.inv(design.T @ design), rtol=1e-7, atol=1e-10)
        left = (root * data[column] - design @ expected) ** 2
        assert found.chi2[column] == pytest.approx(left.sum(), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("n_source", [1, 2, 3])
def test_column_without_data_is_zero_of_infinite_variance_and_leaves_its_neighbours_alone(rng, n_source):
    data, weight, terms = problem(rng, n_source=n_source)
    before = solve_columns(data, weight, terms)
    weight = weight.copy()
    weight[7] = 0.0
    found = solve_columns(data, weight, terms)
    assert (found.coefficients[7] == 0).all()
    assert np.isinf(np.diagonal(found.covariance[7])).all()
    others = np.arange(len(data)) != 7
    np.testing.assert_array_equal(found.coefficients[others], before.coefficients[others])
    np.testing.assert_array_equal(found.covariance[others], before.covariance[others])


def test_source_that_no_good_pixel_sees_has_infinite_variance_and_costs_the_other_nothing(rng):
    data, weight, terms = problem(rng, n_source=2, masked=0.0)
    terms = terms.copy()
    terms[:, 1] *= np.arange(13) >= 9
    weight = weight * (np.arange(13) < 9)
    found = solve_columns(data, weight, terms)
    alone = solve_columns(data, weight, terms[:, :1])
    np.testing.assert_allclose(found.coefficients[:, 0], alone.coefficients[:, 0], rtol=1e-10)
    np.testing.assert_allclose(found.covariance[:, 0, 0], alone.covariance[:, 0, 0], rtol=1e-10)
    assert (found.coefficients[:, 1] == 0).all()
    assert np.isinf(found.covariance[:, 1, 1]).all()


def test_masked_pixels_do_not_matter_whatever_they_hold(rng):
    data, weight, terms = problem(rng, n_source=2)
    wild = np.where(weight > 0, data, 1e30)
    for a, b in zip(
        vars(solve_columns(data, weight, terms)).values(),
        vars(solve_columns(wild, weight, terms)).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_masked_core_enlarges_the_error_by_what_is_missing(rng):
    """Not a divot: the flux stays, the error is 1/sqrt(sum P^2/V) over what is left; Horne's own form is too small."""
    profile = Gaussian().integrate(13, np.array([6.0]), np.array([1.5]))[:, None, :]
    weight = np.full((1, 13), 4.0)
    whole = solve_columns(100 * profile[:, 0], weight, profile)
    weight[0, 6] = 0.0
    part = solve_columns(100 * profile[:, 0], weight, profile)
    assert part.coefficients[0, 0] == pytest.approx(100.0, rel=1e-12)
    factor = np.sqrt((profile**2).sum() / (profile**2 * (np.arange(13) != 6)).sum())
    assert np.sqrt(part.covariance[0, 0, 0] / whole.covariance[0, 0, 0]) == pytest.approx(factor, rel=1e-12)
    assert factor > 1.5


@pytest.mark.parametrize(("n_source", "n_background"), [(1, 0), (2, 0), (2, 2)])
def test_covariance_is_the_scatter_of_many_realisations(rng, n_source, n_background):
    n = 20_000
    _, weight, terms = problem(rng, n_disp=1, n_source=n_source, n_background=n_background)
    truth = np.array([30.0, 20.0, 2.0, -1.0])[: n_source + n_background]
    model = truth @ terms[0]
    good = weight[0] > 0
    data = model + np.where(good, rng.normal(size=(n, 13)) / np.sqrt(np.where(good, weight[0], 1)), 0)
    found = solve_columns(data, np.broadcast_to(weight, data.shape), np.broadcast_to(terms, (n, *terms.shape[1:])))
    stated = found.covariance[0]
    scatter = np.cov(found.coefficients.T).reshape(stated.shape)
    sigma = np.sqrt(np.diagonal(stated))
    np.testing.assert_allclose(scatter / np.outer(sigma, sigma), stated / np.outer(sigma, sigma), atol=5 / np.sqrt(n))
    assert np.abs((found.coefficients.mean(axis=0) - truth) / sigma).max() < 5 / np.sqrt(n)
    assert found.chi2.mean() == pytest.approx(good.sum() - len(truth), rel=0.02)


def test_sources_too_close_have_a_huge_error_and_no_wild_sum(rng):
    centre = np.array([6.0, 6.0 + 1e-3])
    terms = np.stack([Gaussian().integrate(13, np.array([c]), np.array([1.5])) for c in centre], axis=1)
    terms = np.repeat(terms, 500, axis=0)
    weight = np.ones((500, 13))
    data = 100 * terms.sum(axis=1) + rng.normal(size=(500, 13))
    found = solve_columns(data, weight, terms)
    alone = solve_columns(data, weight, terms[:, :1])
    assert (np.sqrt(found.covariance[:, 0, 0]) > 100 * np.sqrt(alone.covariance[:, 0, 0])).all()
    # the sum is as well known as that of one source
    error = np.sqrt(found.covariance.sum(axis=(1, 2)))
    np.testing.assert_allclose(error, np.sqrt(alone.covariance[:, 0, 0]), rtol=0.05)
    pull = (found.coefficients.sum(axis=1) - 200) / error
    assert pull.std() == pytest.approx(1.0, abs=0.12)
    assert (condition(normal_equations(data, weight, terms)[0]) > 1e5).all()


def test_identical_terms_stay_finite():
    terms = np.repeat(Gaussian().integrate(13, np.array([6.0]), np.array([1.5]))[:, None, :], 2, axis=1)
    weight = np.ones((1, 13))
    found = solve_columns(100 * terms[:, 0], weight, terms)
    assert np.isfinite(found.coefficients).all()
    assert np.isfinite(found.covariance).all()
    # their sum is known to the ridge that keeps the matrix regular
    assert found.coefficients.sum() == pytest.approx(100.0, rel=1e-3)
    assert found.covariance[0, 0, 0] > 1e6


def test_condition_of_columns(rng):
    _, weight, terms = problem(rng, n_source=2, masked=0.0)
    matrix, _, _ = normal_equations(np.zeros_like(weight), weight, terms)
    unit = matrix / np.sqrt(np.einsum("xii,xjj->xij", matrix, matrix))
    np.testing.assert_allclose(condition(matrix), [np.linalg.cond(m) for m in unit], rtol=1e-9)
    assert condition(np.zeros((1, 1, 1)))[0] == np.inf
    assert condition(np.full((1, 1, 1), 7.0))[0] == 1.0


def test_solver_reproduces_a_spectrum_of_msaexp(data_dir):
    """SPEC1D = sum(P S W) / sum(P^2 W) and 1 / sqrt(sum(P^2 W)) of the file's own profile and inverse variance."""
    from astropy.io import fits

    with fits.open(data_dir / "nirspec_mos_ceers_933" / "static-test-driz-center-bkg_933.spec.fits") as hdus:
        data, weight, profile = (hdus[name].data.astype(float).T for name in ("SCI", "WHT", "PROFILE"))
        flux, err = (hdus["SPEC1D"].data[name].astype(float) for name in ("flux", "err"))
    good = np.isfinite(data) & np.isfinite(profile) & (weight > 0)
    found = solve_columns(np.where(good, data, 0.0), np.where(good, weight, 0.0), np.nan_to_num(profile)[:, None, :])
    seen = np.isfinite(found.covariance[:, 0, 0]) & (err > 0)
    assert seen.sum() == 330
    ours, error = found.coefficients[:, 0], np.sqrt(found.covariance[:, 0, 0])
    close = np.abs(ours - flux) <= 1e-6 * np.abs(flux) + 1e-8 * np.abs(flux[seen]).max()
    # in three columns msaexp left out one pixel of the far wing, which the file does not tell
    assert list(np.flatnonzero(seen & ~close)) == [87, 92, 168]
    for column in (87, 92, 168):
        others = np.repeat(np.where(good, weight, 0.0)[[column]], data.shape[1], axis=0)
        np.fill_diagonal(others, 0.0)
        many = np.repeat(np.where(good, data, 0.0)[[column]], data.shape[1], axis=0)
        tries = solve_columns(many, others, np.repeat(np.nan_to_num(profile)[[column], None, :], data.shape[1], axis=0))
        best = np.argmin(np.abs(tries.coefficients[:, 0] - flux[column]))
        assert profile[column, best] < 0.006
        assert tries.coefficients[best, 0] == pytest.approx(flux[column], rel=1e-6)
        assert np.sqrt(tries.covariance[best, 0, 0]) == pytest.approx(err[column], rel=1e-6)
    np.testing.assert_allclose(error[seen & close], err[seen & close], rtol=1e-6)


def test_no_function_changes_its_input(rng):
    data, weight, terms = problem(rng, n_source=2)
    matrix, _, _ = normal_equations(data, weight, terms)
    given_arrays = (data, weight, terms, matrix)
    before = [a.copy() for a in given_arrays]
    solve_columns(data, weight, terms)
    condition(matrix)
    invert_normal(matrix)
    model_of(terms, np.ones(terms.shape[:2]))
    for a, b in zip(given_arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_truth_at_signal_to_noise_20_over_a_thousand_realisations():
    """Mean pull 0 +- 0.05, its rms 1 +- 0.05, flux bias below 0.5 %, with the noise of photons and of reading."""
    rng = np.random.default_rng(11)
    n, n_cross, flux = 1000, 25, 555.0
    profile = Gaussian().integrate(n_cross, np.array([11.8]), np.array([1.45]))[0]
    variance = flux * profile + 30.0 + 36.0
    assert flux * np.sqrt((profile**2 / variance).sum()) == pytest.approx(20.0, abs=0.3)
    columns = 20
    data = (
        rng.poisson(flux * profile + 30.0, (n, columns, n_cross))
        - 30.0
        + 6.0 * rng.standard_normal((n, columns, n_cross))
    )
    found = solve_columns(
        data.reshape(-1, n_cross),
        np.broadcast_to(1 / variance, (n * columns, n_cross)),
        np.broadcast_to(profile, (n * columns, 1, n_cross)),
    )
    pull = (found.coefficients[:, 0] - flux) / np.sqrt(found.covariance[:, 0, 0])
    assert abs(pull.mean()) < 0.05
    assert pull.std() == pytest.approx(1.0, abs=0.05)
    assert abs(found.coefficients.mean() / flux - 1) < 0.005


@pytest.mark.parametrize("n_term", [1, 2, 3, 5])
@pytest.mark.parametrize("n_disp", [1, 64, 65, 200])
def test_covariance_is_that_of_each_column_by_itself(rng, n_disp, n_term):
    """Whatever others it is inverted beside: of many columns, of one left over, and with terms that are not seen."""
    terms = rng.normal(size=(n_disp, n_term, 13))
    weight = rng.uniform(0.1, 2.0, (n_disp, 13)) * (rng.random((n_disp, 13)) > 0.1)
    blind = np.arange(n_disp) % 7 == 3
    terms[blind, 0] = 0.0
    covariance = known_of(weight, terms).covariance
    for x in range(n_disp):
        seen = slice(int(blind[x]), n_term)
        matrix = (terms[x, seen] * weight[x]) @ terms[x, seen].T
        np.testing.assert_allclose(covariance[x, seen, seen], np.linalg.inv(matrix), rtol=1e-7, atol=1e-10)
        if blind[x]:
            assert covariance[x, 0].tolist() == [np.inf, *[0.0] * (n_term - 1)]


@pytest.mark.parametrize("n_term", [1, 2, 3, 4, 5, 6, 7])
def test_what_is_known_for_other_weights_changes_nothing(rng, n_term):
    terms = rng.normal(size=(40, n_term, 13)) * (rng.random((40, n_term, 13)) > 0.3)
    data, weight = rng.normal(size=(2, 40, 13))
    weight = np.abs(weight) * (rng.random(weight.shape) > 0.2)
    weight[3], terms[7, 0] = 0.0, 0.0
    other = weight.copy()
    other[::4, 5] = 0.7
    plain, known = solve_columns(data, weight, terms), known_of(other, terms)
    for found in (
        solve_columns(data, weight, terms, known),
        solve_columns(data, weight, terms, known_of(weight, terms)),
    ):
        np.testing.assert_allclose(found.coefficients, plain.coefficients, rtol=1e-9)
        np.testing.assert_allclose(found.covariance, plain.covariance, rtol=1e-9)
        np.testing.assert_allclose(found.chi2, plain.chi2, rtol=1e-9, atol=1e-12)
    held = (other == weight).all(axis=1)
    again = known_of(weight, terms, known).covariance
    np.testing.assert_array_equal(again[held], known.covariance[held])
