"""Rows that no light explains, a stripe of the bias or hot pixels; and rows that one beyond the edge lights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .bins import Binned
from .choose import Choice
from .compiled import contiguous, gather
from .filters import SPREAD
from .geometry import evaluate, terms_of
from .robust import median
from .solve import solve_columns

__all__ = ["find_stripes"]

FloatArray = NDArray[np.float64]

_SNR = 15.0  # of what a fit to all columns leaves in a row, above which it is asked whether the neighbours share it
# of the source's peak, and of its light in the row: less is more likely a profile that does not quite fit
_OF_PEAK, _OF_LIGHT = 0.015, 0.5
_LEAST_ROWS = 8
_CORE, _NEAR = 1.3, 3.0  # FWHM from a source: its own rows, and where its profile may have a lobe
_LOBE = 0.035  # of the flux: the most that a lobe may put into a row
_EDGE, _FALLEN = 2.0, 0.1  # FWHM over which light from beyond an edge must fall to this part of what the edge row has
_SHARE = 3.0  # sigma above which a row has some of it
_DECIDED = 9.0  # chi2 between an excess that follows the flux and one that does not


def find_stripes(binned: Binned, choice: Choice) -> NDArray[np.intp]:
    """Rows in which the fit leaves something that their neighbours share nothing of: no light does that.

    Light from beyond an edge looks so as well, and the little that the next rows have of it would bend the background:
    they are among these rows too.

    Parameters
    ----------
    binned : Binned
        Medians of bins.
    choice : Choice
        The fit to them.

    Returns
    -------
    ndarray of int
        Rows of the window.
    """
    none = np.zeros(0, dtype=np.intp)
    n_cross = binned.data.shape[1]
    if n_cross < _LEAST_ROWS:
        return none
    fit, problem = choice.fit, choice.problem
    centre, fwhm = evaluate(fit.geometry, binned.column)
    nods = fit.geometry.moved(problem.nods)
    terms = terms_of(fit.shape.at(binned.column), centre, fwhm, nods, problem.background, n_cross)
    solution = solve_columns(binned.data, binned.weight, terms)
    number, weight = len(centre), contiguous(binned.weight)
    residual, sums = np.empty(weight.shape), np.empty((3, n_cross))
    gather.sums_of_rows(contiguous(binned.data), weight, terms, solution.coefficients, number, residual, sums)
    seen = sums[0] > 0
    total = np.where(seen, sums[0], 1.0)
    left, light = sums[1] / total, np.abs(sums[2] / total)
    least = np.maximum(_OF_PEAK * light.max(), _OF_LIGHT * light)
    off = seen & (np.abs(left) > np.maximum(_SNR * choice.noise / np.sqrt(total), least))
    if not off.any():
        return none
    off &= ~_may_be_lobe(residual, weight, solution.coefficients[:, :number], centre, fwhm, left)
    if not off.any():
        return none
    above = left - median(left[seen])
    beside = np.pad(above, 1)
    side = np.where(above > 0, np.maximum(beside[2:], beside[:-2]), -np.minimum(beside[2:], beside[:-2]))
    out = off & (side < SPREAD * np.abs(above))
    inner = np.abs(np.arange(n_cross) - centre[:, :, None]).min(axis=(0, 1)) < _NEAR * fwhm.max()
    rows = np.flatnonzero(seen)
    for inward in (rows, rows[::-1]):
        if off[inward[0]] and left[inward[0]] > 0:
            reach = min(int(np.ceil(_EDGE * fwhm.max())) + 1, int(np.argmax(inner[inward])))
            out[_lit_from_beyond(binned, terms, inward[:reach], choice.noise)] = True
    return np.flatnonzero(out)


def _lit_from_beyond(binned: Binned, terms: FloatArray, rows: NDArray[np.intp], noise: float) -> NDArray[np.intp]:
    """Rows, from an edge inward, that have some of the light that lies beyond it; none where it does not fall off.

    What they have is what a fit to the other rows does not expect there.
    """
    if len(rows) < 2:
        return rows[:0]
    weight = binned.weight.copy()
    weight[:, rows] = 0.0
    solution = solve_columns(binned.data, weight, terms)
    there, counts = terms[:, :, rows], binned.weight[:, rows]
    excess = binned.data[:, rows] - np.einsum("xt,xty->xy", solution.coefficients, there)
    expected = np.einsum("xty,xts,xsy->xy", there, np.nan_to_num(solution.covariance, posinf=0.0), there)
    total = np.maximum(counts.sum(axis=0), 1e-300)
    mean = (counts * excess).sum(axis=0) / total
    error = noise * np.sqrt((counts + counts**2 * expected).sum(axis=0)) / total
    if mean[-1] > max(_FALLEN * mean[0], _SHARE * error[-1]):
        return rows[:0]
    falling = (mean > _SHARE * error) & (np.diff(mean, prepend=np.inf) < 0)
    number = len(rows) if falling.all() else int(np.argmin(falling))
    # where the light spreads at all, the next row may have what is not yet significant
    return rows[: number + 1 if number > 1 else number]


def _may_be_lobe(
    residual: FloatArray,
    weight: FloatArray,
    flux: FloatArray,
    centre: FloatArray,
    fwhm: FloatArray,
    left: FloatArray,
) -> NDArray[np.bool_]:
    """Rows near a source whose excess may be its own: it goes with the flux, or is no more than a lobe may hold.

    A lobe of a profile stands as alone as a stripe does, but follows the flux from bin to bin, which a stripe does not.
    """
    rows = np.arange(weight.shape[1])
    away = (np.abs(rows - centre[:, :, None]) / fwhm[:, :, None]).min(axis=(0, 1))
    light = np.maximum(flux, 0.0).sum(axis=1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        constant = (weight * residual).sum(axis=0) ** 2 / weight.sum(axis=0)
        follows = (weight * residual * light).sum(axis=0) ** 2 / (weight * light**2).sum(axis=0)
        mean = (weight * light).sum(axis=0) / weight.sum(axis=0)
    follows, constant = np.nan_to_num(follows), np.nan_to_num(constant)
    # by the stated errors: those of the fit hold the stripe itself
    undecided = np.abs(follows - constant) < _DECIDED
    lobe = np.where(undecided, np.abs(left) < _LOBE * np.nan_to_num(mean), follows > constant)
    return (away < _CORE) | (lobe & (away < _NEAR))
