"""JWST 2D spectra: resampled (s2d) and in the detector frame (cal, phot), of one slit or of many."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from ..errors import ReadError
from ..frame import Frame
from ..recipe import Input
from . import _gwcs
from ._fits import FitsFile, card, cards
from ._fitswcs import from_header
from ._jwst_plan import plan
from ._masks import bad_pixels, jwst_bits, variances
from ._nods import nod_pattern, offsets_of
from ._pairs import companions, same_shape, science
from ._records import Slit, quick_snr
from ._units import jwst_unit

__all__ = ["Jwst"]

FloatArray = NDArray[np.float64]

#: Extensions that belong to one slit and share its EXTVER.
COMPANIONS = ("ERR", "WHT", "CON", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT", "WAVELENGTH", "DQ")

#: Cards that tell what was observed and how it was processed, carried into products.
IDENTITY = (
    "TELESCOP", "INSTRUME", "DETECTOR", "FILTER", "GRATING", "PUPIL", "EXP_TYPE", "APERNAME", "SUBARRAY", "READPATT",
    "PROGRAM", "OBSERVTN", "VISIT", "TITLE", "PI_NAME", "CATEGORY", "OBS_ID", "TARGPROP", "TARGNAME", "TARG_RA",
    "TARG_DEC", "DATE-OBS", "TIME-OBS", "DATE-BEG", "DATE-END", "MJD-BEG", "MJD-AVG", "MJD-END",
    "EFFEXPTM", "XPOSURE", "TEXPTIME",
    "NDRIZ", "NOD_TYPE", "PATTTYPE", "NUMDTHPT", "CAL_VER", "CAL_VCS", "CRDS_VER", "CRDS_CTX", "SDP_VER", "PRD_VER",
    "SLTNAME", "SLITID", "SHUTRID", "SOURCEID", "SRCNAME", "SRCALIAS", "STLARITY", "SRCTYPE", "SRCXPOS", "SRCYPOS",
    "SRCRA", "SRCDEC", "SHUTSTA", "SPORDER", "DISPAXIS", "RADESYS", "PIXAR_SR", "PIXAR_A2", "VELOSYS", "SPECSYS",
    "S_PHOTOM", "S_OUTLIR", "S_BKDSUB", "S_RESAMP", "S_PTHLOS", "S_BARSHA", "S_WAVCOR",
)  # fmt: skip


class Jwst:
    """Reader of JWST ImageModel, SlitModel and MultiSlitModel files."""

    name = "JWST 2D spectrum (s2d, cal)"

    def refusal(self, file: FitsFile) -> str:
        """Why the file is not one of these; an empty text where it is."""
        jwst = str(card(file.primary, "TELESCOP", "")).upper() == "JWST" or str(card(file.primary, "DATAMODL", "")) in (
            "ImageModel", "SlitModel", "MultiSlitModel",
        )  # fmt: skip
        if not jwst:
            return "TELESCOP is not JWST"
        if not file.images("SCI"):
            return "there is no SCI image"
        return ""

    def slits(self, file: FitsFile, settings: Input) -> tuple[Slit, ...]:
        """The slits, in the order of EXTVER."""
        records = []
        for position, index in enumerate(science(file, "SCI")):
            header = file.headers[index]
            vertical = self._vertical(file, index, settings)
            flux, error = self._checked(file, index, index, vertical), None
            found = companions(file, index, COMPANIONS)
            if "ERR" in found:
                # an ERR that does not fit is told where its slit is read, and keeps no other slit from being read
                with suppress(ReadError):
                    error = self._checked(file, index, found["ERR"], vertical)
            records.append(
                Slit(
                    position,
                    _slit_name(header),
                    str(card(header, "SRCNAME", "")),
                    str(card(header, "SOURCEID", "")),
                    str(card(header, "SRCTYPE", "")),
                    (flux.shape[0], flux.shape[1]),
                    quick_snr(np.where(flux == 0, np.nan, flux), error),
                )
            )
        return tuple(records)

    @np.errstate(all="ignore")  # a damaged file may hold any bit pattern; what is not finite in the end is masked
    def frame(self, file: FitsFile, index: int, settings: Input) -> Frame:
        """Read the slit of that index."""
        sci = science(file, "SCI")[index]
        header, primary = file.headers[sci], file.primary
        where = f"{file.path}, {file.label(sci)}"
        notes = list(file.complaints)
        unit = jwst_unit(primary, header, settings, where)
        notes += unit.notes
        vertical = self._vertical(file, sci, settings)
        flux = self._checked(file, sci, sci, vertical)
        found = companions(file, sci, COMPANIONS)
        images: dict[str, FloatArray] = {
            str(name): self._checked(file, sci, found[name], vertical)
            for name in ("ERR", "WHT", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT")
            if name in found
        }
        variance = variances(flux, images)
        notes += variance.notes
        mask = bad_pixels(flux, images, variance.bad)
        if "DQ" in found:
            flagged, said = jwst_bits(self._integers(file, sci, found["DQ"], vertical), settings.dq_bits)
            mask |= flagged
            notes += said
        wcs, reason = _gwcs.load_wcs(file, file.version(sci), _slit_name(header))
        resampled = str(card(primary, "S_RESAMP", "")).upper() == "COMPLETE"
        pixels = None
        if wcs is not None:
            try:
                pixels = _gwcs.evaluate(wcs, file.image(sci).shape, vertical=vertical)
            except (ValueError, TypeError, RuntimeError, NotImplementedError, AttributeError, KeyError) as error:
                reason = f"the WCS cannot be evaluated ({error})"
        wavelength, said = self._wavelength(file, sci, found, pixels, reason, resampled, vertical)
        notes += said
        if wavelength is not None and wavelength.ndim == 2:
            _check_axis(wavelength, where, vertical)
        if not resampled and pixels is not None and pixels.wavelength is not None:
            outside = ~np.isfinite(pixels.wavelength) & ~mask
            if outside.any() and not outside.all():
                mask |= outside
                notes.append(f"{int(outside.sum())} pixels outside the domain of the wavelength solution are masked.")
        meta = self._meta(file, sci, index, vertical)
        meta |= {"rectified": bool(resampled), "variance_source": variance.source, "pixel_area_sr": unit.area}
        meta["pixel_unit"] = str(unit.unit)
        if unit.flux_unit is not None:
            meta["flux_unit"] = unit.flux_unit
        if "WHT" in images:
            meta["weight"] = images["WHT"]
        planned, said = plan(pixels, primary, header)
        notes += said
        meta |= planned
        nods, said = self._nods(file, found, vertical, planned, flux.shape[0])
        notes += said
        meta |= nods
        meta["notes"] = tuple(dict.fromkeys(notes))
        return Frame(
            flux,
            variance=variance.total,
            variance_parts=variance.parts,
            mask=mask,
            wavelength=None if wavelength is None else wavelength * u.um,
            unit=unit.unit,
            meta={key: value for key, value in meta.items() if value is not None},
        )

    def _vertical(self, file: FitsFile, sci: int, settings: Input) -> bool:
        """Whether dispersion runs along axis 2 of the file: the user's word, else DISPAXIS.

        Raises
        ------
        ReadError
            If DISPAXIS is neither 1 nor 2; where it is absent, only MIRI's LRS is known to be vertical.
        """
        if settings.mapping is not None and settings.mapping.disp_axis is not None:
            return settings.mapping.disp_axis == "y"
        value = card(file.headers[sci], "DISPAXIS", card(file.primary, "DISPAXIS"))
        if value is None:
            return str(card(file.primary, "EXP_TYPE", "")).upper().startswith("MIR_LRS")
        if value not in (1, 2) or isinstance(value, bool):
            raise ReadError(f"{file.path}: DISPAXIS of {file.label(sci)} must be 1 or 2. Got {value!r} instead.")
        return bool(value == 2)

    def _checked(self, file: FitsFile, sci: int, index: int, vertical: bool) -> FloatArray:
        """SCI or another extension of the slit in the frame's orientation, of the shape of SCI or refused."""
        same_shape(file, sci, index)
        image = file.image(index)
        return image.T if vertical else image

    def _integers(self, file: FitsFile, sci: int, index: int, vertical: bool) -> NDArray[Any]:
        same_shape(file, sci, index)
        image = file.image(index, integer=True)
        return image.T if vertical else image

    def _wavelength(
        self, file: FitsFile, sci: int, found: Mapping[str, int], pixels: _gwcs.PixelCoordinates | None, reason: str,
        resampled: bool, vertical: bool,
    ) -> tuple[FloatArray | None, list[str]]:  # fmt: skip
        """Wavelength in um from gwcs, else from the WAVELENGTH extension, with what there is to say."""
        exact = pixels.wavelength if pixels is not None else None
        n_y, n_x = file.image(sci).shape
        if exact is not None and not np.isfinite(exact).any():
            exact, reason = None, "the WCS gives no wavelength anywhere"
        stored = None
        if "WAVELENGTH" in found:
            unit = _gwcs.header_wavelength_unit(file.headers[found["WAVELENGTH"]])
            stored = self._checked(file, sci, found["WAVELENGTH"], vertical)
            stored = stored * (1.0 if unit is None else unit.to(u.um))
            stored = np.where(stored > 0, stored, np.nan)
            if not np.isfinite(stored).any():
                stored = None
        if exact is None:
            if stored is not None:
                return _gwcs.reduced(stored), [f"Wavelength from the WAVELENGTH extension: {reason}."]
            made = from_header(file.headers[sci], (n_y, n_x), vertical=vertical)
            if made.values is not None:
                values = made.values.to_value(u.um, equivalencies=u.spectral())
                return values, [f"Wavelength from the FITS WCS of the header, an approximation: {reason}.", *made.notes]
            said = f"The file has no wavelength that can be read: {reason}. Columns are numbered in pixels."
            return None, [said, *made.notes]
        if stored is not None:
            step = np.nanmedian(np.abs(np.diff(exact, axis=1)))
            with np.errstate(invalid="ignore"):
                shift = float(np.nanmedian((stored - exact) / step)) if np.isfinite(stored - exact).any() else 0.0
            if abs(shift) > 0.01:
                if not resampled:
                    return _gwcs.reduced(stored), [
                        f"Wavelength from the WAVELENGTH extension, {shift:+.2f} pixels from the WCS: it holds the "
                        "pipeline's zero-point correction for the source's place in the slit."
                    ]
                said = f"WAVELENGTH differs from the WCS by {shift:+.2f} pixels; the WCS is used."
                return _gwcs.reduced(exact), [said]
        return _gwcs.reduced(exact), []

    def _meta(self, file: FitsFile, sci: int, index: int, vertical: bool) -> dict[str, Any]:
        header, primary = file.headers[sci], file.primary
        meta: dict[str, Any] = {
            "file": file.path.name,
            "path": str(file.path.resolve()),
            "sha256": file.sha256,
            "format": self.name,
            "slit": _slit_name(header) or None,
            "slit_index": index,
            "source_name": card(header, "SRCNAME", card(primary, "TARGNAME")),
            "source_id": card(header, "SOURCEID"),
            "source_type": card(header, "SRCTYPE", card(primary, "SRCTYPE")),
            "instrument": card(primary, "INSTRUME"),
            "dispaxis": 2 if vertical else 1,
            "header": cards(IDENTITY, header, primary),
        }
        if str(card(primary, "S_OUTLIR", "")).upper() == "COMPLETE":
            meta["outliers_rejected"] = True
        return meta

    def _nods(
        self, file: FitsFile, found: Mapping[str, int], vertical: bool, planned: Mapping[str, Any], n_cross: int
    ) -> tuple[dict[str, Any], list[str]]:
        """Offsets and depths of negative traces, where the file proves that nods were subtracted."""
        if str(card(file.primary, "S_BKDSUB", "")).upper() != "COMPLETE":
            return {}, []
        tables = [index for index in file.tables() if file.name(index) == "HDRTAB"]
        told = file.quick_column(tables[0], "YOFFSET") if len(tables) == 1 else None
        yoffset = None if told is None else offsets_of(told)
        scale = planned.get("pixel_scale_arcsec")
        if yoffset is None or scale is None:
            return {}, ["Backgrounds were subtracted (S_BKDSUB), but the file does not tell the offsets of the nods."]
        con = file.planes(found["CON"]) if "CON" in found else None
        if con is not None and (con.dtype.kind not in "iu" or con.ndim not in (2, 3)):
            con = None
        if con is not None and vertical:
            con = np.swapaxes(con, -1, -2)
        pattern = nod_pattern(yoffset, con, planned.get("planned_cross"), scale, n_cross)
        if pattern is None:
            return {}, ["Backgrounds were subtracted (S_BKDSUB) with all exposures at one position: no nods."]
        listed = ", ".join(f"{o:+.2f} ({d:.2f})" for o, d in zip(pattern.offsets, pattern.depths, strict=True))
        return {"nod_offsets": pattern.offsets, "nod_depths": pattern.depths, "nod_count": pattern.positions}, [
            f"{pattern.positions} nod positions were subtracted from each other: negative traces are expected at "
            f"{listed} pixels (depth) from the source."
        ]


def _slit_name(header: Mapping[str, Any]) -> str:
    """SLTNAME; for slitless spectra, which have none, the source and its spectral order."""
    name = card(header, "SLTNAME")
    if name is not None and str(name):
        return str(name)
    source, order = card(header, "SOURCEID"), card(header, "SPORDER")
    if source is None:
        return ""
    return f"{source}" if order is None else f"{source}_order{order}"


def _check_axis(wavelength: FloatArray, where: str, vertical: bool) -> None:
    """Refuse a DISPAXIS that the wavelengths contradict: the steps along it must be the larger ones."""
    along = np.abs(np.diff(wavelength, axis=1))
    across = np.abs(np.diff(wavelength, axis=0))
    if np.isfinite(along).any() and np.isfinite(across).any() and np.nanmedian(across) > np.nanmedian(along):
        raise ReadError(
            f"{where}: DISPAXIS is {2 if vertical else 1}, but the wavelength changes along the other axis. "
            "Set disp_axis in input.mapping"
        )
