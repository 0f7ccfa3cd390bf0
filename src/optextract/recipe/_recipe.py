"""The recipe itself: build, change, load, save."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import RecipeError, bad_value
from ._explain import explain
from ._fields import FileRef, Section, plain_values
from ._sections import (
    Background,
    Flux,
    Input,
    Kernel,
    Nods,
    Noise,
    Profile,
    Region,
    Rejection,
    Sources,
    Trace,
)

__all__ = ["SCHEMA", "Recipe"]

#: The version of the recipe's layout; older layouts are migrated on load.
SCHEMA = 1


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested mappings; anything that is not a mapping replaces what was there."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _dumped(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, Mapping):
        return {key: _dumped(item) for key, item in value.items()}
    return value


class Recipe(Section):
    """Every setting of an extraction; two equal recipes on the same frame give bit-identical flux.

    Each field is a frozen section; see the sections for their fields. Build a variant with `updated`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    schema_version: Literal[1] = Field(1, alias="schema", description="layout of this file")
    input: Input = Field(Input(), description="how the file is read")
    region: Region = Field(Region(), description="which pixels take part")
    kernel: Kernel = Field(Kernel(), description="the coadded slice that sources are found in")
    sources: Sources = Field(Sources(), description="how many sources, and where")
    profile: Profile = Field(Profile(), description="cross-dispersion shape of a source")
    background: Background = Field(Background(), description="what lies under the sources")
    trace: Trace = Field(Trace(), description="position and width along dispersion")
    noise: Noise = Field(Noise(), description="the variance")
    nods: Nods = Field(Nods(), description="negative traces of nod subtraction")
    rejection: Rejection = Field(Rejection(), description="outlier rejection")
    flux: Flux = Field(Flux(), description="what the flux refers to")

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**plain_values(data))
        except ValidationError as error:
            raise explain(error, "the recipe") from error

    def updated(self, **sections: Any) -> Recipe:
        """Return a new recipe with some fields changed.

        Parameters
        ----------
        **sections : mapping or section
            Per section a mapping of the fields to change (``trace={"degree": 2}``), or a whole section.

        Returns
        -------
        Recipe
            The changed recipe, validated anew.

        Raises
        ------
        RecipeError
            If a name is unknown or a value breaks its rule.
        """
        changes = {}
        for name, value in sections.items():
            if isinstance(value, Section):
                base = {name: value.model_dump()}
            else:
                base = (
                    {name: _merge(_dumped(getattr(self, name, {})), _dumped(value))}
                    if isinstance(value, Mapping)
                    else {name: value}
                )
            changes.update(base)
        return Recipe(**{**self._plain(), **changes})

    def _plain(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True)

    def to_yaml(self, *, full: bool = False) -> str:
        """Return the recipe as YAML text.

        Parameters
        ----------
        full : bool, optional
            Write the defaults too, not only what differs from them.
        """
        data = self.model_dump(by_alias=True, mode="json", exclude_defaults=not full)
        data.pop("schema", None)
        return yaml.safe_dump({"schema": self.schema_version, **data}, sort_keys=False)

    @classmethod
    def from_yaml(cls, text: str, *, name: str = "the recipe") -> Recipe:
        """Build a recipe from YAML text (safe load: no code is run).

        Raises
        ------
        RecipeError
            If the text is not YAML, not a mapping, of an unknown schema, or has a wrong field.
        """
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecipeError(f"{name} is not valid YAML: {error}") from error
        if data is None:
            data = {}
        if not isinstance(data, dict):
            raise bad_value(name, "Recipe.from_yaml", "a mapping of sections", data, RecipeError)
        return cls(**_migrate({str(key): value for key, value in data.items()}, name))

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a recipe; paths of files that it refers to are taken relative to its folder.

        Raises
        ------
        RecipeError
            If the file cannot be read or holds no valid recipe.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"the recipe {path} cannot be read: {error}") from error
        recipe = cls.from_yaml(text, name=f"the recipe {path}")
        return recipe._relocated(path.resolve().parent)

    def save(self, path: str | Path, *, full: bool = False) -> None:
        """Write the recipe as YAML, whole or not at all."""
        path = Path(path)
        temporary = path.with_name(path.name + ".part")
        temporary.write_text(self.to_yaml(full=full), encoding="utf-8")
        temporary.replace(path)

    def digest(self) -> str:
        """Return a SHA-256 checksum of the recipe's content, defaults included."""
        return hashlib.sha256(self.to_yaml(full=True).encode()).hexdigest()

    def _relocated(self, folder: Path) -> Recipe:
        changes = {}
        for section, name in (("region", "mask"), ("profile", "template"), ("trace", "given")):
            ref = getattr(getattr(self, section), name)
            if isinstance(ref, FileRef) and not Path(ref.path).expanduser().is_absolute():
                changes[section] = {name: {"path": str(folder / ref.path), "sha256": ref.sha256}}
        return self.updated(**changes) if changes else self


def _migrate(data: dict[str, Any], name: str) -> dict[str, Any]:
    """Bring an older layout up to `SCHEMA`; there is none yet."""
    schema = data.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise bad_value("schema", name, f"{SCHEMA} (this version of optextract knows no other)", schema, RecipeError)
    return data
