"""A FITS file opened for reading: headers at once, images on demand, every failure a `ReadError`."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from ..errors import ReadError
from ._scan import Extent, is_fits, open_bytes, scan

__all__ = ["IDENTITY", "FitsFile", "card", "cards", "plain"]

try:
    # no public name; without it a damaged tile would end in a traceback instead of a sentence
    from astropy.io.fits.hdu.compressed._compression import CfitsioException
except ImportError:

    class CfitsioException(Exception):  # type: ignore[no-redef]
        """Stands in where astropy has moved its own."""


#: Cards of any observatory that tell what was observed, carried into products.
IDENTITY = (
    "TELESCOP", "INSTRUME", "OBSERVER", "OBJECT", "RA", "DEC", "EQUINOX", "RADESYS", "DATE-OBS", "TIME-OBS", "MJD-OBS",
    "EXPTIME", "AIRMASS", "PROGID", "PROPID",
)  # fmt: skip


#: What astropy raises, in one place or another, where a header or its data are damaged.
DAMAGE = (
    OSError, EOFError, VerifyError, ValueError, KeyError, TypeError, IndexError, AttributeError, NameError,
    ArithmeticError, MemoryError, re.error, CfitsioException,
)  # fmt: skip


#: Bytes of one value of each type of a binary table.
_WIDTH = {"L": 1, "B": 1, "A": 1, "I": 2, "J": 4, "E": 4, "K": 8, "D": 8, "C": 8, "M": 16}
_KEYWORD = re.compile(r"[A-Za-z0-9_. -]+")


class Column(NamedTuple):
    """Name and unit of a table's column; an empty text where it has no unit."""

    name: str
    unit: str


