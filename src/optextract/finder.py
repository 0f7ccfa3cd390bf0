"""Where the sources are: signed detection on coadded columns, before any fit.

Each coarse bin of columns is filtered with profiles of several widths; the S/N along a row (or along a curved path,
where the frame is not rectified) is what a source must have. Negative traces have negative S/N and are never picked;
edges and rows without neighbours are refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .bins import Binned, edges_uniform, mean_bins, median_bins
from .compiled import contiguous, order
from .profiles import Gaussian
from .robust import median

__all__ = ["BIN_CLIP", "Detection", "detect"]

FloatArray = NDArray[np.float64]

_WIDTHS = (1.3, 2.0, 3.2, 5.0, 8.0)
_LEAST_SNR = 5.0
_SPREAD = 0.06  # of a row's signal: what a source puts into the brighter neighbour at least
#: S/N that one bin can add to a detection: a hot bin must not outvote the others
BIN_CLIP = 12.0


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
    """

    row: FloatArray
    column: FloatArray
    fwhm: float
    snr: float
    bin_snr: FloatArray
    edges: NDArray[np.intp]
    curved: bool

    @property
    def found(self) -> bool:
        """Whether the source stands out of the noise."""
        return self.snr >= _LEAST_SNR


def detect(
    data: FloatArray,
    weight: FloatArray,
    *,
    lines: bool = False,
    may_curve: bool = False,
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
    may_curve : bool, optional
        Let the path leave its row.
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
    binned = _without_hot_rows(_coarse(data, weight, lines))
    middle = _row_median(binned)
    search = _Search.of(binned, middle[:, None] + _gradient(binned, middle))
    usable = _usable_rows(binned)
    best: tuple[float, float, FloatArray, int, float] | None = None
    found_planned = False
    for fwhm in _widths(data.shape[1]):
        snr = search.filtered(fwhm)
        score = _row_score(snr, lines)
        total = np.where(usable, score, -np.inf)
        if not np.isfinite(total).any():
            continue
        place = _choose(total, planned, planned_sigma, _twins(score, nods))
        strength = float(np.mean(snr[:, place]))
        # where the capped score saturates, it is the strength that tells the widths apart
        # what is significant near the plan goes before what is brighter elsewhere, in whichever width it shows
        as_planned = planned is not None and abs(place - planned) <= _near(planned_sigma) and total[place] >= _LEAST_SNR
        stronger = (
            best is None or total[place] > 1.03 * best[0] or (total[place] > 0.97 * best[0] and strength > best[4])
        )
        if as_planned > found_planned or (as_planned == found_planned and stronger):
            best, found_planned = (float(total[place]), fwhm, snr, place, strength), as_planned
    if best is None:
        flat = np.full(len(binned.column), (data.shape[1] - 1) / 2 if planned is None else float(planned))
        return Detection(flat, binned.column, _WIDTHS[1], 0.0, np.zeros(len(flat)), binned.edges, False)
    snr_total, fwhm, snr, place, _ = best
    path = np.full(len(binned.column), place)
    curved = False
    if may_curve and len(path) >= 8 and not lines:
        bent = _bent(search, snr_total)
        if bent is not None:
            snr_total, fwhm, snr, path = bent
            curved = True
    along = snr[np.arange(len(path)), path]
    row = path.astype(float)
    if snr_total < _LEAST_SNR:
        # nothing stands out: the data must not choose the row, or noise would be extracted where it is brightest
        row = np.full(len(path), (data.shape[1] - 1) / 2 if planned is None else float(planned))
    return Detection(row, binned.column, fwhm, snr_total, along, binned.edges, curved)


def _widths(n_cross: int) -> tuple[float, ...]:
    """Filter widths that leave room for background."""
    return tuple(w for w in _WIDTHS if w <= 0.25 * n_cross or w == _WIDTHS[0])


def _bent(search: _Search, flat_score: float) -> tuple[float, float, FloatArray, NDArray[np.intp]] | None:
    """The best path that is no row, if there is one: its score, filter width, S/N image and rows."""
    found: tuple[float, float, float, FloatArray, NDArray[np.intp]] | None = None
    for fwhm in _widths(search.values.shape[1]):
        snr = search.filtered(fwhm)
        path, score = _follow(snr)
        if score < max(flat_score + 3.0, 2 * _LEAST_SNR) or np.ptp(path) < 1:
            continue
        # a path may choose its rows, so noise alone scores high: as high as on the image turned negative
        if score < 2.5 * BIN_CLIP and score < 1.4 * _follow(-snr)[1]:
            continue
        strength = float(snr[np.arange(len(path)), path].mean())
        if found is None or strength > found[0]:
            found = (strength, score, fwhm, snr, path)
    return None if found is None else found[1:]


def _coarse(data: FloatArray, weight: FloatArray, lines: bool) -> Binned:
    """Bins for the search: medians of many columns for continuum, means of three for lines."""
    n_disp = len(data)
    if lines:
        return mean_bins(data, weight, np.zeros_like(data), edges_uniform(n_disp, max(1, n_disp // 3)))
    return median_bins(data, weight, edges_uniform(n_disp, int(np.clip(n_disp // 16, 1, 48))))


def _row_median(binned: Binned) -> FloatArray:
    """Median of each bin's good pixels: the background that the search subtracts."""
    middle = np.empty(len(binned.data))
    order.middle_of_rows(contiguous(binned.data), np.ascontiguousarray(binned.weight > 0), 1, middle)
    return middle


def _gradient(binned: Binned, middle: FloatArray) -> FloatArray:
    """Robust slope of all bins together along cross-dispersion, zero at the middle, shape (n_cross,)."""
    seen = binned.weight > 0
    count = seen.sum(axis=0)
    row = np.arange(len(count), dtype=np.float64) - 0.5 * (len(count) - 1)
    use = count > 0.3 * len(seen)
    if use.sum() < 6:
        return np.zeros(len(count))
    above = np.where(seen, binned.data - middle[:, None], 0.0)
    mean, where = above[:, use].sum(axis=0) / count[use], row[use]
    weight = np.ones(len(where))
    slope = 0.0
    for _ in range(12):  # Cauchy weights: the source itself must not tilt the line
        share = weight / weight.sum()
        away, level = where - share @ where, share @ mean
        slope = float((share * away) @ (mean - level) / ((share * away) @ away))
        left = mean - level - slope * away
        scale = median(np.abs(left))
        if scale == 0:
            break
        weight = 1.0 / (1.0 + (left / (2.0 * scale)) ** 2)
    return slope * row


@lru_cache(maxsize=32)
def _kernel(fwhm: float) -> FloatArray:
    """Profile freed of its mean and slope over a window of two FWHM to each side: blind to background and gradient."""
    half = max(2, int(np.ceil(2 * fwhm)))
    profile = Gaussian().integrate(2 * half + 1, np.array([float(half)]), np.array([fwhm]))[0]
    return np.array(profile - profile.mean(), dtype=float)


@dataclass(frozen=True, eq=False)
class _Search:
    """Bins freed of their background: good pixels' values and variances (zero where bad)."""

    values: FloatArray
    variance: FloatArray
    seen: NDArray[np.bool_]

    @classmethod
    def of(cls, binned: Binned, level: FloatArray) -> _Search:
        """The bins above a level."""
        seen = binned.weight > 0
        variance = np.divide(1.0, binned.weight, out=np.zeros_like(binned.weight), where=seen)
        return cls(np.where(seen, binned.data - level, 0.0), variance, seen)

    def filtered(self, fwhm: float) -> FloatArray:
        """S/N of a source of this width centred on each row of each bin."""
        top, bottom = np.empty((2, *self.values.shape))
        order.correlate_rows(contiguous(self.values), contiguous(self.variance), _kernel(fwhm), top, bottom)
        use = (bottom > 0) & self.seen
        snr = np.zeros(top.shape)
        np.divide(top, np.sqrt(bottom), out=snr, where=use)
        return snr


def _row_score(snr: FloatArray, lines: bool) -> FloatArray:
    """S/N of each row over all bins; for lines, the root of the summed squares of what stands out."""
    if lines:
        bright = np.where(snr > 3.5, snr, 0.0)
        return np.sqrt((bright**2).sum(axis=0))
    seen = np.maximum((snr != 0).sum(axis=0), 1)
    capped = np.clip(snr, -BIN_CLIP, BIN_CLIP).sum(axis=0) / np.sqrt(seen)
    # where the cap makes neighbouring rows equal, the brighter one is the source
    return capped + 1e-3 * np.clip(snr.sum(axis=0) / seen, -1e3, 1e3)


def _usable_rows(binned: Binned) -> NDArray[np.bool_]:
    """Rows that have neighbours with data on both sides."""
    covered = (binned.weight > 0).mean(axis=0) > 0.3
    inside = covered & np.roll(covered, 1) & np.roll(covered, -1)
    inside[0] = inside[-1] = False
    return inside


def _without_hot_rows(binned: Binned) -> Binned:
    """Rows masked whose neighbours share nothing of their signal.

    A real source spreads: even at a FWHM of 1.1 pixels each neighbour holds a tenth of the flux, a hot row's hold none.
    """
    seen = binned.weight > 0
    count = np.maximum(seen.sum(axis=0), 1)
    above = np.where(seen, binned.data - _row_median(binned)[:, None], 0.0)
    mean = above.sum(axis=0) / count
    error = np.sqrt(np.where(seen, 1.0 / np.where(seen, binned.weight, 1.0), 0.0).sum(axis=0)) / count
    beside = np.pad(mean, 1, constant_values=-np.inf)
    side = np.maximum(beside[2:], beside[:-2])
    hot = (mean > 3 * _LEAST_SNR * error) & (side < _SPREAD * mean)
    return replace(binned, weight=np.where(hot, 0.0, binned.weight)) if hot.any() else binned


def _twins(score: FloatArray, nods: tuple[float, ...]) -> FloatArray:
    """What the negative twins of a source on each row add to the belief that it is the source."""
    added = np.zeros_like(score)
    rows = np.arange(len(score))
    for offset in nods:
        at = rows + offset
        seen = (at >= 0) & (at <= len(score) - 1)
        added += np.where(seen, np.clip(-np.interp(at, rows, score), -3.0, 10.0), 0.0)
    return added


def _near(planned_sigma: float) -> float:
    """How far from the plan a source still counts as the planned one, pixel."""
    return max(5 * planned_sigma, 2.0)


def _choose(total: FloatArray, planned: float | None, planned_sigma: float, twins: FloatArray) -> int:
    """The row of the source: near the plan if anything significant is there, else the best one."""
    believed = np.where(np.isfinite(total), total + 0.3 * twins, -np.inf)
    best = int(np.argmax(believed))
    if planned is None:
        return best
    rows = np.arange(len(total))
    near = np.abs(rows - planned) <= _near(planned_sigma)
    local = (total >= np.roll(total, 1)) & (total >= np.roll(total, -1))
    there = near & local & (total >= _LEAST_SNR)
    if there.any():
        return int(rows[there][np.argmax(believed[there])])
    if total[best] < _LEAST_SNR and near.any() and np.isfinite(total[near]).any():
        return int(rows[near][np.argmax(believed[near])])
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
