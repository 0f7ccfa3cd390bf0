"""What the fields of a recipe are made of: strict numbers, ranges, fitted parameters and files beside the recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ..errors import RecipeError, bad_value

__all__ = ["Auto", "FileRef", "Finite", "Param", "Parameter", "Positive", "Range", "Section", "plain_values"]

Auto = Literal["auto"]


def plain_values(value: Any) -> Any:
    """Turn lists into tuples and numpy scalars into Python's, all the way down: what holds a list is not frozen."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return plain_values(value.tolist())
    if isinstance(value, list | tuple):
        return tuple(plain_values(item) for item in value)
    if isinstance(value, Mapping):
        return {key: plain_values(item) for key, item in value.items()}
    return value


def _pair(value: Any) -> Any:
    value = plain_values(value)
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, int | float) for v in value):
        if not value[0] < value[1]:
            raise ValueError("must be (lower, upper) with lower < upper")
        if not all(np.isfinite(value)):
            raise ValueError("must be two finite numbers")
    return value


Range = Annotated[tuple[float, float], BeforeValidator(_pair)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Section(BaseModel):
    """A frozen part of the recipe: strict types, unknown fields refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FileRef(Section):
    """A file that the recipe needs beside it, by path and checksum."""

    path: str = Field(description="path, absolute or relative to the recipe's folder")
    sha256: str | None = Field(None, description="checksum; a file that differs is refused", pattern="^[0-9a-f]{64}$")

    @classmethod
    def of(cls, path: str | Path) -> FileRef:
        """Reference an existing file with its present checksum."""
        return cls(path=str(path), sha256=hashlib.sha256(Path(path).read_bytes()).hexdigest())

    def resolve(self) -> Path:
        """Return the path of the file after checking that it is there and unchanged.

        Raises
        ------
        RecipeError
            If the file is absent or its checksum is another one.
        """
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise bad_value("path", "FileRef", "an existing file", self.path, RecipeError)
        if self.sha256 is not None:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != self.sha256:
                raise bad_value(
                    "sha256", f"FileRef({self.path!r})", f"that of the file, {found}", self.sha256, RecipeError
                )
        return path


class Parameter(Section):
    """How one fitted parameter starts, and how far it may go."""

    value: Finite | None = Field(None, description="initial value; absent: found from the data")
    fixed: bool = Field(False, description="keep the value as it is")
    bounds: Range | None = Field(None, description="lower and upper limit")

    @model_validator(mode="after")
    def _consistent(self) -> Parameter:
        if self.fixed and self.value is None:
            raise ValueError("must have a value where it is fixed")
        if self.value is not None and self.bounds is not None and not self.bounds[0] <= self.value <= self.bounds[1]:
            raise ValueError(f"must start within its bounds {self.bounds}")
        return self

    def within(self, value: float) -> float:
        """Return a value, brought to the nearer limit where it lies beyond the bounds.

        Parameters
        ----------
        value : float
            Any number.

        Returns
        -------
        float
        """
        return float(value) if self.bounds is None else float(min(max(value, self.bounds[0]), self.bounds[1]))


def _parameter(value: Any) -> Any:
    return {"value": value} if isinstance(value, int | float | np.generic) and not isinstance(value, bool) else value


Param = Annotated[Parameter, BeforeValidator(_parameter)]
