"""Optimal extraction of 1D spectra from 2D spectra."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from .errors import FrameError, OptextractError, ReadError, RecipeError
from .frame import Frame
from .recipe import Recipe
from .results import Extraction, Flag

if TYPE_CHECKING:
    from .aperture import boxcar
    from .batch import run_batch
    from .io import info, read, read_all, write
    from .pipeline import extract

try:
    __version__ = version("optextract")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = [
    "Extraction",
    "Flag",
    "Frame",
    "FrameError",
    "OptextractError",
    "ReadError",
    "Recipe",
    "RecipeError",
    "__version__",
    "boxcar",
    "extract",
    "info",
    "read",
    "read_all",
    "run_batch",
    "write",
]

#: Public names that cost an import of compiled loops, files, tables or processes: brought in when first asked for.
_LATER = {
    "boxcar": "aperture",
    "extract": "pipeline",
    "info": "io",
    "read": "io",
    "read_all": "io",
    "run_batch": "batch",
    "write": "io",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'optextract' has no attribute {name!r}")
    value = getattr(import_module(f".{_LATER[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
