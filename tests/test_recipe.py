"""Recipe: frozen all the way down, strict, refused in words, the same after a trip through YAML."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optextract import Recipe, RecipeError
from optextract.recipe import SCHEMA, FileRef, Parameter, Section

REFUSED = [
    ({"trace": {"degre": 1}}, "unknown field 'trace.degre' (known: degree, fwhm_degree, coefficients, "),
    (
        {"trac": {"degree": 1}},
        "unknown field 'trac' (known: schema, input, region, kernel, sources, profile, background,",
    ),
    ({"sources": {"items": [{"centre": {"valu": 3}}]}}, "unknown field 'sources.items.0.centre.valu'"),
    ({"trace": {"degree": 1.0}}, "the 'trace.degree' parameter must be 'auto' or a valid integer. Got 1.0 instead"),
    ({"trace": {"degree": "1"}}, "the 'trace.degree' parameter must be 'auto' or a valid integer. Got '1' instead"),
    ({"trace": {"degree": True}}, "the 'trace.degree' parameter must be 'auto' or a valid integer. Got True instead"),
    ({"background": {"degree": -1}}, "must be 'auto' or 'none' or greater than or equal to 0. Got -1 instead"),
    ({"background": {"degree": 7}}, "must be 'auto' or 'none' or less than or equal to 5. Got 7 instead"),
    (
        {"rejection": {"mode": 1}},
        "the 'rejection.mode' parameter must be 'auto' or 'spare' or a valid boolean. Got 1 instead",
    ),
    ({"noise": {"gain": float("nan")}}, "the 'noise.gain' parameter must be a finite number. Got nan instead"),
    ({"noise": {"gain": 0.0}}, "the 'noise.gain' parameter must be greater than 0. Got 0.0 instead"),
    (
        {"region": {"cross": (5, 3)}},
        "the 'region.cross' parameter must be (lower, upper) with lower < upper. Got (5, 3)",
    ),
    (
        {"region": {"cross": (1, np.inf)}},
        "the 'region.cross' parameter must be two finite numbers. Got (1, inf) instead",
    ),
    ({"region": {"cross": (1, 2, 3)}}, "the 'region.cross' parameter must have at most 2 items, not 3. Got (1, 2, 3)"),
    ({"region": {"polygon": ((0, 0), (1, 1))}}, "'region.polygon' parameter must have at least 3 items, not 2. Got"),
    ({"region": 5}, "the 'region' parameter must be a valid dictionary or instance of Region. Got 5 instead"),
    ({"profile": {"fwhm": {"fixed": True}}}, "the 'profile.fwhm' parameter must have a value where it is fixed. Got"),
    (
        {"profile": {"fwhm": {"value": 3.0, "bounds": (1, 2)}}},
        "the 'profile.fwhm' parameter must start within its bounds (1.0, 2.0). Got {'value': 3.0,",
    ),
    (
        {"profile": {"kind": "gauss"}},
        "the 'profile.kind' parameter must be 'auto', 'gaussian', 'moffat', 'voigt', 'model',",
    ),
    ({"schema": 2}, "the 'schema' parameter must be 1. Got 2 instead"),
    ({"input": {"mapping": {"variance": "ERR"}}}, "must be valid (Value error, flux must be named where variance is)"),
]


@pytest.mark.parametrize(
    ("fields", "message"), REFUSED, ids=lambda value: "" if isinstance(value, dict) else value[:40]
)
def test_what_breaks_a_rule_is_refused_by_name_rule_and_value(fields, message):
    with pytest.raises(RecipeError, match=re.escape(message)):
        Recipe(**fields)
    with pytest.raises(RecipeError, match=re.escape(message)):
        Recipe().updated(**fields)


def test_every_breach_is_told_at_once():
    with pytest.raises(RecipeError) as error:
        Recipe(trace={"degre": 1, "bins": 0}, noise={"scale": -1.0})
    for part in ("the recipe is not valid: ", "unknown field 'trace.degre'", "'trace.bins'", "'noise.scale'"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "schema: 2",
            "The 'schema' parameter of the recipe must be 1 (this version of optextract knows no other). Got 2",
        ),
        ("a: [", "the recipe is not valid YAML: "),
        ("- 1", "The 'the recipe' parameter of Recipe.from_yaml must be a mapping of sections. Got [1] instead."),
        ("!!python/object/apply:os.system ['true']", "the recipe is not valid YAML: could not determine a constructor"),
        ("trace: {degree: 1.5}", "the 'trace.degree' parameter must be 'auto' or a valid integer. Got 1.5 instead"),
        ("trace: {degree: 1}\ntrce: {}", "unknown field 'trce'"),
    ],
)
def test_text_that_is_no_recipe_is_refused(text, message):
    with pytest.raises(RecipeError, match=re.escape(message)):
        Recipe.from_yaml(text)


def test_empty_text_is_the_default_recipe():
    assert Recipe.from_yaml("") == Recipe()
    assert Recipe.from_yaml("# nothing but a comment\n") == Recipe()


def test_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"the recipe .*absent.yaml cannot be read: .*No such file"):
        Recipe.load(tmp_path / "absent.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"the recipe .*bytes.yaml cannot be read"):
        Recipe.load(tmp_path / "bytes.yaml")


# round trips -----------------------------------------------------------------------------------------------------

number = st.floats(-1e6, 1e6)
positive = st.floats(1e-6, 1e6)
auto = st.just("auto")
ranges = st.tuples(st.floats(-1e4, 0), st.floats(0.5, 1e4))
recipes = st.fixed_dictionaries(
    {},
    optional={
        "region": st.fixed_dictionaries(
            {},
            optional={"cross": ranges, "polygon": st.lists(st.tuples(number, number), min_size=3, max_size=6)},
        ),
        "trace": st.fixed_dictionaries(
            {},
            optional={
                "degree": auto | st.integers(2, 20),
                "fwhm_coefficients": st.lists(number | st.fixed_dictionaries({"bounds": ranges}), max_size=6),
                "given": st.lists(number, min_size=1, max_size=8),
                "bins": auto | st.integers(1, 500) | st.lists(number, min_size=2, max_size=5),
                "shift": st.booleans(),
            },
        ),
        "profile": st.fixed_dictionaries(
            {},
            optional={
                "kind": st.sampled_from(["auto", "moffat", "model"]),
                "fwhm": positive | st.fixed_dictionaries({"value": positive, "fixed": st.booleans()}),
                "model": st.text(max_size=20),
                "empirical": auto | st.booleans(),
            },
        ),
        "background": st.fixed_dictionaries(
            {}, optional={"degree": auto | st.just("none") | st.integers(0, 5), "rows": st.lists(ranges, max_size=3)}
        ),
        "noise": st.fixed_dictionaries({}, optional={"scale": auto | positive, "gain": positive}),
        "rejection": st.fixed_dictionaries({}, optional={"mode": auto | st.booleans()}),
        "sources": st.fixed_dictionaries(
            {}, optional={"items": st.lists(st.fixed_dictionaries({"name": st.text(max_size=9), "centre": number}))}
        ),
    },
)


@settings(max_examples=60)
@given(fields=recipes)
def test_yaml_gives_the_same_recipe_back(fields):
    recipe = Recipe(**fields)
    for text in (recipe.to_yaml(), recipe.to_yaml(full=True)):
        again = Recipe.from_yaml(text)
        assert again == recipe
        assert again.digest() == recipe.digest()
    assert recipe.updated() == recipe


def test_short_text_holds_what_differs_from_the_defaults_alone():
    assert Recipe().to_yaml() == "schema: 1\n"
    assert Recipe(trace={"degree": 2}).to_yaml() == "schema: 1\ntrace:\n  degree: 2\n"
    full = Recipe().to_yaml(full=True)
    for name in Recipe.model_fields:
        assert name == "schema_version" or f"\n{name}:" in full
    assert full.startswith(f"schema: {SCHEMA}\n")


def test_digest_tells_recipes_apart_but_not_ways_to_write_them():
    assert Recipe(trace={"degree": "auto"}).digest() == Recipe().digest()
    assert Recipe(trace={"degree": 1}).digest() != Recipe().digest()


def test_saved_recipe_reads_back_and_nothing_else_is_left(tmp_path):
    recipe = Recipe(sources={"items": [{"name": "α", "centre": 3.5}]}, region={"cross": [2, 9]})
    recipe.save(tmp_path / "r.yaml")
    assert Recipe.load(tmp_path / "r.yaml") == recipe
    recipe.save(tmp_path / "r.yaml", full=True)
    assert Recipe.load(tmp_path / "r.yaml") == recipe
    assert [path.name for path in tmp_path.iterdir()] == ["r.yaml"]


# frozen -----------------------------------------------------------------------------------------------------


def members(value):
    if isinstance(value, Section):
        yield value
        for name in type(value).model_fields:
            yield from members(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from members(item)


def test_nothing_in_a_recipe_can_be_changed():
    recipe = Recipe(
        sources={"items": [{"centre": 3.0}, {"centre": [1, 2] and 5.0}]},
        trace={"given": [1.0, 2.0], "bins": np.array([0.0, 5.0])},
        region={"polygon": [[0, 0], [1, 0], [0, 1]]},
        background={"rows": [[0, 3], [7, 9]]},
    )
    sections = list(members(recipe))
    assert len(sections) > 14
    for section in sections:
        for name in type(section).model_fields:
            with pytest.raises(Exception, match="frozen"):
                setattr(section, name, None)
            assert not isinstance(getattr(section, name), list | dict | set | np.ndarray)
    assert hash(recipe) == hash(Recipe.from_yaml(recipe.to_yaml()))


def test_recipe_does_not_follow_the_lists_it_was_made_of():
    rows = [[0, 3], [7, 9]]
    recipe = Recipe(background={"rows": rows})
    rows[0][1] = 99
    assert recipe.background.rows == ((0.0, 3.0), (7.0, 9.0))


def test_updated_changes_what_it_names_and_nothing_else():
    recipe = Recipe(profile={"kind": "moffat", "index": 2.5}, trace={"degree": 1})
    other = recipe.updated(profile={"index": {"fixed": True}}, trace={"degree": 2})
    assert other.profile.kind == "moffat"
    assert other.profile.index == Parameter(value=2.5, fixed=True)
    assert other.trace.degree == 2
    assert recipe.trace.degree == 1
    assert recipe.updated(trace=other.trace).trace == other.trace
    assert recipe.updated(trace=other.trace).profile == recipe.profile


def test_number_alone_is_the_value_of_a_parameter_and_numpys_numbers_are_numbers():
    recipe = Recipe(
        profile={"fwhm": np.float32(2.5)}, trace={"degree": np.int64(2)}, rejection={"mode": np.bool_(True)}
    )
    assert recipe.profile.fwhm.value == 2.5
    assert type(recipe.trace.degree) is int
    assert recipe.rejection.mode is True


# files beside it -----------------------------------------------------------------------------------------------------


def test_files_are_sought_beside_the_recipe(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    np.save(tmp_path / "sub" / "m.npy", np.ones((2, 2)))
    recipe = Recipe(region={"mask": {"path": "m.npy"}}, trace={"given": {"path": "/elsewhere/t.npy"}})
    recipe.save(tmp_path / "sub" / "r.yaml")
    monkeypatch.chdir(tmp_path)
    loaded = Recipe.load("sub/r.yaml")
    assert Path(loaded.region.mask.path) == tmp_path / "sub" / "m.npy"
    assert loaded.region.mask.resolve().is_file()
    assert loaded.trace.given.path == "/elsewhere/t.npy"


def test_file_reference_knows_its_checksum(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(b"abc")
    reference = FileRef.of(path)
    assert reference.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert reference.resolve() == path
    path.write_bytes(b"abd")
    with pytest.raises(
        RecipeError, match=r"'sha256' parameter of FileRef\(.*\) must be that of the file, a52d.* Got 'ba78"
    ):
        reference.resolve()
    path.unlink()
    with pytest.raises(
        RecipeError, match=r"'path' parameter of FileRef must be an existing file. Got '.*a.npy' instead"
    ):
        reference.resolve()
    with pytest.raises(Exception, match="sha256"):
        FileRef(path="a", sha256="short")


def test_every_field_says_what_it_is():
    for section in members(Recipe(sources={"items": [{"centre": 1.0}]}, input={"mapping": {"flux": 1}})):
        for name, field in type(section).model_fields.items():
            assert field.description, f"{type(section).__name__}.{name}"
