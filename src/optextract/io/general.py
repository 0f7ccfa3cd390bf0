"""FITS images of no particular observatory: extensions recognised by name, or named by the recipe's mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError
from ..frame import Frame
from ..recipe import Input, Mapped
from ._build import Pieces, Spread, build, is_vertical
from ._fits import IDENTITY, FitsFile, card, cards, plain
from ._gwcs import header_wavelength_unit
from ._pairs import companions, same_shape, science
from ._records import Slit, quick_snr
from ._units import parse_unit

__all__ = ["MappedImages", "NamedImages", "PrimaryImage"]

FloatArray = NDArray[np.float64]

#: What writers call their extensions, best known names first.
FLUX = ("SCI", "FLUX", "DATA", "SIGNAL", "SPEC2D", "IMAGE", "SCIENCE")
SPREADS: Mapping[Spread, tuple[str, ...]] = {
    "sigma": ("ERR", "ERROR", "SIGMA", "UNCERT", "UNCERTAINTY", "STDDEV", "STD", "STAT_ERR", "RMS"),
    "variance": ("VAR", "VARIANCE", "STAT"),
    "inverse_variance": ("IVAR", "INVVAR", "INVVARIANCE", "WEIGHT_IVAR"),
}
MASK = ("DQ", "MASK", "BPM", "BADPIX", "BPMASK", "FLAGS")
WAVELENGTH = ("WAVELENGTH", "WAVE", "LAMBDA", "WAVEIMG", "WAVELEN")
WEIGHT = ("WHT", "WEIGHT")


@dataclass(frozen=True)
class Layout:
    """Numbers of the HDUs of one spectrum."""

    flux: int
    spread: int | None = None
    kind: Spread = "sigma"
    mask: int | None = None
    wavelength: int | None = None
    weight: int | None = None


class _Images:
    """What the readers of images have in common."""

    name = ""

    def layouts(self, file: FitsFile, settings: Input) -> list[Layout]:
        """The spectra of the file."""
        raise NotImplementedError

    def slits(self, file: FitsFile, settings: Input) -> tuple[Slit, ...]:
        """The 2D spectra of the file."""
        records = []
        for position, layout in enumerate(self.layouts(file, settings)):
            pieces = self._pieces(file, layout)
            mapping = Mapped() if settings.mapping is None else settings.mapping
            vertical, _ = is_vertical(pieces, mapping)
            header = file.headers[layout.flux]
            error = None
            if pieces.spread is not None and pieces.spread.shape == pieces.flux.shape:
                error = _sigma(pieces.spread, pieces.kind)
            flux = pieces.flux.T if vertical else pieces.flux
            records.append(
                Slit(
                    position,
                    str(card(header, "SLTNAME", card(header, "SLITNAME", ""))),
                    str(card(header, "SRCNAME", card(pieces.header, "OBJECT", ""))),
                    str(card(header, "SOURCEID", "")),
                    str(card(header, "SRCTYPE", "")),
                    (flux.shape[0], flux.shape[1]),
                    quick_snr(flux, None if error is None else error.T if vertical else error),
                )
            )
        return tuple(records)

    def frame(self, file: FitsFile, index: int, settings: Input) -> Frame:
        """Read the spectrum of that index."""
        layout = self.layouts(file, settings)[index]
        pieces = self._pieces(file, layout)
        header = file.headers[layout.flux]
        pieces.notes = [*file.complaints, *self._assumed(file, layout), *pieces.notes]
        pieces.meta |= {
            "file": file.path.name,
            "path": str(file.path.resolve()),
            "sha256": file.sha256,
            "format": self.name,
            "slit": card(header, "SLTNAME", card(header, "SLITNAME")),
            "slit_index": index,
            "source_name": card(header, "SRCNAME", card(pieces.header, "OBJECT")),
            "source_id": card(header, "SOURCEID"),
            "source_type": card(header, "SRCTYPE"),
            "instrument": card(pieces.header, "INSTRUME"),
            "header": cards(IDENTITY, header, file.primary),
        }
        return build(pieces, settings)

    def _assumed(self, file: FitsFile, layout: Layout) -> list[str]:
        """What was taken for what, in words."""
        parts = [f"pixel values from {file.label(layout.flux)}"]
        if layout.spread is not None:
            what = {"sigma": "1 sigma errors", "variance": "variance", "inverse_variance": "inverse variance"}[
                layout.kind
            ]
            parts.append(f"{what} from {file.label(layout.spread)}")
        for what, number in (
            ("bad pixels", layout.mask),
            ("wavelength", layout.wavelength),
            ("weights", layout.weight),
        ):
            if number is not None:
                parts.append(f"{what} from {file.label(number)}")
        return [f"Read as {self.name}: {', '.join(parts)}."]

    def _pieces(self, file: FitsFile, layout: Layout) -> Pieces:
        header = plain(file.headers[layout.flux], file.primary)
        pieces = Pieces(f"{file.path}, {file.label(layout.flux)}", file.image(layout.flux), header)
        if layout.spread is not None:
            same_shape(file, layout.flux, layout.spread)
            pieces.spread = file.image(layout.spread)
            pieces.kind = layout.kind
            pieces.spread_name = file.label(layout.spread)
            pieces.spread_unit = parse_unit(card(file.headers[layout.spread], "BUNIT"))
        if layout.mask is not None:
            same_shape(file, layout.flux, layout.mask)
            pieces.mask = file.image(layout.mask, integer=True)
        if layout.weight is not None:
            same_shape(file, layout.flux, layout.weight)
            pieces.weight = file.image(layout.weight)
        if layout.wavelength is not None:
            pieces.wavelength = self._wavelength(file, layout.wavelength)
            pieces.wavelength_name = file.label(layout.wavelength)
        return pieces

    def _wavelength(self, file: FitsFile, index: int) -> Any:
        shape = [n for n in file.shape(index) if n != 1]
        values = file.array(index) if len(shape) == 1 else file.image(index)
        unit = header_wavelength_unit(file.headers[index])
        return values if unit is None else values * unit


def _sigma(spread: FloatArray, kind: Spread) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == "sigma":
            return spread
        return np.sqrt(spread) if kind == "variance" else 1.0 / np.sqrt(spread)


class NamedImages(_Images):
    """Images whose extension names tell what they are."""

    name = "FITS images recognised by EXTNAME"

    def refusal(self, file: FitsFile) -> str:
        """Why the file is not of this family; an empty text where it is."""
        found = [name for name in FLUX if _two_axes(file, name)]
        return "" if found else f"there is no image of two axes named {', '.join(FLUX)}"

    def layouts(self, file: FitsFile, settings: Input) -> list[Layout]:
        """One spectrum for each EXTVER of the first name that the file has."""
        name = next(name for name in FLUX if _two_axes(file, name))
        return [_around(file, index) for index in science(file, name)]


class PrimaryImage(_Images):
    """A primary image, with whatever named extensions stand beside it."""

    name = "FITS primary image"

    def refusal(self, file: FitsFile) -> str:
        """Why the file is not of this family; an empty text where it is."""
        if not file.is_image(0):
            return "the primary HDU holds no image"
        axes = [n for n in file.shape(0) if n != 1]
        return "" if len(axes) == 2 else f"the primary image has shape {file.shape(0)}, not two axes"

    def layouts(self, file: FitsFile, settings: Input) -> list[Layout]:
        """The one spectrum."""
        return [_around(file, 0)]


class MappedImages(_Images):
    """Images that the recipe's mapping names."""

    name = "FITS images named by input.mapping"

    def refusal(self, file: FitsFile) -> str:
        """Why the file is not of this family; an empty text where it is."""
        return "no mapping was given"

    def layouts(self, file: FitsFile, settings: Input) -> list[Layout]:
        """The one spectrum that the mapping describes; what it does not name is not used."""
        mapping = settings.mapping
        if mapping is None or mapping.flux is None:
            raise ReadError(f"{file.path}: input.mapping must name the HDU of the pixel values (flux)")

        def number(value: str | int | None, field: str) -> int | None:
            return None if value is None else find_hdu(file, value, field)

        return [
            Layout(
                find_hdu(file, mapping.flux, "flux"),
                number(mapping.variance, "variance"),
                mapping.variance_kind,
                number(mapping.mask, "mask"),
                number(mapping.wavelength, "wavelength"),
            )
        ]


