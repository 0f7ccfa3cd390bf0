"""What there is to do: files, lists, patterns and catalogues become one job a file."""

from __future__ import annotations

import csv
import glob
import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from optextract.errors import OptextractError, RecipeError, bad_value
from optextract.recipe import Recipe

from .names import unique_stems

__all__ = ["OVERRIDES", "Job", "Override", "expand", "read_table"]

_log = logging.getLogger(__name__)

#: Table of changes that an output folder has of its own, from a review.
OVERRIDES = "overrides.csv"

#: Columns of a table that are not fields of the recipe.
_COLUMNS = ("file", "slit", "recipe", "region", "sources")


@dataclass(frozen=True)
class Override:
    """What one row of a table changes in the recipe.

    Attributes
    ----------
    slit : str or None
        The slit it is for; None: every slit of the file.
    recipe : str or None
        A recipe file that replaces the common one.
    text : str or None
        A recipe as YAML text that replaces the common one.
    changes : tuple
        Pairs of a dotted field name and its value as text (YAML).
    """

    slit: str | None = None
    recipe: str | None = None
    text: str | None = None
    changes: tuple[tuple[str, str], ...] = ()

    def apply(self, base: Recipe) -> Recipe:
        """Return the recipe with the changes made.

        Raises
        ------
        RecipeError
            If a field is unknown or a value breaks its rule.
        """
        recipe = base
        if self.text is not None:
            recipe = Recipe.from_yaml(self.text, name="the recipe in the manifest")
        if self.recipe is not None:
            recipe = Recipe.load(self.recipe)
        nested: dict[str, Any] = {}
        for name, text in self.changes:
            *sections, last = name.split(".")
            place = nested
            for section in sections:
                place = place.setdefault(section, {})
            try:
                place[last] = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise bad_value(name, "the table", "a YAML value", text, RecipeError) from error
        return recipe.updated(**nested) if nested else recipe


