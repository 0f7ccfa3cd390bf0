"""The descent of a fit of trace and width: priors, limits, and the steps of Levenberg and Marquardt.

What is known of each parameter stands in a table, `rules`, of shape (n_parameter, N_RULE), whose columns have the names
below. What is asked of the rows of sources stands in another one, `rows`, of shape (n_row, AT + n_centre): which
source, least and greatest row, the row that it is held at (NaN: none), the given trace there, and the values of the
centre's polynomials there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .fit import damped_step, place
from .lanes import Sizes, project, sums_of_background
from .profile import Table, fill_bins

__all__ = [
    "AT", "CHI2", "CONVERGED", "DAMPING", "FREE", "HELD", "HIGHEST", "LEAST", "LONGEST", "LOWEST", "MEAN", "MOST",
    "N_PROGRESS", "N_RULE", "STEPS", "WEIGHT", "add_priors", "descend", "keep_within", "lay_out",
]  # fmt: skip

FloatArray = NDArray[np.float64]

#: Limits; those that the recipe asks for, which are kept whatever the width becomes; mean and 1 / sigma^2 of a normal
#: prior; whether it moves; the longest step; whether it is a coefficient of a width that is not to be changed.
LOWEST, HIGHEST, LEAST, MOST, MEAN, WEIGHT, FREE, LONGEST, HELD = 0, 1, 2, 3, 4, 5, 6, 7, 8
N_RULE = 9

_SOURCE, _LEAST_ROW, _MOST_ROW, _HELD_ROW, _GIVEN = 0, 1, 2, 3, 4
AT = 5

#: Data and their inverse variances, (n_cross, n_bin); the offset of each set of profiles from the sources, zero for
#: their own; and how the parameters are laid out: see `lay_out`.
Bins = tuple[FloatArray, FloatArray, FloatArray, Sizes, FloatArray, NDArray[np.intp]]
#: `rules`, `rows`, and least and greatest logarithm of the FWHM in any column.
Limits = tuple[FloatArray, FloatArray, float, float]
#: Degrees of freedom, most steps, and the tolerance of `optextract.trace.fit_geometry`.
Ends = tuple[int, int, float]
#: The best point so far and the next one, (n_parameter,); the curvature, the gradient, and each bin's amplitudes, their
#: errors and `local` (see `optextract.geometry.Fit`) at the best one; and how far the descent has come.
Best = tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]

#: How far a descent has come: chi2, the damping, what the last step promised, steps taken, whether it has converged.
CHI2, DAMPING, _PROMISE, STEPS, CONVERGED = 0, 1, 2, 3, 4
N_PROGRESS = 5

_APART = 0.15  # FWHM between two sources of a fit: nearer, their fluxes are wild and their errors as large
_HELD_SIGMA = 1e-4  # pixel: of the row of a source that is fixed
_NEGLIGIBLE = 0.3  # of the tolerance: a gain that ends the fit without being taken
_LEAST_DAMPING, _MOST_DAMPING = 1e-9, 1e7
_ALIKE = 1e-6  # of chi2: what a step that cannot be taken may promise at a minimum
_NUDGE = 1e-6  # a move that tells whether a parameter stands at its limit


@compiled
def lay_out(
    column: FloatArray, first: float, last: float, sizes: Sizes, basis: FloatArray, field_of: NDArray[np.intp]
) -> None:
    """Value of each parameter's polynomial in each bin, and the derivative field that it multiplies.

    Parameters
    ----------
    column : ndarray, shape (n_bin,)
        Column of each bin.
    first, last : float
        Columns mapped to -1 and 1.
    sizes : tuple of int
        See `Sizes`.
    basis : ndarray, shape (n_parameter, n_bin)
        Filled: Legendre polynomials for centre and widths, one for the others.
    field_of : ndarray of int, shape (n_parameter,)
        Filled.
    """
    n_centre, n_each, n_width, _, _, _ = sizes
    n_parameter, n_first = len(field_of), n_centre + n_width * n_each
    for p in range(n_parameter):
        field_of[p] = 0 if p < n_centre else 1 + ((p - n_centre) // n_each if p < n_first else n_width + p - n_first)
    most = max(n_centre, n_each)
    values = np.ones(most)
    for x in range(len(column)):
        place_of = (2 * column[x] - first - last) / max(last - first, 1.0)
        if most > 1:
            values[1] = place_of
        for k in range(2, most):
            values[k] = ((2 * k - 1) * place_of * values[k - 1] - (k - 1) * values[k - 2]) / k
        for p in range(n_centre):
            basis[p, x] = values[p]
        for p in range(n_centre, n_first):
            basis[p, x] = values[(p - n_centre) % n_each]
        for p in range(n_first, n_parameter):
            basis[p, x] = 1.0


@compiled
def _row(vector: FloatArray, rows: FloatArray, k: int, offset: int) -> float:
    """Row of a source at the column for which it is asked."""
    row = rows[k, _GIVEN]
    for p in range(rows.shape[1] - AT):
        row += rows[k, AT + p] * vector[p]
    return row + vector[offset] if rows[k, _SOURCE] > 0 else row


@compiled
def _offset_of(rows: FloatArray, k: int, sizes: Sizes) -> int:
    """Place of a further source's offset among the parameters."""
    return sizes[0] + sizes[1] * sizes[2] + int(rows[k, _SOURCE]) - 1


