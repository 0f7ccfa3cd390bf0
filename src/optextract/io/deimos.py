"""Slits as one row of a binary table (the DEEP2 pipeline's ``slit`` files): FLUX, IVAR, LAMBDA0, DLAMBDA.

Each cell holds an array: FLUX, IVAR, MASK, DLAMBDA of shape (n_cross, n_disp), LAMBDA0 of (n_disp,) or the same. The
wavelength of a pixel is LAMBDA0 + DLAMBDA in Angstrom; FLUX is in electrons an hour unless TUNIT says otherwise; IVAR
is its inverse variance, 0 where there is none; MASK is non-zero where a pixel is bad (CRMASK tells which of the
exposures were hit, and IVAR knows).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from ..errors import ReadError
from ..frame import Frame
from ..recipe import Input
from ._build import Pieces, build
from ._fits import IDENTITY, FitsFile, card, cards, plain
from ._records import Slit, quick_snr
from ._scan import MAX_PIXELS
from ._units import parse_unit

__all__ = ["TableSlit"]

_NEEDED = ("FLUX", "IVAR", "LAMBDA0", "DLAMBDA")


class TableSlit:
    """Reader of slits that are one row of a binary table."""

    name = "table of FLUX, IVAR, LAMBDA0, DLAMBDA (DEIMOS)"

    def refusal(self, file: FitsFile) -> str:
        """Why the file is not of this family; an empty text where it is."""
        return "" if self._tables(file) else f"there is no table with the columns {', '.join(_NEEDED)}"

    def slits(self, file: FitsFile, settings: Input) -> tuple[Slit, ...]:
        """One spectrum for each such table."""
        records = []
        for position, index in enumerate(self._tables(file)):
            pieces = self._pieces(file, index)
            with np.errstate(divide="ignore", invalid="ignore"):
                error = 1.0 / np.sqrt(pieces.spread) if pieces.spread is not None else None
            shape = (pieces.flux.shape[0], pieces.flux.shape[1])
            name = self._slit(file, index)
            records.append(
                Slit(position, name, self._object(file, index), "", "", shape, quick_snr(pieces.flux, error))
            )
        return tuple(records)

    def frame(self, file: FitsFile, index: int, settings: Input) -> Frame:
        """Read the table of that index."""
        number = self._tables(file)[index]
        pieces = self._pieces(file, number)
        pieces.notes = [*file.complaints, *pieces.notes]
        slit, source = self._slit(file, number), self._object(file, number)
        pieces.meta |= {
            "file": file.path.name,
            "path": str(file.path.resolve()),
            "sha256": file.sha256,
            "format": self.name,
            "slit": slit if slit else None,
            "slit_index": index,
            "source_name": source if source else None,
            "instrument": card(pieces.header, "INSTRUME", "DEIMOS"),
            "header": cards(IDENTITY, file.headers[number], file.primary),
        }
        return build(pieces, settings, vertical=False)

    def _slit(self, file: FitsFile, index: int) -> str:
        return str(card(file.headers[index], "SLITNO", card(file.headers[index], "SLITNAME", "")))

    def _object(self, file: FitsFile, index: int) -> str:
        return str(card(file.headers[index], "OBJNO", card(file.headers[index], "OBJECT", "")))

    def _tables(self, file: FitsFile) -> list[int]:
        return [
            index for index in file.tables() if set(_NEEDED) <= {column.name.upper() for column in file.columns(index)}
        ]

    @np.errstate(all="ignore")  # a damaged file may hold any bit pattern; what is not finite in the end is masked
    def _pieces(self, file: FitsFile, index: int) -> Pieces:
        columns = {column.name.upper(): column for column in file.columns(index)}
        rows = card(file.headers[index], "NAXIS2")
        if rows != 1:
            raise ReadError(f"{file.path}: {file.label(index)} must be a table of one row. Got {rows} instead.")

        def cell(name: str) -> NDArray[Any]:
            array = file.cell(index, columns[name].name)
            if array.dtype.kind not in "iufb":
                raise ReadError(
                    f"{file.path}: {name} of {file.label(index)} must hold numbers. Got {array.dtype} instead."
                )
            return array

        flux = cell("FLUX").astype(float)
        if flux.ndim != 2 or flux.size > MAX_PIXELS:
            raise ReadError(
                f"{file.path}: FLUX of {file.label(index)} must be an image with two axes. "
                f"Got shape {flux.shape} instead."
            )

        def like(name: str, *, row: bool = False) -> NDArray[Any]:
            array = cell(name)
            shapes = [flux.shape, (flux.shape[1],)] if row else [flux.shape]
            if array.shape not in shapes:
                raise ReadError(
                    f"{file.path}: {name} of {file.label(index)} must have the shape of FLUX, {flux.shape}"
                    f"{f', or ({flux.shape[1]},)' if row else ''}. Got {array.shape} instead."
                )
            return array

        header = plain(file.headers[index], file.primary)
        pieces = Pieces(f"{file.path}, {file.label(index)}", flux, header)
        pieces.spread, pieces.kind, pieces.spread_name = like("IVAR").astype(float), "inverse_variance", "IVAR"
        masks = [like(name) != 0 for name in ("MASK",) if name in columns and np.shape(cell(name)) == flux.shape]
        pieces.mask = masks[0] if masks else None
        # broadcasting adds a row of wavelengths to every row of differences
        wavelength = like("LAMBDA0", row=True).astype(float) + like("DLAMBDA", row=True).astype(float)
        named = parse_unit(columns["LAMBDA0"].unit)
        pieces.wavelength = np.broadcast_to(wavelength, flux.shape) * (u.AA if named is None else named)
        pieces.wavelength_name = "LAMBDA0 + DLAMBDA"
        told = parse_unit(columns["FLUX"].unit)
        if told is None and parse_unit(card(header, "BUNIT")) is None:
            pieces.unit = u.electron / u.hour
            pieces.notes.append(
                "FLUX has no unit; the DEEP2 pipeline writes electrons an hour. input.unit overrules this."
            )
        elif told is not None:
            pieces.unit = told
        pieces.notes.append("The file does not say whether its wavelengths are those in air or in vacuum.")
        return pieces
