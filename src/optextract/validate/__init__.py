"""Injection and recovery in the user's own frame."""

from __future__ import annotations

from .certificate import Certificate, Injection, combine
from .inject import LEVELS, validate

__all__ = ["LEVELS", "Certificate", "Injection", "combine", "validate"]