@compiled
def add_priors(
    vector: FloatArray, sizes: Sizes, rules: FloatArray, rows: FloatArray, gradient: FloatArray, hessian: FloatArray
) -> float:
    """Add normal priors of single parameters, and those that hold rows, to gradient and curvature; gives their chi2.

    Parameters
    ----------
    vector : ndarray, shape (n_parameter,)
        As for `place`.
    sizes : tuple of int
        See `Sizes`.
    rules : ndarray, shape (n_parameter, N_RULE)
    rows : ndarray, shape (n_row, AT + n_centre)
        Each held row is a sum of parameters, none of which is fixed.
    gradient, hessian : ndarray, shape (n_parameter,) and (n_parameter, n_parameter)
        Added to.
    """
    chi2 = 0.0
    for p in range(len(vector)):
        weight, off = rules[p, WEIGHT], vector[p] - rules[p, MEAN]
        chi2 += weight * off * off
        gradient[p] -= weight * off
        hessian[p, p] += weight
    strong = 1.0 / _HELD_SIGMA**2
    weights = np.zeros(len(vector))
    for k in range(len(rows)):
        if np.isnan(rows[k, _HELD_ROW]):
            continue
        offset = _offset_of(rows, k, sizes)
        off = _row(vector, rows, k, offset) - rows[k, _HELD_ROW]
        weights[:] = 0.0
        for p in range(sizes[0]):
            weights[p] = rows[k, AT + p]
        if rows[k, _SOURCE] > 0:
            weights[offset] = 1.0
        chi2 += strong * off * off
        for p in range(len(vector)):
            gradient[p] -= strong * off * weights[p]
            for q in range(len(vector)):
                hessian[p, q] += strong * weights[p] * weights[q]
    return chi2


@compiled
def _keep_apart(vector: FloatArray, sizes: Sizes, rules: FloatArray, rows: FloatArray) -> None:
    """Keep sources that move from running into one before them: nothing then tells how they share their light."""
    n_centre, n_each, n_width, n_source, _, _ = sizes
    first, least = n_centre + n_width * n_each - 1, _APART * np.exp(vector[n_centre])
    for k in range(1, n_source):
        held = rules[first + k, FREE] == 0.0
        for r in range(len(rows)):
            held |= rows[r, _SOURCE] == k and not np.isnan(rows[r, _HELD_ROW])
        if held:
            continue
        for j in range(k):
            away = vector[first + k] - (vector[first + j] if j > 0 else 0.0)
            if abs(away) < least:
                vector[first + k] += (least if away >= 0 else -least) - away


@compiled
def keep_within(
    vector: FloatArray, sizes: Sizes, rules: FloatArray, rows: FloatArray, narrowest: float, widest: float
) -> None:
    """Bring parameters within their limits, in place.

    The means are clipped, the variations of each width that leave its range are shrunk, sources are kept apart; what is
    asked of a coefficient or of the row of a source (the first is moved with its trace, others alone) comes last.

    Parameters
    ----------
    vector : ndarray, shape (n_parameter,)
        As for `place`.
    sizes : tuple of int
        See `Sizes`.
    rules : ndarray, shape (n_parameter, N_RULE)
    rows : ndarray, shape (n_row, AT + n_centre)
    narrowest, widest : float
        Limits of the logarithm of the FWHM in any column.
    """
    n_centre, n_each, n_width, _, _, _ = sizes
    for p in range(len(vector)):
        vector[p] = min(max(vector[p], rules[p, LOWEST]), rules[p, HIGHEST])
    for width in range(n_width):
        first = n_centre + width * n_each
        mean, swing, fixed = vector[first], 0.0, 0.0
        for p in range(first + 1, first + n_each):
            swing += abs(vector[p])
            fixed += rules[p, HELD] * abs(vector[p])
        most = max(min(mean - narrowest, widest - mean) - fixed, 0.0)
        if swing - fixed > most:
            for p in range(first + 1, first + n_each):
                if rules[p, HELD] == 0.0:
                    vector[p] *= most / (swing - fixed)
    for p in range(len(vector)):
        vector[p] = min(max(vector[p], rules[p, LEAST]), rules[p, MOST])
    _keep_apart(vector, sizes, rules, rows)
    for k in range(len(rows)):
        offset = _offset_of(rows, k, sizes)
        row = _row(vector, rows, k, offset)
        kept = min(max(row, rows[k, _LEAST_ROW]), rows[k, _MOST_ROW])
        vector[offset if rows[k, _SOURCE] > 0 else 0] += kept - row


