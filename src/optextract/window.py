"""The part of a frame that takes part, column-major, as the stages work on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import box, order
from .frame import Frame
from .lit import lit_rows, lit_slit
from .noise import Variance
from .robust import median

__all__ = ["Window", "cut"]

FloatArray = NDArray[np.float64]

_HUGE = 1e3  # times the variance of a pixel's row and of its column: how some pipelines mark a bad pixel
_FILLED, _USUAL = 1e29, 1e-12  # what no pixel holds, if the usual one holds no more than that part of it
_SURE = 1e-10  # of the usual variance
_LIGHT = 5.0  # sigma: what is brighter owes its variance to its own photons
_LEAST, _COMMON = 5, 0.01  # pixels of a line that tell that it is dead, and part of the others that may hold its value


@dataclass(frozen=True, eq=False)
class Window:
    """Bounding box of the region's good pixels, transposed to (n_disp, n_cross).

    Attributes
    ----------
    data, weight, variance : ndarray, shape (n_disp, n_cross)
        Pixel values (0 where bad), inverse variances (0 where bad), variances (1 where bad).
    row, column : int
        Frame row and column of the box's first pixel.
    shape : tuple of int
        Shape of the frame, (n_cross, n_disp).
    warnings : tuple of str
        What was left out that the frame does not mark.
    lit : bool
        Whether the sky is still in the frame and lights a part of the rows, the slit, to which the box was cut.
    factor : float
        What the frame's variances were multiplied with.
    """

    data: FloatArray
    weight: FloatArray
    variance: FloatArray
    row: int
    column: int
    shape: tuple[int, int]
    warnings: tuple[str, ...] = ()
    lit: bool = False
    factor: float = 1.0

    @property
    def n_disp(self) -> int:
        """Columns of the box."""
        return self.data.shape[0]

    @property
    def n_cross(self) -> int:
        """Rows of the box."""
        return self.data.shape[1]

    @property
    def columns(self) -> FloatArray:
        """Number of each column of the box, as the fits count them, shape (n_disp,)."""
        return np.arange(self.n_disp, dtype=float)

    def without_rows(self, rows: NDArray[np.intp]) -> Window:
        """The same without rows that are off by themselves, and a word on them."""
        out = np.isin(np.arange(self.n_cross), rows)
        beside = np.isin(rows + 1, rows) | np.isin(rows - 1, rows)
        words = []
        if not beside.all():
            names = " and ".join(str(int(row) + self.row) for row in rows[~beside])
            words.append(
                f"Row {names}: the neighbours share nothing of what stands out there in all columns; left out."
            )
        if beside.any():
            names = ", ".join(str(int(row) + self.row) for row in rows[beside])
            words.append(f"Rows {names}: light of something beyond the edge would pass for background; left out.")
        return replace(
            self,
            data=np.where(out, 0.0, self.data),
            weight=np.where(out, 0.0, self.weight),
            variance=np.where(out, 1.0, self.variance),
            warnings=(*self.warnings, *words),
        )

    def part(self, image: FloatArray) -> FloatArray:
        """The box of a frame-shaped image, column-major."""
        rows = slice(self.row, self.row + self.n_cross)
        return np.ascontiguousarray(image[rows, self.column : self.column + self.n_disp].T)

    def spread(self, image: NDArray[Any], fill: float | bool = np.nan) -> NDArray[Any]:
        """Images (n_disp, ..., n_cross) as ones of the frame's shape (..., n_row, n_column), `fill` outside.

        They lie in memory as before, column after column: to turn them would take longer than to make them.
        """
        if self.data.size < self.shape[0] * self.shape[1]:
            part, image = image, np.empty((self.shape[1], *image.shape[1:-1], self.shape[0]), dtype=image.dtype)
            first, last, top, bottom = self.column, self.column + self.n_disp, self.row, self.row + self.n_cross
            image[:first], image[last:], image[..., :top], image[..., bottom:] = fill, fill, fill, fill
            image[first:last, ..., top:bottom] = part
        return image.transpose(*range(1, image.ndim), 0)

    def along(self, values: FloatArray, fill: float = np.nan) -> FloatArray:
        """Values per column of the box (..., n_disp) as values per column of the frame, `fill` outside."""
        out = np.full((*values.shape[:-1], self.shape[1]), fill, dtype=values.dtype)
        out[..., self.column : self.column + self.n_disp] = values
        return out


def cut(frame: Frame, inside: NDArray[np.bool_], variance: Variance, factor: float) -> Window:
    """Cut the bounding box of a region's good pixels out of a frame.

    Parameters
    ----------
    frame : Frame
        The frame.
    inside : ndarray of bool, shape (n_cross, n_disp)
        Pixels of the region.
    variance : Variance
        The chosen variance.
    factor : float
        Factor on it.

    Returns
    -------
    Window
    """
    # empty borders are cut off, so that no basis, bin or choice depends on how much of nothing surrounds the data
    useful = inside & frame.good
    rows = np.flatnonzero(useful.any(axis=1))
    columns = np.flatnonzero(useful.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    part = (slice(top, rows[-1] + 1), slice(left, columns[-1] + 1))
    # column after column in memory, as the loops go through them; fetched along the rows, which is quicker than across
    fetched = (np.array(image[part]) for image in (frame.flux, variance.total))
    data, total = (np.array(image.T, dtype=float, order="C") for image in fetched)
    good = np.array(useful[part].T, dtype=bool, order="C")
    weight = np.empty(data.shape)
    largest, least, most = box.weigh(data, total, good, float(factor), weight)
    words: tuple[str, ...] = ()

    def leave_out(marked: NDArray[np.bool_] | None, why: str | None = None) -> tuple[str, ...]:
        if marked is None:
            return ()
        good[marked] = False
        data[marked], weight[marked], total[marked] = 0.0, 0.0, 1.0
        return () if why is None else (f"{np.count_nonzero(marked)} pixels {why}: left out; a mask should say so.",)

    if largest > _FILLED:
        words += leave_out(_filled(data, good), f"hold values beyond {_FILLED:.0e}, which no detector gives")
    if most * _SURE > least:
        words += leave_out(_too_sure(total, good), f"have less than {_SURE:.0e} of the usual variance")
    words += leave_out(_dead_lines(data, good), "of whole rows or columns hold one and the same value")
    leave_out(_marked_by_variance(data, total, good))
    planned = frame.meta.get("planned_trace") is not None
    slit = (lit_rows if planned else lit_slit)(data, total, good)
    if slit is not None:
        leave_out(np.broadcast_to(~slit, data.shape))
        ends = np.flatnonzero(slit)[[0, -1]] + top
        words += (
            f"The sky is still in the frame and lights rows {ends[0]} to {ends[1]}: only these take part, and the "
            "source is taken where it is planned. Subtract the nods from each other first."
            if planned
            else f"Rows {ends[0]} to {ends[1]} are lit alike and the rows beyond are dark, as a slit is by its sky: "
            "only these take part. region.cross tells which, if it is not so.",
        )
    lit = planned and slit is not None
    return Window(data, weight, total, top, left, frame.shape, words, lit, float(factor))


def _filled(data: FloatArray, good: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Pixels that hold what files write where there is nothing (1e30, 9.97e36, 3.4e38); none where all hold such."""
    filled = good & (np.abs(data) > _FILLED)
    others = good & ~filled
    return filled if others.any() and median(np.abs(data[others])) < _USUAL * _FILLED else None


