"""Wavelength, sky and slit coordinates of each pixel from the gwcs that JWST products carry."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from ._fits import FitsFile, card

__all__ = [
    "PixelCoordinates",
    "evaluate",
    "header_wavelength_unit",
    "load_wcs",
    "pixel_scale",
    "reduced",
    "row_where",
    "sky_rows",
]

FloatArray = NDArray[np.float64]

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError)

#: A wavelength whose change across the slit is below this fraction of a pixel is the same in every row.
SAME = 1e-6


@dataclass(frozen=True, eq=False)
class PixelCoordinates:
    """What the gwcs says of every pixel, in the frame's orientation.

    Attributes
    ----------
    wavelength : ndarray, shape (n_cross, n_disp), or None
        In um; NaN outside the domain of the WCS.
    ra, dec : ndarray, shape (n_cross, n_disp), or None
        In degrees.
    slit : ndarray, shape (n_cross, n_disp), or None
        Position along the slit in the unit of SRCYPOS.
    """

    wavelength: FloatArray | None
    ra: FloatArray | None
    dec: FloatArray | None
    slit: FloatArray | None


def load_wcs(file: FitsFile, version: int, slit_name: str) -> tuple[Any, str]:
    """Return the gwcs of one slit from the ASDF extension, or None and the reason in words.

    Parameters
    ----------
    file : FitsFile
        The opened file.
    version : int
        EXTVER of the slit's SCI extension.
    slit_name : str
        SLTNAME of the slit; where a multi-slit file's tree names its slits, the name decides.
    """
    tables = [index for index in file.tables() if file.name(index) == "ASDF"]
    if not tables:
        return None, "the file has no ASDF extension"
    import asdf
    import yaml
    from asdf.exceptions import AsdfWarning, ValidationError

    try:
        # only what is asked for is built of the tree: a file of 80 slits opens as fast as one of a single slit
        raw = np.asarray(file.table(tables[0])["ASDF_METADATA"]).tobytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AsdfWarning)
            with asdf.open(io.BytesIO(raw), lazy_load=False, lazy_tree=True) as opened:
                wcs = _find(opened.tree, version, slit_name)
    except (*_UNREADABLE, yaml.YAMLError, ValidationError) as error:
        said = str(error).splitlines()
        return None, f"the ASDF extension cannot be read ({said[0] if said else type(error).__name__})"
    if wcs is None:
        return None, "the ASDF extension holds no WCS"
    if not callable(wcs):
        return None, "the WCS of the ASDF extension is of a kind that gwcs does not know"
    return wcs, ""


def _find(tree: Any, version: int, slit_name: str) -> Any:
    slits = tree.get("slits")
    if slits is not None and len(slits):
        named = [slit for slit in slits if slit_name and str(slit.get("name", "")) == slit_name]
        if len(named) == 1:
            return named[0]["meta"].get("wcs")
        return slits[version - 1]["meta"].get("wcs") if 1 <= version <= len(slits) else None
    return tree["meta"].get("wcs")


def evaluate(wcs: Any, shape: tuple[int, int], *, vertical: bool) -> PixelCoordinates:
    """Evaluate a gwcs at every pixel centre.

    Parameters
    ----------
    wcs : gwcs.WCS
        From pixel (x, y), 0-based, to any of sky, wavelength and order.
    shape : tuple of int
        Shape of the image in the file (NAXIS2, NAXIS1).
    vertical : bool
        Whether dispersion runs along axis 2 of the file; the result is transposed then.

    Raises
    ------
    ValueError, TypeError, RuntimeError, NotImplementedError
        As gwcs raises them where the WCS does not take two pixel coordinates.
    """
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        values = wcs(x, y)
        values = values if isinstance(values, tuple | list) else (values,)
        kinds, units = _axes(wcs, len(values))
        slit = _slit(wcs, x, y)

    def take(array: Any) -> FloatArray:
        array = np.asarray(getattr(array, "value", array), dtype=float)
        return np.broadcast_to(array.T if vertical else array, shape[::-1] if vertical else shape)

    spectral = [index for index, kind in enumerate(kinds) if kind == "SPECTRAL"]
    sky = [index for index, kind in enumerate(kinds) if kind in ("SPATIAL", "CELESTIAL")]
    wavelength = None
    if spectral:
        unit = units[spectral[0]]
        wavelength = take(values[spectral[0]]) * (1.0 if unit is None else u.Unit(unit).to(u.um))
        wavelength = np.where(wavelength > 0, wavelength, np.nan)
    ra, dec = (take(values[sky[0]]), take(values[sky[1]])) if len(sky) == 2 else (None, None)
    return PixelCoordinates(wavelength, ra, dec, None if slit is None else take(slit))


def _axes(wcs: Any, count: int) -> tuple[Sequence[str], Sequence[Any]]:
    frame = wcs.output_frame
    kinds = [str(kind) for kind in getattr(frame, "axes_type", ())]
    units = list(getattr(frame, "unit", ()))
    order = list(getattr(frame, "axes_order", range(len(kinds))))
    if len(kinds) != count or sorted(order) != list(range(count)):
        return (["SPATIAL", "SPATIAL", "SPECTRAL", "ORDER"][:count] if count >= 3 else []), [None] * max(count, 3)
    if len(units) != count:
        units = [None] * count
    placed, measured = [""] * count, [None] * count
    for position, kind, unit in zip(order, kinds, units, strict=True):
        placed[position], measured[position] = kind, unit
    return placed, measured


def _slit(wcs: Any, x: FloatArray, y: FloatArray) -> Any:
    if "slit_frame" not in wcs.available_frames or "detector" not in wcs.available_frames:
        return None
    values = wcs.get_transform("detector", "slit_frame")(x, y)
    return values[1] if isinstance(values, tuple | list) and len(values) >= 2 else None


def reduced(wavelength: FloatArray) -> FloatArray:
    """Return shape (n_disp,) where the wavelength is the same in every row, else the 2D array as it is."""
    finite = np.isfinite(wavelength)
    if not finite.any():
        return wavelength[0]
    # NaN and inf are the missing pixels of a column, never its extremes
    low = np.where(finite, wavelength, np.inf).min(axis=0)
    high = np.where(finite, wavelength, -np.inf).max(axis=0)
    some = finite.any(axis=0)
    values = np.where(some, low, np.nan)
    steps = np.abs(np.diff(values[some]))
    step = float(np.median(steps)) if steps.size else 0.0
    if (high[some] - low[some]).max() > SAME * step:
        return wavelength
    return values


def row_where(values: FloatArray, target: float) -> FloatArray:
    """Row at which `values` (n_cross, n_disp), monotonic along each column, passes `target`; NaN where it does not."""
    distance = values - target
    with np.errstate(invalid="ignore"):
        crosses = distance[:-1] * distance[1:] <= 0
    row = np.argmax(crosses, axis=0)
    column = np.arange(values.shape[1])
    below, above = distance[row, column], distance[row + 1, column]
    with np.errstate(invalid="ignore", divide="ignore"):
        fraction = np.where(below == above, 0.0, below / (below - above))
    return np.where(crosses.any(axis=0), row + fraction, np.nan)


def pixel_scale(ra: FloatArray, dec: FloatArray) -> float | None:
    """Median distance on the sky of neighbouring rows, arcsec."""
    along, across = _tangent(ra, dec, *_middle(ra, dec))
    steps = np.hypot(np.diff(along, axis=0), np.diff(across, axis=0))
    steps = steps[np.isfinite(steps) & (steps > 0)]
    return float(np.median(steps)) if steps.size else None


def _middle(ra: FloatArray, dec: FloatArray) -> tuple[float, float]:
    good = np.isfinite(ra) & np.isfinite(dec)
    if not good.any():
        return 0.0, 0.0
    # right ascensions on both sides of 0 are brought together
    first = ra[good][0]
    wrapped = (ra[good] - first + 180) % 360 - 180
    return float(first + np.median(wrapped)), float(np.median(dec[good]))


def _tangent(ra: FloatArray, dec: FloatArray, ra0: float, dec0: float) -> tuple[FloatArray, FloatArray]:
    """Offsets east and north of a point in arcsec, on the tangent plane to first order (a slit is small)."""
    east = ((ra - ra0 + 180) % 360 - 180) * np.cos(np.deg2rad(dec0)) * 3600
    return east, (dec - dec0) * 3600


def sky_rows(ra: FloatArray, dec: FloatArray, ra0: float, dec0: float) -> tuple[FloatArray, float]:
    """Row closest to a position on the sky in each column, and how far the slit passes from it in arcsec."""
    east, north = _tangent(ra, dec, ra0, dec0)
    steps_east, steps_north = np.diff(east, axis=0), np.diff(north, axis=0)
    good = np.isfinite(steps_east) & np.isfinite(steps_north)
    if not good.any():
        return np.full(ra.shape[1], np.nan), np.inf
    direction = np.array([np.median(steps_east[good]), np.median(steps_north[good])])
    length = float(np.hypot(*direction))
    if length == 0:
        return np.full(ra.shape[1], np.nan), np.inf
    unit = direction / length
    rows = row_where(east * unit[0] + north * unit[1], 0.0)
    aside = np.abs(-east * unit[1] + north * unit[0])
    aside = aside[np.isfinite(aside)]
    return rows, float(np.median(aside))


def header_wavelength_unit(header: Any) -> u.UnitBase | None:
    """Unit of a wavelength image from BUNIT, None where it has none."""
    text = card(header, "BUNIT")
    if text is None:
        return None
    try:
        unit = u.Unit(str(text))
    except ValueError:
        return None
    return unit if unit.is_equivalent(u.m) else None
