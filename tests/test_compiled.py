"""The compiled loops against what they stand for, written with numpy; and that none of them is compiled twice."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
from numba import types
from numpy.polynomial.legendre import legvander

import optextract as ox
from optextract import compiled
from optextract.compiled.descent import (
    AT,
    FREE,
    HELD,
    HIGHEST,
    LEAST,
    LOWEST,
    MEAN,
    MOST,
    N_RULE,
    WEIGHT,
    add_priors,
    keep_within,
    lay_out,
)
from optextract.compiled.fit import damped_step, dropped, place
from optextract.compiled.hits import count_hits
from optextract.compiled.order import median_all, middle_of_rows
from optextract.compiled.outliers import leave_one_out
from optextract.compiled.search import try_alone
from optextract.compiled.sums import aperture
from optextract.profiles import Gaussian
from optextract.robust import median, robust_rms
from optextract.simulate import make_scene
from optextract.solve import solve_columns


def columns(rng, n_disp=60, n_cross=13, n_source=1):
    """Data with outliers, weights with holes, and profiles."""
    centre = 4.0 + 2.3 * np.arange(n_source)
    fwhm = rng.uniform(1.1, 2.5, n_disp)
    terms = np.stack([Gaussian().integrate(n_cross, np.full(n_disp, c), fwhm) for c in centre], axis=1)
    weight = rng.uniform(0.2, 3.0, (n_disp, n_cross)) * (rng.random((n_disp, n_cross)) > 0.1)
    data = rng.normal(size=(n_disp, n_cross)) + 20 * terms[:, 0]
    data[rng.random(data.shape) < 0.05] += 30.0
    return data, weight, terms


def by_refits(data, weight, terms, threshold, floor, noise):
    """Outliers of one column by brute force: fit without each pixel in turn, take the worst, begin again."""
    left, out = weight.copy(), np.zeros(len(data), dtype=bool)
    while True:
        whole = solve_columns(data[None], left[None], terms[None])
        best, hit = 0.0, None
        for y in np.flatnonzero(left > 0):
            without = left.copy()
            without[y] = 0.0
            other = solve_columns(data[None], without[None], terms[None])
            if not np.isfinite(other.covariance).all():
                continue
            drop = float(whole.chi2[0] - other.chi2[0])
            flux = other.coefficients[0]
            residual = data[y] - flux @ terms[:, y]
            variance = noise**2 * (1 / left[y] + terms[:, y] @ other.covariance[0] @ terms[:, y])
            light = float((np.maximum(flux, 0.0) * terms[:, y]).sum())
            if drop > best:
                best, hit = drop, (y, abs(residual) / np.sqrt(variance + (floor * light) ** 2))
        if hit is None or hit[1] <= threshold:
            return out
        out[hit[0]] = True
        left[hit[0]] = 0.0


@pytest.mark.parametrize("n_source", [1, 2])
@pytest.mark.parametrize("floor", [0.0, 0.02])
def test_outliers_are_those_that_fits_without_each_pixel_find(rng, n_source, floor):
    data, weight, terms = columns(rng, n_source=n_source)
    pixels = np.empty(data.shape, dtype=bool)
    plain = solve_columns(data, weight, terms)
    coefficients, covariance = plain.coefficients, plain.covariance
    tolerance = floor * terms[:, :n_source]
    leave_one_out(data, weight, terms, coefficients, covariance, n_source, 5.0, tolerance, 1.3, 12, pixels)
    told = np.array([by_refits(*each, 5.0, floor, 1.3) for each in zip(data, weight, terms, strict=True)])
    assert told.sum() > 20
    # the leverage is capped where a pixel alone carries the flux; there the loop and the refits need not agree
    differ = (pixels != told).any(axis=1)
    assert differ.mean() < 0.05


@pytest.mark.parametrize("n_source", [1, 2])
def test_hits_on_a_source_are_counted(rng, n_source):
    _, _, terms = columns(rng, n_source=2)
    pixels = rng.random((60, 13)) < 0.2
    near, inside = np.empty((2, 60), dtype=np.intp)
    count_hits(terms, n_source, pixels, 0.003, 0.05, near, inside)
    light = np.abs(terms[:, :n_source]).max(axis=1)
    np.testing.assert_array_equal(near, (pixels & (light > 0.003)).sum(axis=1))
    np.testing.assert_array_equal(inside, (pixels & (light > 0.05)).sum(axis=1))


@pytest.mark.parametrize("n", [1, 2, 3, 24, 25, 26, 63, 64, 65, 66, 400, 1001, 10_000])
@pytest.mark.parametrize("kind", ["random", "sorted", "falling", "equal", "few", "two", "even", "misleading"])
def test_medians(rng, n, kind):
    values = rng.normal(size=n)
    values = {
        "random": values,
        "sorted": np.sort(values),
        "falling": np.sort(values)[::-1].copy(),
        "equal": np.full(n, 2.5),
        "few": np.round(values),
        "even": np.minimum(np.arange(n), n - np.arange(n)).astype(float),
        "misleading": values + 10.0 * (np.arange(n) % max(n // 64, 2) == 0),  # every one that is looked at first
        "two": np.where(np.arange(n) % 2 == 0, -1.0, np.inf if n % 2 else 3.0),
    }[kind]
    before = values.copy()
    assert median(values) == np.median(values)
    assert robust_rms(values) == 1.4826 * np.median(np.abs(values))
    np.testing.assert_array_equal(values, before)
    for n_cross in (1, 7):
        out, inverse = np.empty((2, 1, n_cross))
        median_all(np.tile(values[:, None], n_cross), np.ones((n, n_cross)), np.array([0, n]), out, inverse)
        assert (out == np.median(values)).all()
    middle = np.empty(2)
    middle_of_rows(np.tile(values, (2, 1)), np.ones((2, n), dtype=bool), 1, middle)
    assert (middle == np.sort(values)[(n - 1) // 2]).all()


def test_medians_of_bins_and_lines(rng):
    data = rng.normal(size=(250, 7))
    weight = rng.uniform(0.5, 2.0, data.shape) * (rng.random(data.shape) > 0.4)
    weight[:10, 3] = weight[50:, 4] = 0.0
    edges = np.array([0, 10, 11, 13, 50, 250])
    n_bin = len(edges) - 1
    out, inverse = np.empty((2, n_bin, 7))
    median_all(data, weight, edges, out, inverse)
    for b in range(n_bin):
        for y in range(7):
            use = weight[edges[b] : edges[b + 1], y] > 0
            values = data[edges[b] : edges[b + 1], y][use]
            n = len(values)
            assert out[b, y] == (np.median(values) if n else 0.0)
            mean_variance = np.mean(1 / weight[edges[b] : edges[b + 1], y][use]) if n else np.inf
            assert inverse[b, y] == pytest.approx(n / mean_variance * (2 / np.pi if n > 2 else 1.0))
    for values, use in ((data, weight > 0), (data.T.copy(), weight.T > 0)):
        middle = np.empty(len(values))
        middle_of_rows(values, np.ascontiguousarray(use), 4, middle)
        for line, good, found in zip(values, use, middle, strict=True):
            assert found == (np.sort(line[good])[(good.sum() - 1) // 2] if good.sum() >= 4 else 0.0)


@pytest.mark.parametrize("degree", [-1, 0, 1])
def test_profiles_tried_alone_are_those_of_a_fit_to_each(rng, degree):
    data, weight = rng.normal(size=(1, 25)) + 3.0, rng.uniform(0.5, 2.0, (1, 25)) * (rng.random((1, 25)) > 0.1)
    centre = np.append(rng.uniform(3.0, 21.0, 9), -40.0)
    profiles = Gaussian().integrate(25, centre, np.full(10, 1.8))[:, None]
    data += 20.0 * profiles[4]
    background = legvander(np.linspace(-1, 1, 25), 1).T[: degree + 1].copy()
    chi2, flux = np.empty((2, 10))
    try_alone(data, weight, profiles, background, chi2, flux)
    terms = np.concatenate([profiles, np.broadcast_to(background, (10, *background.shape))], axis=1)
    solution = solve_columns(np.repeat(data, 10, axis=0), np.repeat(weight, 10, axis=0), terms)
    np.testing.assert_allclose(flux, solution.coefficients[:, 0], rtol=1e-7)
    np.testing.assert_allclose(chi2, solution.chi2)
    assert flux[-1] == 0.0


def test_parameters_are_laid_out_one_after_the_other():
    """Two coefficients of the centre, three of each of two widths, an offset."""
    column = np.linspace(0.0, 50.0, 7)
    basis, field_of = np.empty((9, 7)), np.empty(9, dtype=np.intp)
    lay_out(column, 0.0, 100.0, (2, 3, 2, 2, 0, 0), basis, field_of)
    widths = legvander(column / 50.0 - 1.0, 2)
    np.testing.assert_allclose(basis.T, np.hstack([widths[:, :2], widths, widths, np.ones((7, 1))]), atol=1e-14)
    np.testing.assert_array_equal(field_of, [0, 0, 1, 1, 1, 2, 2, 2, 3])


def test_profiles_are_placed_by_their_coefficients(rng):
    """Two sources of widths of their own, each with a negative twin."""
    x = np.linspace(-1, 1, 7)
    centre_basis, width_basis = (legvander(x, degree) for degree in (2, 1))
    basis = np.ascontiguousarray(np.hstack([centre_basis, width_basis, width_basis, np.ones((7, 1))]).T)
    given = 0.1 * x
    vector = np.array([10.0, 0.5, -0.2, 0.7, 0.1, 0.9, -0.1, 4.0])  # centre; two widths; offset of the second source
    centre, fwhm = np.empty((2, 4, 7))
    place(vector, (3, 2, 2, 2, 0, 0), basis, given, np.array([0.0, -6.0]), 1.1, centre, fwhm)
    first = centre_basis @ vector[:3] + given
    np.testing.assert_allclose(centre, [first, first + 4.0, first - 6.6, first + 4.0 - 6.6], rtol=1e-14)
    widths = np.exp([width_basis @ vector[3:5], width_basis @ vector[5:7]])
    np.testing.assert_allclose(fwhm, widths[[0, 1, 0, 1]], rtol=1e-14)
    spaced, basis = np.append(vector, 1.1), np.ascontiguousarray(np.vstack([basis, np.ones((1, 7))]))
    again = np.empty((4, 7))
    place(spaced, (3, 2, 2, 2, 1, 0), basis, given, np.array([0.0, -6.0]), 1.0, again, fwhm)
    np.testing.assert_array_equal(again, centre)


def test_priors_are_those_of_single_parameters(rng):
    vector, slots = rng.normal(size=4), np.array([0, 2])
    mean, sigma = np.array([0.3, -1.0]), np.array([0.5, 2.0])
    rules, gradient, hessian = np.zeros((4, N_RULE)), np.zeros(4), np.zeros((4, 4))
    rules[slots, MEAN], rules[slots, WEIGHT] = mean, sigma**-2
    chi2 = add_priors(vector, (2, 1, 1, 2, 0, 0), rules, np.empty((0, AT + 2)), gradient, hessian)
    off = (vector[slots] - mean) / sigma
    assert chi2 == pytest.approx((off**2).sum())
    np.testing.assert_allclose(gradient[slots], -off / sigma)
    np.testing.assert_allclose(np.diag(hessian), [sigma[0] ** -2, 0.0, sigma[1] ** -2, 0.0])


def test_a_held_row_is_a_narrow_prior_of_a_sum_of_parameters(rng):
    """The row of the second source, at a column where the centre's polynomials are 1 and -0.5."""
    vector = np.array([10.0, 2.0, 0.7, 3.0])  # centre and slope, log FWHM, offset
    rows = np.array([[1.0, -np.inf, np.inf, 12.5, 0.4, 1.0, -0.5]])
    gradient, hessian = np.zeros(4), np.zeros((4, 4))
    chi2 = add_priors(vector, (2, 1, 1, 2, 0, 0), np.zeros((4, N_RULE)), rows, gradient, hessian)
    weights, off = np.array([1.0, -0.5, 0.0, 1.0]), 0.4 + 10.0 - 1.0 + 3.0 - 12.5
    assert chi2 == pytest.approx((off / 1e-4) ** 2)
    np.testing.assert_allclose(gradient, -weights * off / 1e-8)
    np.testing.assert_allclose(hessian, np.outer(weights, weights) / 1e-8)


