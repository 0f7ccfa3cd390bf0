"""What unit the pixels of a JWST product are in: BUNIT where it is a unit of flux, else what the header proves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u

from ..errors import ReadError, bad_value
from ..recipe import Input
from ._fits import card

__all__ = ["PixelUnit", "is_flux", "jwst_unit", "parse_unit", "pixel_area", "wanted_unit"]


class PixelUnit(NamedTuple):
    """Unit of the pixels, unit of the spectrum (None: that of the pixels), solid angle, and what there is to say."""

    unit: u.UnitBase
    flux_unit: str | None
    area: float | None
    notes: tuple[str, ...]


def parse_unit(text: object) -> u.UnitBase | None:
    """Parse a unit as FITS files write them; None where it is none."""
    if not isinstance(text, str) or not text.strip():
        return None
    try:
        return u.Unit(text.strip())
    except ValueError:
        return None


def wanted_unit(settings: Input) -> u.UnitBase | None:
    """The unit that the user set, None where they set none.

    Raises
    ------
    ReadError
        If the text is no unit.
    """
    if settings.unit is None:
        return None
    unit = parse_unit(settings.unit) if settings.unit.strip() else u.dimensionless_unscaled
    if unit is None:
        raise bad_value("unit", "input", "a unit that astropy knows", settings.unit, ReadError)
    return unit


def is_flux(unit: u.UnitBase | None) -> bool:
    """Whether a unit is a flux density or a surface brightness, per frequency or per wavelength."""
    if unit is None:
        return False
    wave = u.erg / u.s / u.cm**2 / u.AA
    return any(unit.is_equivalent(kind) for kind in (u.Jy, u.Jy / u.sr, wave, wave / u.sr))


def pixel_area(header: Mapping[str, Any], settings: Input) -> float | None:
    """Solid angle of a pixel in steradian: the user's, else PIXAR_SR; None where neither is a positive number."""
    if settings.pixel_area_sr is not None:
        return settings.pixel_area_sr
    value = card(header, "PIXAR_SR")
    good = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value) and value > 0
    return float(value) if good else None


def jwst_unit(primary: Mapping[str, Any], header: Mapping[str, Any], settings: Input, where: str) -> PixelUnit:
    """Decide the unit of a JWST image.

    A BUNIT that is a unit of flux decides. Otherwise SRCTYPE counts for NIRSpec (POINT is MJy a pixel, EXTENDED
    MJy/sr), and only where the header says that photometric calibration was done (S_PHOTOM COMPLETE). Anything else
    is refused. A unit set by the user goes before all.

    Parameters
    ----------
    primary, header : mapping
        Headers of the primary HDU and of the image.
    settings : Input
        Section ``input`` of the recipe.
    where : str
        File and extension, for messages.

    Raises
    ------
    ReadError
        If the unit cannot be known, or is per steradian and the pixels' solid angle is not given.
    """
    text = card(header, "BUNIT")
    text = card(primary, "BUNIT") if text is None else text
    named, notes = parse_unit(text), []
    wanted = wanted_unit(settings)
    if wanted is not None:
        unit = wanted
        if named is not None and named != unit:
            notes.append(f"The unit {unit} was set by the user; BUNIT says {text}.")
    elif named is not None and is_flux(named):
        unit = named
    else:
        unit, reason = _from_source_type(primary, header, text, where)
        notes.append(reason)
    area = pixel_area(header, settings)
    if area is None:
        area = pixel_area(primary, settings)
    if area is None and (unit * u.sr).is_equivalent(u.Jy):
        raise ReadError(
            f"{where}: the unit is {unit} and PIXAR_SR, the solid angle of a pixel, is "
            f"{card(header, 'PIXAR_SR', 'absent')}: set input.pixel_area_sr in the recipe to a positive number of "
            "steradian"
        )
    per_frequency = unit.is_equivalent(u.Jy) or (unit * u.sr).is_equivalent(u.Jy)
    return PixelUnit(unit, "Jy" if per_frequency else None, area, tuple(notes))


def _from_source_type(
    primary: Mapping[str, Any], header: Mapping[str, Any], text: object, where: str
) -> tuple[u.UnitBase, str]:
    said = "absent" if text is None else f"{text!r}, which is no unit of flux"
    done = card(primary, "S_PHOTOM", "absent")
    kind = str(card(header, "SRCTYPE", card(primary, "SRCTYPE", "absent"))).upper()
    nirspec = str(card(primary, "INSTRUME", "")).upper() == "NIRSPEC"
    option = "set the unit yourself: input.unit in the recipe, or unit= of read (for example 'MJy/sr')"
    if str(done).upper() != "COMPLETE":
        raise ReadError(
            f"{where}: BUNIT is {said}, and the header does not say that photometric calibration was done "
            f"(S_PHOTOM is {done}); {option}"
        )
    if not nirspec or kind not in ("POINT", "EXTENDED"):
        raise ReadError(f"{where}: BUNIT is {said}, and SRCTYPE ({kind}) does not tell it apart; {option}")
    unit = u.MJy if kind == "POINT" else u.MJy / u.sr
    return unit, (
        f"BUNIT is {said}; S_PHOTOM is COMPLETE and SRCTYPE is {kind}, so the pixels are taken to be in {unit}, "
        "as the NIRSpec pipeline writes them. input.unit overrules this."
    )
