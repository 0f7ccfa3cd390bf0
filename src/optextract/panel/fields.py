"""The form of the panel: which fields of the recipe stand in which step, and how text becomes a value.

The recipe is the only place that holds settings; this module says how each is shown. Nothing here knows the host.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from ..errors import RecipeError
from ..recipe import FileRef, Parameter, Recipe, Source
from .steps import ABSENT, ELSEWHERE, EXAMPLES, STEPS, Step, label_of, section_of

__all__ = [
    "ELSEWHERE", "STEPS", "Step", "control", "form", "get", "kind_of", "label_of", "parameter", "parse", "shown",
    "source_rows", "sources_api",
]  # fmt: skip


#: A parameter of which nothing is asked, its parts in the form, and a form without an error.
NOTHING: dict[str, Any] = {"value": None, "fixed": False, "bounds": None}
PARTS = ("value", "fixed", "lower", "upper")
NO_ERRORS: Mapping[str, tuple[Any, str]] = types.MappingProxyType({})


def source_name(number: int) -> str:
    """Return under which name a line of the sources is refused."""
    return f"sources.items.{number}.centre"


def _options(annotation: Any) -> list[Any]:
    """Members of a union, Annotated taken off."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [option for part in get_args(annotation) for option in _options(part)]
    return [annotation]


def _field(name: str) -> Any:
    section, _, key = name.partition(".")
    return section_of(section).model_fields[key]


def _optional(name: str) -> bool:
    return type(None) in _options(_field(name).annotation)


def kind_of(name: str) -> tuple[str, list[str]]:
    """Return how a field is shown (choice, switch, range, parameter, parameters, text) and its choices."""
    options = [option for option in _options(_field(name).annotation) if option is not type(None)]
    words = [str(word) for option in options if get_origin(option) is Literal for word in get_args(option)]
    others = [option for option in options if get_origin(option) is not Literal]
    if others == [Parameter]:
        return "parameter", []
    if any(get_origin(option) is tuple and Parameter in _options(get_args(option)[0]) for option in others):
        return "parameters", []
    if not others:
        return "choice", [ABSENT, *words] if _optional(name) else words
    if others == [bool]:
        return ("choice", [*words, "on", "off"]) if words else ("switch", [])
    if name in ("region.cross", "region.disp", "kernel.disp"):
        return "range", []
    return "text", words


def shown(value: Any) -> Any:
    """Return a value of the recipe as the form shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return value
    if isinstance(value, FileRef):
        return value.path
    if isinstance(value, BaseModel):
        return yaml.safe_dump(value.model_dump(exclude_defaults=True), default_flow_style=True, width=10_000).strip()
    if isinstance(value, tuple):
        return yaml.safe_dump(_lists(value), default_flow_style=True, width=10_000).strip()
    if isinstance(value, float):
        return f"{value:.6g}" if float(f"{value:.6g}") == value else repr(value)
    return str(value)


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, tuple) else value


def _number(value: Any) -> Any:
    return "" if value is None else shown(float(value))


def parse(name: str, value: Any) -> Any:
    """Turn what the form sends into a value for the recipe; the recipe itself checks it.

    Parameters
    ----------
    name : str
        ``section.field``.
    value : object
        Text, a bool, a pair of texts for a range, a mapping of value, fixed, lower and upper for a parameter, a list
        of such mappings for several.

    Returns
    -------
    object
        The value to hand to `Recipe.updated`.

    Raises
    ------
    RecipeError
        If the text cannot be understood, naming the field.
    """
    kind, words = kind_of(name)
    if kind == "switch" or not isinstance(value, str | list | tuple | dict):
        return value
    if kind == "choice":
        if value == ABSENT:
            return None
        return {"on": True, "off": False}.get(str(value), value) if "on" in words else value
    if kind == "range":
        ends = [_scalar(name, end) for end in value] if not isinstance(value, str) else _scalar(name, value)
        if not ends or all(end is None for end in ends):
            return None
        if any(end is None for end in ends):
            raise RecipeError(
                f"The {name!r} parameter of the recipe must be two numbers or none. Got {value!r} instead."
            )
        return tuple(ends)
    if kind == "parameter" and isinstance(value, Mapping):
        # the form sends both limits apart; a notebook sends a parameter as the recipe knows it
        return value if "lower" not in value else parameter(name, value)
    if kind == "parameters" and not isinstance(value, str):
        return _parameters(name, value)
    found = _scalar(name, value)
    if name in ("trace.given", "profile.template") and isinstance(found, str):
        return {"path": found}
    if found is None and _field(name).default is not None and not _optional(name):
        return _field(name).default
    return found


def _parameters(name: str, rows: Any) -> tuple[Any, ...]:
    """A parameter for each line of a table, as far as the last that says something; a notebook's are left alone."""
    found: list[Any] = []
    for row in rows:
        found.append(parameter(f"{name}.{len(found)}", row) if isinstance(row, Mapping) and "lower" in row else row)
    while found and found[-1] == NOTHING and "lower" in rows[len(found) - 1]:
        found.pop()
    return tuple(found)


