"""Names of products: made of what a header says, but unable to leave the output folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

__all__ = ["SUFFIX", "input_stem", "product_name", "safe_name", "unique_stems"]

#: What every product's name ends with.
SUFFIX = "_optx1d"

#: Endings of input files that say nothing about which one it is.
_ENDINGS = (".gz", ".bz2", ".xz", ".fits", ".fit", ".fts", ".asdf")
_MOST = 100


def safe_name(text: str) -> str:
    """Turn any text into a part of a file name: letters, digits and ``._+-``, neither empty nor hidden nor endless.

    Parameters
    ----------
    text : str
        For instance SLTNAME of a header.

    Returns
    -------
    str
        At most 100 characters, without separators of folders, not beginning with a dot.
    """
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip(".-")
    return name[:_MOST].rstrip(".-") if name else "unnamed"


def input_stem(path: str | Path) -> str:
    """Name of a file without folder and without the endings of FITS and of compression."""
    name = Path(path).name
    stripped = True
    while stripped:
        stripped = False
        for ending in _ENDINGS:
            if name.lower().endswith(ending) and len(name) > len(ending):
                name, stripped = name[: -len(ending)], True
    return name


def unique_stems(paths: Sequence[str], known: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Stems of the products of several files, one each, different from each other.

    Files of one name in several folders get the folder's name in front, and a number where that does not tell them
    apart. What a file's stem is depends on the files before it only.

    Parameters
    ----------
    paths : sequence of str
        Different files.
    known : mapping of str to str, optional
        Stems that some files (by absolute path) have already; they keep them, and nobody else gets them.

    Returns
    -------
    list of str
        As long as `paths`.
    """
    taken = {stem.lower() for stem in known.values()}
    stems = []
    for path in paths:
        before = known.get(os.path.abspath(path))
        if before is not None:
            stems.append(before)
            continue
        plain = safe_name(input_stem(path))
        # file systems that ignore case would make one file of A and a
        for stem in _candidates(plain, path):
            if stem.lower() not in taken:
                break
        taken.add(stem.lower())
        stems.append(stem)
    return stems


def _candidates(plain: str, path: str) -> Iterable[str]:
    yield plain
    parent = safe_name(Path(path).resolve().parent.name)
    yield f"{parent}_{plain}"
    number = 2
    while True:
        yield f"{parent}_{plain}_{number}"
        number += 1


def product_name(stem: str, slit: str | None, ending: str = ".fits") -> str:
    """Name of a product: ``<stem>[_slit]_optx1d.fits``.

    Parameters
    ----------
    stem : str
        From `unique_stems`.
    slit : str or None
        Name of the slit in a file that holds several.
    ending : str, optional
        Ending with its dot.
    """
    middle = "" if slit is None else f"_{safe_name(slit)}"
    return f"{stem}{middle}{SUFFIX}{ending}"
