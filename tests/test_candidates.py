"""Profiles side by side on the kernel slice; the slice's model and its parts."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.candidates import compare_profiles, slice_model
from optextract.geometry import terms_of
from optextract.kernel import coadd, cross_basis
from optextract.profiles import Gaussian, Moffat
from optextract.simulate import make_scene


@pytest.mark.parametrize(("shape", "best"), [(Gaussian(), "gaussian"), (Moffat(2.0), "moffat")])
def test_profiles_are_ranked_by_their_evidence(columns, problem, shape, best):
    cut = coadd(*columns(2000, shape=shape, fluxes=(200.0,)), (0, 1999), "mean")
    candidates = compare_profiles(cut, (11.7,), 1.8, problem())
    assert candidates[0].kind == best
    assert [c.bic for c in candidates] == sorted(c.bic for c in candidates)
    assert {c.kind for c in candidates} == {"gaussian", "moffat", "voigt"}
    gaussian = next(c for c in candidates if c.kind == "gaussian")
    moffat = next(c for c in candidates if c.kind == "moffat")
    assert moffat.n_parameters == gaussian.n_parameters + 1
    if best == "moffat":
        assert moffat.chi2 < gaussian.chi2 - 100
    assert gaussian.curve.shape == (25,)
    if best == "gaussian":
        np.testing.assert_allclose(gaussian.curve, cut.binned.data[0], atol=6 / np.sqrt(2000))


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


def test_candidates_are_made_when_first_asked_for():
    result = ox.extract(make_scene("mid", 1, shape=(25, 200)).frame)
    assert "candidates" not in vars(result.kernel)
    first = result.kernel.candidates
    assert first is result.kernel.candidates
    assert len(first) == 3


def test_profile_of_another_kind_is_compared_too(columns, problem):
    """A chosen profile that is none of the built-in ones stands among them, as it is."""

    class Wide(Gaussian):
        name = "wide"

    cut = coadd(*columns(), (0, 399), "mean")
    candidates = compare_profiles(cut, (11.7,), 1.8, problem(), chosen=Wide())
    found = {c.kind: c for c in candidates}
    assert set(found) == {"gaussian", "moffat", "voigt", "wide"}
    assert found["wide"].chi2 == pytest.approx(found["gaussian"].chi2, rel=1e-9)
    assert len(compare_profiles(cut, (11.7,), 1.8, problem(), chosen=Gaussian())) == 3


def test_bic_is_chi2_and_the_price_of_each_parameter(columns, problem):
    data, weight = columns()
    weight[:, 3] = 0.0
    for one in compare_profiles(coadd(data, weight, (0, 399), "mean"), (11.7,), 1.8, problem()):
        assert one.bic == pytest.approx(one.chi2 + one.n_parameters * np.log(24), rel=1e-12)
        # place and width (an index), flux, two terms of background
        assert one.n_parameters == (5 if one.kind == "gaussian" else 6)


def test_model_of_a_slice_is_the_sum_of_its_parts(columns):
    places = np.array([[9.0], [14.0]])
    cut = coadd(*columns(places=(9.0, 14.0), fluxes=(50.0, 30.0)), (0, 399), "mean")
    terms = terms_of(Gaussian(), places, np.full((2, 1), 1.8), (), cross_basis(25, 1), 25)
    model, background, components = slice_model(cut, terms, 2, 2)
    np.testing.assert_allclose(model, background + components.sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(components.sum(axis=1), (50.0, 30.0), atol=5 * 1.3 / np.sqrt(400))
    np.testing.assert_allclose(background, 3.0, atol=5 / np.sqrt(400))
    alone = slice_model(cut, terms[:, :2], 2, 0)
    np.testing.assert_array_equal(alone[1], 0.0)
