"""Errors that fit the noise in some columns and not in others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .bins import runs_of
from .noise import STILL, sections
from .robust import quantile

__all__ = ["uneven_in_words"]

_FEWEST = 100  # source-free pixels that tell of an eighth of the columns
_UNEVEN = 1.4  # times the usual scatter
_SURE = 5.0  # sigma of its own error beyond that
_ERROR = 2.0 / np.sqrt(2.0)  # of the scatter, times the root of n, with room for pixels that share noise


def uneven_in_words(along: Sequence[tuple[float, int]], n_disp: int, first: int) -> list[str]:
    """Say in which columns source-free pixels scatter more or less for their errors than elsewhere.

    Parameters
    ----------
    along : sequence of (pull, n)
        As `noise.pulls` gives it in ``along``.
    n_disp : int
        Columns that they are parts of.
    first : int
        The first one's number in the frame.

    Returns
    -------
    list of str
        A sentence for each run of such columns.
    """
    told = np.array([n >= _FEWEST and pull > STILL for pull, n in along], dtype=bool)
    if np.count_nonzero(told) < 3:
        return []
    pull, n = np.array(along, dtype=float).T
    # where one half differs from the other, the honest one is the usual one
    usual = min((quantile(pull[told], part) for part in (0.25, 0.5, 0.75)), key=lambda each: abs(np.log(each)))
    ratio, error = np.where(told, pull, usual) / usual, _ERROR / np.sqrt(np.maximum(n, 1.0))
    much = told & (ratio > _UNEVEN * (1.0 + _SURE * error))
    little = told & (ratio * (1.0 + _SURE * error) < 1.0 / _UNEVEN)
    edges, words = sections(n_disp), []
    for odd, size in ((much, "small"), (little, "large")):
        for start, stop in runs_of(odd):
            value = float(np.median(pull[start:stop]))
            words.append(
                f"Source-free pixels of columns {first + edges[start]} to {first + edges[stop] - 1} scatter by "
                f"{value:.2f} of their errors, those of others by {usual:.2f}: the errors are too {size} there "
                "beside the rest."
            )
    return words
