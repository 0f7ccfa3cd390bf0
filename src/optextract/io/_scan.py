"""The extents of a FITS file, read from its mandatory cards before anything is allocated."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..errors import ReadError

__all__ = ["MAX_BYTES", "MAX_PIXELS", "Extent", "is_fits", "open_bytes", "scan"]

#: One image of more pixels than this is no 2D spectrum; the largest detectors have 1e8.
MAX_PIXELS = 2**27

#: Most bytes that a compressed file may unfold to.
MAX_BYTES = 2**32

_BLOCK = 2880
_CARD = 80
_MAX_HEADER_BLOCKS = 4000
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}


class Extent(NamedTuple):
    """Where the data of one HDU lie, in bytes; `shape` in numpy's order, of the unfolded image if it is compressed."""

    number: int
    name: str
    start: int
    size: int
    shape: tuple[int, ...]
    bits: int


def is_fits(start: bytes) -> bool:
    """Whether a file that begins like this is FITS."""
    return start[:9] == b"SIMPLE  ="


def open_bytes(path: Path) -> BinaryIO:
    """Open a file, unfolding gzip, bzip2 or xz by content (never by its name) up to `MAX_BYTES`.

    Raises
    ------
    ReadError
        If the file is absent, is a folder, cannot be unfolded or unfolds to more than `MAX_BYTES`.
    """
    try:
        raw = open(path, "rb")  # noqa: SIM115 - the caller closes it
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {error.strerror}") from error
    try:
        start = raw.read(6)
        raw.seek(0)
        kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
        if kind is None:
            return raw
    except OSError as error:
        raw.close()
        raise ReadError(f"{path} cannot be read: {error.strerror}") from error
    with raw:
        opener: Any = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}[kind]
        try:
            with opener(raw) as stream:
                data = _bounded(stream, path)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise ReadError(f"{path} cannot be unfolded ({kind}): {error}; the file is truncated or damaged") from error
    return io.BytesIO(data)


def _bounded(stream: BinaryIO, path: Path) -> bytes:
    parts, total = [], 0
    while chunk := stream.read(2**20):
        total += len(chunk)
        if total > MAX_BYTES:
            raise ReadError(f"{path} unfolds to more than {MAX_BYTES} bytes: refused")
        parts.append(chunk)
    return b"".join(parts)


def scan(stream: BinaryIO, path: Path) -> list[Extent]:
    """Walk through the HDUs of a FITS file without reading their data.

    Parameters
    ----------
    stream : binary file
        The file, positioned anywhere.
    path : Path
        Its name, for messages.

    Returns
    -------
    list of Extent
        One for each HDU.

    Raises
    ------
    ReadError
        If a header does not end, its mandatory cards are not numbers in range, an image has more than `MAX_PIXELS`
        pixels, or the data end before the header says.
    """
    length = stream.seek(0, os.SEEK_END)
    extents: list[Extent] = []
    position = 0
    while position < length:
        stream.seek(position)
        first = stream.read(8)
        if extents and first != b"XTENSION":
            break  # special records or padding after the last HDU
        stream.seek(position)
        cards, header_size = _header(stream, path, len(extents))
        extent = _extent(cards, len(extents), position + header_size, path)
        if extent.start + extent.size > length:
            raise ReadError(
                f"{path} is truncated: HDU {extent.number} ({extent.name}) needs {extent.size} bytes of data, "
                f"the file has {max(0, length - extent.start)} left"
            )
        extents.append(extent)
        position = extent.start + -(-extent.size // _BLOCK) * _BLOCK
        if position > length:
            raise ReadError(
                f"{path} is truncated: it ends within the last block of HDU {extent.number} ({extent.name}), "
                "so that what came after it may be missing"
            )
    return extents


def _header(stream: BinaryIO, path: Path, index: int) -> tuple[dict[str, str], int]:
    cards: dict[str, str] = {}
    for block in range(_MAX_HEADER_BLOCKS):
        data = stream.read(_BLOCK)
        if len(data) < _BLOCK:
            raise ReadError(f"{path} is truncated: the header of HDU {index} does not end")
        for keyword, value in _cards(data):
            if keyword == "END":
                return cards, (block + 1) * _BLOCK
            cards.setdefault(keyword, value)
    raise ReadError(f"{path}: the header of HDU {index} has no END in {_MAX_HEADER_BLOCKS} blocks: refused")


def _cards(block: bytes) -> Iterator[tuple[str, str]]:
    for offset in range(0, _BLOCK, _CARD):
        card = block[offset : offset + _CARD]
        keyword = card[:8].decode("latin-1").rstrip()
        if keyword == "END" and not card[8:].strip():
            yield keyword, ""
        elif card[8:9] == b"=":
            yield keyword, card[9:].decode("latin-1")


def _extent(cards: dict[str, str], index: int, start: int, path: Path) -> Extent:
    def number(keyword: str, low: int, high: int, default: int | None = None) -> int:
        text = cards.get(keyword)
        if text is None and default is not None:
            return default
        try:
            value = int(text.split("/")[0]) if text is not None else None
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            shown = "absent" if text is None else text.split("/")[0].strip()
            raise ReadError(
                f"{path}: {keyword} of HDU {index} must be an integer between {low} and {high}. Got {shown} instead."
            )
        return value

    name = cards.get("EXTNAME", "'PRIMARY'" if index == 0 else "''").split("/")[0].strip().strip("'").strip()
    bits = abs(number("BITPIX", -64, 64))
    naxis = number("NAXIS", 0, 999)
    axes = [number(f"NAXIS{i + 1}", 0, 2**62) for i in range(naxis)]
    if "TFIELDS" in cards:
        number("TFIELDS", 0, 999)
    count = 1 if axes else 0
    for axis in axes[1:] if axes[:1] == [0] and cards.get("GROUPS", "").split("/")[0].strip() == "T" else axes:
        count *= axis
    size = bits // 8 * number("GCOUNT", 0, 2**31, 1) * (number("PCOUNT", 0, 2**62, 0) + count)
    shape, unfolded = tuple(reversed(axes)), count
    if "ZNAXIS" in cards:
        shape = tuple(number(f"ZNAXIS{i + 1}", 0, 2**62) for i in reversed(range(number("ZNAXIS", 0, 999))))
        unfolded = 1
        for axis in shape:
            unfolded *= axis
        bits = abs(number("ZBITPIX", -64, 64))
    if ("XTENSION" not in cards or "IMAGE" in cards["XTENSION"] or "ZNAXIS" in cards) and unfolded > MAX_PIXELS:
        raise ReadError(
            f"{path}: HDU {index} ({name}) says it holds {unfolded} pixels, shape {shape}; "
            f"no 2D spectrum has more than {MAX_PIXELS}"
        )
    return Extent(index, name, start, size, shape, bits)
