"""A recipe with every field, its default and what it is for, made from the recipe's own descriptions."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel

from optextract.recipe import Recipe

__all__ = ["recipe_template"]

_HEAD = """\
# A recipe of optextract: the whole state of an extraction. Every field is here with its default;
# what you do not change may be deleted. "auto" is replaced by what was chosen, and reported.
"""


def recipe_template(recipe: Recipe | None = None) -> str:
    """Return a commented recipe.

    Parameters
    ----------
    recipe : Recipe, optional
        Its values; absent: the defaults.

    Returns
    -------
    str
        YAML that loads to the same recipe.
    """
    shown = Recipe() if recipe is None else recipe
    data = shown.model_dump(by_alias=True, mode="json")
    lines = [_HEAD, f"schema: {data['schema']}"]
    for name, field in Recipe.model_fields.items():
        section = getattr(shown, name)
        if not isinstance(section, BaseModel):
            continue
        lines += ["", f"# {field.description}", f"{name}:"]
        for key, item in type(section).model_fields.items():
            lines.append(f"  # {item.description}")
            lines.append(f"  {key}: {_flow(data[name][key])}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True).strip()
    return text.removesuffix("...").strip()