class FitsFile:
    """A FITS file, checked for truncation and absurd sizes before astropy sees it.

    Parameters
    ----------
    path : path
        The file; gzip, bzip2 and xz are recognised by content.

    Raises
    ------
    ReadError
        If the file is no FITS file, truncated or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            raise ReadError(f"{self.path} is a folder, not a file")
        self._stream = open_bytes(self.path)
        try:
            start = self._stream.read(32)
            if not start:
                raise ReadError(f"{self.path} is empty")
            if start.startswith(b"#ASDF"):
                raise ReadError(
                    f"{self.path} is an ASDF file, not a 2D spectrum; a result that optextract wrote is read by "
                    "Extraction.read"
                )
            if not is_fits(start):
                raise ReadError(f"{self.path} is not a FITS file: it does not begin with SIMPLE")
            self.extents: list[Extent] = scan(self._stream, self.path)
            self._stream.seek(0)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", AstropyWarning)
                try:
                    self.hdus = fits.open(self._stream, mode="readonly", memmap=False, lazy_load_hdus=False)
                    self.headers = [hdu.header for hdu in self.hdus]
                except DAMAGE as error:
                    raise ReadError(f"{self.path} is not readable as FITS: {error}") from error
            if len(self.hdus) != len(self.extents):
                raise ReadError(
                    f"{self.path} is damaged: {len(self.extents)} HDUs follow from the sizes in its headers, astropy "
                    f"finds {len(self.hdus)}"
                )
            self.complaints = tuple(dict.fromkeys(str(item.message).strip() for item in caught))
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> FitsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.hdus.close()
        self._stream.close()

    @cached_property
    def sha256(self) -> str:
        """Checksum of the file as it lies on disk."""
        digest = hashlib.sha256()
        with open(self.path, "rb") as stream:
            while chunk := stream.read(2**20):
                digest.update(chunk)
        return digest.hexdigest()

    @property
    def primary(self) -> Mapping[str, Any]:
        """The primary header."""
        return self.headers[0]

    def label(self, index: int) -> str:
        """How messages name an HDU: "HDU 3 (ERR, EXTVER 2)"."""
        name = self.name(index)
        version = card(self.headers[index], "EXTVER")
        told = name if version is None or not name else f"{name}, EXTVER {version}"
        return f"HDU {index} ({told})" if told else f"HDU {index}"

    def name(self, index: int) -> str:
        """EXTNAME in capitals, or an empty text."""
        return str(card(self.headers[index], "EXTNAME", "PRIMARY" if index == 0 else "")).strip().upper()

    def version(self, index: int) -> int:
        """EXTVER, 1 where there is none."""
        value = card(self.headers[index], "EXTVER", 1)
        return value if isinstance(value, int) else 1

    def is_image(self, index: int) -> bool:
        """Whether the HDU holds an image with pixels."""
        kinds = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)
        return isinstance(self.hdus[index], kinds) and bool(self.shape(index))

    def is_table(self, index: int) -> bool:
        """Whether the HDU holds a table."""
        return isinstance(self.hdus[index], fits.BinTableHDU | fits.TableHDU) and not self.is_image(index)

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of an image in numpy's order, as the header says; () for none."""
        return tuple(int(n) for n in self.extents[index].shape) if index < len(self.extents) else ()

    def images(self, name: str) -> list[int]:
        """Numbers of the image HDUs of that EXTNAME."""
        return [index for index in range(len(self.hdus)) if self.name(index) == name and self.is_image(index)]

    def tables(self) -> list[int]:
        """Numbers of the HDUs that hold tables."""
        return [index for index in range(len(self.hdus)) if self.is_table(index)]

    def _data(self, index: int) -> Any:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", AstropyWarning)  # said once, in `complaints`
            try:
                return self.hdus[index].data
            except DAMAGE as error:
                raise ReadError(f"{self.path}: the data of {self.label(index)} cannot be read: {error}") from error

    def image(self, index: int, *, integer: bool = False) -> NDArray[Any]:
        """Return an image as 2D native float64 (or integers as they are), axes of length 1 dropped.

        Raises
        ------
        ReadError
            If it has not two axes longer than 1, or cannot be read.
        """
        shape = self.shape(index)
        axes = [n for n in shape if n != 1]
        if len(axes) != 2 and len(shape) != 2:
            raise ReadError(
                f"{self.path}: {self.label(index)} must be an image with two axes. Got shape {shape} instead."
            )
        data = np.asarray(self._data(index))
        if data.shape != shape:
            raise ReadError(f"{self.path}: {self.label(index)} holds {data.shape}, its header says {shape}")
        data = data.reshape(axes) if len(shape) != 2 else data
        if integer and data.dtype.kind in "iub":
            return data.astype(data.dtype.newbyteorder("="), copy=False)
        with np.errstate(all="ignore"):  # a damaged file may hold any bit pattern
            return data.astype(np.float64)

    def planes(self, index: int) -> NDArray[Any]:
        """Return an image as it is, with all its axes, in native byte order."""
        data = np.asarray(self._data(index))
        return data.astype(data.dtype.newbyteorder("="), copy=False)

    def array(self, index: int) -> NDArray[np.float64]:
        """Return an image of one axis longer than 1 as a 1D native float64 array."""
        return np.asarray(self._data(index)).ravel().astype(np.float64)

    def columns(self, index: int) -> tuple[Column, ...]:
        """Return name and unit of each column of a table HDU; none where its header is damaged."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            try:
                return tuple(
                    Column(str(column.name), "" if column.unit is None else str(column.unit))
                    for column in self.hdus[index].columns
                )
            except DAMAGE:
                return ()

    def cell(self, index: int, name: str, row: int = 0) -> NDArray[Any]:
        """Return one cell of a table in native byte order.

        Raises
        ------
        ReadError
            If it cannot be read.
        """
        try:
            array = np.asarray(self._data(index)[name][row])
        except DAMAGE as error:
            raise ReadError(f"{self.path}: {name} of {self.label(index)} cannot be read: {error}") from error
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def quick_column(self, index: int, name: str) -> NDArray[np.float64] | None:
        """Return a column of plain float64 of a table without building the others; None where it is none.

        astropy makes an object of each column first, which for a table of 400 takes longer than all the rest.
        """
        header, offset = self.headers[index], 0
        count, rows, width = (card(header, key) for key in ("TFIELDS", "NAXIS2", "NAXIS1"))
        if not all(isinstance(value, int) for value in (count, rows, width)):
            return None
        for number in range(1, count + 1):
            form = re.fullmatch(r"(\d*)([LBIJKAEDCM])", str(card(header, f"TFORM{number}", "")).strip())
            if form is None:
                return None
            if card(header, f"TTYPE{number}") == name:
                scaled = any(f"{key}{number}" in header for key in ("TSCAL", "TZERO", "TNULL"))
                if form[2] != "D" or form[1] not in ("", "1") or scaled or offset + 8 > width:
                    return None
                self._stream.seek(self.extents[index].start)
                raw = np.frombuffer(self._stream.read(rows * width), dtype=np.uint8)
                if raw.size != rows * width:
                    return None
                cells = np.ascontiguousarray(raw.reshape(rows, width)[:, offset : offset + 8])
                return cells.view(">f8").ravel().astype(np.float64)
            offset += (int(form[1]) if form[1] else 1) * _WIDTH[form[2]]
        return None

    def column(self, index: int, name: str) -> NDArray[np.float64]:
        """Return a column of numbers as a 1D native float64 array.

        Raises
        ------
        ReadError
            If it is none.
        """
        try:
            array = np.asarray(self._data(index)[name], dtype=np.float64)
        except DAMAGE as error:
            raise ReadError(f"{self.path}: {name} of {self.label(index)} cannot be read: {error}") from error
        if array.ndim != 1:
            raise ReadError(
                f"{self.path}: {name} of {self.label(index)} must be a column of numbers. "
                f"Got shape {array.shape} instead."
            )
        return array

    def table(self, index: int) -> Any:
        """Return the rows of a table HDU as a FITS record array."""
        return self._data(index)


def card(header: Mapping[str, Any], keyword: str, default: Any = None) -> Any:
    """Value of a header card, `default` where it is absent, undefined, or cannot be parsed."""
    try:
        value = header.get(keyword, default)
    except VerifyError:
        return default
    if value is None or isinstance(value, fits.card.Undefined):
        return default
    return value.strip() if isinstance(value, str) else value


def plain(*headers: Mapping[str, Any]) -> dict[str, Any]:
    """All cards that can be parsed, from the first header that has each; commentary left out."""
    found: dict[str, Any] = {}
    for header in headers:
        for keyword in dict.fromkeys(header):
            # a damaged keyword may hold what astropy takes for a pattern
            if _KEYWORD.fullmatch(keyword) and keyword not in ("HISTORY", "COMMENT") and keyword not in found:
                value = card(header, keyword)
                if value is not None:
                    found[keyword] = value
    return found


def cards(keywords: tuple[str, ...], *headers: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the cards that exist, from the first header that has each."""
    found: dict[str, Any] = {}
    for keyword in keywords:
        for header in headers:
            value = card(header, keyword)
            if value is not None:
                found[keyword] = value
                break
    return found
