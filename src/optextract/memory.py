"""What an extraction frees is kept for the next array, and not given back to the system each time."""

from __future__ import annotations

from functools import cache

import numpy as np

__all__ = ["keep_freed"]

_BYTES = 31 * 2**20  # the allocator learns from blocks of up to 32 MiB


@cache
def keep_freed() -> None:
    """Let the C library keep what is freed, once in a process.

    An image of a few hundred kilobytes is above the size from which glibc asks the system for each array and gives it
    back when it is done; the system then clears every page again, which took a fifth of the time of an extraction.
    glibc takes its limits from the largest block that was freed, so one such block, which is never touched, is enough.
    Other C libraries pay no attention, and limits that the environment sets (dask does for its workers) hold.
    """
    np.empty(_BYTES, dtype=np.uint8)
