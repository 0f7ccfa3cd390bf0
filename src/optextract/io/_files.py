"""Products are written whole or not at all, never over an input, never over anything unasked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from ..errors import OptextractError

__all__ = ["check_target", "replacing"]


def check_target(path: Path, inputs: Iterable[str | Path], *, overwrite: bool) -> None:
    """Refuse a product's path where it would destroy something.

    Raises
    ------
    OptextractError
        If it is a folder, one of the inputs, or exists and `overwrite` is not set.
    """
    if path.is_dir():
        raise OptextractError(f"{path} is a folder: give the name of the file to write")
    for name in inputs:
        if Path(name).exists() and path.exists() and os.path.samefile(name, path):
            raise OptextractError(f"{path} is the input of this result: an input is never overwritten")
    if path.exists() and not overwrite:
        raise OptextractError(f"{path} exists: overwrite=True replaces it")
    if not path.parent.is_dir():
        raise OptextractError(f"{path} cannot be written: there is no folder {path.parent}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; when the block ends well, it takes the place of `path` in one step."""
    with NamedTemporaryFile(prefix=".part-", suffix=f"-{path.name}", dir=path.parent, delete=False) as stream:
        part = Path(stream.name)
    try:
        yield part
        # a temporary file is private; a product has the permissions of any other new file
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)
        os.replace(part, path)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
