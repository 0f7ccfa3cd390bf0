"""Review of a run: the spectra that need a look, worst first, and what was decided about each.

Decisions are kept in the manifest; an adjusted recipe also becomes a file under ``recipes`` and a row of the folder's
own ``overrides.csv``, so that ``optextract run --resume`` does that spectrum again, and nothing else.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optextract.errors import OptextractError, bad_value
from optextract.frame import Frame
from optextract.recipe import Recipe

from .jobs import OVERRIDES, read_table
from .manifest import Manifest, Record, read_manifest
from .names import product_name

__all__ = ["RECIPES", "Item", "Review"]

#: Folder of the recipes that a review adjusted.
RECIPES = "recipes"

ACCEPTED, ADJUSTED, REJECTED = "accepted", "adjusted", "rejected"


@dataclass(frozen=True)
class Item:
    """One spectrum to look at.

    Attributes
    ----------
    file : str
        Its file.
    slit : str or None
        Its slit, where the file has several.
    index : int
        Position of the slit in the file.
    score : float
        How much speaks against it, 0 to 100.
    flags, warnings : tuple of str
        What speaks against it, in words.
    decision : str
        "", "accepted", "adjusted" or "rejected".
    status : str
        "done", "failed" or "rejected".
    recipe : Recipe
        The recipe that it was extracted with, or will be after an adjustment.
    stem : str
        Stem of its product's name.
    """

    file: str
    slit: str | None
    index: int
    score: float
    flags: tuple[str, ...]
    warnings: tuple[str, ...]
    decision: str
    status: str
    recipe: Recipe
    stem: str

    @property
    def name(self) -> str:
        """File and slit."""
        return Path(self.file).name if self.slit is None else f"{Path(self.file).name} [{self.slit}]"

    def frame(self) -> Frame:
        """Read its frame, as its recipe says.

        Raises
        ------
        ReadError
            If the file cannot be read any more.
        """
        from optextract.io import read

        return read(self.file, None if self.slit is None else self.index, settings=self.recipe.input)


class Review:
    """The spectra of an output folder that need a look, worst first.

    Parameters
    ----------
    folder : str or Path
        The output folder of a run.
    least : float, optional
        Spectra of this score or more, beside those that failed with a recipe (a file that cannot be read at all
        cannot be looked at).
    decided : bool, optional
        Whether those that are decided already are shown again.

    Raises
    ------
    OptextractError
        If the folder holds no run.
    """

    def __init__(self, folder: str | Path, *, least: float = 5.0, decided: bool = False) -> None:
        self.folder = Path(folder)
        records = [record for record in read_manifest(self.folder) if "recipe_text" in record]
        pending = self._pending()
        wanted = [
            record
            for record in records
            if (record["status"] != "done" or record["score"] >= least) and (decided or not record.get("decision"))
        ]
        wanted.sort(key=lambda r: (-float(r["score"]), r["file"], r["slit"] is not None, str(r["slit"])))
        self._items = [_item(record, pending) for record in wanted]
        self._at = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def items(self) -> tuple[Item, ...]:
        """All of them, worst first."""
        return tuple(self._items)

    @property
    def position(self) -> int:
        """Index of the current one."""
        return self._at

    @property
    def current(self) -> Item:
        """The one that is looked at.

        Raises
        ------
        OptextractError
            If there is none.
        """
        if not self._items:
            raise OptextractError(f"no spectrum of {self.folder} needs a look")
        return self._items[self._at]

    @property
    def undecided(self) -> int:
        """How many have no decision yet."""
        return sum(not item.decision for item in self._items)

    def go(self, position: int) -> Item:
        """Look at another one.

        Raises
        ------
        OptextractError
            If there is no such position.
        """
        if not 0 <= position < len(self._items):
            raise bad_value("position", "Review.go", f"between 0 and {len(self._items) - 1}", position)
        self._at = position
        return self.current

    def next(self) -> Item:
        """Go to the next one; the last stays."""
        return self.go(min(self._at + 1, len(self._items) - 1))

    def previous(self) -> Item:
        """Go to the one before; the first stays."""
        return self.go(max(self._at - 1, 0))

    def accept(self, note: str = "") -> Item:
        """Keep the current spectrum as it is.

        Raises
        ------
        OptextractError
            If there is no spectrum, because the extraction failed.
        """
        if self.current.status == "failed":
            raise OptextractError(f"{self.current.name} failed and has no spectrum to accept; adjust or reject it")
        return self._decide(ACCEPTED, note)

    def reject(self, note: str = "") -> Item:
        """Say that there is no usable spectrum; its product stays where it is, its status tells."""
        return self._decide(REJECTED, note)

    def adjust(self, recipe: Recipe, note: str = "") -> Item:
        """Let the current spectrum be done again by another recipe, by ``optextract run --resume``.

        Parameters
        ----------
        recipe : Recipe
            The whole recipe.
        note : str, optional
            Why.

        Raises
        ------
        OptextractError
            If this is no recipe.
        """
        if not isinstance(recipe, Recipe):
            raise bad_value("recipe", "Review.adjust", "a Recipe", type(recipe).__name__)
        item = self.current
        folder = self.folder / RECIPES
        folder.mkdir(exist_ok=True)
        path = folder / f"{item.stem}.yaml"
        # the table goes last: a row without its file would stop the next run
        recipe.save(path)
        self._write_row(item, f"{RECIPES}/{path.name}")
        return self._decide(ADJUSTED, note, recipe)

    def _decide(self, decision: str, note: str, recipe: Recipe | None = None) -> Item:
        item = self.current
        with Manifest(self.folder) as manifest:
            records = list(manifest.records(item.file))
            for record in records:
                if record["slit"] == item.slit:
                    _mark(record, decision, note)
                    marked = record
            manifest.put(item.file, records)
        if decision != ADJUSTED:
            self._write_row(item, None)
        self._items[self._at] = _item(marked, {} if recipe is None else {(item.file, item.slit): recipe})
        return self._items[self._at]

    def _table(self) -> Path:
        return self.folder / OVERRIDES

    def _pending(self) -> dict[tuple[str, str | None], Recipe]:
        """Recipes that were adjusted and wait for the next run."""
        if not self._table().is_file():
            return {}
        return {
            (os.path.abspath(file), override.slit): Recipe.load(override.recipe)
            for file, override in read_table(self._table())
            if override.recipe is not None
        }

    def _write_row(self, item: Item, recipe: str | None) -> None:
        """Replace a spectrum's row of the folder's own table, or take it out."""
        rows: list[tuple[str, str, str]] = []
        if self._table().is_file():
            with self._table().open(newline="", encoding="utf-8") as stream:
                rows = [(row["file"], row["slit"], row["recipe"]) for row in csv.DictReader(stream)]
        key = (os.path.abspath(item.file), "" if item.slit is None else item.slit)
        rows = [row for row in rows if row[:2] != key]
        if recipe is not None:
            rows.append((*key, recipe))
        elif not self._table().is_file():
            return
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("file", "slit", "recipe"))
        writer.writerows(sorted(rows))
        part = self.folder / f".part-{os.getpid()}-{OVERRIDES}"
        part.write_text(text.getvalue(), encoding="utf-8")
        part.replace(self._table())


def _mark(record: Record, decision: str, note: str) -> None:
    """Put a decision into a record."""
    record["decision"] = decision
    record["note"] = note
    if decision == REJECTED:
        record["status"] = "rejected"
    elif record["status"] == "rejected":
        record["status"] = "done" if record["products"] else "failed"


def _item(record: Mapping[str, Any], pending: Mapping[tuple[str, str | None], Recipe]) -> Item:
    waiting = pending.get((os.path.abspath(record["file"]), record["slit"]))
    recipe = Recipe.from_yaml(record["recipe_text"], name="the recipe in the manifest") if waiting is None else waiting
    failed = record["status"] == "failed"
    return Item(
        file=record["file"],
        slit=record["slit"],
        index=int(record.get("index", 0)),
        score=float(record["score"]),
        flags=(str(record["reason"]),) if failed else tuple(record["flags"]),
        warnings=tuple(record.get("warnings", ())),
        decision=str(record.get("decision", "")),
        status=record["status"],
        recipe=recipe,
        stem=Path(product_name(record["stem"], record["slit"])).stem,
    )
