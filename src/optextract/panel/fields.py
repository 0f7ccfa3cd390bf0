"""The form of the panel: which fields of the recipe stand in which step, and how text becomes a value.

The recipe is the only place that holds settings; this module says how each is shown. Nothing here knows the host.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from ..errors import RecipeError
from ..recipe import FileRef, Recipe, Source

__all__ = ["STEPS", "Step", "form", "parameter", "parse", "source_rows", "sources_api"]


@dataclass(frozen=True)
class Step:
    """One step of the panel, in the order of thought.

    Attributes
    ----------
    key, title : str
        Its name in the API, and on the screen.
    sections : tuple of str
        Sections of the recipe whose fields stand in it.
    fields : tuple of str
        Fields, ``section.field``, that are shown at once; the others of the sections are shown when asked for.
    """

    key: str
    title: str
    sections: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def more(self) -> tuple[str, ...]:
        """Fields that are shown when asked for."""
        found = [f"{section}.{key}" for section in self.sections for key in _section(section).model_fields]
        return tuple(name for name in found if name not in self.fields and name not in ELSEWHERE)


#: How a choice that may be absent shows that it is.
ABSENT = "not given"

#: Fields that are set by drawing, and by the list of sources.
ELSEWHERE = ("region.polygon", "region.mask", "sources.items")

STEPS = (
    Step("source", "Source", ("input",), ("input.unit",)),
    Step("region", "Region", ("region",), ("region.cross", "region.disp")),
    Step("kernel", "Kernel", ("kernel", "sources", "profile"), ("kernel.disp", "sources.number", "profile.kind")),
    Step("background", "Background", ("background", "nods"), ("background.degree", "background.along", "nods.mode")),
    Step("trace", "Trace & width", ("trace",), ("trace.degree", "trace.fwhm_degree")),
    Step(
        "noise",
        "Noise & rejection",
        ("noise", "rejection"),
        ("noise.variance", "rejection.mode", "rejection.threshold"),
    ),
    Step("extract", "Extract", ("flux",)),
    Step("compare", "Compare"),
)

#: What the person at the screen reads; any other field is called by its own name.
LABELS = {
    "region.cross": "Rows", "region.disp": "Columns", "kernel.disp": "Slice columns",
    "kernel.combine": "Coadd by", "sources.number": "Number of sources", "profile.kind": "Profile",
    "profile.fwhm": "FWHM (pixel)", "profile.index": "Moffat index, or Voigt fraction",
    "profile.empirical": "Correct the profile from the data", "profile.model": "Your model (module:attr)",
    "profile.template": "PSF file", "profile.template_size": "Source size (sigma, pixel)",
    "profile.template_interpolation": "Interpolate the PSF", "profile.template_broaden": "Broaden the PSF to fit",
    "profile.template_dispersion": "Dispersion axis of the PSF", "sources.find": "Find sources by",
    "sources.shape": "FWHM of several sources",
    "sources.planned": "Use the planned position", "sources.planned_sigma": "Planned position: width (pixel)",
    "background.degree": "Degree", "background.along": "Along dispersion",
    "background.along_degree": "Degree along dispersion",
    "background.rows": "Background rows", "nods.mode": "Negative nod traces",
    "nods.offsets": "Nod offsets (pixel)", "nods.depths": "Nod depths",
    "trace.degree": "Degree of the centre", "trace.fwhm_degree": "Degree of the width",
    "trace.bins": "Bins along dispersion", "trace.given": "Given trace (file)", "trace.shift": "Let it move to fit",
    "noise.variance": "Variance from", "noise.scale": "Factor on all errors",
    "noise.nod_term": "Add the noise of nod subtraction", "noise.revise": "Poisson variance from the model",
    "noise.weight_scale": "Pixel scale ratio of WHT", "noise.gain": "Gain (electron per unit)",
    "noise.read_noise": "Read noise (electron)", "rejection.mode": "Reject outliers",
    "rejection.threshold": "Threshold (sigma)", "rejection.floor": "Model error floor (fraction)",
    "rejection.grow": "Neighbours rejected too", "flux.window": "Flux refers to",
    "flux.min_profile": "Least good profile fraction", "flux.boxcar_width": "Boxcar width (pixel)",
    "input.unit": "Unit of the pixels", "input.mapping": "Layout of the file",
    "input.dq_bits": "Bad DQ bits", "input.pixel_area_sr": "Pixel area (sr)",
}  # fmt: skip


#: What could be typed, where that is not plain.
EXAMPLES = {
    "background.rows": "[[2, 8], [30, 38]]", "nods.offsets": "[-5.1, 5.1]", "nods.depths": "[-0.33, -0.5]",
    "input.mapping": "{flux: 1, variance: 2}", "trace.bins": "auto, 40, or edges [0, 300, 900]",
    "profile.model": "module:attr", "input.unit": "MJy / sr", "profile.template": "psf.fits",
    "trace.given": "trace.npy", "input.pixel_area_sr": "4.8e-13", "noise.gain": "1.0", "noise.read_noise": "6.0",
}  # fmt: skip


def _options(annotation: Any) -> list[Any]:
    """Members of a union, Annotated taken off."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [option for part in get_args(annotation) for option in _options(part)]
    return [annotation]


