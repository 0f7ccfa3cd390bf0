"""Frame: one 2D spectrum as every stage sees it, dispersion along axis 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray

from .errors import FrameError, bad_value

__all__ = ["VARIANCE_PARTS", "Frame"]

#: Names of the variance components a frame may carry.
VARIANCE_PARTS = ("poisson", "rnoise", "flat")

_SURFACE_BRIGHTNESS = u.Jy / u.sr  # made once: to take a new unit apart lasts as long as some stages

#: Every ``meta`` key that a stage reads; other keys are carried along untouched.
META_KEYS = {
    "file": "name of the file the frame was read from",
    "path": "its absolute path; a product is never written over it",
    "sha256": "its checksum",
    "format": "format it was recognised as, in words",
    "slit": "name of the slit",
    "slit_index": "0-based position of the slit in the file",
    "source_name": "name of the source",
    "source_id": "identifier of the source",
    "instrument": "instrument, as in the header",
    "dispaxis": "dispersion axis in the file: 1 horizontal, 2 vertical (transposed by the reader)",
    "header": "mapping of identity cards carried into products",
    "source_type": "type of the source, as in the header: POINT or EXTENDED",
    "pixel_unit": "unit of the pixels in words, for products",
    "pixel_area_sr": "solid angle of a pixel in steradian, for surface-brightness units",
    "flux_unit": "unit of the extracted spectrum where it is not that of the pixels",
    "planned_cross": "planned cross-dispersion position of the source, pixel (0-based)",
    "planned_trace": "planned position in each column (n_disp,) where it is not one row; NaN where unknown",
    "slit_coordinate": "distance along the slit from the planned source in arcsec (n_cross, n_disp)",
    "pixel_scale_arcsec": "cross-dispersion pixel scale",
    "nod_offsets": "predicted cross-dispersion offsets of the nods' negative traces, pixel",
    "nod_depths": "predicted depth of each negative trace relative to the source (negative numbers)",
    "nod_noise": "'included', 'omitted' or absent (unknown): whether the variance holds the nod subtraction's noise",
    "nod_count": "number of nod positions combined",
    "outliers_rejected": "True where the pipeline has already rejected outliers",
    "rectified": "False where the dispersion is curved or tilted in the frame",
    "weight": "relative weight image (n_cross, n_disp), from which a variance can be made on request",
    "gain": "electrons per unit of flux",
    "air_wavelength": "True where the wavelengths are those in air (kept as they are)",
    "read_noise": "read noise in electrons per pixel",
    "variance_source": "where the variance came from, in words",
    "notes": "tuple of sentences: what the reader understood, doubted or refused to believe",
}


def _frozen_array(value: ArrayLike, name: str, dtype: type = np.float64) -> NDArray[Any]:
    """Copy to a native, contiguous, read-only array."""
    if np.iscomplexobj(value):
        raise bad_value(name, "Frame", "an array of real numbers", "complex numbers", FrameError)
    try:
        array: NDArray[Any] = np.array(value, dtype=dtype, order="C", copy=True)
    except (TypeError, ValueError) as error:
        raise bad_value(name, "Frame", f"an array of {np.dtype(dtype).name} numbers", value, FrameError) from error
    array.flags.writeable = False
    return array


def _plain(value: Any, name: str, unit: u.UnitBase) -> Any:
    """Numbers of a Quantity in `unit`, or of a masked array with the masked ones as NaN; anything else as it is."""
    if isinstance(value, u.Quantity):
        try:
            return value.to_value(unit)
        except u.UnitConversionError as error:
            wanted = str(unit) if str(unit) else "a plain number"
            raise bad_value(
                name, "Frame", f"in a unit that converts to {wanted}", str(value.unit), FrameError
            ) from error
    if isinstance(value, np.ma.MaskedArray):
        return np.ma.filled(value.astype(float), np.nan)
    return value


# astropy takes as long to read the name of a unit, or to turn one into another, as a fit of the kernel slice takes
_named = lru_cache(maxsize=64)(u.Unit)


@lru_cache(maxsize=64)
def _factor(unit: u.UnitBase, other: u.UnitBase, summed: bool) -> float:
    """Factor from one unit to another, from that of a sum over solid angle if `summed`."""
    return float((unit * u.sr if summed else unit).to(other))


@lru_cache(maxsize=64)
def _per_steradian(unit: u.UnitBase) -> bool:
    return bool(unit.is_equivalent(_SURFACE_BRIGHTNESS))


def _unit(value: Any, name: str, caller: str) -> u.UnitBase:
    try:
        return value if isinstance(value, u.UnitBase) else _named(value)
    except (TypeError, ValueError) as error:
        raise bad_value(name, caller, "a unit that astropy knows", value, FrameError) from error


@dataclass(frozen=True, eq=False, repr=False)
class Frame:
    """One 2D spectrum: pixels, their variance, mask and wavelength.

    Parameters
    ----------
    flux : array_like, shape (n_cross, n_disp)
        Pixel values; dispersion runs along axis 1. A `~astropy.units.Quantity` brings its unit along.
    variance : array_like, shape (n_cross, n_disp), optional
        Variance of each pixel in the square of `unit`; a Quantity is converted. Without it (and without
        `variance_parts`, weights, or gain and read noise in `meta`) extraction is refused: none is ever invented.
    variance_parts : mapping of str to array_like, optional
        Independent components of the variance: any of ``poisson``, ``rnoise`` and ``flat``.
    mask : array_like of bool, shape (n_cross, n_disp), optional
        True marks a bad pixel. Pixels whose flux or variance is not finite, or whose variance is not positive,
        are added to it.
    wavelength : Quantity, shape (n_disp,) or (n_cross, n_disp), optional
        Wavelength of each column or of each pixel, in whatever order the detector has it.
    unit : unit-like, optional
        Unit of `flux`; dimensionless if absent.
    meta : mapping, optional
        What is known beside the pixels; the keys that stages read are listed in ``optextract.frame.META_KEYS``.

    Raises
    ------
    FrameError
        If the shapes disagree, a variance is negative, a unit is unknown or does not fit, or a name of `variance_parts`
        is unknown.
    """

    flux: NDArray[np.float64]
    variance: NDArray[np.float64] | None = None
    # None stands for "absent" in the call alone: a frame that was built has all four
    variance_parts: Mapping[str, NDArray[np.float64]] = None  # type: ignore[assignment]
    mask: NDArray[np.bool_] = None  # type: ignore[assignment]
    wavelength: u.Quantity | None = None
    unit: u.UnitBase = None
    meta: Mapping[str, Any] = None  # type: ignore[assignment]
    _good: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        unit = u.dimensionless_unscaled if self.unit is None else _unit(self.unit, "unit", "Frame")
        if isinstance(self.flux, u.Quantity):
            if self.unit is not None and unit != self.flux.unit:
                raise bad_value("unit", "Frame", f"the unit of flux ({self.flux.unit})", str(unit), FrameError)
            unit = self.flux.unit
        put("unit", unit)
        flux = _frozen_array(_plain(self.flux, "flux", unit), "flux")
        if flux.ndim != 2 or flux.size == 0:
            raise bad_value("flux", "Frame", "a 2D array (n_cross, n_disp)", f"shape {flux.shape}", FrameError)
        put("flux", flux)
        masked = ~np.isfinite(flux)
        if self.mask is not None:
            mask = np.asarray(self.mask)
            if mask.shape != flux.shape or mask.dtype != bool:
                raise bad_value(
                    "mask", "Frame", f"a boolean array of shape {flux.shape}", f"{mask.dtype} {mask.shape}", FrameError
                )
            masked |= mask
        if self.variance is not None:
            put("variance", self._check_variance(self.variance, "variance", masked))
            masked |= ~np.isfinite(self.variance) | (self.variance == 0)
        parts = {}
        given = {} if self.variance_parts is None else self.variance_parts
        for name, part in given.items():
            if name not in VARIANCE_PARTS:
                raise bad_value("variance_parts", "Frame", f"named from {VARIANCE_PARTS}", name, FrameError)
            parts[name] = self._check_variance(part, f"variance_parts[{name!r}]", masked)
            masked |= ~np.isfinite(parts[name])
        if parts and self.variance is None:
            masked |= sum(parts.values()) == 0
        put("variance_parts", MappingProxyType(parts))
        masked.flags.writeable = False
        put("mask", masked)
        good = ~masked
        good.flags.writeable = False
        put("_good", good)
        if self.wavelength is not None:
            put("wavelength", self._check_wavelength(self.wavelength))
        if self.meta is not None and not isinstance(self.meta, Mapping):
            raise bad_value("meta", "Frame", "a mapping", self.meta, FrameError)
        put("meta", MappingProxyType({} if self.meta is None else dict(self.meta)))

    def _check_variance(self, value: Any, name: str, masked: NDArray[np.bool_]) -> NDArray[np.float64]:
        array = _frozen_array(_plain(value, name, self.unit**2), name)
        if array.shape != self.flux.shape:
            raise bad_value(
                name, "Frame", f"an array of the shape of flux, {self.flux.shape}", f"shape {array.shape}", FrameError
            )
        with np.errstate(invalid="ignore"):
            negative = (array < 0) & ~masked
        if negative.any():
            raise bad_value(
                name,
                "Frame",
                "nowhere negative on unmasked pixels",
                f"{int(negative.sum())} negative values",
                FrameError,
            )
        return array

    def _check_wavelength(self, value: Any) -> u.Quantity:
        rule = "a Quantity with a unit of length (or frequency, energy, pixel)"
        if not isinstance(value, u.Quantity):
            raise bad_value("wavelength", "Frame", rule, type(value).__name__, FrameError)
        if not (value.unit.is_equivalent(u.um, u.spectral()) or value.unit.is_equivalent(u.pix)):
            raise bad_value("wavelength", "Frame", rule, str(value.unit), FrameError)
        if value.shape not in ((self.n_disp,), self.shape):
            raise bad_value(
                "wavelength", "Frame", f"of shape ({self.n_disp},) or {self.shape}", f"shape {value.shape}", FrameError
            )
        array = np.array(value.value, dtype=np.float64)
        array.flags.writeable = False
        return u.Quantity(array, value.unit, copy=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of pixels (n_cross, n_disp)."""
        return self.flux.shape

    @property
    def n_cross(self) -> int:
        """Number of cross-dispersion pixels (rows)."""
        return self.flux.shape[0]

    @property
    def n_disp(self) -> int:
        """Number of dispersion pixels (columns)."""
        return self.flux.shape[1]

    @property
    def good(self) -> NDArray[np.bool_]:
        """True for the pixels that can be used, shape (n_cross, n_disp)."""
        return self._good

    @property
    def flux_unit(self) -> u.UnitBase:
        """Unit of a spectrum extracted from this frame.

        A surface brightness (per steradian) becomes a flux density in Jy; everything else keeps the unit of the pixels
        unless ``meta['flux_unit']`` names another.
        """
        named = self.meta.get("flux_unit")
        if named is not None:
            return _unit(named, "flux_unit", "Frame.meta")
        return u.Jy if _per_steradian(self.unit) else self.unit

    @property
    def flux_scale(self) -> float:
        """Factor from a sum of pixel values to a spectrum in `flux_unit`.

        Raises
        ------
        FrameError
            If the pixels hold a surface brightness and their solid angle is not known.
        """
        summed: bool = _per_steradian(self.unit)
        area: Any = 1.0
        if summed:
            area = self.meta.get("pixel_area_sr")
            if area is None or not np.isfinite(area) or area <= 0:
                raise bad_value(
                    "pixel_area_sr",
                    "Frame.meta",
                    "a positive number of steradian (PIXAR_SR) where the unit is per steradian; "
                    "set input.pixel_area_sr in the recipe",
                    area,
                    FrameError,
                )
        try:
            return _factor(self.unit, self.flux_unit, summed) * float(area)
        except u.UnitConversionError as error:
            rule = f"a unit that {self.unit * u.sr if summed else self.unit} converts to"
            raise bad_value("flux_unit", "Frame.meta", rule, str(self.flux_unit), FrameError) from error

    def replace(self, **changes: Any) -> Frame:
        """Return a copy with some of the constructor's arguments replaced."""
        return replace(self, **changes)

    def __repr__(self) -> str:
        parts = ", ".join(self.variance_parts)
        return (
            f"<Frame {self.n_cross} x {self.n_disp} (cross, disp), unit {self.unit}, "
            f"variance {'yes' if self.variance is not None else 'no'}{f' ({parts})' if parts else ''}, "
            f"{int(self.mask.sum())} bad pixels>"
        )