def test_what_leaves_its_limits_is_brought_back():
    """The variation of a width shrinks until its extremes are within their range, but for what is held."""
    sizes, rules = (2, 3, 1, 1, 0, 0), np.zeros((5, N_RULE))
    rules[:, [LOWEST, LEAST]], rules[:, [HIGHEST, MOST]] = -np.inf, np.inf
    rules[0, [LOWEST, HIGHEST]], rules[2, [LOWEST, HIGHEST]] = (0.0, 5.0), (-1.0, 1.0)
    rows = np.empty((0, AT + 2))
    vector = np.array([7.0, 1.0, 1.5, 2.0, 1.0])  # centre, slope; log FWHM of degree 2
    keep_within(vector, sizes, rules, rows, -2.0, 2.0)
    np.testing.assert_allclose(vector, [5.0, 1.0, 1.0, 2.0 / 3, 1.0 / 3])
    rules[3, HELD] = 1.0
    vector = np.array([7.0, 1.0, 0.0, 0.5, 3.0])
    keep_within(vector, sizes, rules, rows, -2.0, 2.0)
    np.testing.assert_allclose(vector, [5.0, 1.0, 0.0, 0.5, 1.5])


@pytest.mark.parametrize(
    ("offsets", "told"),
    [
        ([0.1, 5.0], [0.3, 5.0]),  # 0.15 of a FWHM of 2 pixels
        ([-0.1, 5.0], [-0.3, 5.0]),
        ([4.9, 5.0], [4.9, 5.2]),
        ([4.9, 4.8], [4.9, 4.6]),
        ([1.0, 5.0], [1.0, 5.0]),
    ],
)
def test_sources_do_not_run_into_each_other(offsets, told):
    sizes, rules = (1, 1, 1, 3, 0, 0), np.zeros((4, N_RULE))
    rules[:, [LOWEST, LEAST]], rules[:, [HIGHEST, MOST]], rules[:, FREE] = -np.inf, np.inf, 1.0
    vector = np.array([7.0, np.log(2.0), *offsets])
    keep_within(vector, sizes, rules, np.empty((0, AT + 1)), -2.0, 2.0)
    np.testing.assert_allclose(vector[2:], told)
    # where somebody has put them they stay
    rules[2:, FREE] = 0.0
    vector = np.array([7.0, np.log(2.0), *offsets])
    keep_within(vector, sizes, rules, np.empty((0, AT + 1)), -2.0, 2.0)
    np.testing.assert_array_equal(vector[2:], offsets)


