"""Errors of optextract: each names the parameter, the rule and the value received."""

from __future__ import annotations

from typing import Any

__all__ = ["FrameError", "OptextractError", "ReadError", "RecipeError", "bad_value"]


class OptextractError(ValueError):
    """Base of every error that optextract raises on purpose."""


class RecipeError(OptextractError):
    """A recipe is malformed or asks for something that cannot be done."""


class FrameError(OptextractError):
    """A frame cannot be built or cannot be extracted as it is."""


class ReadError(OptextractError):
    """A file cannot be read or is not understood."""


def bad_value(
    name: str, caller: str, rule: str, value: Any, kind: type[OptextractError] = OptextractError
) -> OptextractError:
    """Build the error for a parameter that breaks its rule.

    Parameters
    ----------
    name : str
        The parameter.
    caller : str
        The function or class that the parameter belongs to.
    rule : str
        What the parameter must be, to follow "must be".
    value : object
        What was received; long values are cut.
    kind : type, optional
        The class of the error.

    Returns
    -------
    OptextractError
        The error, to be raised by the caller.
    """
    shown = repr(value)
    if len(shown) > 120:
        shown = shown[:117] + "..."
    return kind(f"The {name!r} parameter of {caller} must be {rule}. Got {shown} instead.")
