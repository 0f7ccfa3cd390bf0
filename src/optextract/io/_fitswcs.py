"""Wavelength from the WCS of a FITS header: linear or logarithmic, in vacuum or in air."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from ._fits import card, plain
from ._gwcs import reduced
from ._units import parse_unit

__all__ = ["HeaderWavelength", "from_header", "from_wcs", "is_air", "spectral_axis"]

#: Kinds of spectral coordinate that the standard knows, and what other writers call them.
_STANDARD = ("WAVE", "AWAV", "FREQ", "ENER", "WAVN")
_OTHER = ("WAVELEN", "LAMBDA", "LINEAR", "WAVELENGTH")

#: Cards of a WCS of at most nine axes; how many there are follows from them.
_WCS = re.compile(
    r"C(TYPE|UNIT|RVAL|RPIX|DELT)[1-9]|(CD|PC|PV)[1-9]_\d{1,2}|RESTFRQ|RESTWAV|LONPOLE|LATPOLE|RADESYS|EQUINOX|SPECSYS"
)


class HeaderWavelength(NamedTuple):
    """Wavelength (n_disp,) or (n_cross, n_disp) in the orientation of the frame, whether in air, and what to say."""

    values: u.Quantity | None
    air: bool
    notes: tuple[str, ...]


def spectral_axis(header: Mapping[str, Any]) -> int | None:
    """Axis of the file (1 or 2) that the header calls spectral; None where it calls none or both so."""
    found = [axis for axis in (1, 2) if _kind(header, axis) is not None]
    if len(found) == 1:
        return found[0]
    value = card(header, "DISPAXIS")
    return value if value in (1, 2) and not isinstance(value, bool) else None


def is_air(header: Mapping[str, Any]) -> bool:
    """Whether the header says that wavelengths are those in air (CTYPE AWAV, AIRORVAC, VACUUM)."""
    if any((_kind(header, axis) or "").startswith("AWAV") for axis in (1, 2, 3)):
        return True
    return str(card(header, "AIRORVAC", "")).lower().startswith("air") or card(header, "VACUUM") is False


def _kind(header: Mapping[str, Any], axis: int) -> str | None:
    text = str(card(header, f"CTYPE{axis}", "")).upper()
    if text[:4] in _STANDARD and text not in _OTHER:
        return text
    if text in _OTHER and (text != "LINEAR" or _unit(header, axis) is not None or card(header, "DC-FLAG") is not None):
        return text
    return None


def _unit(header: Mapping[str, Any], axis: int) -> u.UnitBase | None:
    unit = parse_unit(card(header, f"CUNIT{axis}"))
    good = unit is not None and unit.is_equivalent(u.m, equivalencies=u.spectral())
    return unit if good else None


def from_header(
    header: Mapping[str, Any], shape: tuple[int, int], *, vertical: bool, unit: u.UnitBase | None = None
) -> HeaderWavelength:
    """Return the wavelength that a header describes.

    Parameters
    ----------
    header : mapping
        The image's header.
    shape : tuple of int
        Shape of the image in the file (NAXIS2, NAXIS1).
    vertical : bool
        Whether dispersion runs along axis 2 of the file.
    unit : Unit, optional
        Unit where the header has no CUNIT.
    """
    axis = 2 if vertical else 1
    # an axis beyond the image's two may hold the wavelength, fed by one of them (as the JWST pipeline writes it)
    axes = [number for number in (axis, 3) if _kind(header, number) is not None]
    if not axes:
        return HeaderWavelength(None, False, ())
    axis = axes[0]
    kind = str(_kind(header, axis))
    told = _unit(header, axis)
    used = unit if told is None else told
    if used is None:
        return HeaderWavelength(
            None, False, (f"The WCS has a wavelength axis ({kind}) without CUNIT{axis}: set wavelength_unit.",)
        )
    air = is_air(header)
    if kind in _OTHER:
        return HeaderWavelength(_linear(header, axis, shape[::-1][axis - 1], used) if axis < 3 else None, air, ())
    from astropy.wcs import WCS

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            found = {key: value for key, value in plain(header).items() if _WCS.fullmatch(key)}
            # the reader may have been told what the file leaves out
            found[f"CUNIT{axis}"] = used.to_string("fits")
            values = from_wcs(WCS(fits.Header(found)), axis - 1, shape, vertical=vertical)
    except (ValueError, KeyError, TypeError, MemoryError, IndexError, VerifyError) as error:
        return HeaderWavelength(None, False, (f"The WCS of the header cannot be used: {_first(error)}.",))
    return HeaderWavelength(values, air, ())


def from_wcs(wcs: Any, axis: int, shape: tuple[int, int], *, vertical: bool) -> u.Quantity:
    """Evaluate the spectral axis of an astropy WCS at every pixel, in the frame's orientation."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    pixels = [x.ravel(), y.ravel(), *(np.zeros(x.size) for _ in range(wcs.naxis - 2))]
    world = wcs.wcs_pix2world(np.column_stack(pixels[: wcs.naxis]), 0)[:, axis]
    values = world.reshape(shape)
    unit = u.Unit(str(wcs.wcs.cunit[axis]))
    return reduced(np.asarray(values.T if vertical else values, dtype=float)) * unit


def _linear(header: Mapping[str, Any], axis: int, count: int, unit: u.UnitBase) -> u.Quantity | None:
    """Linear dispersion under a name that the standard does not know; DC-FLAG 1 is IRAF's logarithm to base 10."""
    start, reference = card(header, f"CRVAL{axis}"), card(header, f"CRPIX{axis}", 1.0)
    step = card(header, f"CD{axis}_{axis}", card(header, f"CDELT{axis}"))
    if not all(isinstance(value, int | float) for value in (start, reference, step)) or step == 0:
        return None
    values: NDArray[np.float64] = start + (np.arange(count) + 1.0 - reference) * step
    return (10.0**values if card(header, "DC-FLAG") == 1 else values) * unit


def _first(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
