"""The global fit: trace and width recovered within their errors, bounds and priors kept, degrees by the evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.polynomial.legendre import legval

import optextract as ox
from optextract.bins import Binned
from optextract.geometry import Geometry, Problem, evaluate, terms_of
from optextract.profiles import Gaussian, Moffat, moffat_between
from optextract.simulate import make_scene, pixel_profile
from optextract.solve import solve_columns
from optextract.trace import fit_geometry, information_criterion

N_BIN, N_CROSS = 60, 19
COLUMN = np.linspace(0, 599, N_BIN)
DOMAIN = (0.0, 599.0)
X = 2 * COLUMN / 599 - 1


def draw(rng, *, centre=(9.2, 0.3, 0.2), log_fwhm=(0.45, 0.1), flux=400.0, sigma=1.0, offsets=(), shape=None):
    """Binned columns of a known geometry with noise of `sigma`, a slope of background included."""
    shape = Gaussian() if shape is None else shape
    place = np.array([legval(X, centre) + o for o in (0.0, *offsets)])
    fwhm = np.exp(legval(X, log_fwhm))
    model = sum(flux * shape.integrate(N_CROSS, c, fwhm) for c in place)
    model = model + 5.0 + 0.2 * np.arange(N_CROSS)
    data = model + sigma * rng.standard_normal(model.shape)
    edges = np.arange(N_BIN + 1) * 10
    return Binned(data, np.full(data.shape, 1 / sigma**2), COLUMN, edges)


def start(centre_degree=2, width_degree=1, offsets=(), centre=9.6, fwhm=2.0, n_width=1) -> Geometry:
    width = np.zeros((n_width, width_degree + 1))
    width[:, 0] = np.log(fwhm)
    return Geometry(DOMAIN, np.array([centre, *np.zeros(centre_degree)]), np.array(offsets, float), width)


def problem(**changes) -> Problem:
    row = np.linspace(-1, 1, N_CROSS)
    plain = Problem(shape=Gaussian(), background=np.stack([np.ones(N_CROSS), row]), prior_taper=None)
    return replace(plain, **changes)


def test_geometry_is_evaluated_as_it_says():
    geometry = Geometry(DOMAIN, np.array([9.0, 1.0]), np.array([3.0]), np.array([[0.5, 0.2]]))
    centre, fwhm = evaluate(geometry, np.array([0.0, 299.5, 599.0]))
    np.testing.assert_allclose(centre, [[8.0, 9.0, 10.0], [11.0, 12.0, 13.0]])
    np.testing.assert_allclose(fwhm, np.exp([[0.3, 0.5, 0.7]] * 2))
    given = replace(geometry, given=np.linspace(0, 599, 600), centre=np.array([0.5]))
    np.testing.assert_allclose(evaluate(given, np.array([10.0, 20.5]))[0][0], [10.5, 21.0])


def test_fit_recovers_the_truth_within_the_errors_of_its_curvature(rng):
    pulls = []
    for _ in range(60):
        fit = fit_geometry(draw(rng), start(), problem())
        assert fit.converged
        found = np.concatenate([fit.geometry.centre, fit.geometry.log_fwhm[0]])
        error = np.sqrt(np.diag(np.linalg.inv(fit.hessian)))
        pulls.append((found - [9.2, 0.3, 0.2, 0.45, 0.1]) / error)
        assert (error[:3] < 0.02).all()
    pulls = np.array(pulls)
    np.testing.assert_allclose(pulls.mean(axis=0), 0.0, atol=4 / np.sqrt(60))
    np.testing.assert_allclose(pulls.std(axis=0), 1.0, atol=0.35)


def test_chi2_of_the_truth_has_the_degrees_of_freedom_left(rng):
    fit = fit_geometry(draw(rng), start(), problem())
    left = fit.n_data - fit.n_linear - fit.n_parameters
    assert (fit.n_data, fit.n_linear, fit.n_parameters) == (N_BIN * N_CROSS, 3 * N_BIN, 5)
    assert fit.chi2 == pytest.approx(left, abs=4 * np.sqrt(2 * left))


def test_chi2_is_that_of_the_linear_solution_at_the_geometry_found(rng):
    binned = draw(rng)
    fit = fit_geometry(binned, start(), problem())
    centre, fwhm = evaluate(fit.geometry, binned.column)
    terms = terms_of(fit.shape, centre, fwhm, (), problem().background, N_CROSS)
    assert solve_columns(binned.data, binned.weight, terms).chi2.sum() == pytest.approx(fit.chi2, rel=1e-7)


def test_nothing_in_the_neighbourhood_is_better(rng):
    """The step out of the projected gradient is the right one: variable projection, not a fit of stale fluxes."""
    binned = draw(rng, flux=2000.0)
    best = fit_geometry(binned, start(), problem(), tolerance=1e-9)
    frozen = problem(free_centre=False, free_width=False)
    for _ in range(30):
        near = replace(
            best.geometry,
            centre=best.geometry.centre + rng.normal(scale=0.01, size=3),
            log_fwhm=best.geometry.log_fwhm + rng.normal(scale=0.01, size=(1, 2)),
        )
        assert fit_geometry(binned, near, frozen).chi2 > best.chi2


def test_two_sources_share_a_trace_and_differ_by_an_offset(rng):
    fit = fit_geometry(draw(rng, offsets=(2.2,)), start(offsets=(2.6,)), problem())
    assert fit.geometry.offsets[0] == pytest.approx(2.2, abs=0.02)
    np.testing.assert_allclose(fit.geometry.centre, [9.2, 0.3, 0.2], atol=0.03)
    assert fit.amplitude.shape == (N_BIN, 2)
    np.testing.assert_allclose(fit.amplitude.mean(axis=0), 400.0, rtol=0.01)


def test_widths_of_their_own_are_found_when_asked_for(rng):
    binned = draw(rng, offsets=(5.0,), log_fwhm=(0.45,))
    wide = Gaussian().integrate(N_CROSS, legval(X, (9.2, 0.3, 0.2)) + 5.0, np.full(N_BIN, 3.0))
    narrow = Gaussian().integrate(N_CROSS, legval(X, (9.2, 0.3, 0.2)) + 5.0, np.full(N_BIN, np.exp(0.45)))
    binned = replace(binned, data=binned.data + 400 * (wide - narrow))
    fit = fit_geometry(binned, start(offsets=(5.3,), width_degree=0, n_width=2), problem())
    np.testing.assert_allclose(np.exp(fit.geometry.log_fwhm[:, 0]), [np.exp(0.45), 3.0], rtol=0.02)


def test_index_of_a_moffat_is_found(rng):
    binned = draw(rng, shape=Moffat(2.5), flux=4000.0)
    free = problem(shape=moffat_between(4.0), index_shape=moffat_between)
    fit = fit_geometry(binned, start(), free)
    assert fit.shape.index == pytest.approx(2.5, abs=0.1)
    assert fit.chi2 < fit_geometry(binned, start(), problem()).chi2 - 100


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"centre_bounds": (9.5, 12.0)}, lambda fit: fit.geometry.centre[0] >= 9.5),
        ({"fwhm_bounds": (2.0, 4.0)}, lambda fit: evaluate(fit.geometry, COLUMN)[1].min() >= 2.0 - 1e-9),
        ({"fwhm_bounds": (0.5, 1.5)}, lambda fit: evaluate(fit.geometry, COLUMN)[1].max() <= 1.5 + 1e-9),
    ],
)
def test_bounds_hold_at_every_column(rng, change, what):
    assert what(fit_geometry(draw(rng), start(), problem(**change)))


def test_what_is_fixed_stays(rng):
    given = start(centre_degree=1, centre=9.0, fwhm=1.9)
    fit = fit_geometry(draw(rng), given, problem(free_centre=False))
    np.testing.assert_array_equal(fit.geometry.centre, given.centre)
    fit = fit_geometry(draw(rng), given, problem(free_width=False))
    np.testing.assert_allclose(fit.geometry.log_fwhm, given.log_fwhm)


def test_prior_and_data_meet_by_their_weights(rng):
    binned = draw(rng, centre=(9.2,), flux=60.0)
    free = fit_geometry(binned, start(0, 0), problem())
    error = np.sqrt(np.linalg.inv(free.hessian)[0, 0])
    prior = (free.geometry.centre[0] + 3 * error, error)
    both = fit_geometry(binned, start(0, 0), problem(prior_centre=prior), tolerance=1e-7)
    assert both.geometry.centre[0] == pytest.approx(free.geometry.centre[0] + 1.5 * error, abs=0.3 * error)
    tight = fit_geometry(binned, start(0, 0), problem(prior_centre=(9.7, 1e-4)))
    assert tight.geometry.centre[0] == pytest.approx(9.7, abs=1e-3)
    width = fit_geometry(binned, start(0, 0), problem(prior_fwhm=(np.log(2.5), 1e-4)))
    assert np.exp(width.geometry.log_fwhm[0, 0]) == pytest.approx(2.5, rel=1e-3)


def test_negative_twins_are_fitted_with_their_own_depths(rng):
    binned = draw(rng)
    twin = Gaussian().integrate(N_CROSS, legval(X, (9.2, 0.3, 0.2)) + 6.0, np.exp(legval(X, (0.45, 0.1))))
    binned = replace(binned, data=binned.data - 0.4 * 400 * twin)
    told = fit_geometry(binned, start(), problem(nods=(6.0,)))
    np.testing.assert_allclose(told.geometry.centre, [9.2, 0.3, 0.2], atol=0.03)
    assert told.chi2 < fit_geometry(binned, start(), problem()).chi2 - 1000


def test_spacing_of_the_nods_is_fitted_where_it_may(rng):
    """SMACS 6355 has its nods 3.7 % further apart than its pixel scale says."""
    binned = draw(rng)
    twin = Gaussian().integrate(N_CROSS, legval(X, (9.2, 0.3, 0.2)) + 6.0, np.exp(legval(X, (0.45, 0.1))))
    binned = replace(binned, data=binned.data - 0.4 * 400 * twin)
    fitted = fit_geometry(binned, start(), problem(nods=(5.7,), prior_spacing=0.05))
    assert fitted.geometry.spacing * 5.7 == pytest.approx(6.0, abs=0.02)
    assert fitted.geometry.moved((5.7, -11.4)) == pytest.approx((6.0, -12.0), abs=0.04)
    held = fit_geometry(binned, start(), problem(nods=(5.7,)))
    assert held.geometry.spacing == 1.0
    assert fitted.chi2 < held.chi2 - 100


def test_bins_without_data_are_passed_over(rng):
    binned = draw(rng)
    weight = binned.weight.copy()
    weight[10:25] = 0.0
    fit = fit_geometry(replace(binned, weight=weight), start(), problem())
    np.testing.assert_allclose(fit.geometry.centre, [9.2, 0.3, 0.2], atol=0.03)
    assert np.isfinite(fit.chi2)


def test_each_bin_by_itself_says_where_it_is(rng):
    """`local` is a Newton step of one bin: on a straight fit of a bent trace it shows the bend."""
    binned = draw(rng, centre=(9.2, 0.0, 0.05), flux=3000.0)
    fit = fit_geometry(binned, start(0, 1), problem())
    shift, error = fit.local[:, 0], fit.local[:, 1]
    expected = legval(X, (9.2, 0.0, 0.05)) - fit.geometry.centre[0]
    assert np.abs((shift - expected) / error).max() < 5
    assert np.median(error) < 0.005


def test_criterion_is_that_of_schwarz():
    assert information_criterion(120.0, 3, 50.0) == pytest.approx(120 + 3 * np.log(50))
    assert information_criterion(120.0, 3, 50.0, noise=2.0) == pytest.approx(30 + 3 * np.log(50))


def test_input_is_left_alone(rng):
    binned, geometry = draw(rng), start()
    before = [a.copy() for a in (binned.data, binned.weight, geometry.centre, geometry.log_fwhm)]
    fit_geometry(binned, geometry, problem())
    for a, b in zip((binned.data, binned.weight, geometry.centre, geometry.log_fwhm), before, strict=True):
        np.testing.assert_array_equal(a, b)


# in whole extractions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "centre", "width"), [("mid", 0.02, 0.02), ("bright", 0.002, 0.002), ("curved", 0.05, 0.03)]
)
def test_trace_and_width_of_scenes(name, centre, width):
    for seed in range(3):
        one = make_scene(name, seed)
        result = ox.extract(one.frame)
        assert np.sqrt(np.mean((result.centre - one.truth.centre) ** 2)) < centre
        assert np.sqrt(np.mean((result.fwhm / one.truth.fwhm - 1) ** 2)) < width
        assert result.trace.from_data
        assert result.trace.rms < 0.3


def test_rectified_frames_get_no_more_than_a_tilt_unless_the_data_insist():
    degrees = [ox.extract(make_scene("mid", seed).frame).trace.degree for seed in range(8)]
    assert max(degrees) <= 1
    bent = make_scene("mid", 1, snr=60.0, centre=(11.5, 0.3, 1.0))
    assert ox.extract(bent.frame).trace.degree >= 2


def test_coefficients_of_the_result_are_its_trace():
    result = ox.extract(make_scene("mid", 4).frame, region={"cross": (3, 22), "disp": (100, 1200)})
    x = np.linspace(-1, 1, 1101)
    np.testing.assert_allclose(legval(x, result.trace.coefficients[0]), result.centre[0, 100:1201], atol=1e-9)
    np.testing.assert_allclose(
        np.exp(legval(x, result.trace.fwhm_coefficients[0])), result.fwhm[0, 100:1201], rtol=1e-9
    )


def test_bins_of_the_result_scatter_about_its_trace_by_their_errors():
    pulls = []
    for seed in range(6):
        result = ox.extract(make_scene("mid", seed).frame)
        at = result.trace.columns.round().astype(int)
        seen = np.isfinite(result.trace.centre[0])
        assert seen.mean() > 0.9
        pulls.append(((result.trace.centre - result.centre[:, at]) / result.trace.centre_error)[0, seen])
    assert np.concatenate(pulls).std() == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("shift", [False, True])
def test_given_trace_is_used_as_it_is_or_moved_as_a_whole(shift):
    one = make_scene("curved", 2, shape=(80, 700), centre=(35.0, 10.0, 8.0))
    path = one.truth.centre[0] + 0.4
    result = ox.extract(one.frame, ox.Recipe(trace={"given": tuple(path), "shift": shift}))
    assert result.trace.degree == -1
    moved = result.centre[0] - path
    assert np.ptp(moved) < 1e-9
    assert moved[0] == pytest.approx(-0.4 if shift else 0.0, abs=0.03 if shift else 1e-9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            (11.0,) * 10,
            r"'trace.given' parameter of Recipe must be 300 finite numbers, one per column. Got 'shape \(10,\)'",
        ),
    ],
)
def test_trace_of_another_length_is_refused(given, message):
    frame = make_scene("mid", 2, shape=(25, 300)).frame
    with pytest.raises(ox.RecipeError, match=message):
        ox.extract(frame, ox.Recipe(trace={"given": given}))


@pytest.mark.parametrize("name", ["t.npy", "t.txt", "t.ecsv"])
def test_trace_from_a_file_is_that_of_its_numbers(tmp_path, name):
    from astropy.table import Table

    one = make_scene("mid", 2, shape=(25, 300))
    path = np.array(one.truth.centre[0])
    if name.endswith("npy"):
        np.save(tmp_path / name, path)
    elif name.endswith("txt"):
        np.savetxt(tmp_path / name, path)
    else:
        Table({"column": np.arange(300), "centre": path}).write(tmp_path / name)
    result = ox.extract(one.frame, ox.Recipe(trace={"given": {"path": str(tmp_path / name)}}))
    np.testing.assert_allclose(result.centre[0], path, atol=1e-12)


def test_shape_of_a_source_too_faint_comes_from_the_prior_and_says_so():
    result = ox.extract(make_scene("faint", 1, snr=0.1).frame)
    assert not result.trace.from_data
    assert (result.flags & ox.Flag.PRIOR_SHAPE).all()
    assert 1.2 < np.median(result.fwhm) < 3.2


def test_a_width_that_changes_by_a_factor_of_four_is_followed():
    """No column may be off by more than a factor of five; the mean not by two."""
    rows, fwhm = np.arange(41), 1.2 * (1 + 3 * np.arange(800) / 799)
    one = make_scene("mid", 4, shape=(41, 800), snr=40.0, centre=19.6, fwhm=2.0, slope=0.0)
    light = one.truth.flux[0] * pixel_profile(rows, one.truth.centre[0], fwhm)
    result = ox.extract(one.frame.replace(flux=one.frame.flux - one.truth.flux[0] * one.truth.profile[0] + light))
    np.testing.assert_allclose(result.fwhm[0], fwhm, rtol=0.06)
    pull = (result.flux[0] - one.truth.flux[0]) / result.uncertainty[0]
    assert np.sqrt(np.mean(pull**2)) < 1.1
    assert result.quality["warnings"] == ()


def test_extremes_have_limits_of_their_own(rng):
    """The mean within the one, all columns within the other."""
    binned = draw(rng, centre=(9.2,), log_fwhm=(0.7, 0.6))
    begin = start(centre_degree=0)
    truth = np.exp(0.7 + 0.6 * X)
    bounds = {"fwhm_bounds": (1.6, 2.5)}
    narrow = fit_geometry(binned, begin, problem(**bounds)).geometry
    wide = fit_geometry(binned, begin, problem(**bounds, fwhm_extremes=(0.5, 8.0))).geometry
    assert evaluate(narrow, COLUMN)[1].min() > 1.599
    np.testing.assert_allclose(evaluate(wide, COLUMN)[1][0], truth, rtol=0.01)


@pytest.mark.parametrize(
    "width",
    [lambda u: 2.5 * (1 + 0.2 * np.sin(4 * np.pi * u)), lambda u: 2.5 * (1 + 0.1 * np.sin(3 * np.pi * u))],
    ids=["two periods", "one and a half"],
)
def test_a_width_that_waves_is_followed(width):
    """Neighbouring bins say together that a polynomial of the third degree does not do; it cost up to 7 %."""
    u = np.linspace(0, 1, 600)
    left = []
    for seed in range(4):
        profile = Gaussian().integrate(31, 14.8 + u, width(u)).T
        model = 300.0 * profile + 20.0
        noise = np.random.default_rng(seed).normal(size=model.shape)
        result = ox.extract(ox.Frame(model + noise * np.sqrt(model + 25.0), variance=model + 25.0))
        assert result.trace.fwhm_degree > 3
        left.append(result.flux[0].reshape(12, 50).mean(axis=1) / 300.0 - 1.0)
    assert np.abs(np.mean(left, axis=0)).max() < 0.02


def test_widths_of_bins_that_only_scatter_make_no_wave():
    assert all(ox.extract(make_scene("mid", seed).frame).trace.fwhm_degree <= 3 for seed in range(6))
