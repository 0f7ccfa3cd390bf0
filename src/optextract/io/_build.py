"""A frame from pieces of any origin: images in the file's orientation, headers, and what the user says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from ..errors import ReadError
from ..frame import Frame
from ..recipe import Input, Mapped
from ._fits import card
from ._fitswcs import HeaderWavelength, from_header, is_air, spectral_axis
from ._gwcs import reduced
from ._units import parse_unit, pixel_area, wanted_unit

__all__ = ["Pieces", "Spread", "build", "is_vertical"]

FloatArray = NDArray[np.float64]
Spread = Literal["variance", "sigma", "inverse_variance"]

#: Cards of gain (electrons per unit) and read noise (electrons), best known names first.
_GAIN = ("EGAIN", "GAIN")
_NOISE = ("RDNOISE", "READNOIS", "RON", "ENOISE", "RDNOIS", "READNOISE")


@dataclass
class Pieces:
    """What a reader found, before it is understood; images in the orientation of the file.

    Attributes
    ----------
    where : str
        File and HDU, for messages.
    flux : ndarray, shape (ny, nx)
        Pixel values.
    header : mapping
        The image's header, with the primary's as a fallback.
    spread : ndarray or None
        Its uncertainty, of the kind `kind`, from `spread_name`.
    mask : ndarray or None
        Non-zero, True or NaN is bad.
    wavelength : Quantity or ndarray or None
        1D along dispersion, or of the shape of `flux`; without a unit, `wavelength_name` is asked for one.
    unit : Unit or None
        Unit of `flux` where it is known by more than BUNIT.
    claimed : Unit or None
        What the source says the unit is, where `unit` does not believe it; errors were written in that one.
    weight : ndarray or None
        Relative weights.
    meta : dict
        What else is known.
    notes : list of str
        What there is to say.
    """

    where: str
    flux: FloatArray
    header: Mapping[str, Any]
    spread: FloatArray | None = None
    kind: Spread = "sigma"
    spread_name: str = ""
    spread_unit: u.UnitBase | None = None
    mask: NDArray[Any] | None = None
    wavelength: Any = None
    wavelength_name: str = ""
    unit: u.UnitBase | None = None
    claimed: u.UnitBase | None = None
    weight: FloatArray | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@np.errstate(all="ignore")  # a damaged file may hold any bit pattern; what is not finite in the end is masked
def build(pieces: Pieces, settings: Input, vertical: bool | None = None) -> Frame:
    """Understand the pieces and turn them into a frame.

    Parameters
    ----------
    pieces : Pieces
        What was found.
    settings : Input
        Section ``input`` of the recipe.
    vertical : bool, optional
        Whether dispersion runs along axis 2 of the file, where the caller knows.

    Raises
    ------
    ReadError
        If the dispersion axis, a unit or the sense of the mask cannot be known.
    """
    notes = list(pieces.notes)
    mapping = Mapped() if settings.mapping is None else settings.mapping
    if vertical is None:
        vertical, said = is_vertical(pieces, mapping)
        notes += said
    unit, said = _unit(pieces, settings)
    notes += said
    area = pixel_area(pieces.header, settings)
    if (unit * u.sr).is_equivalent(u.Jy) and area is None:
        raise ReadError(
            f"{pieces.where}: the unit is {unit} and PIXAR_SR, the solid angle of a pixel, is absent: "
            "set input.pixel_area_sr in the recipe to a positive number of steradian"
        )
    flux = pieces.flux.T if vertical else pieces.flux
    bad = ~np.isfinite(flux)
    variance, source, said = _variance(pieces, unit, flux.shape, vertical)
    notes += said
    if variance is not None:
        wrong = np.isfinite(flux) & (variance < 0)
        if wrong.any():
            notes.append(f"{pieces.spread_name} is negative in {int(wrong.sum())} pixels: masked.")
        variance = np.where(wrong, np.nan, variance)
        bad |= ~(np.isfinite(variance) & (variance > 0))
    if pieces.mask is not None:
        flagged = _flagged(pieces.mask.T if vertical else pieces.mask)
        if flagged.all():
            raise ReadError(
                f"{pieces.where}: the mask is non-zero everywhere, which would leave no good pixel "
                "(non-zero is bad; the file may mean the opposite)"
            )
        bad |= flagged
    wavelength, air, said = _wavelength(pieces, mapping, flux.shape, vertical)
    notes += said
    if wavelength is None:
        notes.append("The file has no wavelength: columns are numbered in pixels.")
    meta: dict[str, Any] = dict(pieces.meta)
    meta |= {
        "dispaxis": 2 if vertical else 1,
        "variance_source": source,
        "pixel_area_sr": area,
        "pixel_unit": str(unit),
    }
    if (unit * u.sr).is_equivalent(u.Jy):
        meta["flux_unit"] = "Jy"
    if air:
        meta["air_wavelength"] = True
        notes.append("Wavelengths are those in air, and are kept so.")
    if pieces.weight is not None:
        meta["weight"] = pieces.weight.T if vertical else pieces.weight
    found, said = _detector(pieces.header, unit)
    notes += said
    meta |= {key: value for key, value in found.items() if key not in meta}
    if variance is None and "gain" not in meta:
        notes.append(
            "The file has no variance. Give noise.gain and noise.read_noise, or ask for noise.variance: empirical."
        )
    meta["notes"] = tuple(dict.fromkeys(notes))
    return Frame(
        flux,
        variance=variance,
        mask=bad,
        wavelength=wavelength,
        unit=unit,
        meta={key: value for key, value in meta.items() if value is not None},
    )


def is_vertical(pieces: Pieces, mapping: Mapped) -> tuple[bool, list[str]]:
    """Whether dispersion runs along axis 2 of the file, and how that is known.

    The user goes first, then the header (DISPAXIS, a spectral CTYPE), then the gradient of a wavelength image, then the
    longer axis, where it is at least twice as long.

    Raises
    ------
    ReadError
        If nothing tells.
    """
    if mapping.disp_axis is not None:
        return mapping.disp_axis == "y", []
    wavelength = getattr(pieces.wavelength, "value", pieces.wavelength)
    if wavelength is not None and np.ndim(wavelength) == 2 and wavelength.shape == pieces.flux.shape:
        along, across = (_steps(wavelength, axis) for axis in (1, 0))
        told = spectral_axis(pieces.header)
        if along != across:
            if told is not None and (told == 2) != (across > along):
                raise ReadError(
                    f"{pieces.where}: the header says that axis {told} disperses, but the wavelength changes along the "
                    "other axis. Set disp_axis in input.mapping"
                )
            return across > along, []
    told = spectral_axis(pieces.header)
    if told is not None:
        return told == 2, []
    ny, nx = pieces.flux.shape
    length = None if wavelength is None else len(wavelength)
    if length is not None and ny != nx and length in (ny, nx):
        return length == ny, []
    if max(ny, nx) >= 2 * min(ny, nx):
        axis = "NAXIS2" if ny > nx else "NAXIS1"
        return ny > nx, [f"Nothing says which axis disperses; it is taken to be the longer one, {axis}."]
    raise ReadError(
        f"{pieces.where}: which axis of the {ny} x {nx} image disperses cannot be known (no DISPAXIS, no spectral "
        "CTYPE, no wavelength). Set disp_axis in input.mapping to x or y"
    )


def _steps(image: FloatArray, axis: int) -> float:
    steps = np.abs(np.diff(np.where(image > 0, image, np.nan), axis=axis))
    steps = steps[np.isfinite(steps)]
    return float(np.median(steps)) if steps.size else 0.0


def _unit(pieces: Pieces, settings: Input) -> tuple[u.UnitBase, list[str]]:
    wanted, text = wanted_unit(settings), card(pieces.header, "BUNIT")
    known = parse_unit(text) if pieces.unit is None else pieces.unit
    if wanted is not None:
        differs = known is not None and known != wanted
        return wanted, [f"The unit {wanted} was set by the user; the file says {known}."] if differs else []
    if known is not None:
        return known, []
    said = "The file gives no unit" if text is None else f"BUNIT is {text!r}, which is no unit that astropy knows"
    return u.dimensionless_unscaled, [f"{said}: values are numbers without a unit. input.unit sets one."]


def _variance(
    pieces: Pieces, unit: u.UnitBase, shape: tuple[int, ...], vertical: bool
) -> tuple[FloatArray | None, str, list[str]]:
    """Variance in the square of the unit, where it comes from, and what there is to say."""
    if pieces.spread is None:
        return None, "none", []
    values = np.asarray(pieces.spread.T if vertical else pieces.spread, dtype=float)
    if values.shape != shape:
        raise ReadError(
            f"{pieces.where}: {pieces.spread_name} must have the shape of the image, {shape}. "
            f"Got {values.shape} instead."
        )
    scale = _scale(pieces, unit)
    usable = np.isfinite(values) & (values != 0)
    if not usable.any():
        return None, "none", [f"{pieces.spread_name} is zero or not finite everywhere: not used."]
    if pieces.kind == "sigma":
        variance = np.where(values < 0, -1.0, 1.0) * (values * scale) ** 2
        return variance, f"{pieces.spread_name} squared", []
    if pieces.kind == "variance":
        return values * scale, pieces.spread_name, []
    with np.errstate(divide="ignore"):
        variance = np.where(values == 0, np.inf, scale / np.where(values == 0, 1.0, values))
    return variance, f"the inverse of {pieces.spread_name}", []


def _scale(pieces: Pieces, unit: u.UnitBase) -> float:
    """Factor from the spread's own unit to that of the flux; 1 where it has none.

    Raises
    ------
    ReadError
        If the two do not agree.
    """
    own = pieces.spread_unit
    if own is None or own == u.dimensionless_unscaled:
        return 1.0
    # errors go with what the file says of its pixels, also where the user or the reader knows better
    told = next((one for one in (pieces.claimed, pieces.unit, parse_unit(card(pieces.header, "BUNIT"))) if one), unit)
    power = {"sigma": 1, "variance": 2, "inverse_variance": -2}[pieces.kind]
    for base in (told, unit):
        # many writers copy BUNIT of the flux to everything else
        for target, exponent in ((base**power, 1), (base, power)):
            if own.is_equivalent(target):
                factor = float(own.to(target)) ** exponent
                return 1.0 / factor if pieces.kind == "inverse_variance" else factor
    raise ReadError(
        f"{pieces.where}: {pieces.spread_name} is in {own}, which does not go with pixel values in {unit}. "
        "Set input.unit, or variance_kind in input.mapping"
    )


def _flagged(mask: NDArray[Any]) -> NDArray[np.bool_]:
    if mask.dtype.kind == "f":
        return ~(mask == 0)  # NaN too
    return np.asarray(mask != 0)


def _wavelength(
    pieces: Pieces, mapping: Mapped, shape: tuple[int, ...], vertical: bool
) -> tuple[u.Quantity | None, bool, list[str]]:
    """Wavelength in the frame's orientation: the user's polynomial, the file's image, or its WCS."""
    unit = parse_unit(mapping.wavelength_unit) if mapping.wavelength_unit is not None else None
    if mapping.wavelength_unit is not None and (
        unit is None or not unit.is_equivalent(u.m, equivalencies=u.spectral())
    ):
        raise ReadError(
            "The 'wavelength_unit' parameter of input.mapping must be a unit of wavelength. "
            f"Got {mapping.wavelength_unit!r} instead."
        )
    air = is_air(pieces.header)
    if mapping.wavelength_polynomial is not None:
        if unit is None:
            raise ReadError(
                "The 'wavelength_unit' parameter of input.mapping must be given with wavelength_polynomial. "
                "Got None instead."
            )
        return np.polynomial.polynomial.polyval(np.arange(shape[1]), mapping.wavelength_polynomial) * unit, air, []
    values = pieces.wavelength
    if values is None:
        made: HeaderWavelength = from_header(
            pieces.header, (shape[1], shape[0]) if vertical else (shape[0], shape[1]), vertical=vertical, unit=unit
        )
        return made.values, made.air, list(made.notes)
    if not isinstance(values, u.Quantity):
        if unit is None:
            raise ReadError(
                f"{pieces.where}: {pieces.wavelength_name} has no unit. Set wavelength_unit in input.mapping "
                "(for example Angstrom)"
            )
        values = values * unit
    if values.ndim == 2:
        image = values.value.T if vertical else values.value
        if image.shape != shape:
            raise ReadError(
                f"{pieces.where}: {pieces.wavelength_name} must be an image of shape {shape} or an array of "
                f"{shape[1]}. Got {image.shape} instead."
            )
        image = np.where(image > 0, image, np.nan) if values.unit.is_equivalent(u.m) else image
        return reduced(np.asarray(image, dtype=float)) * values.unit, air, []
    if values.shape != (shape[1],):
        raise ReadError(
            f"{pieces.where}: {pieces.wavelength_name} must be an image of shape {shape} or an array of {shape[1]}. "
            f"Got {values.shape} instead."
        )
    return values, air, []


def _detector(header: Mapping[str, Any], unit: u.UnitBase) -> tuple[dict[str, float], list[str]]:
    """Gain and read noise from the header, where the unit is one that they apply to."""
    found: dict[str, float] = {}
    notes: list[str] = []
    counts = unit in (u.adu, u.count, u.DN, u.dimensionless_unscaled)
    if unit == u.electron:
        found["gain"] = 1.0
    elif counts:
        for keyword in _GAIN:
            value = card(header, keyword)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e4:
                found["gain"] = float(value)
                notes.append(f"{keyword} of the header is taken as {value} electrons per unit of the pixels.")
                break
    if counts or unit == u.electron:
        for keyword in _NOISE:
            value = card(header, keyword)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e4:
                found["read_noise"] = float(value)
                notes.append(f"{keyword} of the header is taken as {value} electrons of read noise a pixel.")
                break
    return found, notes
