"""Whether a background fits where it matters: beneath the sources, and in the rows beside them.

Sky lines that are bent or tilted follow no polynomial over a long slit, but do so over a few FWHM. The rows far off
are many, and none of them lies under the source: where they and the rows beside it do not agree, these are asked alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from .compiled import contiguous
from .compiled.sky import both_sides
from .compiled.sums import side_pulls
from .reduced import Reduced, reduced_by
from .robust import median, robust_rms
from .solve import solve_columns

__all__ = [
    "VARIES",
    "columns_off",
    "common_mode",
    "disagreement",
    "least_disagreement",
    "near_rows",
    "per_column_pulls",
    "raised_columns",
    "sky_varies",
]

FloatArray = NDArray[np.float64]

VARIES = 4.0  # mean square pull of a constant that is free in each column, above which the sky is not smooth

_REACH, _LEAST_REACH = 5.0, 10.0  # FWHM from a trace that rows count as near, and pixels: a slope needs some
_WIDER = (1.0, 1.5, 2.0, 3.0)  # times that: the sets of rows that are tried
_BIAS, _CHANCE = 0.25, 4.0  # of the variance, and sigma
_WORTHWHILE = 0.6  # of all rows: where the near ones are more, the others hardly lead the fit
_MOST_RAISED = 0.03  # of the columns that may be off
_AROUND = 31  # columns, of which the middle one is usual
_LEAST_COLUMNS = 30  # with both sides, that tell what is usual
_TOGETHER = (4, 8)  # columns whose means are compared for slow variations
_CAP = 100.0  # squared pull above which a column says no more: a hit is no evidence
_QUARTER = 0.1015  # lower quartile of chi2 with one degree of freedom: columns without lines tell it
_RAISED, _EACH = 7.0, 4.0  # sigma of both sides together, and of either: a column that is off in all rows
_OFF = 6.0  # sigma of the mean of the rows beside a source, of which noise makes none
_BESIDE, _LEAST_BESIDE = 2.0, 3  # FWHM beyond the source's own rows, and rows: one alone may be hit


def near_rows(centre: FloatArray, fwhm: FloatArray, n_cross: int) -> tuple[NDArray[np.bool_], ...]:
    """Sets of rows near the traces, the nearest first; none that holds most rows.

    Parameters
    ----------
    centre, fwhm : ndarray, shape (n_source, n_disp)
        Traces and widths.
    n_cross : int
        Rows.

    Returns
    -------
    tuple of ndarray of bool, each of shape (n_cross,)
    """
    if n_cross < 2 * _LEAST_REACH / _WORTHWHILE:
        return ()
    row = np.arange(n_cross)
    sets = []
    for wider in _WIDER:
        near = np.zeros(n_cross, dtype=bool)
        for path, width in zip(centre, fwhm, strict=True):
            reach = wider * max(_REACH * median(width), _LEAST_REACH)
            near |= (row >= path.min() - reach) & (row <= path.max() + reach)
        if np.count_nonzero(near) > _WORTHWHILE * n_cross:
            break
        sets.append(near)
    return tuple(sets)


def least_disagreement(n_disp: int) -> float:
    """What `disagreement` must exceed.

    Beyond a quarter the errors, which know nothing of the bias, are more than a tenth too small; by chance few columns
    may come as far.

    Parameters
    ----------
    n_disp : int
        Columns.

    Returns
    -------
    float
    """
    return 1.0 + max(_BIAS, _CHANCE * float(np.sqrt(2.0 / n_disp)))


def disagreement(
    images: tuple[FloatArray, FloatArray], variances: tuple[FloatArray, FloatArray], profile: FloatArray
) -> float:
    """How far two backgrounds differ beneath a source, of which the first rests on a part of the second's rows.

    Parameters
    ----------
    images, variances : tuple of ndarray, each of shape (n_disp, n_cross)
        The backgrounds.
    profile : ndarray, shape (n_disp, n_cross)
        The source's.

    Returns
    -------
    float
        Mean square of the difference over the variance that it should have (Hausman): about one where both are right.
    """
    column = np.arange(len(profile))
    peak = np.abs(profile).argmax(axis=1)
    difference = (images[0] - images[1])[column, peak]
    few, all_ = (variance[column, peak] for variance in variances)
    # a fit of fewer terms may be the surer one although it has fewer rows
    expected = np.maximum(few - all_, 0.3 * few)
    use = np.isfinite(expected) & (expected > 0)
    if not use.any():
        return 0.0
    square = difference[use] ** 2 / expected[use]
    return float(np.minimum(square, _CAP).mean() / max(1.0, np.quantile(square, 0.25) / _QUARTER))


def per_column_pulls(left: FloatArray, power: FloatArray) -> float:
    """Mean square pull of what a smooth background leaves in each column, as a constant that is free there.

    Parameters
    ----------
    left, power : ndarray, shape (n_disp,)
        Right side and matrix of the constant's normal equation, sources eliminated.

    Returns
    -------
    float
    """
    use = power > 0
    if not use.any():
        return 0.0
    return float(np.minimum(left[use] ** 2 / power[use], _CAP).mean())


def sky_varies(
    data: FloatArray, weight: FloatArray, profiles: FloatArray, reduced: Reduced, smooth: FloatArray
) -> float:
    """Mean square of what a smooth background leaves as a constant in each column, over the noise of the pixels.

    For where there are no source-free rows on both sides to be compared. The noise is what remains with such a constant
    free, so that no wrong variance passes for a sky that varies.

    Parameters
    ----------
    data, weight, smooth : ndarray, shape (n_disp, n_cross)
        Pixel values, inverse variances and the smooth background.
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
        The sources.
    reduced : Reduced
        The background's normal equations, of which the first term is the constant.

    Returns
    -------
    float
    """
    constant = np.ones((1, data.shape[1]))
    left = reduced.vector[:, 0] - reduced_by(smooth, weight, profiles, constant).vector[:, 0]
    terms = np.concatenate([profiles, np.broadcast_to(constant, (len(data), 1, data.shape[1]))], axis=1)
    chi2 = solve_columns(data, weight, terms).chi2
    free = np.count_nonzero(weight > 0, axis=1) - terms.shape[1]
    use = (free > 0) & reduced.used
    if not use.any():
        return 0.0
    noise = max(median(chi2[use] / free[use]), 1.0)
    return per_column_pulls(left[use], reduced.matrix[use, 0, 0]) / noise


def common_mode(
    data: FloatArray,
    weight: FloatArray,
    image: FloatArray,
    sides: tuple[NDArray[np.bool_], NDArray[np.bool_]],
) -> dict[str, float]:
    """Whether source-free rows below and above vary together from column to column after a smooth background.

    Parameters
    ----------
    data, weight, image : ndarray, shape (n_disp, n_cross)
        Pixel values, inverse variances and the smooth background.
    sides : tuple of ndarray of bool, each of shape (n_cross,)
        Source-free rows below and above.

    Returns
    -------
    dict
        ``side_correlation``, its ``significance``, and ``slow_significance``, that of means of a few columns: a step or
        a wave is small in each column, but in many. Nothing where there are too few columns with both sides.
    """
    (below, above), _, column = _sides_of(data, weight, image, sides)
    if len(column) < _LEAST_COLUMNS:
        return {}
    # outliers (cosmic rays on one side) must neither hide nor feign a correlation
    for pull in (below, above):
        most = 4 * robust_rms(pull)
        np.clip(pull - median(pull), -most, most, out=pull)
    correlation = _correlation(below, above)
    slow = 0.0
    for width in _TOGETHER:
        blocks = len(below) // width
        one, other = (side[: blocks * width].reshape(blocks, width).mean(axis=1) for side in (below, above))
        slow = max(slow, _correlation(one, other) * float(np.sqrt(blocks)))
    return {
        "side_correlation": correlation,
        "significance": correlation * float(np.sqrt(len(below))),
        "slow_significance": slow,
    }


def _sides_of(
    data: FloatArray, weight: FloatArray, image: FloatArray, sides: tuple[NDArray[np.bool_], NDArray[np.bool_]]
) -> tuple[FloatArray, FloatArray, NDArray[np.intp]]:
    """Means of both sides over their errors, (2, n), these errors, and the columns that have both."""
    pulls, error = np.empty((2, 2, len(data) + 1))
    column = np.empty(len(data) + 1, dtype=np.intp)
    n = both_sides(contiguous(data), contiguous(image), contiguous(weight), *sides, pulls, error, column)
    return pulls[:, :n], error[:, :n], column[:n]


def _correlation(one: FloatArray, other: FloatArray) -> float:
    """Correlation of two series about zero."""
    norm = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / norm) if norm > 0 else 0.0


def raised_columns(
    data: FloatArray, weight: FloatArray, sides: tuple[NDArray[np.bool_], NDArray[np.bool_]]
) -> NDArray[np.intp]:
    """Find single columns that are off their neighbours in all rows: hot ones, and bad ones.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Pixel values and inverse variances.
    sides : tuple of ndarray of bool, each of shape (n_cross,)
        Source-free rows below and above.

    Returns
    -------
    ndarray of int
        Those in which the rows on both sides are off alike; none where more columns are than a few: it is the sky then.
    """
    pulls, error, column = _sides_of(data, weight, np.zeros_like(data), sides)
    mean = pulls * error
    if len(column) < _LEAST_COLUMNS or not _jumps(mean, error):
        return column[:0]
    # above the columns around: whatever a smooth background is, it is the same for all of them
    pulls = (mean - median_filter(mean, (1, _AROUND), mode="nearest")) / error
    pulls /= [[max(1.0, robust_rms(pull))] for pull in pulls]
    alike = np.sign(pulls[0]) * pulls[1]  # how far the second side is off in the direction of the first
    off = (np.abs(pulls[0]) > _EACH) & (alike > _EACH) & (np.abs(pulls.sum(axis=0)) > _RAISED * np.sqrt(2.0))
    found = column[off]
    return found if len(found) <= _MOST_RAISED * len(data) else column[:0]


def _jumps(mean: FloatArray, error: FloatArray) -> bool:
    """Whether both sides jump together anywhere from one column to the next: without it no single column is off."""
    steps = (mean[:, 1:] - mean[:, :-1]) / error[:, 1:]
    steps /= [[max(np.sqrt(2.0), robust_rms(step))] for step in steps]
    return bool((np.minimum(np.sign(steps[0]) * steps[1], np.abs(steps[0])) > _EACH / np.sqrt(2.0)).any())


def columns_off(
    residual: FloatArray, weight: FloatArray, clear: NDArray[np.bool_], centre: FloatArray, fwhm: float, noise: float
) -> int:
    """Number of columns in which the source-free rows right beside the sources, below or above, are off the model.

    Parameters
    ----------
    residual, weight : ndarray, shape (n_disp, n_cross)
        What sources and background leave, and inverse variances.
    clear : ndarray of bool, shape (n_disp, n_cross)
        Pixels free of sources.
    centre : ndarray, shape (n_source, n_disp)
        Traces.
    fwhm : float
        Of the sources: how many of these rows are beside them.
    noise : float
        Empirical factor on the errors.

    Returns
    -------
    int
    """
    free, row = clear.all(axis=0), np.arange(clear.shape[1])
    count = max(round(_BESIDE * fwhm), _LEAST_BESIDE)
    below, above = np.flatnonzero(free & (row < centre.min())), np.flatnonzero(free & (row > centre.max()))
    off = np.zeros(len(residual), dtype=bool)
    nothing, pull = np.zeros_like(residual), np.empty(len(residual))
    for rows in (below[-count:], above[:count]):
        if len(rows) < _LEAST_BESIDE:
            continue
        side_pulls(contiguous(residual), nothing, contiguous(weight), np.isin(row, rows), pull)
        seen = pull[np.isfinite(pull)]
        if len(seen):
            off |= np.abs(np.nan_to_num(pull)) > _OFF * max(noise, robust_rms(seen))
    return int(np.count_nonzero(off))
