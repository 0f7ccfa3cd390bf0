"""Where the sources are: signed detection on coadded columns, before any fit.

Each coarse bin of columns is filtered with profiles of several widths; the S/N along a row (or along a curved path,
where the frame is not rectified) is what a source must have. Negative traces have negative S/N and are never picked;
edges and rows without neighbours are refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.polynomial import Legendre
from numpy.typing import NDArray

from .bins import edges_uniform, median_bins
from .compiled import filtered
from .few import are_promised, believed, line_bins, line_strength, without_lone
from .filters import BIN_CLIP, STANDS_OUT, WIDTHS, Filtered, widths_for
from .robust import median

__all__ = ["Detection", "detect"]

FloatArray = NDArray[np.float64]

_SURE = 2.0 * BIN_CLIP  # S/N of all bins together above which nothing else is looked for
_LEAST_PATH = 8  # bins
_BRIGHT_BIN = 8.0  # S/N of a bin that shows by itself where the source is
_WANDER = 1.5  # rows between most bins, and off a straight line: below that a straight trace will do
_TILT = 3.0  # rows: below that the fit of a straight trace finds it
_CURVE, _OFF_CURVE = 4, 0.9  # degree of a smooth bend, and rows that a path may be off it: it goes in whole rows
_LAZY = 3  # rows that a path may be from where its bins are brightest
_MORE = 1.05  # times the S/N of a row, in the mean of all bins: what a path must have that is believed for it
_TIE = 0.1  # of the score: how much the brighter of two rows is preferred whose bins are all at the cap
_BEAT = 1.5  # S/N of lines over that of the continuum, and over that of lines on any other row, to be believed


@dataclass(frozen=True, eq=False)
class Detection:
    """The brightest source that qualifies.

    Attributes
    ----------
    row : ndarray, shape (n_bin,)
        Its position in each coarse bin, row of the window.
    column : ndarray, shape (n_bin,)
        Centre column of each bin.
    fwhm : float
        Width of the best filter, pixel.
    snr : float
        Detection S/N, summed along the path.
    bin_snr : ndarray, shape (n_bin,)
        S/N of each bin along the path.
    edges : ndarray of int, shape (n_bin + 1,)
        Column edges of the coarse bins.
    curved : bool
        Whether the path is not a row.
    lines : bool
        Whether it was found by emission lines rather than by its continuum.
    line_snr : float
        S/N of the best row's lines where they were looked for, whether they were believed or not; else 0.
    line_row : float
        That row.
    bowl : ndarray, shape (n_cross,), optional
        Background that rises to both ends of the rows, where there is one.
    """

    row: FloatArray
    column: FloatArray
    fwhm: float
    snr: float
    bin_snr: FloatArray
    edges: NDArray[np.intp]
    curved: bool
    lines: bool = False
    line_snr: float = 0.0
    line_row: float = np.nan
    bowl: FloatArray | None = None

    @property
    def found(self) -> bool:
        """Whether the source stands out of the noise."""
        return self.snr >= STANDS_OUT

    @property
    def bends(self) -> bool:
        """Whether the path is neither a row nor a tilted line, which one of a rectified frame may be."""
        if not self.curved:
            return False
        line = Legendre.fit(self.column, self.row, 1)(self.column)
        return float(np.ptp(self.row - line)) > _WANDER

    @property
    def unlike_rectified(self) -> str:
        """What a reader must know of a path that bends in a frame that should be rectified."""
        return (
            f"The file says that the frame is rectified, but its trace moves by {np.ptp(self.row):.0f} rows: fitted as "
            "that of an unrectified one."
        )

    def nothing_at(self, path: FloatArray) -> Detection:
        """The same bins without a source: it is to be taken on a path, one row per column of the window."""
        row = np.interp(self.column, np.arange(len(path)), path)
        return replace(self, row=row, snr=0.0, lines=False, line_snr=0.0)


def detect(
    data: FloatArray,
    weight: FloatArray,
    *,
    lines: bool = False,
    may_curve: bool | None = False,
    planned: float | None = None,
    planned_sigma: float = 0.4,
    nods: tuple[float, ...] = (),
) -> Detection:
    """Find the brightest positive source.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Pixel values and inverse variances (zero where bad).
    lines : bool, optional
        Look for emission lines instead of continuum.
    may_curve : bool or None, optional
        Let the path leave its row; None: only where bright bins show that it does.
    planned : float, optional
        Planned position, row of the window: a significant source near it is preferred to a brighter one elsewhere.
    planned_sigma : float, optional
        Its 1 sigma error, pixel.
    nods : tuple of float, optional
        Offsets at which the true source has negative twins.

    Returns
    -------
    Detection
    """
    options: dict[str, Any] = {"planned": planned, "planned_sigma": planned_sigma, "nods": nods}
    if lines:
        return _detect(Filtered.of(line_bins(data, weight)), lines=True, **options)
    n_disp = len(data)
    coarse = median_bins(data, weight, edges_uniform(n_disp, min(max(n_disp // 16, 1), 48)))
    found = _detect(Filtered.of(coarse), may_curve=may_curve, **options)
    if found.snr > _SURE:
        return found
    few = line_bins(data, without_lone(data, weight))
    if not are_promised(few):
        return found
    image = Filtered.of(few)
    other = _detect(image, lines=True, **options)
    if not other.found:
        return found
    own, rival = believed(image, other.fwhm, int(other.row[0]))
    if own > _BEAT * max(found.snr, rival) and own > _SURE:
        return other
    return replace(found, line_snr=other.snr, line_row=float(other.row[0]))


def _detect(
    image: Filtered,
    *,
    lines: bool = False,
    may_curve: bool | None = False,
    planned: float | None,
    planned_sigma: float,
    nods: tuple[float, ...],
) -> Detection:
    """Find the brightest positive source in bins."""
    usable = image.usable
    best: tuple[float, float, FloatArray, int, float] | None = None
    found_planned = False
    for fwhm in widths_for(image.n_cross) if usable.any() else ():
        snr = image.snr(fwhm)
        score = _row_score(snr, lines)
        total = np.where(usable, score, -np.inf)
        place = _choose(total, planned, planned_sigma, _twins(score, nods))
        strength = float(snr[:, place].sum()) / len(snr)
        # where the capped score saturates, it is the strength that tells the widths apart
        # what is significant near the plan goes before what is brighter elsewhere, in whichever width it shows
        as_planned = planned is not None and abs(place - planned) <= _near(planned_sigma) and total[place] >= STANDS_OUT
        stronger = (
            best is None or total[place] > 1.03 * best[0] or (total[place] > 0.97 * best[0] and strength > best[4])
        )
        if as_planned > found_planned or (as_planned == found_planned and stronger):
            best, found_planned = (float(total[place]), fwhm, snr, place, strength), as_planned
    if best is None:
        flat = np.full(len(image.column), (image.n_cross - 1) / 2 if planned is None else float(planned))
        return Detection(
            flat, image.column, WIDTHS[1], 0.0, np.zeros(len(flat)), image.edges, False, lines, bowl=image.bowl
        )
    snr_total, fwhm, snr, place, _ = best
    path = np.full(len(image.column), place)
    curved = False
    if may_curve is not False and len(path) >= _LEAST_PATH and not lines:
        bent = None
        if _wanders(image.snr(min(fwhm, WIDTHS[1])), usable):
            # where all bins are at the cap, a row or a lazy path has as good a score as the trace
            bent = _bent(image, snr_total, capped=True)
        if bent is None and may_curve:
            bent = _bent(image, snr_total)
        if bent is not None:
            snr_total, fwhm, snr, path = bent
            curved = True
    along = snr[np.arange(len(path)), path]
    row = path.astype(float)
    if lines:
        snr_total = float(line_strength(along[:, None])[0])
    if snr_total < STANDS_OUT:
        # nothing stands out: the data must not choose the row, or noise would be extracted where it is brightest
        row = np.full(len(path), (image.n_cross - 1) / 2 if planned is None else float(planned))
    seen = (snr_total, float(place)) if lines else (0.0, np.nan)
    return Detection(row, image.column, fwhm, snr_total, along, image.edges, curved, lines, *seen, bowl=image.bowl)


def _wanders(snr: FloatArray, usable: NDArray[np.bool_]) -> bool:
    """Whether the rows at which bright bins are brightest move, in many of them and by more than noise does.

    To be asked with a narrow filter: a row of a trace that bends is found with one as wide as the bend.
    """
    lit = np.zeros(snr.shape[1], dtype=np.intp)
    bright = filtered.brightest_rows(snr, usable, _BRIGHT_BIN, lit)
    if bright < max(_LEAST_PATH, len(snr) // 4):
        return False
    rows = np.repeat(np.arange(len(lit)), lit)
    tenth = bright // 10
    return bool(rows[-1 - tenth] - rows[tenth] > _WANDER)


def _smooth_path(path: NDArray[np.intp], snr: FloatArray) -> NDArray[np.intp] | None:
    """A path that bends or is tilted, laid through what bright bins say; None where it does not move by and by.

    Another source takes over at once.
    """
    every = np.arange(len(path))
    at = np.flatnonzero(snr[every, path] > _BRIGHT_BIN)
    if len(at) < _LEAST_PATH:
        return None
    rows = path[at]
    line = Legendre.fit(at, rows, 1)(at)
    if np.ptp(line) <= _TILT and np.ptp(rows - line) <= _WANDER:
        return None
    # where it is steep it moves by more than a row from one bin to the next, but along a curve
    off = np.abs(rows - Legendre.fit(at, rows, _CURVE)(at)).max()
    if (np.abs(np.diff(rows)) > np.diff(at)).any() and off >= _OFF_CURVE:
        return None
    laid = np.clip(np.rint(Legendre.fit(at, rows, 2)(every)), 0, snr.shape[1] - 1).astype(np.intp)
    laid[at] = rows
    return laid


def _bent(
    image: Filtered, flat_score: float, capped: bool = False
) -> tuple[float, float, FloatArray, NDArray[np.intp]] | None:
    """The best path that is no row, if there is one: its score, filter width, S/N image and rows.

    It must have a better score than the best row has; or, to be asked where both may be at the cap, clearly more than
    any row has in the same filter, and move smoothly.
    """
    found: tuple[float, float, float, FloatArray, NDArray[np.intp]] | None = None
    for fwhm in widths_for(image.n_cross):
        snr = image.snr(fwhm)
        # at the cap a path need not move: there it follows what bins have by themselves
        scale = max(1.0, median(snr.max(axis=1)) / BIN_CLIP) if capped else 1.0
        path, score = _follow(snr / scale)
        path = _brightest_near(snr, path) if capped else path
        along = snr[np.arange(len(path)), path]
        strength = float(along.mean())
        if score < 2 * STANDS_OUT or np.ptp(path) < 1:
            continue
        # bin by bin: where a spectrum is steep, a few bright ones would tell of a row as good as the path
        row = np.clip(snr / np.maximum(along, 1e-300)[:, None], 0.0, 1.0).mean(axis=0).max() if capped else 1.0
        more = 1.0 / max(float(row), 1e-300)
        if score < flat_score + 3.0 and more < _MORE:
            continue
        # a path may choose its rows, so noise alone scores high: as high as on the image turned negative
        if score < 2.5 * BIN_CLIP and score < 1.4 * _follow(-snr)[1]:
            continue
        # a filter as wide as the bend is nearly as good along a row
        if found is None or strength * more > found[0]:
            found = (strength * more, score, fwhm, snr, path)
    if found is None:
        return None
    _, score, fwhm, snr, path = found
    smooth = _smooth_path(path, snr) if capped else path
    return None if smooth is None else (score, fwhm, snr, smooth)


def _brightest_near(snr: FloatArray, path: NDArray[np.intp]) -> NDArray[np.intp]:
    """The path on the brightest rows near it: one in a wide filter is lazy, as its price is that of a row's S/N."""
    rows = np.clip(path[:, None] + np.arange(-_LAZY, _LAZY + 1), 0, snr.shape[1] - 1)
    each = np.arange(len(path))
    near = snr[each[:, None], rows]
    return np.where(near.max(axis=1) > _BRIGHT_BIN, rows[each, near.argmax(axis=1)], path)


