"""Frames from objects in memory: specutils Spectrum, NDData, CCDData."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from ..errors import ReadError, bad_value
from ..frame import META_KEYS, VARIANCE_PARTS, Frame
from ..recipe import Input, Mapped
from ._build import Pieces, build
from ._fits import IDENTITY, card, cards, plain
from ._fitswcs import from_wcs
from ._units import is_flux, jwst_unit

__all__ = ["from_nddata", "from_object", "from_spectrum"]


def from_object(value: Any, settings: Input) -> Frame:
    """Turn whatever `read` was given, other than a path, into a frame.

    Raises
    ------
    ReadError
        If it is of no kind that is known.
    """
    if isinstance(value, Frame):
        return value
    kinds = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(value).__mro__}
    if kinds & {"specutils.Spectrum", "specutils.Spectrum1D"}:
        return _from_spectrum(value, settings)
    if kinds & {"astropy.NDData", "astropy.CCDData"}:
        return _from_nddata(value, settings)
    raise bad_value("path", "read", "a path, a 2D Spectrum, an NDData or a CCDData", type(value).__name__, ReadError)


def from_spectrum(spectrum: Any, *, settings: Input | None = None) -> Frame:
    """Make a frame from a 2D `specutils.Spectrum`.

    Parameters
    ----------
    spectrum : specutils.Spectrum
        Flux of two axes; uncertainty of any kind that astropy can turn into a variance; mask True is bad. Entries of
        its `meta` that stages know (``optextract.frame.META_KEYS``, and ``variance_parts``) are kept.
    settings : recipe.Input, optional
        Section ``input`` of the recipe.

    Returns
    -------
    Frame
        Dispersion along axis 1.

    Raises
    ------
    ReadError
        If it has not two axes, or its uncertainty is of no known kind.
    """
    return _from_spectrum(spectrum, Input() if settings is None else settings)


def from_nddata(data: Any, *, settings: Input | None = None) -> Frame:
    """Make a frame from an `~astropy.nddata.NDData` or `~astropy.nddata.CCDData`.

    Parameters
    ----------
    data : NDData
        Data of two axes; uncertainty, mask, unit, WCS and ``meta`` are used as a FITS file's would be.
    settings : recipe.Input, optional
        Section ``input`` of the recipe.

    Returns
    -------
    Frame
        Dispersion along axis 1.

    Raises
    ------
    ReadError
        If it has not two axes, its uncertainty is of no known kind, or the dispersion axis cannot be known.
    """
    return _from_nddata(data, Input() if settings is None else settings)


def _from_spectrum(spectrum: Any, settings: Input) -> Frame:
    flux = np.asarray(spectrum.flux.value, dtype=float)
    if flux.ndim != 2:
        raise bad_value("spectrum", "from_spectrum", "a Spectrum with two axes", f"shape {flux.shape}", ReadError)
    axis = getattr(spectrum, "spectral_axis_index", 1)
    # like the images of a file: dispersion along axis 2 of the file is axis 0 of the array
    vertical = axis == 0
    meta = spectrum.meta if isinstance(spectrum.meta, Mapping) else {}
    pieces = Pieces("the Spectrum", flux, _header(meta), meta=_carried(meta))
    _believe(pieces, spectrum.flux.unit, settings)
    pieces.meta["format"] = "specutils.Spectrum"
    _uncertainty(pieces, spectrum.uncertainty)
    pieces.mask = None if spectrum.mask is None else np.broadcast_to(np.asarray(spectrum.mask), flux.shape)
    wavelength = spectrum.spectral_axis
    if wavelength.unit.is_equivalent(u.m, equivalencies=u.spectral()):
        pieces.wavelength = u.Quantity(np.asarray(wavelength.value, dtype=float), wavelength.unit)
        pieces.wavelength_name = "spectral_axis"
    given = settings.mapping
    mapped = Mapped(disp_axis="y" if vertical else "x") if given is None else given
    if mapped.disp_axis is not None and (mapped.disp_axis == "y") != vertical:
        raise bad_value(
            "disp_axis",
            "input.mapping",
            f"{'y' if vertical else 'x'}, as the Spectrum says",
            mapped.disp_axis,
            ReadError,
        )
    frame = build(pieces, settings, vertical=vertical)
    return _with_parts(frame, meta, vertical)


def _believe(pieces: Pieces, unit: u.UnitBase | None, settings: Input) -> None:
    """Take the object's unit, unless a loader copied it from a JWST BUNIT that is no unit of flux."""
    pieces.unit = unit
    header = pieces.header
    if settings.unit is not None or unit is None or is_flux(unit) or card(header, "PIXAR_SR") is None:
        return
    if card(header, "S_PHOTOM") == "COMPLETE":
        known = jwst_unit(header, {**plain(header), "BUNIT": str(unit)}, settings, pieces.where)
        pieces.unit, pieces.claimed = known.unit, unit
        pieces.notes += known.notes
    else:
        pieces.notes.append(
            f"The unit is {unit}, which is no unit of flux, although the header has PIXAR_SR: a loader may have copied "
            "a BUNIT that is not true. Read the file itself, or set input.unit."
        )


