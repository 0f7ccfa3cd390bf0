"""Settings of the panel: a notebook's calls, the mouse in the viewers and the form all end in one recipe."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..frame import Frame
from ..recipe import Parameter, Recipe, Region, Source, Sources
from ..results import Extraction
from . import subsets
from .part import Part
from .state import Settings

__all__ = ["TROUBLE", "Controls"]

#: What may go wrong with data and settings; all of it is shown in the panel, none of it stops the app.
TROUBLE = (ValueError, ArithmeticError, OSError, LookupError, MemoryError)


class Controls(Part):
    """Part of the panel that changes its recipe. Every change ends in ``_update``."""

    _settings: Settings
    _frame: Frame | None
    _result: Extraction | None
    err_msg: str

    def _try(self, action: Any) -> None:
        """Do something that a person asked for on the screen; what is wrong with it is shown there."""
        try:
            action()
        except TROUBLE as error:
            self.err_msg = str(error)
            self._show_form()
        else:
            self._update()

    # ---------------------------------------------------------------------------------------------- for notebooks

    @property
    def recipe(self) -> Recipe:
        """Every setting of the panel."""
        return self._settings.recipe

    @recipe.setter
    def recipe(self, recipe: Recipe) -> None:
        self._replace(recipe)
        self._update()

    def _replace(self, recipe: Recipe) -> None:
        region = self.recipe.region
        self._settings.errors.clear()
        if self._settings.replace(recipe) and recipe.region != region:
            self._unlink()

    @property
    def sources(self) -> Sources:
        """The sources of the recipe."""
        return self.recipe.sources

    @sources.setter
    def sources(self, value: Any) -> None:
        self._settings.put_sources(value)
        self._update()

    def set(self, name: str, value: Any) -> None:
        """Set one field of the recipe.

        Parameters
        ----------
        name : str
            ``section.field``, such as ``trace.degree``.
        value : object
            Its value.

        Raises
        ------
        RecipeError
            If there is no such field, or the value breaks its rule.
        """
        self._put(name, value)
        self._update()

    def _put(self, name: str, value: Any) -> None:
        if self._settings.put(name, value) and name.startswith("region."):
            self._unlink()

    def set_region(self, value: Any) -> None:
        """Set the region by numbers: a pair of rows, a mapping of fields, a `Region`, or None for the whole image."""
        if isinstance(value, tuple | list):
            value = {"cross": tuple(value)}
        region = value if isinstance(value, Region) else {**subsets.NOTHING, **({} if value is None else value)}
        self.recipe = self.recipe.updated(region=region)

    def undo(self) -> None:
        """Take back the last change of a setting."""
        region = self.recipe.region
        if self._settings.undo():
            if self.recipe.region != region:
                self._unlink()
            self._update()

    def reset(self) -> None:
        """Put every setting back to its default."""
        self.recipe = Recipe()

    def import_recipe(self, path: str | Path) -> None:
        """Read the recipe from a file."""
        self.recipe = Recipe.load(Path(path).expanduser())

    def export_recipe(self, path: str | Path) -> None:
        """Write the recipe to a file: ``optextract run --recipe`` gives the same flux, bit for bit."""
        self._settings.export(path)

    # --------------------------------------------------------------------------------------- mouse in the viewers

    def _centres(self) -> list[float]:
        if self._result is not None:
            return list(self._result.kernel.centres)
        return [item.centre.value for item in self.sources.items if item.centre.value is not None]

    def nearest_source(self, row: float) -> int | None:
        """Return the number of the source that is nearest to a row, None where there is none."""
        distances = [abs(centre - row) for centre in self._centres()]
        return distances.index(min(distances)) if distances else None

    def add_source(self, row: float) -> None:
        """Add a source at a row; those that were found stay. A click on a source, or off the image, does nothing."""
        centres = self._centres()
        inside = self._frame is not None and -0.5 <= row <= self._frame.n_cross - 0.5
        if inside and all(abs(row - centre) > 1.0 for centre in centres):
            self._try(lambda: self._place([*centres, row]))

    def _lagging(self, done: bool) -> bool:
        """Tell whether this step of a drag is to be left out.

        The events of a drag come faster than a slow extraction can follow, and wait in line: one that comes at once
        after an update was waiting, and a newer one is behind it. The last one always counts.
        """
        return not done and time.perf_counter() - self._updated < 1e-3 * self.latency_ms

    def move_source(self, number: int, row: float, done: bool = True) -> None:
        """Move a source to a row; `done` is False while it is being dragged."""
        centres = self._centres()
        if 0 <= number < len(centres) and not self._lagging(done):
            centres[number] = row
            self._try(lambda: self._place(centres, passing=not done))

    def remove_source(self, number: int) -> None:
        """Take a source away; without any, one is found again."""
        left = [item for k, item in enumerate(self._items()) if k != number]
        self._try(lambda: self._settings.put_sources(left if left else 1))

    def _items(self) -> list[Source]:
        items, centres = list(self.sources.items), self._centres()
        return items + [Source(centre=Parameter(value=round(row, 3))) for row in centres[len(items) :]]

    def _place(self, centres: list[float], passing: bool = False) -> None:
        items = self._items()
        placed = []
        for number, row in enumerate(centres):
            old = items[number] if number < len(items) else Source()
            bounds = (
                old.centre.bounds if old.centre.bounds and old.centre.bounds[0] <= row <= old.centre.bounds[1] else None
            )
            placed.append(
                Source(name=old.name, centre=Parameter(value=round(row, 3), fixed=old.centre.fixed, bounds=bounds))
            )
        self._settings.put_sources(placed, passing=passing)

    def set_columns(self, columns: tuple[float, float] | None, done: bool = True) -> None:
        """Set the columns of the kernel slice, None for automatic ones; `done` is False while they are dragged."""
        if columns is not None:
            columns = (round(columns[0], 3), round(columns[1], 3))
        if not self._lagging(done):
            self._try(lambda: self._settings.put("kernel.disp", columns, passing=not done))

    # ------------------------------------------------------------------------------------------------ from the form

    def vue_set_field(self, change: dict[str, Any]) -> None:
        """Take one field from the form."""
        self._try(lambda: self._put(change["name"], change["value"]))

    def vue_set_source(self, change: dict[str, Any]) -> None:
        """Take position, fixed and bounds of one source from the form."""
        number, row = int(change["number"]), change["value"]
        self._try(lambda: self._settings.put_source(self._items(), number, row))

    def vue_add_source(self, _: Any = None) -> None:
        """Add a source two FWHM beside the last one; it is then dragged to where it belongs."""
        centres = self._centres()
        width = 3.0 if self._result is None else 2.0 * float(self._result.resolved.profile.fwhm.value or 1.5)
        last = centres[-1] if centres else 0.5 * (0 if self._frame is None else self._frame.n_cross)
        self.add_source(last + width)

    def vue_remove_source(self, number: int) -> None:
        """Take a source away."""
        self.remove_source(int(number))

    def vue_undo(self, _: Any = None) -> None:
        """Take back the last change."""
        self.undo()

    def vue_reset(self, _: Any = None) -> None:
        """Put every setting back."""
        self.reset()