def find_hdu(file: FitsFile, wanted: str | int, field: str) -> int:
    """Return the number of the HDU that a field of the mapping names ("ERR", "ERR,2" or 3).

    Raises
    ------
    ReadError
        If there is none, or the name fits several.
    """
    listed = ", ".join(file.label(index) for index in range(len(file.hdus)))
    problem = None
    if isinstance(wanted, int):
        if 0 <= wanted < len(file.hdus):
            found = [wanted]
        else:
            problem = f"the number of an HDU, 0 to {len(file.hdus) - 1}"
    else:
        name, _, version = wanted.partition(",")
        found = [
            index
            for index in range(len(file.hdus))
            if file.name(index) == name.strip().upper()
            and (not version.strip() or str(file.version(index)) == version.strip())
        ]
        if len(found) != 1:
            problem = "the name of an HDU" if not found else "the number of an HDU, or 'name,version': several fit"
    if problem is None and not file.is_image(found[0]):
        problem = "an HDU that holds an image"
    if problem is not None:
        raise ReadError(
            f"The {field!r} parameter of input.mapping must be {problem}. Got {wanted!r} instead. "
            f"{file.path} holds {listed}"
        )
    return found[0]


def _two_axes(file: FitsFile, name: str) -> bool:
    """Whether every image of that name has two axes longer than 1 (or just two)."""
    images = file.images(name)
    return bool(images) and all(
        len(file.shape(index)) == 2 or len([n for n in file.shape(index) if n != 1]) == 2 for index in images
    )


def _around(file: FitsFile, sci: int) -> Layout:
    """The extensions that go with an image by name and EXTVER; two that say the same thing are refused."""

    def one(names: tuple[str, ...]) -> int | None:
        found = companions(file, sci, names)
        return next(iter(found.values())) if found else None

    layout = Layout(sci, mask=one(MASK), wavelength=one(WAVELENGTH), weight=one(WEIGHT))
    for kind, names in SPREADS.items():
        spread = one(names)
        if spread is not None:
            return replace(layout, spread=spread, kind=kind)
    return layout
