"""What a recipe asks of trace, width and nod spacing: initial values, fixed ones, bounds; held, and told afterwards."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import pytest

import optextract as ox
from optextract.recipe import Nods, Parameter
from optextract.simulate import make_scene

FIELDS = [("coefficients", "degree"), ("fwhm_coefficients", "fwhm_degree")]


@lru_cache(maxsize=8)
def scene(name: str = "mid", **changes):
    return make_scene(name, 3, shape=(25, 300), **changes)


def tilted():
    """A trace that moves by 1.2 pixels from end to end, and widens by a fifth."""
    return scene(snr=30.0, centre=(11.5, 0.6), fwhm=(2.0, 0.1))


def fitted(one, field: str, **recipe) -> np.ndarray:
    return getattr(ox.extract(one.frame, ox.Recipe(**recipe)).trace, field)[0, 1:]


@pytest.mark.parametrize(("field", "degree"), FIELDS)
@pytest.mark.parametrize("value", [0.25, -0.1])
def test_a_fixed_coefficient_is_held_exactly(field, degree, value):
    one = tilted()
    for asked in ("auto", 1, 2):
        found = fitted(one, field, trace={degree: asked, field: ({"value": value, "fixed": True},)})
        assert found[0] == value


@pytest.mark.parametrize(("field", "degree"), FIELDS)
def test_a_fixed_coefficient_above_a_free_one_is_held(field, degree):
    found = fitted(tilted(), field, trace={field: ({}, {"value": 0.05, "fixed": True})})
    free = fitted(tilted(), field, trace={degree: 1})
    assert found[1] == 0.05
    assert found[0] == pytest.approx(free[0], abs=0.1)
    assert found[0] != 0.0


@pytest.mark.parametrize(("field", "degree"), FIELDS)
def test_bounds_are_kept_and_reached(field, degree):
    free = fitted(tilted(), field, trace={degree: 1})[0]
    for low, high, expected in (
        (free + 0.02, free + 0.2, free + 0.02),
        (free - 0.2, free - 0.02, free - 0.02),
        (free - 0.1, free + 0.1, free),
    ):
        found = fitted(tilted(), field, trace={degree: 1, field: ({"bounds": (low, high)},)})[0]
        assert low <= found <= high
        assert found == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(("field", "degree"), FIELDS)
@pytest.mark.parametrize("value", [0.0, 0.3, -0.2])
def test_an_initial_value_alone_changes_nothing_that_the_data_know(field, degree, value):
    free = fitted(tilted(), field, trace={degree: 1})[0]
    found = fitted(tilted(), field, trace={degree: 1, field: (value,)})[0]
    assert found == pytest.approx(free, abs=2e-3)


@pytest.mark.parametrize(("field", "degree"), FIELDS)
def test_a_degree_that_is_automatic_is_at_least_that_of_the_coefficients(field, degree):
    one = scene()
    assert len(fitted(one, field)) < 2
    assert len(fitted(one, field, trace={field: (0.0, 0.0)})) == 2
    frame = scene("curved", centre=(12.0, 4.0, 3.0)).frame
    found = ox.extract(frame, ox.Recipe(trace={"coefficients": (0.0,)}))
    assert found.trace.degree >= 2


KERNEL = {"disp": (220, 260)}


def rows(one, *items, number=1, degree=1) -> np.ndarray:
    """Rows of the sources in the middle of a kernel slice that is far from that of the frame."""
    recipe = ox.Recipe(kernel=KERNEL, sources={"number": number, "items": items}, trace={"degree": degree})
    return ox.extract(one.frame, recipe).centre[:, 240]


def test_a_source_is_held_at_its_row_where_the_kernel_is_however_the_trace_runs():
    """The row of a source is that at the kernel's centre column, not the mean of a tilted trace."""
    true = rows(tilted())[0]
    assert rows(tilted(), {"centre": {"value": true + 0.3, "fixed": True}})[0] == pytest.approx(true + 0.3, abs=1e-3)
    for low, high in ((true + 0.2, true + 1.0), (true - 1.0, true - 0.2)):
        found = rows(tilted(), {"centre": {"bounds": (low, high)}})[0]
        assert low - 1e-9 <= found <= high + 1e-9
        assert abs(found - true) == pytest.approx(0.2, abs=1e-6)