def parameter(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Turn texts for value, lower and upper, and a bool for fixed, into a `Parameter`'s fields.

    What is to be fixed without a value is fixed where it was found.

    Raises
    ------
    RecipeError
        If only one bound is given.
    """
    given = {
        key: _scalar(name, value[key]) if isinstance(value.get(key), str) else value.get(key)
        for key in ("value", "lower", "upper")
    }
    lower, upper = given["lower"], given["upper"]
    if (lower is None) != (upper is None):
        missing = "an upper" if upper is None else "a lower"
        raise RecipeError(
            f"The bounds of {name!r} must be two numbers or none: {missing} limit is missing. "
            f"Got {(lower, upper)!r} instead."
        )
    if value.get("fixed") and given["value"] is None and value.get("found"):
        given["value"] = _scalar(name, value["found"])
    return {
        "value": given["value"],
        "fixed": bool(value.get("fixed")) and given["value"] is not None,
        "bounds": None if lower is None else (lower, upper),
    }


def _texts(asked: Parameter, found: float | None, digits: str = ".4g") -> dict[str, Any]:
    """A parameter as the form shows it, beside the value that was found."""
    lower, upper = ("", "") if asked.bounds is None else map(_number, asked.bounds)
    return {
        "found": "" if found is None else format(found, digits),
        "value": _number(asked.value),
        "fixed": asked.fixed,
        "lower": lower,
        "upper": upper,
    }


def _table(asked: tuple[Parameter, ...], found: tuple[Parameter, ...]) -> list[dict[str, Any]]:
    """Lines of a table of coefficients, from the first degree on."""
    rows = []
    for number in range(max(len(asked), len(found))):
        one = asked[number] if number < len(asked) else Parameter()
        value = found[number].value if number < len(found) else None
        rows.append({"name": str(number + 1), **_texts(one, value, ".3g")})
    return rows


def source_rows(
    recipe: Recipe, centres: list[float], errors: Mapping[str, tuple[Any, str]] = NO_ERRORS
) -> list[dict[str, Any]]:
    """Return one line for each source: what is asked for, where it was found, and what was refused."""
    rows = []
    for number in range(max(len(recipe.sources.items), len(centres))):
        item = recipe.sources.items[number] if number < len(recipe.sources.items) else Source()
        found = centres[number] if number < len(centres) else None
        refused, message = errors.get(source_name(number), ({}, ""))
        name = "" if item.name is None else item.name
        rows.append({"name": name, **_texts(item.centre, found, ".2f"), **refused, "error": message})
    return rows


def sources_api(recipe: Recipe) -> str:
    """Return how a notebook sets the sources as they are."""
    sources = recipe.sources
    if not sources.items:
        return f"plg.sources = {sources.number!r}"
    items = [item.model_dump(exclude_defaults=True) for item in sources.items]
    return f"plg.sources = {{'number': {sources.number!r}, 'items': {items}}}"


def _scalar(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        found = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"The {name!r} parameter of the recipe cannot be understood: {value!r}.") from error
    if isinstance(found, str):
        try:
            return float(found)  # YAML 1.1 reads 1e-13 as text
        except ValueError:
            return found
    return found


def get(recipe: Recipe, name: str) -> Any:
    """Return the value of a field, ``section.field``."""
    section, _, key = name.partition(".")
    return getattr(getattr(recipe, section), key)


def control(
    name: str, recipe: Recipe, resolved: Recipe | None, errors: Mapping[str, tuple[Any, str]]
) -> dict[str, Any]:
    """Return everything that the template needs to show one field.

    Parameters
    ----------
    name : str
        ``section.field``.
    recipe, resolved : Recipe
        What was asked for, and what was chosen.
    errors : mapping of str to (value, message)
        Values that were refused, and why.
    """
    field = _field(name)
    kind, words = kind_of(name)
    value = get(recipe, name)
    entry = {
        "name": name,
        "kind": kind,
        "label": label_of(name),
        "hint": _sentence(str(field.description)),
        "choices": words,
        "example": EXAMPLES.get(name, " or ".join(words)),
        "changed": value != field.default,
        "error": "",
    }
    if kind == "range":
        entry["value"] = ["", ""] if value is None else [_number(end) for end in value]
    elif kind == "parameter":
        entry["value"] = _texts(value, None if resolved is None else get(resolved, name).value)
    elif kind == "parameters":
        entry["value"] = _table(value, () if resolved is None else get(resolved, name))
    elif kind == "choice":
        entry["value"] = {True: "on", False: "off", None: ABSENT}.get(value, value)
    else:
        entry["value"] = shown(value)
    chosen = None if resolved is None else get(resolved, name)
    if chosen is not None and chosen != value and (value == "auto" or value is None):
        entry["hint"] = f"chosen: {_chosen(chosen)} ({field.description})"
    if name in errors:
        refused, message = errors[name]
        entry["error"] = message
        if kind in ("range", "parameters") and isinstance(refused, list | tuple):
            entry["value"] = list(refused)
        elif kind == "parameter" and isinstance(refused, Mapping) and "lower" in refused:
            entry["value"] = {**entry["value"], **refused}
        elif kind == "text":
            entry["value"] = str(refused)
    entry["api"] = f"plg.set({name!r}, {_python(value)})"
    return entry


def _chosen(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple) and value and all(isinstance(item, float | int) for item in value):
        return ", ".join(f"{item:.5g}" for item in value)
    if isinstance(value, float):
        return f"{value:.5g}"
    return str(shown(value))


def _python(value: Any) -> str:
    if isinstance(value, BaseModel):
        return repr(value.model_dump(exclude_defaults=True))
    if isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
        return repr(tuple(item.model_dump(exclude_defaults=True) for item in value))
    return repr(value)


def _sentence(text: str) -> str:
    first = text.split(" ", 1)[0]
    code = ":" in first[:-1] or first == "s"  # module:attr and a symbol are no words
    return text if code else text[:1].upper() + text[1:]


def form(
    recipe: Recipe,
    resolved: Recipe | None,
    summaries: Mapping[str, str],
    errors: Mapping[str, tuple[Any, str]],
    open_step: str = "",
) -> list[dict[str, Any]]:
    """Return the whole form: for each step its title, the line that states what it holds, and its controls.

    The controls of the steps that are closed are left out: they are not on the screen.
    """
    entries = []
    for step in STEPS:
        entry: dict[str, Any] = {
            "key": step.key,
            "title": step.title,
            "summary": summaries.get(step.key, ""),
            "fields": [],
            "more": [],
        }
        entry["wrong"] = any(name in errors for name in (*step.fields, *step.more)) or any(
            name.startswith("sources.items") and step.key == "kernel" for name in errors
        )
        if step.key == open_step:
            entry["fields"] = [control(name, recipe, resolved, errors) for name in step.fields]
            entry["more"] = [control(name, recipe, resolved, errors) for name in step.more]
        entries.append(entry)
    return entries