def _row_score(snr: FloatArray, lines: bool) -> FloatArray:
    """S/N of each row over all bins, or of its lines; no bin counts for more than `BIN_CLIP`."""
    if lines:
        # where the cap makes neighbouring rows equal, the brighter one is the source
        strength = line_strength(snr)
        return line_strength(np.minimum(snr, BIN_CLIP)) * (1.0 + _TIE * strength / max(strength.max(), 1e-300))
    score = np.empty(snr.shape[1])
    filtered.score_rows(snr, BIN_CLIP, _SURE, score)
    return score


def _twins(score: FloatArray, nods: tuple[float, ...]) -> FloatArray:
    """What the negative twins of a source on each row add to the belief that it is the source."""
    added = np.zeros(len(score))
    for offset in nods:
        filtered.add_twin(score, float(offset), added)
    return added


def _near(planned_sigma: float) -> float:
    """How far from the plan a source still counts as the planned one, pixel."""
    return max(5 * planned_sigma, 2.0)


def _choose(total: FloatArray, planned: float | None, planned_sigma: float, twins: FloatArray) -> int:
    """The row of the source: near the plan if anything significant is there, else the best one."""
    believed = total + 0.3 * twins  # minus infinity stays what it is
    best = int(believed.argmax())
    if planned is None:
        return best
    near = np.abs(np.arange(len(total)) - planned) <= _near(planned_sigma)
    there = near & (total >= STANDS_OUT)
    # the rows at both ends are never usable, and so never there
    there[1:-1] &= (total[1:-1] >= total[:-2]) & (total[1:-1] >= total[2:])
    if there.any():
        return int(np.where(there, believed, -np.inf).argmax())
    if total[best] < STANDS_OUT and np.isfinite(total[near]).any():
        return int(np.where(near, believed, -np.inf).argmax())
    return best


def _follow(snr: FloatArray, reach: int = 4, price: float = 2.0) -> tuple[NDArray[np.intp], float]:
    """Path of highest S/N through the bins, at a price per row it moves (Viterbi's algorithm)."""
    n_bin, n_cross = snr.shape
    worth = np.clip(snr, -BIN_CLIP, BIN_CLIP)
    score = worth[0].copy()
    came = np.zeros((n_bin, n_cross), dtype=np.intp)
    steps = np.arange(-reach, reach + 1)
    rows = np.arange(n_cross)
    for b in range(1, n_bin):
        before = rows[None, :] + steps[:, None]
        valid = (before >= 0) & (before < n_cross)
        options = np.where(valid, score[np.clip(before, 0, n_cross - 1)] - price * np.abs(steps)[:, None], -np.inf)
        pick = options.argmax(axis=0)
        came[b] = before[pick, rows]
        score = options[pick, rows] + worth[b]
    path = np.empty(n_bin, dtype=np.intp)
    path[-1] = score.argmax()
    for b in range(n_bin - 1, 0, -1):
        path[b - 1] = came[b, path[b]]
    return path, float(worth[np.arange(n_bin), path].sum() / np.sqrt(n_bin))
