"""What the parts of the panel share: nothing but the promise that the whole panel has what each part uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Part"]


class Part:
    """A part of the panel; the traits, the host's components and the other parts are those of the whole."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Whatever the whole panel has."""