def test_further_sources_are_held_and_bounded_too():
    one = make_scene("blend", 3, shape=(25, 300), centre=(11.0, 0.5))
    free = rows(one, number=2)
    first = {"centre": {"value": free[0]}}
    held = rows(one, first, {"centre": {"value": free[1] + 0.3, "fixed": True}}, number=2)
    assert held[1] == pytest.approx(free[1] + 0.3, abs=1e-3)
    bounds = (free[1] + 0.2, free[1] + 1.0)
    bounded = rows(one, first, {"centre": {"value": free[1] + 0.5, "bounds": bounds}}, number=2)
    assert bounded[1] == pytest.approx(bounds[0], abs=1e-6)
    both = [{"centre": {"value": row - 0.1, "fixed": True}} for row in free]
    assert rows(one, *both, number=2) == pytest.approx(free - 0.1, abs=2e-3)


def test_a_width_that_is_fixed_follows_its_coefficients_about_the_kernel():
    one = tilted()
    recipe = ox.Recipe(
        profile={"fwhm": {"value": 2.2, "fixed": True}},
        trace={"fwhm_coefficients": (0.15,)},
        kernel={"disp": (200, 240)},
    )
    result = ox.extract(one.frame, recipe)
    assert result.fwhm[0, 220] == pytest.approx(2.2, rel=1e-9)
    assert np.log(result.fwhm[0, -1] / result.fwhm[0, 0]) == pytest.approx(0.3)
    assert ox.extract(one.frame, recipe.updated(trace={"fwhm_coefficients": ()})).trace.fwhm_degree == 0


def test_a_trace_of_a_source_too_faint_to_show_one_is_what_is_asked_for():
    one = make_scene("faint", 1, snr=0.1, shape=(25, 300))
    result = ox.extract(one.frame, ox.Recipe(trace={"coefficients": ({"value": 0.7, "fixed": True},)}))
    assert not result.trace.from_data
    assert result.trace.coefficients[0, 1] == 0.7


def test_the_resolved_recipe_has_what_was_fitted_with_what_was_asked():
    recipe = ox.Recipe(
        trace={
            "degree": 2,
            "coefficients": ({"bounds": (0.3, 0.9)}, {"value": 0.02, "fixed": True}),
            "fwhm_coefficients": (0.05,),
        }
    )
    result = ox.extract(tilted().frame, recipe)
    chosen = result.resolved.trace
    assert [each.value for each in chosen.coefficients] == list(result.trace.coefficients[0, 1:])
    assert [each.value for each in chosen.fwhm_coefficients] == list(result.trace.fwhm_coefficients[0, 1:])
    assert chosen.coefficients[0].bounds == (0.3, 0.9)
    assert chosen.coefficients[1] == Parameter(value=0.02, fixed=True)
    again = ox.extract(tilted().frame, result.resolved)
    assert np.nanmax(np.abs(again.flux - result.flux) / result.uncertainty) < 0.05


def test_two_sources_of_their_own_width_share_the_coefficients():
    one = make_scene("blend", 3, shape=(25, 300))
    recipe = ox.Recipe(
        sources={"number": 2, "shape": "separate"},
        trace={"fwhm_degree": 1, "fwhm_coefficients": ({"value": 0.1, "fixed": True},)},
    )
    found = ox.extract(one.frame, recipe).trace.fwhm_coefficients
    assert found.shape == (2, 2)
    assert (found[:, 1] == 0.1).all()


# nods ----------------------------------------------------------------------------------------------------------------


