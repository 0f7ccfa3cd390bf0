"""Each fitted parameter in the form: what was found, initial value, limits, fixed; typed one after the other."""

from __future__ import annotations

from typing import Any

import pytest

from optextract.panel import fields
from optextract.panel.state import Settings
from optextract.recipe import Parameter, Recipe


def shown(panel: Any, step: str, name: str) -> dict[str, Any]:
    entry = next(entry for entry in panel.steps if entry["key"] == step)
    return next(field for field in (*entry["fields"], *entry["more"]) if field["name"] == name)


def type_in(panel: Any, step: str, name: str, **parts: Any) -> None:
    """Change parts of a parameter, one after the other, as a person does."""
    for part, value in parts.items():
        panel.vue_set_field({"name": name, "value": {**shown(panel, step, name)["value"], part: value}})


def type_row(panel: Any, name: str, number: int, **parts: Any) -> None:
    """Change parts of one line of a table of parameters, one after the other."""
    for part, value in parts.items():
        rows = [dict(row) for row in shown(panel, "trace", name)["value"]]
        rows[number][part] = value
        panel.vue_set_field({"name": name, "value": rows})


def test_every_parameter_shows_what_was_fitted(panel: Any) -> None:
    panel.open_step = "kernel"
    fwhm = panel._result.resolved.profile.fwhm.value
    assert float(shown(panel, "kernel", "profile.fwhm")["value"]["found"]) == pytest.approx(fwhm, rel=1e-3)
    panel.set("trace.degree", 2)
    panel.open_step = "trace"
    rows = shown(panel, "trace", "trace.coefficients")["value"]
    assert [row["name"] for row in rows] == ["1", "2"]
    found = panel._result.trace.coefficients[0, 1:]
    assert [float(row["found"]) for row in rows] == pytest.approx(found, rel=5e-3)
    assert [row["value"] for row in rows] == ["", ""]


def test_a_coefficient_is_given_held_and_bounded_in_the_table(plg: Any) -> None:
    panel = plg._obj
    panel.open_step = "trace"
    plg.set("trace.degree", "2")
    type_row(panel, "trace.coefficients", 0, value="0.25", fixed=True)
    assert plg.recipe.trace.coefficients == (Parameter(value=0.25, fixed=True),)
    assert panel._result.trace.coefficients[0, 1] == 0.25
    type_row(panel, "trace.coefficients", 1, lower="0.3", upper="0.6")
    assert plg.recipe.trace.coefficients[1] == Parameter(bounds=(0.3, 0.6))
    assert 0.3 <= panel._result.trace.coefficients[0, 2] <= 0.6
    assert panel.err_msg == ""
    type_row(panel, "trace.coefficients", 1, lower="", upper="")
    type_row(panel, "trace.coefficients", 0, fixed=False, value="")
    assert plg.recipe.trace.coefficients == ()


def test_a_degree_below_the_coefficients_says_what_to_do(plg: Any) -> None:
    panel = plg._obj
    panel.open_step = "trace"
    plg.set("trace.coefficients", (0.1, 0.0))
    panel.vue_set_field({"name": "trace.degree", "value": "1"})
    assert "'trace.coefficients' parameter must have no more members than trace.degree allows, 1" in panel.err_msg
    assert plg.recipe.trace.degree == "auto"


@pytest.mark.parametrize(("step", "name"), [("kernel", "profile.fwhm"), ("background", "nods.spacing")])
def test_limits_are_typed_one_after_the_other(plg: Any, step: str, name: str) -> None:
    """The first of two limits alone is no pair: it stays where it was typed until the second comes."""
    panel = plg._obj
    panel.open_step = step
    panel.vue_set_field({"name": name, "value": {**shown(panel, step, name)["value"], "lower": "0.9"}})
    field = shown(panel, step, name)
    assert field["value"]["lower"] == "0.9"
    assert "upper limit" in field["error"]
    type_in(panel, step, name, upper="1.6")
    assert fields.get(plg.recipe, name).bounds == (0.9, 1.6)
    assert panel.err_msg == ""
    assert shown(panel, step, name)["error"] == ""


def test_limits_of_a_source_are_typed_one_after_the_other(plg: Any) -> None:
    panel = plg._obj
    panel.open_step = "kernel"
    row = float(panel.source_rows[0]["found"])
    panel.vue_set_source({"number": 0, "value": {**panel.source_rows[0], "lower": f"{row - 1:.2f}"}})
    assert panel.source_rows[0]["lower"] == f"{row - 1:.2f}"
    assert "upper limit" in panel.source_rows[0]["error"]
    assert next(step for step in panel.steps if step["key"] == "kernel")["wrong"]
    panel.vue_set_source({"number": 0, "value": {**panel.source_rows[0], "upper": f"{row + 1:.2f}"}})
    assert plg.sources.items[0].centre.bounds == pytest.approx((row - 1, row + 1), abs=0.01)
    assert panel.source_rows[0]["error"] == ""
    assert not next(step for step in panel.steps if step["key"] == "kernel")["wrong"]


def test_fixed_without_a_value_holds_what_was_found(plg: Any) -> None:
    panel = plg._obj
    panel.open_step = "kernel"
    found = shown(panel, "kernel", "profile.fwhm")["value"]["found"]
    type_in(panel, "kernel", "profile.fwhm", fixed=True)
    assert plg.recipe.profile.fwhm == Parameter(value=float(found), fixed=True)
    row = panel.source_rows[0]["found"]
    panel.vue_set_source({"number": 0, "value": {**panel.source_rows[0], "fixed": True}})
    assert plg.sources.items[0].centre == Parameter(value=float(row), fixed=True)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("[0.1, {value: 0.2, fixed: true}]", (Parameter(value=0.1), Parameter(value=0.2, fixed=True))),
        ((0.1, {"bounds": (0, 1)}), (Parameter(value=0.1), Parameter(bounds=(0, 1)))),
        ([], ()),
        ("", ()),
    ],
)
def test_a_notebook_sets_coefficients_as_the_recipe_knows_them(typed: Any, value: Any) -> None:
    settings = Settings()
    settings.put("trace.coefficients", typed)
    assert settings.recipe.trace.coefficients == value


def test_lines_that_say_nothing_ask_for_nothing() -> None:
    """The table shows a line for each fitted coefficient: those that are left alone must not fix the degree."""
    resolved = Recipe().updated(trace={"coefficients": (0.1, 0.2, 0.3)})
    rows = fields.control("trace.coefficients", Recipe(), resolved, {})["value"]
    rows[1]["value"] = "0.25"
    assert fields.parse("trace.coefficients", rows) == (
        {"value": None, "fixed": False, "bounds": None},
        {"value": 0.25, "fixed": False, "bounds": None},
    )
