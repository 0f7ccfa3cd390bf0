"""The recipe of a panel and its history. It is the only place where the panel keeps a setting."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RecipeError, bad_value
from ..recipe import FileRef, Recipe, Source, Sources
from . import fields

__all__ = ["Settings"]


class Settings:
    """One recipe, what it was before, and the values that were refused.

    Attributes
    ----------
    recipe : Recipe
        The recipe as it stands.
    errors : dict of str to (value, message)
        Fields whose last value was refused; the recipe still holds the one before.
    """

    #: Steps that can be taken back.
    DEPTH = 100

    def __init__(self) -> None:
        self.recipe = Recipe()
        self.errors: dict[str, tuple[Any, str]] = {}
        self._past: list[Recipe] = []
        self._passing = False

    @property
    def can_undo(self) -> bool:
        """Whether there is something to take back."""
        return bool(self._past)

    def replace(self, recipe: Recipe, *, passing: bool = False) -> bool:
        """Put another recipe in place of this one.

        Parameters
        ----------
        recipe : Recipe
            The new one.
        passing : bool, optional
            One of many while something is dragged: undo goes back to before the first of them.

        Returns
        -------
        bool
            Whether anything changed.

        Raises
        ------
        RecipeError
            If it is no recipe.
        """
        if not isinstance(recipe, Recipe):
            raise bad_value("recipe", "the panel", "a Recipe", recipe, RecipeError)
        changed = recipe != self.recipe
        if changed:
            if not self._passing:
                self._past = [*self._past[-self.DEPTH :], self.recipe]
            self.recipe = recipe
        self._passing = passing
        return changed

    def put(self, name: str, value: Any, *, passing: bool = False) -> bool:
        """Set one field, ``section.field``, from text or from a value.

        Returns
        -------
        bool
            Whether the recipe changed.

        Raises
        ------
        RecipeError
            If there is no such field or the value breaks its rule; it is remembered in `errors` too.
        """
        section, _, key = name.partition(".")
        known = Recipe.model_fields.get(section)
        if known is None or key not in getattr(known.annotation, "model_fields", {}):
            raise bad_value("name", "set", "a field of the recipe, such as 'trace.degree'", name, RecipeError)
        try:
            recipe = self.recipe.updated(**{section: {key: fields.parse(name, value)}})
        except RecipeError as error:
            self.errors[name] = (value, str(error))
            raise
        self.errors.pop(name, None)
        return self.replace(recipe, passing=passing)

    def forget(self) -> None:
        """Begin anew: what was before cannot be gone back to."""
        self._past.clear()
        self.errors.clear()

    def undo(self) -> bool:
        """Go back one change."""
        if not self._past:
            return False
        self.recipe = self._past.pop()
        self.errors.clear()
        self._passing = False
        return True

    def put_sources(self, value: Any, *, passing: bool = False) -> bool:
        """Set the sources: their number, their positions in pixels, or a whole section."""
        for name in [name for name in self.errors if name.startswith("sources.items")]:
            del self.errors[name]
        if isinstance(value, Sources):
            recipe = self.recipe.updated(sources=value)
        elif value == "auto" or (isinstance(value, int) and not isinstance(value, bool)):
            recipe = self.recipe.updated(sources={"number": value, "items": ()})
        elif isinstance(value, Mapping):
            recipe = self.recipe.updated(sources=value)
        else:
            items = tuple(item if isinstance(item, Source) else Source(centre=_centre(item)) for item in value)
            recipe = self.recipe.updated(sources={"number": max(1, len(items)), "items": items})
        return self.replace(recipe, passing=passing)

    def put_source(self, items: list[Source], number: int, row: Mapping[str, Any]) -> bool:
        """Set one source from a line of the form; the others stay as they are.

        Raises
        ------
        RecipeError
            If the line breaks a rule; it is remembered in `errors` too.
        """
        where = fields.source_name(number)
        name = str(row.get("name", "")).strip()
        placed: list[Any] = list(items)
        try:
            placed[number] = {"name": name if name else None, "centre": fields.parameter(where, row)}
            recipe = self.recipe.updated(sources={"number": max(1, len(placed)), "items": tuple(placed)})
        except RecipeError as error:
            self.errors[where] = ({part: row[part] for part in ("name", *fields.PARTS)}, str(error))
            raise
        self.errors.pop(where, None)
        return self.replace(recipe)

    def export(self, path: str | Path) -> Path:
        """Write every setting of the recipe; a mask that was drawn is copied beside it, so that the folder can move.

        Returns
        -------
        Path
            The file that was written.
        """
        path = Path(path).expanduser()
        recipe = self.recipe
        mask = recipe.region.mask
        if mask is not None:
            source = mask.resolve()
            copy = path.with_name(f"{path.stem}_region{source.suffix}")
            if source.resolve() != copy.resolve():
                shutil.copyfile(source, copy)
            recipe = recipe.updated(region={"mask": FileRef(path=copy.name, sha256=FileRef.of(copy).sha256)})
        recipe.save(path, full=True)
        return path


def _centre(value: Any) -> Any:
    return value if isinstance(value, Mapping) else float(value)
