"""The columns of a product, from an extraction: what each number is, in which unit, and what cannot be known."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from ..results import Extraction, Flag
from ._masks import JWST_BITS
from ._units import parse_unit

__all__ = ["aperture_mean", "background_unit", "flux_in", "jwst_dq", "source_name", "wavelength_in"]

FloatArray = NDArray[np.float64]


class _Spectrum(Protocol):
    """What has a unit and wavelengths: an extraction, a combination."""

    @property
    def unit(self) -> u.UnitBase: ...

    @property
    def wavelength(self) -> u.Quantity: ...


def flux_in(result: _Spectrum) -> tuple[u.UnitBase, float]:
    """Unit of the flux in products (Jy where it can be), and the factor to it."""
    if result.unit.is_equivalent(u.Jy):
        return u.Jy, float(result.unit.to(u.Jy))
    return result.unit, 1.0


def wavelength_in(result: _Spectrum) -> u.Quantity:
    """Wavelength in um; frequencies and energies are converted, column numbers stay pixels."""
    if result.wavelength.unit.is_equivalent(u.pix):
        return result.wavelength
    return result.wavelength.to(u.um, equivalencies=u.spectral())


def background_unit(result: Extraction) -> tuple[u.UnitBase | None, float]:
    """Unit of the background in products, MJy/sr where it can be, and the factor from the frame's own unit.

    None where nobody says which unit the pixels of the frame had.
    """
    unit = parse_unit(result.meta.get("pixel_unit"))
    area = result.meta.get("pixel_area_sr")
    target = u.MJy / u.sr
    if unit is None:
        # without a solid angle a frame and its spectrum share their unit
        return (None, float("nan")) if area is not None else (result.unit, 1.0)
    if unit.is_equivalent(target):
        return target, float(unit.to(target))
    if unit.is_equivalent(u.Jy) and area is not None:
        return target, float(unit.to(u.MJy)) / float(area)
    return unit, 1.0


def aperture_mean(image: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Mean of an image (n_cross, n_disp) over the rows between two edges of each column; NaN where it has no value."""
    rows = np.arange(image.shape[0])[:, None]
    share = np.clip(np.minimum(rows + 0.5, upper) - np.maximum(rows - 0.5, lower), 0.0, 1.0)
    share = np.where(np.isfinite(image) & np.isfinite(share), share, 0.0)
    total = share.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, (share * np.nan_to_num(image)).sum(axis=0) / total, np.nan)


def jwst_dq(flux: FloatArray, flags: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """JWST DQ bits of a spectrum, as far as they mean the same.

    A flux that is NaN is DO_NOT_USE, rejected pixels in the profile are OUTLIER, a profile that lies partly on bad
    pixels is FLUX_ESTIMATED. The rest of `Flag` has no counterpart.
    """
    dq = np.zeros(flux.shape, dtype=np.uint32)
    pairs = (
        ("DO_NOT_USE", ~np.isfinite(flux)),
        ("OUTLIER", (flags & np.uint32(Flag.REJECTED_PIXELS)) != 0),
        ("FLUX_ESTIMATED", (flags & np.uint32(Flag.PARTIAL_PROFILE)) != 0),
    )
    for name, where in pairs:
        dq |= np.where(where, np.uint32(1 << JWST_BITS[name]), np.uint32(0))
    return dq


def source_name(result: Extraction, source: int) -> str:
    """Name of a source: the recipe's, else the file's with a number where there are several."""
    items = result.resolved.sources.items
    if source < len(items) and items[source].name is not None:
        return str(items[source].name)
    named: Any = result.meta.get("source_name")
    base = str(named) if named is not None else "source"
    return base if result.n_source == 1 else f"{base}_{source + 1}"
