"""A progress bar that counts failures as they happen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from .manifest import Record

__all__ = ["watched"]


def watched(results: Iterator[list[Record]], total: int, *, hidden: bool = False) -> Iterator[list[Record]]:
    """Pass records on while a bar on stderr shows files done and spectra failed.

    Parameters
    ----------
    results : iterator
        Records of one file after another.
    total : int
        Number of files.
    hidden : bool, optional
        Show no bar.
    """
    from tqdm import tqdm

    failed = 0
    options: dict[str, Any] = {"total": total, "unit": "file", "file": sys.stderr, "disable": hidden or None}
    with tqdm(**options) as bar:
        for records in results:
            failed += sum(record["status"] == "failed" for record in records)
            if failed:
                bar.set_postfix(failed=failed, refresh=False)
            bar.update()
            yield records
