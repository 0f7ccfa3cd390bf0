"""Which extensions of a file belong together: those of one EXTVER, whatever their order."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ReadError
from ._fits import FitsFile

__all__ = ["companions", "same_shape", "science"]


def science(file: FitsFile, name: str) -> list[int]:
    """Numbers of the images of that name by EXTVER.

    Raises
    ------
    ReadError
        If two have the same EXTVER.
    """
    by_version: dict[int, int] = {}
    for index in file.images(name):
        version = file.version(index)
        if version in by_version:
            raise ReadError(
                f"{file.path}: HDU {by_version[version]} and HDU {index} are both {name} with EXTVER {version}; "
                "which errors and masks belong to which cannot be known. Name the HDUs in input.mapping"
            )
        by_version[version] = index
    return [by_version[version] for version in sorted(by_version)]


def companions(file: FitsFile, sci: int, names: Iterable[str]) -> dict[str, int]:
    """Numbers of the images of those names that share the EXTVER of an image, wherever they stand.

    Raises
    ------
    ReadError
        If two of one name have the same EXTVER.
    """
    version, found = file.version(sci), {}
    for name in names:
        same = [index for index in file.images(name) if file.version(index) == version and index != sci]
        if len(same) > 1:
            raise ReadError(
                f"{file.path}: HDU {same[0]} and HDU {same[1]} are both {name} with EXTVER {version}; "
                f"which belongs to {file.label(sci)} cannot be known. Name the HDUs in input.mapping"
            )
        if same:
            found[name] = same[0]
    return found


def same_shape(file: FitsFile, sci: int, index: int) -> None:
    """Refuse an extension that has not the shape of the image it belongs to (axes of length 1 apart).

    Raises
    ------
    ReadError
        If the shapes differ.
    """
    want = tuple(n for n in file.shape(sci) if n != 1)
    got = tuple(n for n in file.shape(index) if n != 1)
    if want != got:
        raise ReadError(
            f"{file.path}: {file.label(index)} must have the shape of {file.label(sci)}, {file.shape(sci)}. "
            f"Got {file.shape(index)} instead."
        )
