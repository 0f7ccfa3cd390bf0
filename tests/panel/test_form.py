"""The form is made from the recipe: every field is in it, what is typed becomes a value, steps say what they hold."""

from __future__ import annotations

from typing import Any

import pytest

from optextract.errors import RecipeError
from optextract.panel import fields
from optextract.panel.state import Settings
from optextract.recipe import Parameter, Recipe, Region, Source, Sources


def all_fields() -> set[str]:
    recipe = Recipe()
    return {
        f"{section}.{key}"
        for section in Recipe.model_fields
        if section != "schema_version"
        for key in type(getattr(recipe, section)).model_fields
    }


def test_every_field_of_the_recipe_is_in_the_form_once() -> None:
    shown = [name for step in fields.STEPS for name in (*step.fields, *step.more)]
    assert len(shown) == len(set(shown))
    assert set(shown) | set(fields.ELSEWHERE) == all_fields()


def test_the_steps_stand_in_the_order_of_thought() -> None:
    assert [step.title for step in fields.STEPS] == [
        "Source", "Region", "Kernel", "Background", "Trace & width", "Noise & rejection", "Extract", "Compare",
    ]  # fmt: skip


def test_every_field_has_a_label_that_is_no_code() -> None:
    for step in fields.STEPS:
        for name in (*step.fields, *step.more):
            label = fields.label_of(name)
            assert label
            assert "_" not in label.split("(")[0].split(",")[0]
    assert fields.label_of("profile.some_new_thing") == "Some new thing"


@pytest.mark.parametrize("name", sorted({name for step in fields.STEPS for name in (*step.fields, *step.more)}))
def test_what_is_shown_goes_back_in_unchanged(name: str) -> None:
    """Showing a field and sending back what is shown changes nothing, whatever the value."""
    section, key = name.split(".")
    values = {
        "region.cross": (2.5, 20.25), "region.disp": (0.1, 1e3), "kernel.disp": (10, 20), "sources.number": 3,
        "profile.kind": "moffat", "kernel.combine": "mean", "profile.fwhm": Parameter(value=1.5, bounds=(1, 2)),
        "profile.index": Parameter(value=2.5, fixed=True), "profile.empirical": False, "profile.model": "a:b",
        "sources.find": "lines", "sources.shape": "separate", "sources.planned": False, "sources.planned_sigma": 0.1,
        "background.degree": "none", "background.along": "column", "background.along_degree": 7,
        "background.rows": ((1.5, 5.0), (20.0, 24.0)), "nods.mode": "model", "nods.offsets": (-5.12, 5.12),
        "nods.depths": (-0.33, -0.5), "trace.degree": 2, "trace.fwhm_degree": 1, "trace.bins": (0.0, 10.0, 30.5),
        "trace.coefficients": (Parameter(value=0.1, bounds=(0, 1)), Parameter(), Parameter(value=-0.2, fixed=True)),
        "trace.fwhm_coefficients": (0.1, {"bounds": (-1, 1)}), "nods.spacing": Parameter(value=1.03, bounds=(1, 1.1)),
        "trace.shift": True, "noise.variance": "weight", "noise.weight_scale": 0.1 + 0.2, "noise.gain": 1e-13,
        "noise.read_noise": 0.0, "noise.revise": True, "noise.nod_term": True, "noise.scale": "auto",
        "rejection.mode": False, "rejection.threshold": 4.0, "rejection.floor": 0.0, "rejection.grow": 1,
        "flux.window": "region", "flux.min_profile": 1.0, "flux.boxcar_width": 5.5, "input.unit": "MJy / sr",
        "input.pixel_area_sr": 5.02983933368421e-13, "input.dq_bits": ("SATURATED", "DO_NOT_USE"),
        "input.mapping": {"flux": 1, "variance": "ERR", "variance_kind": "sigma"},
        "profile.template": {"path": "psf.fits"}, "trace.given": {"path": "trace.txt"},
    }  # fmt: skip
    default = fields.get(Recipe(), name)
    for value in (default, values.get(name, default)):
        recipe = Recipe().updated(**{section: {key: value}})
        shown = fields.control(name, recipe, None, {})["value"]
        assert Recipe().updated(**{section: {key: fields.parse(name, shown)}}) == recipe, shown


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("trace.degree", "auto", "auto"),
        ("trace.degree", " 2 ", 2),
        ("trace.degree", "", "auto"),
        ("background.degree", "none", "none"),
        ("region.cross", ["", ""], None),
        ("region.cross", "", None),
        ("region.cross", ["4", "20.5"], (4, 20.5)),
        ("rejection.threshold", "", 5.0),
        ("noise.gain", "1e-13", 1e-13),
        ("noise.gain", "", None),
        ("rejection.mode", "off", False),
        ("background.rows", "[[2, 8], [30, 38]]", ((2, 8), (30, 38))),
        ("trace.given", "", None),
    ],
)
def test_what_is_typed_becomes_a_value(name: str, typed: Any, value: Any) -> None:
    settings = Settings()
    settings.put(name, typed)
    assert fields.get(settings.recipe, name) == value