def _section(name: str) -> Any:
    return Recipe.model_fields[name].annotation


def _field(name: str) -> Any:
    section, _, key = name.partition(".")
    return _section(section).model_fields[key]


def _optional(name: str) -> bool:
    return type(None) in _options(_field(name).annotation)


def label_of(name: str) -> str:
    """Return what a field is called on the screen."""
    return LABELS.get(name, name.partition(".")[2].replace("_", " ").capitalize())


def kind_of(name: str) -> tuple[str, list[str]]:
    """Return how a field is shown (choice, switch, range, parameter, text) and its choices."""
    options = [option for option in _options(_field(name).annotation) if option is not type(None)]
    words = [str(word) for option in options if get_origin(option) is Literal for word in get_args(option)]
    others = [option for option in options if get_origin(option) is not Literal]
    if any(
        isinstance(option, type) and issubclass(option, BaseModel) and "bounds" in option.model_fields
        for option in others
    ):
        return "parameter", []
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
        Text, a bool, a pair of texts for a range, a mapping of value, fixed, lower and upper for a parameter.

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
        return value if "bounds" in value else parameter(name, value)
    found = _scalar(name, value)
    if name in ("trace.given", "profile.template") and isinstance(found, str):
        return {"path": found}
    if found is None and _field(name).default is not None and not _optional(name):
        return _field(name).default
    return found


def parameter(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Turn texts for value, lower and upper, and a bool for fixed, into a `Parameter`'s fields.

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
        raise RecipeError(f"The bounds of {name!r} must be two numbers or none. Got {(lower, upper)!r} instead.")
    return {
        "value": given["value"],
        "fixed": bool(value.get("fixed")) and given["value"] is not None,
        "bounds": None if lower is None else (lower, upper),
    }


def source_rows(recipe: Recipe, centres: list[float]) -> list[dict[str, Any]]:
    """Return one line for each source: what is asked for, and where it was found."""
    rows = []
    for number in range(max(len(recipe.sources.items), len(centres))):
        item = recipe.sources.items[number] if number < len(recipe.sources.items) else Source()
        lower, upper = ("", "") if item.centre.bounds is None else map(_number, item.centre.bounds)
        rows.append(
            {
                "name": "" if item.name is None else item.name,
                "found": f"{centres[number]:.2f}" if number < len(centres) else "",
                "value": _number(item.centre.value),
                "fixed": item.centre.fixed,
                "lower": lower,
                "upper": upper,
            }
        )
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
        lower, upper = ("", "") if value.bounds is None else map(_number, value.bounds)
        entry["value"] = {"value": _number(value.value), "fixed": value.fixed, "lower": lower, "upper": upper}
    elif kind == "choice":
        entry["value"] = {True: "on", False: "off", None: ABSENT}.get(value, value)
    else:
        entry["value"] = shown(value)
    chosen = None if resolved is None else get(resolved, name)
    if chosen is not None and chosen != value and (value == "auto" or value is None):
        entry["hint"] = f"chosen: {_chosen(chosen)} ({entry['hint']})"
    if name in errors:
        refused, message = errors[name]
        entry["error"] = message
        if kind == "range" and isinstance(refused, list | tuple):
            entry["value"] = list(refused)
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
        entry["wrong"] = any(name in errors for name in (*step.fields, *step.more))
        if step.key == open_step:
            entry["fields"] = [control(name, recipe, resolved, errors) for name in step.fields]
            entry["more"] = [control(name, recipe, resolved, errors) for name in step.more]
        entries.append(entry)
    return entries
