"""Where nod subtraction leaves negative traces, and how deep, from the exposures' own offsets and contexts.

An exposure of a nod has the mean of the exposures at the other positions subtracted, so a source seen at position i
is negative at j - i for every other position j, at 1 / (number of other exposures). The depth after combination is
the mean over the exposures that reach a row; the context image CON says which ones do.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["NodPattern", "nod_pattern", "offsets_of"]

#: Offsets of less than this are the same nod position, arcsec.
SAME_POSITION = 0.05

#: Half width of the rows whose contexts set the depth of a negative trace, pixel (triangular weights).
_REACH = 2.5


class NodPattern(NamedTuple):
    """Offsets of the negative traces in pixels, their depths relative to the source, and the number of positions."""

    offsets: tuple[float, ...]
    depths: tuple[float, ...]
    positions: int


def offsets_of(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """YOFFSET of each input exposure in arcsec, as HDRTAB has it; None where it does not tell."""
    return values if values.size > 1 and np.isfinite(values).all() else None


def _contexts(con: NDArray[Any], count: int) -> NDArray[np.bool_]:
    """Which exposures reach each pixel, shape (count, n_cross, n_disp); bit k of plane p is exposure 32 p + k."""
    planes = con.reshape(-1, *con.shape[-2:]).astype(np.int64) & 0xFFFFFFFF
    return np.array([(planes[k // 32] >> (k % 32)) & 1 == 1 for k in range(count)])


def nod_pattern(
    yoffset: NDArray[np.float64], con: NDArray[Any] | None, planned: float | None, scale: float, n_cross: int
) -> NodPattern | None:
    """Predict the negative traces of nod subtraction.

    Parameters
    ----------
    yoffset : ndarray, shape (n_exposure,)
        Offset of each exposure in arcsec, in the order of the contexts' bits.
    con : ndarray of int, shape (n_plane, n_cross, n_disp) or (n_cross, n_disp), or None
        Context image in the frame's orientation.
    planned : float or None
        Row of the source.
    scale : float
        Pixel scale in arcsec.
    n_cross : int
        Number of rows.

    Returns
    -------
    NodPattern or None
        None where all exposures share one position.
    """
    order = np.argsort(yoffset)
    position = np.empty(yoffset.size, dtype=int)
    position[order] = np.concatenate([[0], np.cumsum(np.diff(yoffset[order]) > SAME_POSITION)])
    count = int(position.max()) + 1
    if count < 2:
        return None
    where = np.array([yoffset[position == p].mean() for p in range(count)]) / scale
    number = np.bincount(position)
    reach = _contexts(con, yoffset.size) if con is not None and con.ndim >= 2 and con.size else None
    sign = _sense(reach, where[position]) if reach is not None else 1
    # (offset, position that shows it, depth in that exposure)
    pairs = [
        (sign * (where[j] - where[i]), i, -number[j] / (yoffset.size - number[i]))
        for i in range(count)
        for j in range(count)
        if i != j
    ]
    pairs.sort()
    groups: list[list[tuple[float, int, float]]] = []
    for pair in pairs:
        if groups and pair[0] - groups[-1][-1][0] < SAME_POSITION / scale:
            groups[-1].append(pair)
        else:
            groups.append([pair])
    offsets, depths = [], []
    for group in groups:
        offset = float(np.mean([pair[0] for pair in group]))
        weight = _weight(reach, None if planned is None else planned + offset, position, number, n_cross)
        depth = sum(depth * weight[i] for _, i, depth in group)
        if depth < 0:
            offsets.append(offset)
            depths.append(float(depth))
    return NodPattern(tuple(offsets), tuple(depths), count)


def _sense(reach: NDArray[np.bool_], where: NDArray[np.float64]) -> int:
    """+1 or -1: the sense of YOFFSET along the rows, from the rows that each exposure reaches.

    With all exposures aligned on the source, one taken with the source high on the slit reaches down to lower rows.
    """
    rows = np.arange(reach.shape[1])
    hits = reach.sum(axis=2).astype(float)
    seen = hits.sum(axis=1) > 0
    if seen.sum() < 2:
        return 1
    middle = (hits[seen] @ rows) / hits[seen].sum(axis=1)
    return 1 if float(np.sum((middle - middle.mean()) * (where[seen] - where[seen].mean()))) <= 0 else -1


def _weight(
    reach: NDArray[np.bool_] | None,
    row: float | None,
    position: NDArray[np.int_],
    number: NDArray[np.int_],
    n_cross: int,
) -> NDArray[np.float64]:
    """Share of each nod position in the combination, averaged over the rows that a trace at `row` touches.

    0 for all where no good row is within reach: a trace outside the image.
    """
    share = number / number.sum()
    if reach is None or row is None:
        return share
    rows = np.arange(n_cross)
    near = np.clip(1 - np.abs(rows - row) / _REACH, 0, None)
    hits = reach.sum(axis=2).astype(float)
    here = np.array([hits[position == p].sum(axis=0) for p in range(number.size)])
    total = here.sum(axis=0)
    near = np.where(total > 0, near, 0.0)
    if not (near > 0).any() or not -0.5 <= row <= n_cross - 0.5:
        return np.zeros(number.size)
    return (here / np.where(total > 0, total, 1.0)) @ near / near.sum()