def test_the_choice_that_was_made_is_shown_beside_auto() -> None:
    chosen = Recipe().updated(trace={"degree": 2}, kernel={"disp": (812, 1013)}, rejection={"mode": False})
    hints = {
        name: fields.control(name, Recipe(), chosen, {})["hint"]
        for name in ("trace.degree", "kernel.disp", "rejection.mode")
    }
    assert hints["trace.degree"].startswith("chosen: 2 (")
    assert hints["kernel.disp"].startswith("chosen: 812, 1013 (")
    assert hints["rejection.mode"].startswith("chosen: off (")
    assert not fields.control("trace.degree", chosen, chosen, {})["hint"].startswith("chosen")


def test_every_control_shows_how_a_notebook_sets_it() -> None:
    recipe = Recipe().updated(trace={"degree": 2}, profile={"fwhm": {"value": 2.0, "fixed": True}})
    assert fields.control("trace.degree", recipe, None, {})["api"] == "plg.set('trace.degree', 2)"
    assert (
        fields.control("profile.fwhm", recipe, None, {})["api"]
        == "plg.set('profile.fwhm', {'value': 2.0, 'fixed': True})"
    )
    for step in fields.STEPS:
        for name in (*step.fields, *step.more):
            code = fields.control(name, recipe, None, {})["api"]
            settings = Settings()
            settings.recipe = recipe

            class plg:
                set = settings.put

            exec(code, {"plg": plg})
            assert settings.recipe == recipe


@pytest.mark.parametrize(
    "value",
    [2, "auto", [12.1, 15.3], [{"value": 12.1, "fixed": True}, 15.0], [Source(name="A", centre={"value": 3.0})]],
)
def test_the_hint_of_the_sources_sets_them(value: Any) -> None:
    settings, other = Settings(), Settings()
    settings.put_sources(value)
    code = fields.sources_api(settings.recipe)
    assert code.startswith("plg.sources = ")
    other.put_sources(eval(code.removeprefix("plg.sources = ")))
    assert other.recipe == settings.recipe


def test_controls_of_closed_steps_are_left_out() -> None:
    form = fields.form(Recipe(), None, {"trace": "degree 2"}, {}, open_step="trace")
    entries = {entry["key"]: entry for entry in form}
    assert entries["trace"]["summary"] == "degree 2"
    assert [field["name"] for field in entries["trace"]["fields"]] == ["trace.degree", "trace.fwhm_degree"]
    assert entries["kernel"]["fields"] == []


# ------------------------------------------------------------------------------------------------------- state


def test_undo_goes_back_one_change_at_a_time() -> None:
    settings = Settings()
    settings.put("trace.degree", "1")
    settings.put("trace.degree", "2")
    settings.put("trace.degree", "2")
    assert settings.undo()
    assert settings.recipe.trace.degree == 1
    assert settings.undo()
    assert settings.recipe == Recipe()
    assert not settings.undo()
    assert not settings.can_undo


