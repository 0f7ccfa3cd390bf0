"""Recipe: the whole state of an extraction, one frozen section per stage."""

from __future__ import annotations

from ._fields import FileRef, Parameter, Section
from ._recipe import SCHEMA, Recipe
from ._sections import (
    Background,
    Flux,
    Input,
    Kernel,
    Mapped,
    Nods,
    Noise,
    Profile,
    Region,
    Rejection,
    Source,
    Sources,
    Trace,
)

__all__ = [
    "SCHEMA",
    "Background",
    "FileRef",
    "Flux",
    "Input",
    "Kernel",
    "Mapped",
    "Nods",
    "Noise",
    "Parameter",
    "Profile",
    "Recipe",
    "Region",
    "Rejection",
    "Section",
    "Source",
    "Sources",
    "Trace",
]
