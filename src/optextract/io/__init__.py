"""Readers and writers: files and objects in, frames; results in, files out."""

from __future__ import annotations

from ._records import Slit
from ._registry import read, read_all, slits
from .asdf import read_extraction
from .info import Info, SlitInfo, info
from .objects import from_nddata, from_spectrum
from .spectrum import ExtractedSpectrum, read_x1d
from .write import write

__all__ = [
    "ExtractedSpectrum",
    "Info",
    "Slit",
    "SlitInfo",
    "from_nddata",
    "from_spectrum",
    "info",
    "read",
    "read_all",
    "read_extraction",
    "read_x1d",
    "slits",
    "write",
]