def test_a_drag_is_one_change_for_undo() -> None:
    settings = Settings()
    settings.put("kernel.disp", (1, 2))
    for end in range(10, 20):
        settings.put("kernel.disp", (5, end), passing=True)
    settings.put("kernel.disp", (5, 20))
    assert settings.recipe.kernel.disp == (5, 20)
    settings.undo()
    assert settings.recipe.kernel.disp == (1, 2)


def test_the_number_of_changes_that_are_kept_is_bounded() -> None:
    settings = Settings()
    for row in range(Settings.DEPTH * 2):
        settings.put("region.cross", (0, row + 1))
    assert len(settings._past) <= Settings.DEPTH + 1


@pytest.mark.parametrize(
    ("value", "sources"),
    [
        (2, Sources(number=2)),
        ("auto", Sources(number="auto")),
        ([12.2, 17], Sources(number=2, items=(Source(centre=12.2), Source(centre=17.0)))),
        ([{"value": 12.2, "fixed": True}], Sources(number=1, items=(Source(centre={"value": 12.2, "fixed": True}),))),
        ({"planned": False}, Sources(planned=False)),
        (Sources(number=3), Sources(number=3)),
    ],
)
def test_sources_are_a_number_or_positions(value: Any, sources: Sources) -> None:
    settings = Settings()
    settings.put_sources(value)
    assert settings.recipe.sources == sources


def test_a_recipe_must_be_one() -> None:
    with pytest.raises(RecipeError, match="'recipe' parameter of the panel must be a Recipe"):
        Settings().replace({"trace": {"degree": 2}})  # type: ignore[arg-type]


def test_reset_and_undo_in_the_panel(plg: Any) -> None:
    plg.set("trace.degree", 2)
    plg.region = (4, 20)
    plg.reset()
    assert plg.recipe == Recipe()
    plg.undo()
    assert plg.recipe.region == Region(cross=(4, 20))
    assert plg._obj.can_undo


def test_each_step_states_what_it_holds(panel: Any) -> None:
    lines = {step["key"]: step["summary"] for step in panel.steps}
    result = panel._result
    assert lines["source"].startswith("sample_s2d")
    assert "25 x 1298, MJy/sr" in lines["source"]
    assert lines["region"] == "the whole image"
    assert lines["kernel"].startswith(f"{result.resolved.profile.kind}, row {result.kernel.centres[0]:.2f}, FWHM ")
    assert f"degree {result.trace.degree}, rms {result.trace.rms:.2f} px" in lines["trace"]
    assert f"{int(result.rejected.sum())} pixel" in lines["noise"]
    assert lines["extract"].endswith(" a column (median), Jy")
    assert lines["compare"].startswith("S/N gain over boxcar ")


def test_a_notebook_s_change_is_on_the_screen_and_the_other_way_round(plg: Any) -> None:
    panel = plg._obj
    panel.open_step = "trace"
    plg.set("trace.degree", 2)
    step = next(step for step in panel.steps if step["key"] == "trace")
    assert step["fields"][0]["value"] == "2"
    assert step["summary"].startswith("degree 2")
    panel.vue_set_field({"name": "trace.degree", "value": "1"})
    assert plg.recipe.trace.degree == 1
    assert plg.preview.trace.degree == 1


def test_copy_as_python_runs_and_gives_the_same_flux(plg: Any, same: Any) -> None:
    plg.region = (4, 20)
    plg.set("profile.kind", "moffat")
    names: dict[str, Any] = {}
    exec(plg.as_python(), names)
    assert same(names["spectrum"].flux.value, plg.extract(add_data=False).flux.value)


def test_copy_as_command_parses(plg: Any) -> None:
    import shlex

    from optextract.cli.parser import build_parser

    arguments = build_parser().parse_args(shlex.split(plg.as_command())[1:])
    assert arguments.recipe == plg._obj.recipe_path
