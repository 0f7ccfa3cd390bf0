"""Optimal extraction of 1D spectra from 2D spectra."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from .aperture import boxcar
from .errors import FrameError, OptextractError, ReadError, RecipeError
from .frame import Frame
from .pipeline import extract
from .recipe import Recipe
from .results import Extraction, Flag

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
]
