"""Outlier rejection by leave-one-out residuals.

On an undersampled profile a hit on the core drags the fitted flux with it, and the plain residual then blames its
innocent neighbours. Pixels are therefore ranked by what chi2 would lose without them, ``r^2 W / (1 - h)`` with h the
leverage, and judged against the flux that the other pixels give; one pixel per column and round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .beside import FLANK, USUAL_CHANGE, Displaced, has_flanks, level_of, line_beside
from .coherent import coherent, mixed_profiles
from .compiled import contiguous
from .compiled.hits import count_hits, reconsider
from .compiled.outliers import leave_one_out
from .robust import median
from .solve import Solution, model_of, solve_columns

__all__ = ["Rejected", "columns_of", "reject"]

FloatArray = NDArray[np.float64]

_MAX_ROUNDS = 12
_CORE = 0.05  # a pixel with more of the profile than this belongs to the core
_RESTORE_SNR = 20.0
_HIT_COST = 12.0  # chi2 that blaming one more core pixel must save: each was chosen as the worst of its column
_PROFILE_ERROR = 0.6  # of the peak: how far a wrong profile may be from a pixel
_MANY = 0.1  # of the columns
_WING = 0.003  # a pixel with less of the profile than this tells nothing of the flux
_SHAPE_COST = 4.0  # chi2 that each further parameter of a profile must save
_BESIDE = 0.25  # FWHM from a rough trace
_WIDTHS, _ROUGH_WIDTHS = (0, 2), (-4, 4)  # steps of log FWHM that such a line may differ by
_TELLING = 100.0  # total S/N of a continuum that tells its width to a percent
_TWIN = 0.03  # a profile that goes further below zero holds negative twins
_SHARPEST = -0.1  # least change of log FWHM that a profile error may ask for


@dataclass(frozen=True, eq=False)
class Rejected:
    """Outcome of the rejection.

    Attributes
    ----------
    pixels : ndarray of bool, shape (n_disp, n_cross)
        Rejected pixels.
    restored : ndarray of bool, shape (n_disp,)
        Columns whose rejected core pixels were restored: the profile does not fit there, no pixel is to blame.
    alone : ndarray of bool, shape (n_disp,)
        Columns far brighter than both neighbours that fit the profile: a feature of one column, or a hit like one.
    mixed : dict of int to ndarray, shape (n_cross,)
        The first source's profile in columns where a line lies beside its continuum: that of both together.
    lines : ndarray of bool, shape (n_disp,)
        Columns of lines that differ from the continuum's profile, and have got pixels back for that.
    apart : ndarray of bool, shape (n_disp,)
        Those of them that trace and profile can do without: the continuum between the lines tells them.
    floor : float
        Error of the profile that was tolerated, as a fraction of the light in a pixel.
    """

    pixels: NDArray[np.bool_]
    restored: NDArray[np.bool_]
    alone: NDArray[np.bool_]
    mixed: dict[int, FloatArray]
    lines: NDArray[np.bool_]
    apart: NDArray[np.bool_]
    floor: float = 0.0


def reject(
    data: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    changes: Callable[[NDArray[np.intp]], FloatArray],
    displaced: Displaced,
    plain: Solution,
    tolerance: FloatArray,
    *,
    threshold: float,
    noise: float = 1.0,
    rough: bool = False,
    restoring: bool = True,
) -> Rejected:
    """Find outliers.

    Parameters
    ----------
    data, weight : ndarray, shape (n_disp, n_cross)
        Background-subtracted pixel values and inverse variances (zero where bad).
    profiles : ndarray, shape (n_disp, n_profile, n_cross)
        Sources first, then their negative twins.
    changes : callable
        From columns to what small errors of the sources' profiles look like there (shift, width, ... per unit flux of
        the first source), shape (n_column, n_change, n_cross).
    displaced : callable
        Its profile elsewhere: see `optextract.beside`.
    plain : Solution
        The fit to all pixels.
    tolerance : ndarray, shape (n_disp, n_source, n_cross)
        Tolerated error of each source's profile.
    threshold : float
        In units of a pixel's error.
    noise : float, optional
        Empirical factor on the errors.
    rough : bool, optional
        Whether trace and width are rough still: lines may then be sharper than the profile.
    restoring : bool, optional
        Whether to ask of bright columns if their profile is to blame; not where they keep their pixels anyway.

    Returns
    -------
    Rejected
    """
    n_source = tolerance.shape[1]
    pixels = np.empty(data.shape, dtype=bool)
    leave_one_out(
        contiguous(data),
        contiguous(weight),
        contiguous(profiles),
        plain.coefficients,
        plain.covariance,
        n_source,
        float(threshold),
        contiguous(tolerance),
        float(noise),
        _MAX_ROUNDS,
        pixels,
    )
    alone = _reconsider(data, weight, profiles, plain, tolerance, pixels, threshold, noise)
    back, mixed = np.zeros(pixels.shape, dtype=bool), dict[int, FloatArray]()
    if restoring:
        back, mixed = _restore(data, weight, profiles, plain, changes, displaced, tolerance, pixels, noise, rough)
    pixels &= ~back
    lines = coherent(data, weight, profiles, plain, tolerance, pixels, threshold, noise)
    restored, differ = columns_of(back | lines), columns_of(lines)
    apart = differ & (_snr_between(plain, differ, noise) > _TELLING)
    pixels &= ~lines
    # between sources or negative twins the light around a line is not all its own; nor is it where no continuum is seen
    if profiles.shape[1] == 1 and not rough and apart.any() and profiles.min() > -_TWIN:
        mixed = {**mixed, **mixed_profiles(data, weight, profiles, plain, pixels, apart, noise)}
    return Rejected(pixels, restored, alone, mixed, differ, apart)


def columns_of(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find the columns that have such pixels, which are few.

    Parameters
    ----------
    pixels : ndarray of bool, shape (n_disp, n_cross)

    Returns
    -------
    ndarray of bool, shape (n_disp,)
    """
    out = np.zeros(len(pixels), dtype=bool)
    out[np.flatnonzero(pixels) // pixels.shape[1]] = True
    return out


def _snr_between(plain: Solution, lines: NDArray[np.bool_], noise: float) -> float:
    """Total S/N of the first source's continuum between lines, by a median that no hit moves."""
    if not lines.any():
        return 0.0
    seen = ~lines & np.isfinite(plain.covariance[:, 0, 0])
    if not seen.any():
        return 0.0
    snr = plain.coefficients[seen, 0] / np.sqrt(plain.covariance[seen, 0, 0])
    return float(median(snr) * np.sqrt(np.count_nonzero(seen)) / noise)


def _believable(
    data: FloatArray, weight: FloatArray, profiles: FloatArray, pixels: NDArray[np.bool_], n_source: int
) -> NDArray[np.bool_]:
    """Core pixels that a wrong profile could explain: no further from the clean fit than a part of its peak."""
    clean = solve_columns(data, weight * ~pixels, profiles).coefficients
    away = np.abs(data - model_of(profiles, clean))
    sources = np.abs(profiles[:, :n_source])
    peak = (np.maximum(clean[:, :n_source], 0.0) * sources.max(axis=2)).max(axis=1)
    return _in_core(sources) & (away <= _PROFILE_ERROR * peak[:, None])


def _reconsider(
    data: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    plain: Solution,
    tolerance: FloatArray,
    pixels: NDArray[np.bool_],
    threshold: float,
    noise: float,
) -> NDArray[np.bool_]:
    """Look for a smaller explanation where pixels of a core went (changes `pixels`, which is ours).

    A hit that covers two core pixels outweighs the innocent ones, and leaving out one pixel at a time then removes
    those, or leaves a flux that only a line without flanks could have. All runs of a few neighbouring pixels are
    tried; the fewest pixels that make the column consistent win.

    A column that stands alone and looks like the source all the same is left as it is: whether it is a feature of one
    column or a hit that covers the core evenly, nothing tells. Those are given back.
    """
    alone = np.zeros(len(pixels), dtype=bool)
    near, _ = _count(profiles, tolerance.shape[1], pixels)
    if np.count_nonzero(near >= 2) > _MANY * len(pixels):
        return alone  # not hits but a profile that does not fit: no explanation by pixels is right
    reconsider(
        contiguous(data),
        contiguous(weight),
        contiguous(profiles),
        plain.coefficients,
        plain.covariance,
        contiguous(tolerance),
        float(threshold),
        float(noise),
        _WING,
        FLANK,
        near,
        pixels,
        alone,
    )
    return alone


def _count(profiles: FloatArray, n_source: int, pixels: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rejected pixels of each column that hold light of a source, and those of its core."""
    near, inside = np.empty(len(pixels), dtype=np.intp), np.empty(len(pixels), dtype=np.intp)
    count_hits(contiguous(profiles), n_source, pixels, _WING, _CORE, near, inside)
    return near, inside


def _restore(
    data: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    plain: Solution,
    changes: Callable[[NDArray[np.intp]], FloatArray],
    displaced: Displaced,
    tolerance: FloatArray,
    pixels: NDArray[np.bool_],
    noise: float,
    rough: bool,
) -> tuple[NDArray[np.bool_], dict[int, FloatArray]]:
    """Rejected pixels of columns where a profile error explains the rejected core pixels better than outliers do.

    A cosmic ray is explained by the pixels it hit; a profile that is wider, narrower or shifted shows the same pattern,
    scaled by the flux, in neighbouring columns. Three columns at a time are fitted both ways.
    """
    n_source = tolerance.shape[1]
    near_source, inside = _count(profiles, n_source, pixels)
    back, mixed = np.zeros(pixels.shape, dtype=bool), dict[int, FloatArray]()
    suspects = np.flatnonzero(near_source)
    if not len(suspects):
        return back, mixed
    flux, error = plain.coefficients[:, :n_source].max(axis=1), np.sqrt(plain.covariance[:, 0, 0])
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = flux / error
    suspects = suspects[snr[suspects] > _RESTORE_SNR]
    in_core = inside > 0
    bright = suspects[in_core[suspects]]
    many = len(bright) - _MANY * len(data)
    if many > 0 and many > _by_chance(weight, profiles[:, :n_source], pixels, snr > _RESTORE_SNR):
        # the profile is wrong everywhere: a cosmic ray is what it cannot explain even so
        core = _in_core(profiles[bright, :n_source]) & pixels[bright]
        believable = _believable(data[bright], weight[bright], profiles[bright], pixels[bright], n_source) | ~core
        back[bright] = core & believable.all(axis=1)[:, None]
        return back, mixed
    for column in suspects.tolist():
        near = np.arange(max(column - 1, 0), min(column + 2, len(data)))
        near = near[(snr[near] > 0.3 * _RESTORE_SNR) | (near == column)]
        level = level_of(flux, column)
        flanks = has_flanks(flux, error, column, level)
        if len(near) < 2 or not (flanks or (in_core[column] and _may_be_profile(flux, error, column, level))):
            continue
        core = _in_core(profiles[near, :n_source]) & pixels[near]
        here = int(np.flatnonzero(near == column)[0])
        hits = float(solve_columns(data[near], weight[near] * ~pixels[near], profiles[near]).chi2.sum()) / noise**2
        gain, taken = 0.0, core[here]
        if in_core[column]:
            used = weight[near] * ~(pixels[near] & ~core) / noise**2
            cost, change = _shape_cost(data[near], used, profiles[near], changes(near), plain.coefficients[near])
            # light may well be more extended in a line than in the continuum, but it is not sharper than a point source
            if rough or change[1:].sum() > _SHARPEST:
                gain = max(hits + _HIT_COST * core.sum() - cost - _SHAPE_COST * len(change), 0.0)
        if flanks:
            wrong = np.einsum("xk,xky->xy", np.maximum(plain.coefficients[near, :n_source], 0.0), tolerance[near])
            line = line_beside(
                data[near],
                weight[near] / (noise**2 + weight[near] * wrong**2),
                profiles[near],
                pixels[near],
                near,
                displaced,
                max(level, 0.0),
                error[near],
                _ROUGH_WIDTHS if rough or level < error[column] else _WIDTHS,
            )
            better = hits + _HIT_COST * line.held.sum() - line.cost - _SHAPE_COST * (len(near) + 2)
            if better > gain:
                gain, taken = better, line.held[here]
                # a rough trace may be where the line is not, unless the continuum tells it as well
                if not rough or (abs(line.shift) > _BESIDE and level > error[column]):
                    mixed[column] = line.profile[here]
        if gain > 0:
            back[column] = taken
    return back, mixed


def _by_chance(weight: FloatArray, sources: FloatArray, pixels: NDArray[np.bool_], columns: NDArray[np.bool_]) -> float:
    """Core pixels of some columns that are hit where hits are as frequent as in the middle one of the other rows."""
    beside = (np.abs(sources).max(axis=1) < _WING) & (weight > 0)
    seen = np.count_nonzero(beside, axis=0)
    rows = seen > 0
    if not rows.any():
        return 0.0
    core = _in_core(sources[columns]) & (weight[columns] > 0)
    return np.count_nonzero(core) * median(np.count_nonzero(pixels & beside, axis=0)[rows] / seen[rows])


def _in_core(sources: FloatArray) -> NDArray[np.bool_]:
    """Pixels that hold much of a source's profile."""
    return np.asarray(np.abs(sources).max(axis=1) > _CORE)


def _may_be_profile(flux: FloatArray, error: FloatArray, column: int, level: float) -> bool:
    """Whether a column that stands out shares its light with the next one: a line does, a hit need not."""
    excess = float(flux[column]) - level
    if excess < 0.5 * max(level, 0.0) or excess < 5.0 * error[column]:
        return True  # no line, but a profile that does not fit the continuum
    beside = np.array([k for k in (column - 1, column + 1) if 0 <= k < len(flux)])
    if not np.isfinite(error[beside]).all():
        return True
    return bool((flux[beside] - level > FLANK * excess - 2.0 * error[beside]).any())


def _shape_cost(
    data: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    changes: FloatArray,
    coefficients: FloatArray,
) -> tuple[float, FloatArray]:
    """Chi2 of a few columns whose profile may deviate by one common pattern of shift and width, and that pattern.

    The price of a change is that of a Gaussian prior: a large one is less likely than a hit.
    """
    n_column, n_profile, n_cross = profiles.shape
    n_change = changes.shape[1]
    design = np.zeros((n_column * n_cross + n_change, n_column * n_profile + n_change))
    for k in range(n_column):
        rows = slice(k * n_cross, (k + 1) * n_cross)
        design[rows, k * n_profile : (k + 1) * n_profile] = profiles[k].T
        design[rows, n_column * n_profile :] = changes[k].T * coefficients[k, 0]
    design[n_column * n_cross :, n_column * n_profile :] = np.eye(n_change)
    root = np.sqrt(np.concatenate([weight.ravel(), np.full(n_change, 1.0 / USUAL_CHANGE**2)]))
    # fluxes and changes are columns of different units: without a common norm rcond would drop the one or the other
    weighted = design * root[:, None]
    norm = np.linalg.norm(weighted, axis=0)
    norm[norm == 0] = 1.0
    target = np.concatenate([data.ravel(), np.zeros(n_change)]) * root
    solution, *_ = np.linalg.lstsq(weighted / norm, target, rcond=1e-10)
    left = target - weighted @ (solution / norm)
    return float(left @ left), solution[n_column * n_profile :] / norm[n_column * n_profile :]