def test_what_is_asked_of_coefficients_and_rows_comes_last():
    """A bound on the slope, and one on the row of the first source where the slope counts as 0.5."""
    sizes, rules = (2, 1, 1, 1, 0, 0), np.zeros((3, N_RULE))
    rules[:, [LOWEST, LEAST]], rules[:, [HIGHEST, MOST]] = -np.inf, np.inf
    rules[1, MOST] = 0.8
    vector = np.array([7.0, 1.0, 0.0])
    keep_within(vector, sizes, rules, np.array([[0.0, 0.0, 6.5, np.nan, 0.0, 1.0, 0.5]]), -2.0, 2.0)
    np.testing.assert_allclose(vector, [6.1, 0.8, 0.0])


def test_damped_step_solves_for_what_moves(rng):
    root = rng.normal(size=(6, 6))
    hessian, gradient = root @ root.T, rng.normal(size=6)
    moving = np.array([True, False, True, True, False, True])
    step = np.empty(6)
    promise = damped_step(hessian, gradient, moving, 0.3, step)
    part = hessian[np.ix_(moving, moving)]
    expected = np.linalg.solve(part + 0.3 * np.diag(np.diag(part)), gradient[moving])
    np.testing.assert_allclose(step[moving], expected, rtol=1e-8)
    assert (step[~moving] == 0.0).all()
    assert promise == pytest.approx(float(step @ gradient))
    covariance = np.linalg.inv(hessian)
    cost = gradient[moving] @ np.linalg.solve(covariance[np.ix_(moving, moving)], gradient[moving])
    assert dropped(covariance, gradient, moving) == pytest.approx(float(cost))


