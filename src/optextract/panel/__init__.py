"""The Optimal Extraction panel of Jdaviz: an adapter; the only part of optextract that imports the host.

Importing this package imports nothing of the host: `register` does.
"""

from __future__ import annotations

from .register import register

__all__ = ["register"]