@compiled
def _propose(sizes: Sizes, limits: Limits, enough: float, best: Best) -> bool:
    """Put the next point into `trial`; gives whether there is one worth a look."""
    vector, trial, hessian, gradient, _, _, _, progress = best
    rules, rows, narrowest, widest = limits
    n = len(vector)
    moving, step, some = np.zeros(n, dtype=np.bool_), np.empty(n), False
    for p in range(n):
        trial[p] = vector[p] + _NUDGE * np.sign(gradient[p])
    keep_within(trial, sizes, rules, rows, narrowest, widest)
    for p in range(n):
        # what stands at a limit and would cross it stays there, or its clipped step would spoil those of the others
        moving[p] = rules[p, FREE] > 0 and trial[p] != vector[p]
        some |= moving[p]
    if not some:
        return False
    promise = damped_step(hessian, gradient, moving, progress[DAMPING], step)
    progress[_PROMISE] = promise
    if progress[DAMPING] <= 1e-3 and promise < _NEGLIGIBLE * enough:
        # what is left to gain, twice the drop of chi2 / 2 that the curvature promises, is not worth a look
        return False
    for p in range(n):
        trial[p] = vector[p] + min(max(step[p], -rules[p, LONGEST]), rules[p, LONGEST])
    keep_within(trial, sizes, rules, rows, narrowest, widest)
    moves, known = False, True
    for p in range(n):
        moves |= trial[p] != vector[p]
        known &= np.isfinite(trial[p])
    return moves and known


@compiled
def _own_steps(gradient: FloatArray, curvature: FloatArray, local: FloatArray) -> None:
    """Newton step of each bin by itself, (n_bin, 4): what it says of its own shift and width, each with its error."""
    for x in range(len(local)):
        for k in range(2):
            error = 1 / np.sqrt(curvature[k, k, x])
            local[x, 2 * k], local[x, 2 * k + 1] = gradient[k, x] * error**2, error


@compiled
def _gather(
    basis: FloatArray,
    field_of: NDArray[np.intp],
    gradient: FloatArray,
    curvature: FloatArray,
    total: FloatArray,
    hessian: FloatArray,
) -> None:
    """Gradient and curvature by the parameters, of all bins together."""
    n_parameter, n_bin = basis.shape
    for p in range(n_parameter):
        f = field_of[p]
        value = 0.0
        for x in range(n_bin):
            value += basis[p, x] * gradient[f, x]
        total[p] = value
        for q in range(p + 1):
            g = field_of[q]
            value = 0.0
            for x in range(n_bin):
                value += basis[p, x] * basis[q, x] * curvature[f, g, x]
            hessian[p, q] = value
            hessian[q, p] = value


@compiled
def _tell_nothing(best: Best) -> None:
    """Leave the first point as it is, where the data are no numbers that could be squared: nothing is known of it."""
    _, _, hessian, gradient, amplitude, error, local, progress = best
    for p in range(len(gradient)):
        gradient[p] = 0.0
        for q in range(len(gradient)):
            hessian[p, q] = 1.0 if p == q else 0.0
    for x in range(len(amplitude)):
        for k in range(amplitude.shape[1]):
            amplitude[x, k], error[x, k] = 0.0, np.inf
        local[x, 0], local[x, 1], local[x, 2], local[x, 3] = 0.0, np.inf, 0.0, np.inf
    progress[CHI2] = np.inf


