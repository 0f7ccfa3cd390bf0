"""Rows that the sky lights where it is still in the frame: a slit between dark rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .bins import edges_uniform, median_bins
from .robust import median, quantile

__all__ = ["lit_rows", "lit_slit"]

FloatArray = NDArray[np.float64]

_LEAST_ROWS, _COVERED = 12, 0.3  # of a slit that the sky may light, and of the columns of each
# part of the rows that must be lit, at which quantile they tell their level, how much brighter one and how much darker
# the rows beside the slit may be, and S/N of the level
_LIT, _HIGH, _ALIKE, _DARK, _LIT_SNR = 0.4, 0.75, 2.0, 0.35, 30.0
# of a slit that is told by its edges: rows at least, what each must hold of the sky, at which quantile that is, and how
# many rows must show it alone; what those beyond may hold of it, the rows of an edge; S/N of a lit row, and of the sky
_LEAST_LIT, _FLAT, _LOW, _LEAST_ALIKE = 9, 0.7, 0.3, 0.4
_OF_MEDIAN = np.sqrt(np.pi / 2)  # error of a median over that of a mean
_BEYOND, _EDGE, _SNR, _SKY_SNR = 0.15, 2, 8.0, 15.0
_PARTS, _TOGETHER = 8, 0.6  # of the columns, and what the darker rows of each must have of the sky


def lit_slit(data: FloatArray, total: FloatArray, good: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Find the rows of a slit whose sky ends sharply, with a source in it or without.

    No galaxy is as bright in most of nine rows or more, nowhere much fainter, and dark two rows further out.

    Parameters
    ----------
    data, total : ndarray, shape (n_disp, n_cross)
        Pixel values and variances.
    good : ndarray of bool, shape (n_disp, n_cross)
        Pixels that take part.

    Returns
    -------
    ndarray of bool, shape (n_cross,)
        Without the rows of the edges. None where there is no such slit.
    """
    count = good.sum(axis=0)
    seen = np.flatnonzero(count > _COVERED * len(data))
    if len(seen) < _LEAST_LIT + _EDGE:
        return None
    mean = data.sum(axis=0)[seen] / count[seen]
    if min(mean[0], mean[-1]) > 0.5 * median(mean) > 0:
        return None  # lit to both ends, as most frames are
    # medians take long: what is none by its means, with room for hits, is none
    spread = np.sqrt(total.sum(axis=0)[seen]) / count[seen]
    if _ends(mean, 0.5 * median(spread), 0.5 * _FLAT, 3.0 * _BEYOND) is None:
        return None
    level, error = _levels(data, total, good, seen)
    ends = _ends(level, _OF_MEDIAN * median(error), _FLAT, _BEYOND)
    if ends is None:
        return None
    slit = np.zeros(data.shape[1], dtype=bool)
    slit[seen[ends[0] : ends[1] + 1]] = True
    return slit if _everywhere(data, total, good, slit) else None


def _ends(level: FloatArray, error: float, flat: float, beyond: float) -> tuple[int, int] | None:
    """First and last of the rows that are lit alike, if all others but those of the edges are dark."""
    lit = np.flatnonzero(level > _SNR * error)
    if len(lit) < _LEAST_LIT:
        return None
    sky = quantile(level[lit], _LOW)  # in the other rows there is a source
    first, last = (int(end) for end in np.flatnonzero(level > _FLAT * sky)[[0, -1]])
    inside, outside = level[first : last + 1], [*level[: max(first - _EDGE, 0)], *level[last + 1 + _EDGE :]]
    alike = np.abs(inside - sky) < (1.0 - flat) * sky + 3.0 * error
    if (
        len(inside) < _LEAST_LIT
        or not outside
        or sky < _SKY_SNR * error
        or inside.min() < flat * sky
        or np.count_nonzero(alike) < _LEAST_ALIKE * len(inside)
        or np.abs(outside).max() > max(beyond * sky, 5.0 * error)
    ):
        return None
    return first, last


def _everywhere(data: FloatArray, total: FloatArray, good: NDArray[np.bool_], lit: NDArray[np.bool_]) -> bool:
    """Whether most lit rows are lit in the same columns: a tilted trace lights one after the other."""
    weight = np.divide(good, total, out=np.zeros(total.shape), where=good)
    parts = median_bins(data[:, lit], weight[:, lit], edges_uniform(len(data), min(_PARTS, len(data)))).data
    least = sum(quantile(part, _LOW) for part in parts)
    return least > _TOGETHER * quantile(parts.sum(axis=0), _LOW)


def _levels(
    data: FloatArray, total: FloatArray, good: NDArray[np.bool_], rows: NDArray[np.intp]
) -> tuple[FloatArray, FloatArray]:
    """Medians of the good pixels of some rows, and what the errors of their means would be."""
    level, error = np.empty((2, len(rows)))
    for k, row in enumerate(rows):
        use = good[:, row]
        level[k], error[k] = median(data[use, row]), np.sqrt(median(total[use, row]) / np.count_nonzero(use))
    return level, error


def lit_rows(data: FloatArray, total: FloatArray, good: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Rows of a slit that the sky lights, between rows that it does not; None where there is no such thing.

    A source may be bright, but it does not light many rows alike.
    """
    seen = good.mean(axis=0) > _COVERED
    if np.count_nonzero(seen) < _LEAST_ROWS:
        return None
    middle, error = np.zeros((2, data.shape[1]))
    middle[seen], error[seen] = _levels(data, total, good, np.flatnonzero(seen))
    level = quantile(middle[seen], _HIGH)
    lit, dark = seen & (middle > 0.5 * level), seen & (middle < _DARK * level)
    inside = np.flatnonzero(lit)
    if level < _LIT_SNR * median(error[seen]) or len(inside) < _LIT * np.count_nonzero(seen) or not dark.any():
        return None
    # one piece, lit alike, and nothing dark within
    if np.count_nonzero(lit[inside[0] : inside[-1] + 1]) < len(inside) or middle[seen].max() > _ALIKE * level:
        return None
    return lit if _everywhere(data, total, good, lit) else None