def test_aperture_takes_parts_of_pixels():
    image = np.arange(1.0, 7.0)[None, :]
    total, count = np.empty((2, 1))
    partial = np.empty(1, dtype=bool)
    good = np.ones((1, 6), dtype=bool)
    aperture(image, good, np.array([0.25]), np.array([3.0]), 1, total, count, partial)
    assert total[0] == pytest.approx(0.25 * 1 + 2 + 3 + 0.5 * 4)
    assert count[0] == pytest.approx(2.75)
    assert not partial[0]
    aperture(image, good, np.array([0.25]), np.array([3.0]), 2, total, count, partial)
    assert total[0] == pytest.approx(0.25**2 * 1 + 2 + 3 + 0.25 * 4)
    good[0, 2] = False
    aperture(image, good, np.array([0.25]), np.array([3.0]), 1, total, count, partial)
    assert partial[0]
    assert count[0] == pytest.approx(1.75)


def loops():
    """Every compiled loop of the package by its name."""
    found = {}
    for info in pkgutil.iter_modules(compiled.__path__):
        module = importlib.import_module(f"optextract.compiled.{info.name}")
        for name in getattr(module, "__all__", ()):
            loop = getattr(module, name)
            if hasattr(loop, "signatures"):
                found[f"{info.name}.{name}"] = loop
    return found