def spaced(**nods) -> ox.Extraction:
    frame = make_scene("nods", 3, shape=(41, 300), centre=20.0, snr=20.0).frame
    return ox.extract(frame, ox.Recipe(nods={"mode": "model", **nods}))


def test_the_spacing_of_the_nods_is_fitted_and_told():
    result = spaced()
    found = result.resolved.nods
    assert found.offsets == (-5.0, 5.0, -10.0, 10.0)
    assert found.spacing.value == pytest.approx(1.0, abs=0.02)
    assert found.spacing.value != 1.0
    assert not found.spacing.fixed
    assert found.places == pytest.approx(result.quality["nods"]["offsets"])


def test_a_fixed_spacing_is_held_and_bounds_are_kept():
    held = spaced(spacing={"value": 1.04, "fixed": True})
    assert held.resolved.nods.spacing == Parameter(value=1.04, fixed=True)
    assert held.quality["nods"]["offsets"] == pytest.approx((-5.2, 5.2, -10.4, 10.4))
    bounded = spaced(spacing={"bounds": (1.02, 1.3)})
    assert bounded.resolved.nods.spacing.value == pytest.approx(1.02, abs=1e-6)


def test_offsets_that_are_given_are_held_unless_their_spacing_is_asked_for():
    offsets = (-4.8, 4.8, -9.6, 9.6)
    held = spaced(offsets=offsets)
    assert held.resolved.nods.spacing == Parameter(value=1.0, fixed=True)
    assert held.quality["nods"]["offsets"] == offsets
    fitted_too = spaced(offsets=offsets, spacing=1.0)
    assert fitted_too.resolved.nods.spacing.value == pytest.approx(5.0 / 4.8, abs=0.02)


# refused -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            {"trace": {"degree": 1, "coefficients": (0.1, 0.2)}},
            "the 'trace.coefficients' parameter must have no more members than trace.degree allows, 1. Got",
        ),
        (
            {"trace": {"fwhm_degree": 0, "fwhm_coefficients": (0.1,)}},
            "the 'trace.fwhm_coefficients' parameter must have no more members than trace.fwhm_degree allows, 0. Got",
        ),
        ({"trace": {"coefficients": (0.1,) * 21}}, "the 'trace.coefficients' parameter must have at most 20 items"),
        ({"trace": {"coefficients": ({"fixed": True},)}}, "'trace.coefficients.0' parameter must have a value where"),
        ({"trace": {"coefficients": 0.1}}, "the 'trace.coefficients' parameter must be a valid tuple. Got 0.1"),
        (
            {"trace": {"given": (1.0, 2.0), "coefficients": (0.1,)}},
            "the 'trace' parameter must have no coefficients where a trace is given. Got",
        ),
        ({"nods": {"spacing": 0.0}}, "the 'nods.spacing' parameter must be greater than 0. Got 0.0"),
        ({"nods": {"spacing": {"bounds": (-1, 1)}}}, "the 'nods.spacing' parameter must be greater than 0. Got"),
    ],
)
def test_what_cannot_be_is_refused(recipe, message):
    with pytest.raises(ox.RecipeError, match=re.escape(message)):
        ox.Recipe(**recipe)


def test_a_trip_through_yaml_changes_nothing():
    recipe = ox.Recipe(
        trace={"coefficients": (0.1, {"value": 0.2, "bounds": (0, 1)}), "fwhm_coefficients": ({},)},
        nods={"spacing": {"bounds": (0.9, 1.1)}},
    )
    assert ox.Recipe.from_yaml(recipe.to_yaml()) == recipe
    assert Nods(offsets=(-5.0, 5.0), spacing=Parameter(value=1.1)).places == pytest.approx((-5.5, 5.5))


def test_a_value_beyond_the_bounds_is_brought_to_the_nearer_limit():
    bounded = Parameter(bounds=(1.0, 2.0))
    assert [bounded.within(value) for value in (0.5, 1.5, 7.0)] == [1.0, 1.5, 2.0]
    assert Parameter().within(7) == 7.0
