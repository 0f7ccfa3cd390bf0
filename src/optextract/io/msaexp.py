"""msaexp / DJA ``spec.fits``: drizzled 2D spectrum with inverse variance, profile and extracted spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u

from ..frame import Frame
from ..recipe import Input
from ._build import Pieces, build
from ._fits import FitsFile, card, cards, plain
from ._pairs import same_shape
from ._records import Slit, quick_snr
from ._units import parse_unit

__all__ = ["Msaexp"]

_IDENTITY = ("VERSION", "GRATING", "FILTER", "NFILES", "EFFEXPTM", "SRCNAME", "SRCID", "SRCRA", "SRCDEC", "RADESYS",
             "SLIT_PA", "PSCALE", "BKGOFF", "TOMUJY")  # fmt: skip


class Msaexp:
    """Reader of msaexp's combined spectra."""

    name = "msaexp spectrum (spec.fits)"

    def refusal(self, file: FitsFile) -> str:
        """Why the file is not of this family; an empty text where it is."""
        names = [file.name(index) for index in range(len(file.hdus))]
        missing = [name for name in ("SPEC1D", "SCI", "WHT") if names.count(name) != 1]
        return f"there is no single {missing[0]} extension" if missing else ""

    def slits(self, file: FitsFile, settings: Input) -> tuple[Slit, ...]:
        """The one spectrum."""
        pieces = self._pieces(file)
        header = pieces.header
        with np.errstate(divide="ignore", invalid="ignore"):
            error = 1.0 / np.sqrt(pieces.spread) if pieces.spread is not None else None
        shape = (pieces.flux.shape[0], pieces.flux.shape[1])
        named = str(card(header, "SRCNAME", ""))
        return (Slit(0, "", named, str(card(header, "SRCID", "")), "", shape, quick_snr(pieces.flux, error)),)

    def frame(self, file: FitsFile, index: int, settings: Input) -> Frame:
        """Read it."""
        pieces = self._pieces(file)
        header = pieces.header
        pieces.notes = [*file.complaints, *pieces.notes]
        pieces.meta |= {
            "file": file.path.name,
            "path": str(file.path.resolve()),
            "sha256": file.sha256,
            "format": self.name,
            "slit_index": 0,
            "source_name": card(header, "SRCNAME"),
            "source_id": card(header, "SRCID"),
            "instrument": "NIRSPEC",
            "rectified": True,
            "header": cards(_IDENTITY, header),
        }
        scale = card(header, "PSCALE")
        if isinstance(scale, float) and scale > 0:
            pieces.meta["pixel_scale_arcsec"] = scale
        planned, said = self._planned(header)
        if planned is not None:
            pieces.meta["planned_cross"] = planned
            pieces.notes.append(said)
        return build(pieces, settings, vertical=False)

    def _planned(self, header: Any) -> tuple[float | None, str]:
        """The row where msaexp itself found the source, else where it expected it."""
        expected, offset = card(header, "YTRACE", card(header, "SRCYPIX")), card(header, "PROFCEN")
        if not isinstance(expected, int | float):
            return None, ""
        if isinstance(offset, int | float) and card(header, "PROFSIG") is not None:
            row = float(expected + offset)
            return row, f"msaexp found the source at row {row:.2f} (YTRACE and PROFCEN)."
        return float(expected), f"msaexp expected the source at row {float(expected):.2f}."

    def _pieces(self, file: FitsFile) -> Pieces:
        sci, wht, table = (
            next(index for index in range(len(file.hdus)) if file.name(index) == name)
            for name in ("SCI", "WHT", "SPEC1D")
        )
        same_shape(file, sci, wht)
        header = plain(file.headers[sci], file.primary)
        pieces = Pieces(f"{file.path}, {file.label(sci)}", file.image(sci), header)
        pieces.spread, pieces.kind, pieces.spread_name = file.image(wht), "inverse_variance", "WHT"
        factor = card(header, "TOMUJY")
        if isinstance(factor, int | float) and not isinstance(factor, bool) and factor > 0:
            # TOMUJY is what msaexp itself extracts with; BUNIT is copied from elsewhere
            pieces.unit = u.Unit(float(factor) * u.uJy) if factor != 1 else u.uJy
            pieces.meta["flux_unit"] = "uJy"
            text = card(header, "BUNIT")
            if text is not None and str(text) != "uJy":
                pieces.notes.append(f"BUNIT says {text}, TOMUJY says {factor} uJy a unit; TOMUJY is believed.")
        wave = next((column for column in file.columns(table) if column.name.lower() == "wave"), None)
        values = None if wave is None else file.column(table, wave.name)
        if wave is not None and values is not None and len(values) == pieces.flux.shape[1]:
            told = parse_unit(wave.unit)
            pieces.wavelength = values * (u.um if told is None else told)
            pieces.wavelength_name = "the column wave of SPEC1D"
        return pieces
