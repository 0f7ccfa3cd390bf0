"""Light of a line that lies beside its continuum: rotation and outflows move it, a cosmic ray does not look like it.

A line has the shape of a point source or a wider one, at one place in neighbouring columns, and its light runs on into
the next columns; the continuum goes on beneath it. With both free, what a fixed profile cannot explain needs no
outlier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .robust import median
from .solve import solve_columns

__all__ = ["Displaced", "Line", "has_flanks", "level_of", "line_beside"]

FloatArray = NDArray[np.float64]

#: From columns, shifts (FWHM) and changes of log FWHM to the first source's profile there: the columns, one after the
#: other for each of the shifts, shape (n_shift n_column, n_cross).
Displaced = Callable[[NDArray[np.intp], FloatArray, FloatArray], FloatArray]

FLANK = 0.2  # of a line's peak in the next column, for a dispersion profile of a pixel or more
USUAL_CHANGE = 0.4  # 1 sigma of a line's shift (FWHM) and of its change of log FWHM against the continuum's profile

_CLEAR = 3.0  # sigma of the light beside a line's peak
_FAINTER = 0.05  # of a line's peak in the fainter one of the next columns, if it lies at the edge of a column
_CLIMB = 4  # columns from a line's flank to its peak
_LEFT = 0.15  # of the light, as chi2, that a line of about the right place leaves
_FEW = 50.0  # chi2 that may be noise
_LEVEL = 0.3  # 1 sigma of the continuum beneath a line, of its level to either side
_SHIFTS, _SHIFT_STEP = 5, 0.25  # to either side, FWHM
_WIDTH_STEP = 0.15
_LIGHT = 0.02  # a pixel with more of a line's profile than this may hold its light
_ROUNDS = 2  # of finer steps


def level_of(flux: FloatArray, column: int) -> float:
    """Median flux of the columns around one, some way off."""
    far = np.concatenate([flux[max(column - 10, 0) : max(column - 2, 0)], flux[column + 3 : column + 11]])
    return median(far) if len(far) else 0.0


def has_flanks(flux: FloatArray, error: FloatArray, column: int, level: float) -> bool:
    """Whether a column belongs to a line: light above the continuum that has a peak and runs on to both sides of it.

    Parameters
    ----------
    flux, error : ndarray, shape (n_disp,)
        From all pixels.
    column : int
    level : float
        Flux of the continuum.

    Returns
    -------
    bool
    """
    if not flux[column] - level > _CLEAR * error[column]:
        return False
    peak = column
    for _ in range(_CLIMB):
        beside = [k for k in (peak - 1, peak + 1) if 0 <= k < len(flux) and flux[k] > flux[peak]]
        if not beside:
            break
        peak = max(beside, key=lambda k: float(flux[k]))
    if not 0 < peak < len(flux) - 1:
        return False
    height = float(flux[peak]) - level
    low, high = sorted((float(flux[peak - 1]) - level, float(flux[peak + 1]) - level))
    spread = float(max(error[peak - 1], error[peak + 1]))  # infinite where there are no data
    return low > max(_FAINTER * height, 2.0 * spread) and high > max(FLANK * height, _CLEAR * spread)


@dataclass(frozen=True, eq=False)
class Line:
    """A line beside its continuum, or the attempt to see one.

    Attributes
    ----------
    cost : float
        Chi2, with the price of the line's place; infinite where no line of positive flux is seen.
    shift : float
        From the continuum, in FWHM.
    held : ndarray of bool, shape (n_column, n_cross)
        Rejected pixels that the line needs not be without.
    profile : ndarray, shape (n_column, n_cross)
        Of continuum and line together, of unit total where they are.
    """

    cost: float
    shift: float
    held: NDArray[np.bool_]
    profile: FloatArray


def line_beside(
    data: FloatArray,
    weight: FloatArray,
    profiles: FloatArray,
    pixels: NDArray[np.bool_],
    columns: NDArray[np.intp],
    displaced: Displaced,
    level: float,
    error: FloatArray,
    widths: tuple[int, int],
) -> Line:
    """Chi2 of a few columns as the continuum at its own place and a line at a common one, with the price of that place.

    Parameters
    ----------
    data, weight : ndarray, shape (n_column, n_cross)
    profiles : ndarray, shape (n_column, n_profile, n_cross)
        The first one is that of the continuum.
    pixels : ndarray of bool, shape (n_column, n_cross)
        Rejected ones: what lies further off than a line may stays out.
    columns : ndarray of int, shape (n_column,)
        Which ones they are.
    displaced : callable
        Gives the line's profile.
    level : float
        Flux of the continuum.
    error : ndarray, shape (n_column,)
        Of the fluxes.
    widths : tuple of int
        Least and highest change of log FWHM that is tried, in steps.

    Returns
    -------
    Line
    """
    n_column, n_profile, n_cross = profiles.shape
    shifts = _SHIFT_STEP * np.arange(-_SHIFTS, _SHIFTS + 1)
    changes = _WIDTH_STEP * np.arange(widths[0], widths[1] + 1)
    # what is known of the continuum is one more pixel, which sees nothing else
    terms = np.zeros((n_column, n_profile + 1, n_cross + 1))
    terms[:, :n_profile, :n_cross] = profiles
    terms[:, 0, n_cross] = 1.0
    values = np.concatenate([data, np.full((n_column, 1), level)], axis=1)
    known = 1.0 / ((_LEVEL * level) ** 2 + error**2)
    weights, held = np.zeros(values.shape), np.zeros(pixels.shape, dtype=bool)
    weights[:, n_cross] = known
    best, place, profile = np.inf, (0.0, 0.0), profiles[:, 0]
    step_shift, step_width = _SHIFT_STEP, _WIDTH_STEP
    for turn in range(_ROUNDS + 1):
        points = np.array([(s, w) for s in shifts for w in changes])
        there = displaced(columns, points[:, 0], points[:, 1])
        if turn == 0:
            held = pixels & (there.reshape(len(points), n_column, n_cross).max(axis=0) > _LIGHT)
            weights[:, :n_cross] = weight * ~(pixels & ~held)
        many = np.tile(terms, (len(points), 1, 1))
        many[:, n_profile, :n_cross] = there
        solution = solve_columns(np.tile(values, (len(points), 1)), np.tile(weights, (len(points), 1)), many)
        cost = solution.chi2.reshape(len(points), n_column).sum(axis=1)
        cost += (points**2).sum(axis=1) / USUAL_CHANGE**2
        parts = np.maximum(solution.coefficients[:, [0, n_profile]].reshape(len(points), n_column, 2), 0.0)
        cost[parts[:, :, 1].sum(axis=1) <= 0] = np.inf
        first = int(np.argmin(cost))
        if turn == 0 and not cost[first] < _LEFT * _plain_cost(values, weights, terms) + _FEW:
            break  # nothing that a finer step would mend
        if cost[first] < best:
            best, place = float(cost[first]), (float(points[first, 0]), float(points[first, 1]))
            part = parts[first] / np.maximum(parts[first].sum(axis=1, keepdims=True), 1e-300)
            line = there.reshape(len(points), n_column, n_cross)[first]
            profile = part[:, :1] * profiles[:, 0] + part[:, 1:] * line
        step_shift, step_width = step_shift / 3, step_width / 3
        shifts = place[0] + step_shift * np.arange(-1, 2)
        changes = np.maximum(place[1] + step_width * np.arange(-1, 2), _WIDTH_STEP * widths[0])
    return Line(best, place[0], held, profile)


def _plain_cost(values: FloatArray, weights: FloatArray, terms: FloatArray) -> float:
    """Chi2 without the line."""
    return float(solve_columns(values, weights, terms[:, :-1]).chi2.sum())