@compiled
def _judge(
    chi2: float,
    total: FloatArray,
    curvature: FloatArray,
    flux: FloatArray,
    spread: FloatArray,
    slope: FloatArray,
    bend: FloatArray,
    sizes: Sizes,
    limits: Limits,
    ends: Ends,
    best: Best,
) -> bool:
    """Judge the next point by what was found there, and propose another; gives whether there is one."""
    freedom, max_steps, tolerance = ends
    vector, trial, hessian, gradient, amplitude, error, local, progress = best
    n_bin, n_parameter, n_source = len(amplitude), len(vector), sizes[3]
    begins = progress[STEPS] == 0.0
    if begins and not np.isfinite(chi2):
        _tell_nothing(best)
        return False
    gained = progress[CHI2] - chi2
    enough = tolerance * max(1.0, progress[CHI2] / freedom)
    if begins or gained >= 0:
        # element by element: an assignment to a slice takes seconds to compile
        for p in range(n_parameter):
            vector[p], gradient[p] = trial[p], total[p]
            for q in range(n_parameter):
                hessian[p, q] = curvature[p, q]
        for x in range(n_bin):
            for k in range(n_source):
                amplitude[x, k], error[x, k] = flux[k, x], spread[k, x]
        _own_steps(slope, bend, local)
        progress[CHI2] = chi2
        if not begins:
            progress[DAMPING] = max(progress[DAMPING] / 10, _LEAST_DAMPING)
            progress[CONVERGED] = 1.0 if gained < enough else 0.0
    else:
        progress[CONVERGED] = 1.0 if -gained < enough else 0.0
        if progress[CONVERGED] == 0.0:
            progress[DAMPING] *= 10
            if progress[DAMPING] > _MOST_DAMPING:
                # no step helps: at the minimum to rounding, or stuck
                progress[CONVERGED] = 1.0 if progress[_PROMISE] < _ALIKE * max(progress[CHI2], 1.0) else 0.0
                return False
    if progress[CONVERGED] > 0.0 or progress[STEPS] == max_steps:
        return False
    progress[STEPS] += 1.0
    if not _propose(sizes, limits, tolerance * max(1.0, progress[CHI2] / freedom), best):
        progress[CONVERGED] = 1.0
        return False
    return True


@compiled
def descend(
    table: Table,
    terms: FloatArray,
    shifts: FloatArray,
    widths: FloatArray,
    index: FloatArray,
    background: FloatArray,
    given: FloatArray,
    spacing: float,
    positive: NDArray[np.bool_],
    bins: Bins,
    limits: Limits,
    ends: Ends,
    best: Best,
) -> bool:
    """Go from point to point to the end with a tabulated profile, or a step with profiles that are given.

    Parameters
    ----------
    table : tuple
        The profile: see `Table`. Of no cell at all: the next three are filled already.
    terms, shifts, widths : ndarray, shape (n_profile, n_cross, n_bin)
        The profiles at the next point and their derivatives with respect to centre and log FWHM.
    index : ndarray, shape (n_profile, n_cross, n_bin) or (0, n_cross, n_bin)
        Derivatives with respect to the shape's index, where it is free.
    background : ndarray, shape (n_background, n_cross)
        Terms that follow the profiles in every bin.
    given, spacing
        As for `place`.
    positive : ndarray of bool, shape (n_profile - n_source, n_bin)
        As for `project`: decided at the first point, because chi2 jumps with it.
    bins, limits, ends, best
        See there. How far the descent has come is zero at the first point, but for the damping.

    Returns
    -------
    bool
        Whether there is another point.
    """
    data, weight, nods, sizes, basis, field_of = bins
    n_profile, n_cross, n_bin = terms.shape
    n_background = len(background)
    tabulated = len(table[0]) > 0
    centre, fwhm = np.empty((n_profile, n_bin)), np.empty((n_profile, n_bin))
    fixed = np.empty((n_background, n_background + 1, n_bin))
    sums_of_background(data, weight, background, fixed)
    reach = np.empty((n_profile, 2), dtype=np.intp)
    for slot in range(n_profile):
        reach[slot, 0], reach[slot, 1] = 0, n_cross
    n_parameter, n_source = len(best[0]), sizes[3]
    n_field = sizes[2] + n_source + sizes[4] + sizes[5]
    flux, spread = np.empty((n_source, n_bin)), np.empty((n_source, n_bin))
    slope, bend = np.empty((n_field, n_bin)), np.empty((n_field, n_field, n_bin))
    total, curvature = np.empty(n_parameter), np.empty((n_parameter, n_parameter))
    going = True
    while going:
        if tabulated:
            place(best[1], sizes, basis, given, nods, spacing, centre, fwhm)
            for slot in range(n_profile):
                fill_bins(terms, shifts, widths, reach, slot, centre, fwhm, table)
        chi2 = project(
            data,
            weight,
            fixed,
            terms,
            shifts,
            widths,
            index,
            reach,
            background,
            positive,
            best[7][STEPS] == 0.0,
            nods,
            sizes,
            flux,
            spread,
            slope,
            bend,
        )
        _gather(basis, field_of, slope, bend, total, curvature)
        chi2 += add_priors(best[1], sizes, limits[0], limits[1], total, curvature)
        going = _judge(chi2, total, curvature, flux, spread, slope, bend, sizes, limits, ends, best)
        if not tabulated:
            break
    return going