def _dead_lines(data: FloatArray, good: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Pixels of rows and columns without any scatter, where the others do not hold that value as well.

    Counts of few photons do, and so does an image without noise.
    """
    dead = np.zeros(data.shape, dtype=bool)
    for values, seen, mark in ((data, good, dead), (data.T, good.T, dead.T)):
        # two neighbours tell of nearly all lines that they are not dead
        middle = (values.shape[1] - 1) // 2
        for line in np.flatnonzero(values[:, middle] == values[:, min(middle + 1, values.shape[1] - 1)]):
            held = values[line, seen[line]]
            mark[line] |= len(held) > _LEAST and held.min() == held.max()
    dead &= good
    others = good & ~dead
    if not dead.any() or not others.any():
        return None
    common = [value for value in np.unique(data[dead]) if (data[others] == value).mean() > _COMMON]
    dead &= ~np.isin(data, common)
    return dead if dead.any() else None


def _too_sure(total: FloatArray, good: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Pixels whose variance is as good as zero beside the others': a bad pixel, and no better than one of zero."""
    sure = good & (total < _SURE * median(total[good]))
    return sure if sure.any() else None


def _marked_by_variance(data: FloatArray, total: FloatArray, good: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Pixels whose variance is huge beside that of their row and of their column, and is not that of their own light.

    They carry no information, but the mean variance of a bin of columns would be theirs. A row or a column that is
    noisy as a whole stays, and so does a bright line.
    """
    # what is not huge beside the least of all is not beside its row and column either: few of these have to be asked
    marked, in_column, in_row = np.empty(good.shape, dtype=bool), *(np.empty(n, dtype=bool) for n in good.shape)
    if not box.suspect(total, good, _HUGE, marked, in_column, in_row):
        return None
    rows, columns = np.flatnonzero(in_row), np.flatnonzero(in_column)
    marked[:, rows] &= total[:, rows] > _HUGE * _middles(total.T, good.T, rows)
    marked[columns] &= total[columns] > _HUGE * _middles(total, good, columns)[:, None]
    columns = columns[marked[columns].any(axis=1)]
    if not len(columns):
        return None
    level = _middles(data, good & ~marked, columns)
    marked[columns] &= data[columns] - level[:, None] < _LIGHT * np.sqrt(total[columns])
    return marked


def _middles(values: FloatArray, use: NDArray[np.bool_], which: NDArray[np.intp]) -> FloatArray:
    """The middle one of the values to be used of some of the lines."""
    middle = np.empty(len(which))
    order.middle_of_rows(np.ascontiguousarray(values[which]), np.ascontiguousarray(use[which]), 1, middle)
    return middle