@dataclass(frozen=True)
class Job:
    """One input file and what is asked of it.

    Attributes
    ----------
    path : str
        The file, as given.
    stem : str
        What its products' names begin with.
    slits : tuple of str, or None
        Slits to extract; None: all.
    overrides : tuple of Override
        Changes of the recipe.
    existing : tuple of str
        Names of products that were there before the run began, and are not to be replaced.
    """

    path: str
    stem: str
    slits: tuple[str, ...] | None = None
    overrides: tuple[Override, ...] = ()
    existing: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What the manifest knows the file by: its absolute path."""
        return os.path.abspath(self.path)

    def recipe_for(self, names: Collection[str], base: Recipe) -> Recipe:
        """Return the recipe of a slit that is known by any of these names, changed in the order of the table's rows.

        Parameters
        ----------
        names : collection of str
            Name of the slit, of its source, its index; none: what holds for the whole file.
        base : Recipe
            The common recipe.
        """
        recipe = base
        for override in self.overrides:
            if override.slit is None or override.slit in names:
                recipe = override.apply(recipe)
        return recipe


def _rows_of(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV or ECSV table as text."""
    try:
        if path.suffix.lower() == ".ecsv":
            from astropy.table import Table

            table = Table.read(path, format="ascii.ecsv")
            return [{name: _cell(row[name]) for name in table.colnames} for row in table]
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = (line for line in stream if line.strip() and not line.startswith("#"))
            reader = csv.DictReader(lines, skipinitialspace=True, strict=True)
            return [{(k or "").strip(): (v or "").strip() for k, v in row.items() if k is not None} for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise OptextractError(f"the table {path} cannot be read: {error}") from error


def _cell(value: Any) -> str:
    import numpy as np

    return "" if value is np.ma.masked else str(value)


def _region_changes(text: str, where: str) -> list[tuple[str, str]]:
    """``8:19`` (rows) or ``8:19,100:900`` (rows, columns)."""
    changes = []
    for name, part in zip(("region.cross", "region.disp"), text.split(","), strict=False):
        ends = part.split(":")
        if len(ends) != 2:
            raise bad_value("region", where, "rows as first:last, or rows and columns as a:b,c:d", text, RecipeError)
        changes.append((name, f"[{float(ends[0])}, {float(ends[1])}]" if all(map(_is_number, ends)) else part))
    return changes


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_columns(names: Iterable[str], path: Path) -> None:
    """Refuse a misspelt field; columns that are none of ours are left alone."""
    known = Recipe().model_dump()
    extra = []
    for name in names:
        if name in _COLUMNS:
            continue
        if "." not in name:
            extra.append(name)
            continue
        place: Any = known
        for part in name.split("."):
            if isinstance(place, Mapping) and place and part not in place:
                raise RecipeError(
                    f"the table {path}: unknown field {name!r} (known here: {', '.join(map(str, place))})"
                )
            place = place[part] if isinstance(place, Mapping) and part in place else None
    if extra:
        _log.info("%s: columns without a meaning here are left alone: %s", path, ", ".join(extra))


def read_table(path: str | Path) -> list[tuple[str, Override]]:
    """Read a catalogue or a table of overrides.

    Parameters
    ----------
    path : str or Path
        CSV or ECSV with a column ``file`` (relative to the table's folder) and any of ``slit``, ``recipe`` (a file),
        ``region`` (``rows`` or ``rows,columns`` as first:last), ``sources`` (their number) and dotted fields of the
        recipe, such as ``trace.degree``, with YAML values. Empty cells change nothing.

    Returns
    -------
    list of (str, Override)
        File and changes, row by row.

    Raises
    ------
    OptextractError
        If the table cannot be read, has no column ``file``, or names an unknown field.
    """
    path = Path(path)
    rows = _rows_of(path)
    if rows:
        if "file" not in rows[0]:
            raise bad_value("file", f"the table {path}", "one of the columns", sorted(rows[0]))
        _check_columns(rows[0], path)
    found = []
    for number, row in enumerate(rows, start=1):
        if not row["file"]:
            raise bad_value("file", f"row {number} of the table {path}", "the name of a file", row["file"])
        changes: list[tuple[str, str]] = []
        if row.get("region"):
            changes += _region_changes(row["region"], f"row {number} of the table {path}")
        if row.get("sources"):
            changes.append(("sources.number", row["sources"]))
        changes += [(name, text) for name, text in row.items() if "." in name and text != ""]
        recipe = str(path.parent / row["recipe"]) if row.get("recipe") else None
        override = Override(slit=row.get("slit") or None, recipe=recipe, changes=tuple(changes))
        found.append((str(_beside(path, row["file"])), override))
    return found


def _beside(table: Path, name: str) -> Path:
    """A path named in a table or a list is relative to the folder of that file."""
    path = Path(name).expanduser()
    return path if path.is_absolute() else Path(os.path.normpath(table.parent / path))


def _list_of(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OptextractError(f"the list {path} cannot be read: {error}") from error
    return [str(_beside(path, line.strip())) for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _paths_of(text: str) -> list[tuple[str, Override | None]]:
    """Everything that one argument stands for."""
    if text.startswith("@"):
        return [(name, None) for name in _list_of(Path(text[1:]))]
    path = Path(text).expanduser()
    if path.suffix.lower() in (".csv", ".ecsv"):
        return list(read_table(path))
    # a folder that is called like a file is a file that will fail, and does not stop the others
    if path.is_dir() and not path.name.lower().endswith((".fits", ".fits.gz")):
        inside = sorted(str(p) for p in path.iterdir() if p.name.lower().endswith(("_s2d.fits", "_s2d.fits.gz")))
        if not inside:
            raise bad_value("files", "optextract run", "a folder that holds *_s2d.fits files", text)
        return [(name, None) for name in inside]
    if glob.has_magic(text) and not path.exists():
        matches = sorted(glob.glob(str(path), recursive=True))
        if not matches:
            raise bad_value("files", "optextract run", "a pattern that matches a file", text)
        return [(name, None) for name in matches]
    return [(str(path), None)]


def expand(
    inputs: Sequence[str | Path],
    *,
    slits: Sequence[str] | None = None,
    overrides: Sequence[str | Path] = (),
    earlier: Sequence[tuple[str, Override]] = (),
    stems: Mapping[str, str] | None = None,
) -> list[Job]:
    """Turn arguments into jobs, one a file, in the order given.

    Parameters
    ----------
    inputs : sequence of str or Path
        Files, folders, patterns (``*_s2d.fits``), ``@list`` (a text file with a path a line), catalogues (``.csv`` or
        ``.ecsv``, see `read_table`).
    slits : sequence of str, optional
        Extract these slits only.
    overrides : sequence of str or Path, optional
        Tables that change the recipe of some of the files, the last word last; see `read_table`.
    earlier : sequence of (str, Override), optional
        Further files, and what an earlier run asked of their spectra.
    stems : mapping of str to str, optional
        Stems that files (by absolute path) have from an earlier run, and keep.

    Returns
    -------
    list of Job
        A file that is named twice is one job.

    Raises
    ------
    OptextractError
        If a list, a pattern or a table makes no sense. A file that is missing is no error yet: its job will fail.
    """
    order: dict[str, str] = {}
    wanted: dict[str, set[str] | None] = {}
    rows: dict[str, list[Override]] = {}
    for text in inputs:
        for name, override in _paths_of(str(text)):
            # a link is a file of its own: it may stand for the same spectrum under another name
            key = os.path.abspath(name)
            order.setdefault(key, name)
            slit = None if override is None else override.slit
            known = wanted.setdefault(key, set() if slit is not None else None)
            if slit is None:
                wanted[key] = None
            elif known is not None:
                known.add(slit)
            if override is not None and (override.changes or override.recipe):
                rows.setdefault(key, []).append(override)
    for name, override in earlier:
        key = os.path.abspath(name)
        order.setdefault(key, name)
        wanted[key] = None
        rows.setdefault(key, []).append(override)
    for table in overrides:
        for name, override in read_table(table):
            rows.setdefault(os.path.abspath(name), []).append(override)
    unused = sorted(set(rows) - set(order))
    if unused:
        _log.info("%d files of tables of changes are not among the inputs", len(unused))
    names = unique_stems(list(order.values()), {} if stems is None else stems)
    jobs = []
    for (key, name), stem in zip(order.items(), names, strict=True):
        asked = wanted[key]
        chosen = tuple(slits) if slits is not None else None if asked is None else tuple(sorted(asked))
        jobs.append(Job(path=name, stem=stem, slits=chosen, overrides=tuple(rows.get(key, ()))))
    return jobs
