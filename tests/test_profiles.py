"""Profiles are integrals over pixels, their widths are what they say, and a user's model is held to its contract."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.modeling import models
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from scipy.integrate import quad
from scipy.optimize import brentq

import optextract as ox
from optextract.errors import RecipeError
from optextract.geometry import terms_of
from optextract.profiles import Gaussian, Moffat, Shape, Tabulated, Voigt, from_model, make_shape, moffat_between
from optextract.simulate import make_scene

ROWS = 15
few = settings(max_examples=50)


def moffat_density(index: float):
    core = 0.5 / np.sqrt(2 ** (1 / index) - 1)
    norm = quad(lambda u: (1 + (u / core) ** 2) ** -index, -np.inf, np.inf, epsabs=1e-14)[0]
    return lambda u: (1 + (u / core) ** 2) ** -index / norm


def voigt_density(fraction: float):
    """The curve with Lorentzian part `fraction` of an approximate FWHM, scaled to a FWHM of one by root finding."""
    sigma = np.sqrt(max((1 - 0.5346 * fraction) ** 2 - 0.2166 * fraction**2, 0.0)) / 2.3548200450309493
    half = brentq(
        lambda u: special.voigt_profile(u, sigma, fraction / 2) - 0.5 * special.voigt_profile(0, sigma, fraction / 2),
        0.2,
        1,
    )
    return lambda u: 2 * half * special.voigt_profile(2 * half * u, sigma, fraction / 2)


def gaussian_density(u):
    return np.sqrt(4 * np.log(2) / np.pi) * np.exp(-4 * np.log(2) * u**2)


CASES = {
    "gaussian": (Gaussian(), gaussian_density, 1e-12),
    "moffat 1.5": (Moffat(1.5), moffat_density(1.5), 1e-9),
    "moffat 2.5": (Moffat(2.5), moffat_density(2.5), 1e-9),
    "moffat 4.7": (Moffat(4.7), moffat_density(4.7), 1e-9),
    "moffat 12": (Moffat(12.0), moffat_density(12.0), 1e-9),
    # tables: good to 1e-7 of the peak
    "moffat 2.5 by table": (Moffat(2.5).fast(), moffat_density(2.5), 2e-8),
    "moffat 1.5 by table": (Moffat(1.5).fast(), moffat_density(1.5), 2e-8),
    "moffat 3.3 between tables": (moffat_between(3.3), moffat_density(3.3), 1e-7),
    "moffat 1.5 between tables": (moffat_between(1.5), moffat_density(1.5), 1e-7),
    "voigt 0": (Voigt(0.0), gaussian_density, 1e-7),
    "voigt 0.3": (Voigt(0.3), voigt_density(0.3), 1e-6),
    "voigt 1": (Voigt(1.0), voigt_density(1.0), 1e-6),
    "model": (from_model(models.Gaussian1D(3.0, 24.2, 2.0)), gaussian_density, 1e-8),
}
cases = pytest.mark.parametrize("case", CASES)


@cases
@pytest.mark.parametrize("fwhm", [0.7, 1.1, 1.8, 4.0])
def test_pixel_holds_the_integral_over_it(case, fwhm):
    shape, density, tolerance = CASES[case]
    centre = 7.23
    found = shape.integrate(ROWS, np.array([centre]), np.array([fwhm]))[0]
    for row in range(ROWS):
        edges = (row - 0.5 - centre) / fwhm, (row + 0.5 - centre) / fwhm
        assert found[row] == pytest.approx(quad(density, *edges, epsabs=1e-13, epsrel=1e-12)[0], abs=tolerance)


@cases
def test_fwhm_is_the_full_width_at_half_maximum(case):
    shape = CASES[case][0]
    ends = shape.pdf(np.array([-0.5, 0.5]))
    np.testing.assert_allclose(ends / shape.pdf(np.zeros(1)), 0.5, rtol=1e-7)
    inside = shape.pdf(np.linspace(-0.499, 0.499, 99))
    assert (inside > ends[0]).all()


@cases
def test_density_is_the_slope_of_the_distribution(case):
    shape = CASES[case][0]
    u = np.array([-60.0, -5.3, -1.01, -0.4, 0.0, 0.2, 0.77, 3.9, 45.0])
    step = 1e-4
    slope = (shape.cdf(u + step) - shape.cdf(u - step)) / (2 * step)
    np.testing.assert_allclose(shape.pdf(u), slope, rtol=2e-5, atol=1e-8)
    cdf, pdf = shape.both(u)
    np.testing.assert_allclose(cdf, shape.cdf(u), rtol=1e-13)
    np.testing.assert_allclose(pdf, shape.pdf(u), rtol=1e-13)


@cases
def test_derivatives_are_those_of_finite_differences(case):
    shape = CASES[case][0]
    centre, fwhm = np.array([7.23, 4.9, 0.1]), np.array([1.1, 1.8, 3.0])
    profile, d_centre, d_width = shape.derivatives(ROWS, centre, fwhm)
    np.testing.assert_allclose(profile, shape.integrate(ROWS, centre, fwhm), atol=1e-14)
    step = 1e-4
    moved = (shape.integrate(ROWS, centre + step, fwhm) - shape.integrate(ROWS, centre - step, fwhm)) / (2 * step)
    wider = shape.integrate(ROWS, centre, fwhm * np.exp(step)) - shape.integrate(ROWS, centre, fwhm * np.exp(-step))
    np.testing.assert_allclose(d_centre, moved, atol=2e-6)
    np.testing.assert_allclose(d_width, wider / (2 * step), atol=2e-6)


@few
@given(
    case=st.sampled_from([name for name in CASES if name != "model"]),
    centre=st.floats(-30, 130),
    fwhm=st.floats(0.3, 30.0),
    n_cross=st.integers(1, 100),
)
def test_total_flux_is_what_lies_between_the_frames_edges(case, centre, fwhm, n_cross):
    shape = CASES[case][0]
    at, width = np.array([centre]), np.array([fwhm])
    profile = shape.integrate(n_cross, at, width)
    inside = shape.fraction(-0.5, n_cross - 0.5, at, width)
    assert profile.shape == (1, n_cross)
    assert (profile >= -1e-12).all()
    np.testing.assert_allclose(profile.sum(), inside[0], atol=1e-9)
    assert profile.sum() <= 1 + 1e-9


@few
@given(case=st.sampled_from(sorted(CASES)), centre=st.floats(45, 55), fwhm=st.floats(0.5, 4.0))
def test_two_pixels_hold_what_their_sum_holds(case, centre, fwhm):
    """A frame binned by two in cross-dispersion has the profile of half the width."""
    shape = CASES[case][0]
    fine = shape.integrate(100, np.array([centre]), np.array([fwhm]))[0]
    coarse = shape.integrate(50, np.array([(centre - 0.5) / 2]), np.array([fwhm / 2]))[0]
    np.testing.assert_allclose(fine.reshape(50, 2).sum(axis=1), coarse, atol=1e-9)


@cases
def test_columns_are_independent_however_far_the_trace_runs(case):
    """A profile is computed on the rows that it reaches; they must be those of all columns."""
    shape = CASES[case][0]
    centre, fwhm = np.array([3.2, 30.7, 61.1, 17.0]), np.array([1.1, 4.0, 1.7, 2.5])
    together = [shape.integrate(64, centre, fwhm), *shape.derivatives(64, centre, fwhm)]
    for k in range(len(centre)):
        column = slice(k, k + 1)
        alone = [
            shape.integrate(64, centre[column], fwhm[column]),
            *shape.derivatives(64, centre[column], fwhm[column]),
        ]
        for one, all_of_them in zip(alone, together, strict=True):
            np.testing.assert_allclose(all_of_them[k], one[0], rtol=0, atol=1e-12)


def test_point_sampling_is_far_off_at_nirspec_widths():
    """Why pixels are integrated over: a Gaussian of FWHM 1.1 px sampled at pixel centres is 13 % high at its peak."""
    profile = Gaussian().integrate(9, np.array([4.0]), np.array([1.1]))[0]
    sampled = gaussian_density((np.arange(9) - 4.0) / 1.1) / 1.1
    assert sampled[4] / profile[4] > 1.1


@pytest.mark.parametrize("index", [1.4999, 0.5, np.nan, np.inf])
def test_moffat_index_is_bounded(index):
    with pytest.raises(RecipeError, match=rf"'index' parameter of Moffat must be at least 1\.5\. Got {index} instead"):
        Moffat(index)


@pytest.mark.parametrize("fraction", [-0.01, 1.01])
def test_voigt_fraction_is_bounded(fraction):
    with pytest.raises(RecipeError, match=rf"'index' parameter of Voigt must be a Lorentzian .* Got {fraction}"):
        Voigt(fraction)


def test_wings_grow_as_the_moffat_index_falls():
    beyond = [1 - Moffat(index).fraction(-3.0, 3.0, 0.0, 1.0) for index in (1.5, 2.5, 4.0, 8.0)]
    assert (np.diff(beyond) < 0).all()
    # (1 + 4 (2^(1/1.5) - 1) u^2)^-1.5 beyond 3 FWHM: 1 - 3 / sqrt(9 + a^2), a^2 = 1 / (4 (2^(2/3) - 1))
    core = 0.25 / (2 ** (1 / 1.5) - 1)
    assert beyond[0] == pytest.approx(1 - 3 / np.sqrt(9 + core), rel=1e-9)


@pytest.mark.parametrize("index", [1.5, 1.8])
@pytest.mark.parametrize("make", [moffat_between, lambda index: Moffat(index).fast()], ids=["between", "table"])
def test_wings_of_a_table_go_on_beyond_it(index, make):
    """A table ends at 40 FWHM: further out it follows the power law of the profile itself, on either side."""
    u = np.array([-400.0, -60.0, -40.0, 40.0, 60.0, 400.0])
    exact, shape = Moffat(index), make(index)
    np.testing.assert_allclose(shape.cdf(u[:3]), exact.cdf(u[:3]), rtol=2e-3)
    np.testing.assert_allclose(1 - shape.cdf(u[3:]), exact.cdf(-u[3:]), rtol=2e-3, atol=1e-15)
    np.testing.assert_allclose(shape.pdf(u), exact.pdf(u), rtol=2e-3)


def test_a_table_holds_its_nodes_to_the_last_cell():
    u = np.array([-1.0, 0.0, 1.0, 2.0])
    shape = Tabulated("steps", u, np.array([0.0, 0.2, 0.9, 1.0]), np.array([0.1, 0.5, 0.3, 0.0]))
    np.testing.assert_allclose(shape.cdf(u), [0.0, 0.2, 0.9, 1.0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(shape.pdf(u), [0.1, 0.5, 0.3, 0.0], rtol=0, atol=1e-15)
    # cubic between two nodes of known slopes: (y0 + y1) / 2 + (s0 - s1) / 8
    np.testing.assert_allclose(shape.cdf(np.array([1.5])), 0.95 + 0.3 / 8, rtol=1e-14)
    np.testing.assert_array_equal(shape.pdf(np.array([-1.1, 2.1])), 0.0)
    np.testing.assert_array_equal(shape.cdf(np.array([-5.0, 5.0])), [0.0, 1.0])


@pytest.mark.parametrize(("index", "found"), [(1.6, 2.0), (2.2, 2.2), (3.0, 3.0)])
def test_a_fitted_index_is_two_or_more(index, found):
    """Flatter wings are background too: the fit does not follow them, a given index may."""
    frame = make_scene("moffat", 1, shape=(25, 200), snr=100.0, index=index).frame
    recipe = ox.Recipe(profile={"kind": "moffat", "empirical": False})
    assert ox.extract(frame, recipe).resolved.profile.index.value == pytest.approx(found, abs=0.05)
    given = ox.extract(frame, recipe.updated(profile={"index": {"value": index, "fixed": True}}))
    assert given.resolved.profile.index.value == index


# a model of the user's own ------------------------------------------------------------------------------------------


def test_astropy_gaussian_is_the_built_in_one():
    centre, fwhm = np.array([7.23]), np.array([1.3])
    for model in (models.Gaussian1D, models.Gaussian1D(3.0, 1e4, 0.7), models.Gaussian1D(1e-20, 0, 50.0)):
        shape = from_model(model)
        np.testing.assert_allclose(
            shape.integrate(ROWS, centre, fwhm), Gaussian().integrate(ROWS, centre, fwhm), atol=1e-8
        )


def test_astropy_moffat_is_the_built_in_one_up_to_its_far_wings():
    centre, fwhm = np.array([7.23]), np.array([1.3])
    built_in = Moffat(2.5)
    shape = from_model(models.Moffat1D(1.0, 12.0, 2.0, 2.5))
    inside = built_in.fraction(-20.0, 20.0, 0.0, 1.0)
    np.testing.assert_allclose(
        shape.integrate(ROWS, centre, fwhm) * inside, built_in.integrate(ROWS, centre, fwhm), atol=1e-7
    )


def test_lopsided_model_is_centred_where_its_flux_is_halved():
    shape = from_model(models.Gaussian1D(1, 0, 1) + models.Gaussian1D(0.4, 1.2, 1.5))
    assert shape.cdf(np.zeros(1))[0] == pytest.approx(0.5, abs=1e-4)
    above = np.linspace(-1.5, 1.5, 30001)
    width = np.ptp(above[shape.pdf(above) >= 0.5 * shape.pdf(above).max()])
    assert width == pytest.approx(1.0, abs=2e-3)
    assert shape.integrate(80, np.array([40.0]), np.array([2.0])).sum() == pytest.approx(1.0, abs=1e-9)


def test_lopsided_model_leans_to_the_side_that_it_was_given():
    shape = from_model(models.Gaussian1D(1, 0, 1) + models.Gaussian1D(0.4, 2.5, 1.5))
    assert shape.pdf(np.array([1.5]))[0] > 3 * shape.pdf(np.array([-1.5]))[0]
    assert 1 - shape.cdf(np.array([1.5]))[0] > 3 * shape.cdf(np.array([-1.5]))[0]


@pytest.mark.parametrize(
    ("model", "rule"),
    [
        (models.Gaussian2D(), "a callable with one input and one output"),
        (5, "a callable with one input and one output"),
        (models.Const1D(1), "positive somewhere, with one peak of finite width"),
        (models.Gaussian1D(-1, 0, 1), "positive somewhere, with one peak of finite width"),
        (models.Polynomial1D(2), "positive somewhere, with one peak of finite width"),
        (models.RickerWavelet1D(), "nowhere negative"),
        (models.Gaussian1D(1, -5, 1) + models.Gaussian1D(1, 5, 1), "a curve with one peak"),
        (models.Exponential1D(), "finite everywhere"),
        (models.Sersic1D(), "finite everywhere"),
        (lambda x: 1 / (1 + np.abs(x)), "of an integral that converges within 20 FWHM"),
    ],
    ids=["2-D", "number", "constant", "negative", "zero", "wavelet", "two peaks", "exponential", "half line", "slow"],
)
def test_model_that_breaks_the_contract_is_refused_by_clause(model, rule):
    with pytest.raises(RecipeError, match=f"The 'model' parameter of Profile must be {rule}. Got "):
        from_model(model)


def test_model_is_named_by_module_and_attribute():
    shape = make_shape("model", model="astropy.modeling.models:Gaussian1D")
    assert isinstance(shape, Shape)
    assert shape.name == "model"


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        (None, "'module:attr'. Got None"),
        ("Gaussian1D", "'module:attr'. Got 'Gaussian1D'"),
        ("no.such.module:thing", r"importable \(No module named 'no'\)"),
        ("astropy.modeling.models:Gauss", r"importable \(module 'astropy.modeling.models' has no attribute 'Gauss'\)"),
    ],
)
def test_model_that_cannot_be_imported_is_refused(name, rule):
    with pytest.raises(RecipeError, match=rf"The 'model' parameter of Profile must be {rule}"):
        make_shape("model", model=name)


def test_shapes_by_name():
    assert make_shape("gaussian").name == "gaussian"
    assert make_shape("moffat", 3.5).index == 3.5
    assert make_shape("voigt", 0.25).index == 0.25
    with pytest.raises(RecipeError, match=r"'kind' parameter of Profile must be .*Got 'box' instead"):
        make_shape("box")


@pytest.mark.parametrize("n_source", [1, 2])
def test_profiles_at_all_places_are_those_at_each(rng, n_source):
    """Within the window, across its ends, and beyond them; where trace or width stay as they are, and where not."""
    centre, fwhm = rng.uniform(-3, 20, (n_source, 50)), rng.uniform(1.5, 4.0, (n_source, 50))
    centre[:, 10:30], fwhm[:, 20:40] = centre[:, 10:11], fwhm[:, 20:21]
    centre[-1, 25] += 0.5
    nods, background = (-7.3, 4.9, 60.0), np.ones((1, 17))
    terms = terms_of(Gaussian(), centre, fwhm, nods, background, 17)
    told = [Gaussian().integrate(17, centre[k] + offset, fwhm[k]) for offset in (0.0, *nods) for k in range(n_source)]
    np.testing.assert_allclose(terms[:, :-1], np.stack(told, axis=1), atol=1e-9)
    assert (terms[:, -1] == 1.0).all()
    assert (terms[:, -1 - n_source : -1] == 0.0).all()