def _with_parts(frame: Frame, meta: Mapping[str, Any], vertical: bool) -> Frame:
    """Add the components of the variance that the meta holds."""
    parts = meta.get("variance_parts")
    if not isinstance(parts, Mapping) or not set(parts) <= set(VARIANCE_PARTS):
        return frame
    images = {name: np.asarray(getattr(part, "value", part), dtype=float) for name, part in parts.items()}
    return frame.replace(variance_parts={name: image.T if vertical else image for name, image in images.items()})


def _from_nddata(data: Any, settings: Input) -> Frame:
    values = np.asarray(data.data, dtype=float)
    if values.ndim != 2:
        raise bad_value("data", "from_nddata", "NDData with two axes", f"shape {values.shape}", ReadError)
    meta = data.meta if isinstance(data.meta, Mapping) else {}
    pieces = Pieces("the NDData", values, _header(meta), meta=_carried(meta))
    _believe(pieces, data.unit, settings)
    pieces.meta["format"] = type(data).__name__
    _uncertainty(pieces, data.uncertainty)
    pieces.mask = None if data.mask is None else np.broadcast_to(np.asarray(data.mask), values.shape)
    pieces.wavelength = _wcs_wavelength(data.wcs, values.shape)
    pieces.wavelength_name = "the WCS"
    return build(pieces, settings)


def _wcs_wavelength(wcs: Any, shape: tuple[int, int]) -> u.Quantity | None:
    """Wavelength from an astropy WCS, in the orientation of the file; None where it has no spectral axis."""
    inner = getattr(wcs, "low_level_wcs", wcs)
    prm = getattr(inner, "wcs", None)
    if prm is None or not hasattr(prm, "spec"):
        return None
    prm.set()  # only then is it known which axis is spectral
    axis = int(prm.spec)
    if axis < 0:
        return None
    values = from_wcs(inner, axis, shape, vertical=False)
    if values.ndim == 1:
        # the same in every row; along a column it would have stayed two-dimensional
        return values
    if np.ptp(values.value, axis=1).max() == 0:
        return values[:, 0]
    return values


def _header(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """The cards that a meta holds, under ``header`` or by themselves."""
    inner = meta.get("header")
    return inner if isinstance(inner, Mapping) else meta


def _carried(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a meta that stages know, and the identity of the observation."""
    kept = {key: meta[key] for key in META_KEYS if key in meta and key not in ("header", "notes")}
    header = _header(meta)
    known = cards(IDENTITY, {key: value for key, value in header.items() if isinstance(key, str)})
    kept["header"] = plain(header) if isinstance(meta.get("header"), Mapping) else known
    return kept


def _uncertainty(pieces: Pieces, uncertainty: Any) -> None:
    """Put an astropy uncertainty into the pieces, as a variance."""
    if uncertainty is None:
        return
    kinds = {"std": "sigma", "var": "variance", "ivar": "inverse_variance"}
    kind = kinds.get(getattr(uncertainty, "uncertainty_type", ""))
    if kind is None:
        raise bad_value(
            "uncertainty", "from_nddata", "a StdDevUncertainty, VarianceUncertainty or InverseVariance",
            type(uncertainty).__name__, ReadError,
        )  # fmt: skip
    array: NDArray[np.float64] = np.asarray(uncertainty.array, dtype=float)
    pieces.spread = np.broadcast_to(array, pieces.flux.shape)
    pieces.kind = kind  # type: ignore[assignment]
    pieces.spread_name = "the uncertainty"
    pieces.spread_unit = uncertainty.unit
