"""A whole result as ASDF, and back again: every array, the kernel slice, the trace, the recipe and the quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from astropy import units as u

from ..errors import OptextractError, ReadError
from ..recipe import Recipe
from ..results import Boxcar, Candidate, Extraction, KernelSlice, TraceFit

__all__ = ["read_extraction", "write_asdf"]

_LAYOUT = 1
_UNIT, _QUANTITY, _TUPLE, _SCALAR = "optextract/unit", "optextract/quantity", "optextract/tuple", "optextract/scalar"
_PARTS: Mapping[str, type] = {"boxcar": Boxcar, "kernel": KernelSlice, "trace": TraceFit}


def _out(value: Any) -> Any:
    """Turn a value into a tree of plain mappings, lists, numbers and arrays."""
    if isinstance(value, u.Quantity):
        return {_QUANTITY: [_out(np.asarray(value.value)), value.unit.to_string()]}
    if isinstance(value, u.UnitBase):
        return {_UNIT: value.to_string()}
    if isinstance(value, np.ndarray):
        # a plain copy: views of read-only arrays would drag their bases into the file
        return np.array(value, order="C") if value.ndim else {_SCALAR: [value.item(), str(value.dtype)]}
    if isinstance(value, np.generic):
        return {_SCALAR: [value.item(), str(value.dtype)]}
    if isinstance(value, Mapping):
        return {str(key): _out(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return {_TUPLE: [_out(item) for item in value]}
    if isinstance(value, list):
        return [_out(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise OptextractError(f"a result that holds a {type(value).__name__} cannot be written as ASDF: {value!r:.80}")


def _back(value: Any) -> Any:
    """Undo `_out`; arrays come back read-only, mappings as read-only views."""
    if isinstance(value, Mapping):
        if len(value) == 1:
            (key, item), *_ = value.items()
            if key == _QUANTITY:
                array = np.array(_back(item[0]))
                array.flags.writeable = False
                return u.Quantity(array, item[1], copy=False)
            if key == _UNIT:
                return u.Unit(item)
            if key == _TUPLE:
                return tuple(_back(part) for part in item)
            if key == _SCALAR:
                return np.dtype(item[1]).type(item[0])
        return MappingProxyType({key: _back(item) for key, item in value.items()})
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_back(item) for item in value]
    if hasattr(value, "__array__"):
        array = np.array(value)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        array.flags.writeable = False
        return array
    return value


def _fields(value: Any, leave: Sequence[str] = ()) -> dict[str, Any]:
    return {field.name: _out(getattr(value, field.name)) for field in fields(value) if field.name not in leave}


def write_asdf(result: Extraction, part: Path) -> None:
    """Write a whole result.

    Parameters
    ----------
    result : Extraction
        The result.
    part : Path
        File to write; an existing one is replaced.

    Raises
    ------
    OptextractError
        If its `meta`, `quality` or `provenance` hold objects that are no numbers, texts, arrays or collections.
    """
    import asdf

    tree = _fields(result, leave=("recipe", "resolved", *_PARTS))
    tree["recipe"] = result.recipe.to_yaml(full=True)
    tree["resolved"] = result.resolved.to_yaml(full=True)
    tree["boxcar"] = _fields(result.boxcar)
    tree["trace"] = _fields(result.trace)
    tree["kernel"] = _fields(result.kernel, leave=("compare",))
    tree["kernel"]["candidates"] = [_fields(candidate) for candidate in result.kernel.candidates]
    date = datetime.now(UTC).isoformat(timespec="seconds")
    whole = {"optextract": {"layout": _LAYOUT, "date": date, "extraction": tree}}
    asdf.AsdfFile(whole).write_to(part, all_array_compression="zlib")


def read_extraction(path: str | Path) -> Extraction:
    """Read a whole result back, as `write_asdf` wrote it.

    Parameters
    ----------
    path : path
        An ASDF file.

    Returns
    -------
    Extraction
        Equal to the one that was written, array by array.

    Raises
    ------
    ReadError
        If the file is absent, damaged, or was not written by optextract.
    """
    import asdf
    import yaml

    path = Path(path)
    try:
        with asdf.open(path, lazy_load=False, memmap=False) as opened:
            whole = opened.tree.get("optextract")
            if not isinstance(whole, Mapping) or "extraction" not in whole:
                raise ReadError(f"{path} is an ASDF file, but no result that optextract wrote")
            if whole.get("layout") != _LAYOUT:
                raise ReadError(f"{path} has layout {whole.get('layout')}; this version of optextract knows {_LAYOUT}")
            return _build(whole["extraction"])
    except FileNotFoundError as error:
        raise ReadError(f"{path} cannot be read: there is no such file") from error
    except ReadError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ReadError(f"{path} is not a result that optextract wrote: {error}") from error


def _build(tree: Mapping[str, Any]) -> Extraction:
    given: dict[str, Any] = {
        key: _back(value) for key, value in tree.items() if key not in ("recipe", "resolved", *_PARTS)
    }
    kernel = {key: _back(value) for key, value in tree["kernel"].items() if key != "candidates"}
    candidates = tuple(Candidate(**_back(one)) for one in tree["kernel"]["candidates"])
    return Extraction(
        **given,
        boxcar=Boxcar(**_back(tree["boxcar"])),
        trace=TraceFit(**_back(tree["trace"])),
        kernel=KernelSlice(**kernel, compare=partial(tuple, candidates)),
        recipe=Recipe.from_yaml(tree["recipe"], name="the recipe in the file"),
        resolved=Recipe.from_yaml(tree["resolved"], name="the resolved recipe in the file"),
    )
