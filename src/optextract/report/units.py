"""Units and limits that people read easily; nothing here changes a result."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

__all__ = ["label", "readable", "robust_limits", "words"]

FloatArray = NDArray[np.float64]

#: Janskys are shown with the prefix that leaves numbers between 1 and 1000.
_FLUXES = (u.Jy, u.mJy, u.uJy, u.nJy)


def readable(values: FloatArray, unit: u.UnitBase) -> tuple[float, u.UnitBase]:
    """Choose a unit in which typical values are easy to read.

    Parameters
    ----------
    values : ndarray
        Values in `unit`; those that are not finite are left out.
    unit : Unit
        Their unit.

    Returns
    -------
    factor : float
        What to multiply the values by.
    unit : Unit
        The unit they are in then. Only flux densities in multiples of a jansky are changed.
    """
    good = np.abs(values[np.isfinite(values)])
    if unit.physical_type != u.Jy.physical_type or not good.size or not good.any():
        return 1.0, unit
    # between a faint continuum and its brightest line
    typical = float(np.sqrt(np.percentile(good[good > 0], 50) * np.percentile(good, 99.9))) * unit.to(u.Jy)
    for shown in _FLUXES:
        if typical >= shown.to(u.Jy):
            break
    return float(unit.to(shown)), shown


def words(unit: u.UnitBase) -> str:
    """Name of a unit for an axis or a line of text; empty for a number."""
    if unit == u.MJy / u.sr:
        return "MJy/sr"
    return str(unit.to_string("unicode"))


def label(quantity: str, unit: u.UnitBase) -> str:
    """Axis label: the quantity and its unit."""
    name = words(unit)
    return f"{quantity} ({name})" if name else f"{quantity} (no unit)"


def robust_limits(values: FloatArray, *, sigma: float = 5.0) -> tuple[float, float]:
    """Limits of a grey scale that hot pixels do not decide: median +- `sigma` robust deviations, within the data.

    Parameters
    ----------
    values : ndarray
        Pixels; those that are not finite are left out.
    sigma : float, optional
        Half width in units of 1.4826 times the median absolute deviation.

    Returns
    -------
    tuple of float
        Lower and upper limit; (-1, 1) where nothing is finite.
    """
    good = values[np.isfinite(values)]
    if not good.size:
        return -1.0, 1.0
    middle = float(np.median(good))
    width = 1.4826 * float(np.median(np.abs(good - middle)))
    lower, upper = float(good.min()), float(good.max())
    if width > 0:
        # a bright source fills few rows: let its upper percentile in
        upper = min(upper, max(middle + sigma * width, float(np.percentile(good, 99.0))))
        lower = max(lower, middle - sigma * width)
    return (lower, upper) if lower < upper else (lower - 1.0, upper + 1.0)