def test_warming_goes_through_every_loop():
    """In a process of its own, where no other test has been before."""
    code = """
import importlib, pkgutil
from optextract import compiled
from optextract.warm import warm
warm()
for info in pkgutil.iter_modules(compiled.__path__):
    module = importlib.import_module(f"optextract.compiled.{info.name}")
    for name in getattr(module, "__all__", ()):
        if getattr(getattr(module, name), "signatures", True) == []:
            print(name)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # what only other loops call is compiled into them
    inner = {
        "add_priors",
        "backward",
        "damped_step",
        "dropped",
        "factor",
        "fill_bins",
        "fluxes_of",
        "forward",
        "invert",
        "middle_of_first",
        "middle_two",
        "normal",
        "project",
        "ranked",
        "root_middle",
        "square_inverse",
        "between",
        "reached",
        "sums_of_background",
    }
    assert set(ran.stdout.split()) <= inner


def is_literal(kind):
    """Whether an argument's type is that of one value."""
    return isinstance(kind, types.Literal)


def test_each_loop_is_compiled_for_one_layout_only():
    """Another layout or type would be compiled anew, for seconds, in the middle of somebody's work."""
    recipes = [
        {},
        {"profile": {"kind": "moffat"}},
        {"sources": {"number": 2}},
        {"background": {"degree": 1, "along": "column"}},
        {"nods": {"mode": "model", "offsets": (-5.0, 5.0)}},
        {"sources": {"find": "lines"}, "kernel": {"combine": "mean"}},
        {"profile": {"fwhm": {"value": 1.4, "fixed": True}}, "trace": {"degree": 2}},
        {"trace": {"coefficients": ({"value": 0.1, "fixed": True},)}, "background": {"degree": "none"}},
    ]
    for name in ("cosmic", "nods", "poisson20"):
        frame = make_scene(name, 1).frame
        for fields in recipes:
            ox.extract(frame, ox.Recipe(**fields))
    ox.boxcar(frame, 9.5, 14.5)
    ran = {name: loop.signatures for name, loop in loops().items() if loop.signatures}
    assert len(ran) > 15
    # a count that begins with zero is typed as that zero first, by the process that compiles a loop: inside it only
    ran = {name: [one for one in found if not any(map(is_literal, one))] for name, found in ran.items()}
    twice = {name: signatures for name, signatures in ran.items() if len(signatures) > 1}
    assert not twice


def test_whether_the_loops_are_compiled_is_told(tmp_path):
    """The app compiles them before the first touch of a control only where no earlier process did."""
    code = """
from optextract import warm
print(warm.is_warm())
"""
    told = []
    for _ in range(2):
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        told.append((ran.stdout.strip(), "Compiling loops that are not on disk yet" in ran.stderr))
    assert told == [("False", True), ("True", False)]


def test_functions_of_nobody_can_be_compiled_beside_ours():
    """Made by ``exec`` they have no module; whoever hears of every compilation must bear that."""
    import numba

    made: dict = {}
    exec("def one_more(x): return x + 1", made)
    del made["__builtins__"]
    assert made["one_more"].__module__ is None or made["one_more"].__module__ == "builtins"
    assert numba.njit(made["one_more"])(1) == 2
