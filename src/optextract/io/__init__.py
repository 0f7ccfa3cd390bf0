"""Readers and writers: files and objects in, frames; results in, files out."""

from __future__ import annotations

from ._records import Slit
from ._registry import read, read_all, slits

__all__ = ["Slit", "read", "read_all", "slits"]
