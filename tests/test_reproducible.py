"""The same numbers to the last bit, wherever the arrays lie in memory: from run to run and from process to process."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

import optextract as ox
import optextract.compiled
import optextract.pipeline
from optextract.simulate import make_scene

N_COPIES = 4


def elsewhere(value: Any, rng: np.random.Generator) -> Any:
    """The same arrays with the same strides in other places of memory."""
    if isinstance(value, tuple):
        return tuple(elsewhere(each, rng) for each in value)
    if not isinstance(value, np.ndarray) or value.size == 0:
        return value
    low, high = np.lib.array_utils.byte_bounds(value)
    room = np.empty(high - low + 1024, dtype=np.uint8)
    # to whole numbers of eight bytes, as every allocation is
    shift = -room.ctypes.data % 8 + 8 * int(rng.integers(0, 100))
    there = value.ctypes.data - low + shift
    copy = np.ndarray(value.shape, value.dtype, buffer=room.data, offset=there, strides=value.strides)
    copy[...] = value
    copy.flags.writeable = value.flags.writeable
    return copy


def bits(value: Any) -> tuple[bytes, ...]:
    """What arrays and numbers hold; every NaN is the same."""
    if isinstance(value, tuple):
        return tuple(bit for each in value for bit in bits(each))
    array = np.array(value)
    if array.dtype.kind == "f":
        array[np.isnan(array)] = np.nan
    return (array.tobytes(),)


class Repeated:
    """A compiled loop that is called again with copies of what it got, and notes whether it gives the same."""

    def __init__(self, loop: Dispatcher, differ: dict[str, int], rng: np.random.Generator) -> None:
        self.loop, self.differ, self.rng = loop, differ, rng
        self.name = f"{loop.py_func.__module__}.{loop.py_func.__name__}"

    def __call__(self, *arguments: Any) -> Any:
        copies = [elsewhere(arguments, self.rng) for _ in range(N_COPIES)]
        value = self.loop(*arguments)
        expected = bits((value, *arguments))
        wrong = sum(bits((self.loop(*copy), *copy)) != expected for copy in copies)
        self.differ[self.name] = self.differ.get(self.name, 0) + wrong
        return value


@pytest.fixture
def differ(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> dict[str, int]:
    """How often each loop gave something else for the same: filled as they are called."""
    for module in pkgutil.iter_modules(optextract.compiled.__path__, "optextract.compiled."):
        importlib.import_module(module.name)
    counts: dict[str, int] = {}
    seen: dict[int, Callable[..., Any]] = {}
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("optextract.")]
    for module in modules:
        for name, loop in list(vars(module).items()):
            # loops that are called by other loops only are part of these
            if isinstance(loop, Dispatcher) and not loop.py_func.__name__.startswith("_"):
                monkeypatch.setattr(module, name, seen.setdefault(id(loop), Repeated(loop, counts, rng)))
    return counts


@pytest.mark.parametrize(
    ("name", "fields"),
    [("vertical", {}), ("cosmic", {"profile": {"kind": "moffat"}}), ("blend", {"sources": {"number": 2}})],
)
def test_no_loop_asks_where_its_arrays_lie(differ, name, fields):
    ox.extract(make_scene(name, 0).frame, ox.Recipe(**fields))
    assert len(differ) > 40, differ
    assert not {loop: count for loop, count in differ.items() if count}
