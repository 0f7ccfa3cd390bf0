"""What is handed over along the columns of the frame: spectra with their flags, and the parts of their variance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import compiled
from .matched import between, reached

__all__ = ["carry", "flag_columns", "shares", "spectra"]

FloatArray = NDArray[np.float64]


@compiled
def flag_columns(
    good: FloatArray,
    total: FloatArray,
    inverse: FloatArray,
    struck: NDArray[np.intp],
    kept: FloatArray,
    restored: NDArray[np.bool_],
    alone: NDArray[np.bool_],
    least: float,
    short: float,
    bits: tuple[int, int, int, int, int, int, int],
    flags: NDArray[np.uint32],
    lost: NDArray[np.bool_],
) -> None:
    """Flag each column of each source by what the last solution knows of it.

    Parameters
    ----------
    good, total : ndarray, shape (n_disp, n_source)
        Part of each profile on good pixels, and on all.
    inverse : ndarray, shape (n_disp, n_term, n_term)
        Infinite variance where no pixel sees a source.
    struck : ndarray of int, shape (n_disp, n_source)
        Rejected pixels of each profile.
    kept : ndarray, shape (n_disp, n_cross)
        Inverse variances after rejection.
    restored, alone : ndarray of bool, shape (n_disp,)
        As in `optextract.reject.Rejected`.
    least, short : float
        Part of a profile on good pixels that a flux needs, and part that may lack of it without a word.
    bits : tuple of int
        For no data, a low and a partial profile, rejected and restored pixels, a lone column, and the edge.
    flags : ndarray of uint32, shape (n_disp, n_source)
        Filled.
    lost : ndarray of bool, shape (n_disp, n_source)
        Filled: whether no flux can be given.
    """
    no_data, low, partial, rejected, restored_bit, lone, edge = bits
    for x in range(len(good)):
        seen = False
        for y in range(kept.shape[1]):
            seen |= kept[x, y] > 0
        for k in range(good.shape[1]):
            flag = 0 if seen else no_data
            bad = not (good[x, k] >= least) or not np.isfinite(inverse[x, k, k])
            if bad and seen:
                flag |= low
            if not bad and total[x, k] - good[x, k] > short:
                flag |= partial
            if struck[x, k] > 0:
                flag |= rejected
            if restored[x]:
                flag |= restored_bit
            if alone[x]:
                flag |= lone
            if total[x, k] < 1.0 - short:
                flag |= edge
            flags[x, k] = flag
            lost[x, k] = bad or not seen


@compiled
def spectra(
    coefficients: FloatArray,
    covariance: FloatArray,
    unrejected: FloatArray,
    fraction: FloatArray,
    least: float,
    factor: FloatArray,
    rescale: float,
    lost: NDArray[np.bool_],
    first: int,
    flux: FloatArray,
    uncertainty: FloatArray,
    flux_unrejected: FloatArray,
    together: FloatArray,
) -> None:
    """Fluxes in their unit, their errors and covariance, along the columns of the frame; NaN beyond and where lost.

    Parameters
    ----------
    coefficients : ndarray, shape (n_disp, n_term)
        The sources are the first terms.
    covariance : ndarray, shape (n_disp, n_source, n_source)
    unrejected, fraction : ndarray, shape (n_disp, n_source)
        Fluxes with no pixel rejected, and the part of each profile that they rest on.
    least : float
        Part that they need.
    factor : ndarray, shape (n_disp, n_source)
        From a pixel's unit to the spectrum's.
    rescale : float
        Factor on the errors.
    lost : ndarray of bool, shape (n_disp, n_source)
        Where no flux can be given.
    first : int
        Column of the frame with which the others begin.
    flux, uncertainty, flux_unrejected : ndarray, shape (n_source, n_column)
        Filled.
    together : ndarray, shape (n_column, n_source, n_source)
        Filled: covariance.
    """
    n_disp, n_source = factor.shape
    flux[:] = np.nan
    uncertainty[:] = np.nan
    flux_unrejected[:] = np.nan
    together[:] = np.nan
    for x in range(n_disp):
        for k in range(n_source):
            if fraction[x, k] >= least:
                flux_unrejected[k, first + x] = unrejected[x, k] * factor[x, k]
            if lost[x, k]:
                continue
            flux[k, first + x] = coefficients[x, k] * factor[x, k]
            for j in range(n_source):
                if not lost[x, j]:
                    value = covariance[x, k, j] * factor[x, k] * factor[x, j] * rescale**2
                    together[first + x, k, j] = value
            uncertainty[k, first + x] = np.sqrt(together[first + x, k, k])


@compiled
def shares(
    kept: FloatArray,
    profiles: FloatArray,
    inverse: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    through: FloatArray,
    summed: FloatArray,
    counted: NDArray[np.bool_],
) -> None:
    """What the variance of each pixel adds to that of the fluxes and of plain sums.

    Parameters
    ----------
    kept : ndarray, shape (n_disp, n_cross)
        Inverse variances after rejection.
    profiles : ndarray, shape (n_disp, n_term, n_cross)
    inverse : ndarray, shape (n_disp, n_term, n_term)
        Of the normal matrix; infinite variance of a term that is not seen.
    lower, upper : ndarray, shape (n_source, n_disp)
        Edges of the sums.
    through, summed : ndarray, shape (n_disp, n_source, n_cross)
        Filled: squares of the weights of the fluxes, and of the parts of the pixels that are summed.
    counted : ndarray of bool, shape (n_disp, n_source)
        Filled: whether anything is summed.
    """
    n_disp, n_term, n_cross = profiles.shape
    share = np.empty(n_cross)
    for x in range(n_disp):
        for k in range(len(lower)):
            for y in range(n_cross):
                share[y], summed[x, k, y] = 0.0, 0.0
            for s in range(n_term):
                weight = inverse[x, k, s] if np.isfinite(inverse[x, k, s]) else 0.0
                for y in range(n_cross):
                    share[y] += weight * profiles[x, s, y]
            for y in range(n_cross):
                through[x, k, y] = (share[y] * kept[x, y]) ** 2
            first, last = reached(lower[k, x], upper[k, x], n_cross)
            count = 0.0
            for y in range(first, last):
                part = between(lower[k, x], upper[k, x], y) if kept[x, y] > 0 else 0.0
                count += part
                summed[x, k, y] = part * part
            counted[x, k] = count > 0


_TOGETHER = 64  # columns whose values are read one after the other


@compiled
def carry(
    image: FloatArray,
    row: int,
    column: int,
    factor: float,
    slope: float,
    data: FloatArray,
    model: FloatArray,
    through: FloatArray,
    scale: FloatArray,
    lost: NDArray[np.bool_],
    summed: FloatArray,
    box_scale: float,
    counted: NDArray[np.bool_],
    spread: FloatArray,
    boxed: FloatArray,
) -> None:
    """One component of the variance through the weights of the fluxes and through plain sums.

    Parameters
    ----------
    image : ndarray, shape (n_row, n_column), read-only
        The component in the frame; what is not finite counts as none.
    row, column : int
        Where the window begins.
    factor : float
        On it.
    slope : float
        Of it on its own pixel's value, to be taken out of what the weights carry; zero for none.
    data, model : ndarray, shape (n_disp, n_cross)
        Pixel values and their model.
    through, summed : ndarray, shape (n_disp, n_source, n_cross)
        From `shares`.
    scale : ndarray, shape (n_disp, n_source)
        Factor on the fluxes.
    lost : ndarray of bool, shape (n_disp, n_source)
        Where no flux can be given.
    box_scale : float
        Factor on the sums.
    counted : ndarray of bool, shape (n_disp, n_source)
        Where anything is summed.
    spread, boxed : ndarray, shape (n_source, n_column)
        Filled: variances of the fluxes and of the sums; NaN beyond the window, where lost and where nothing is summed.
    """
    n_disp, n_source, n_cross = through.shape
    values, followed = np.empty((_TOGETHER, n_cross)), np.empty(n_cross)
    spread[:] = np.nan
    boxed[:] = np.nan
    for x in range(n_disp):
        i = x % _TOGETHER
        if i == 0:
            for y in range(n_cross):
                for j in range(min(_TOGETHER, n_disp - x)):
                    value = image[row + y, column + x + j] * factor
                    values[j, y] = value if np.isfinite(value) else 0.0
        for y in range(n_cross):
            followed[y] = values[i, y]
        if slope > 0:
            for y in range(n_cross):
                noise = max(data[x, y], 0.0) - max(model[x, y], 0.0)
                followed[y] = max(values[i, y] - slope * noise, 0.0)
        for k in range(n_source):
            carried, total = 0.0, 0.0
            for y in range(n_cross):
                carried += through[x, k, y] * followed[y]
                total += summed[x, k, y] * values[i, y]
            if not lost[x, k]:
                spread[k, column + x] = carried * scale[x, k] ** 2
            if counted[x, k]:
                boxed[k, column + x] = total * box_scale**2
