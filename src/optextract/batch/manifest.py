"""The manifest: what became of every spectrum; whole at any moment, whenever the run ends and however."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from optextract.errors import OptextractError, bad_value

__all__ = ["FORMAT", "JOURNAL", "MANIFEST", "Manifest", "read_manifest"]

_log = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"
JOURNAL = "manifest.journal"
FORMAT = 1
Record = dict[str, Any]


def _parse(line: bytes, path: Path, number: int) -> Record:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise OptextractError(f"{path} is damaged in line {number}: {error}") from error
    if not isinstance(record, dict):
        raise bad_value(f"line {number}", str(path), "a mapping", record)
    return record


def _lines(path: Path, *, crashed: bool) -> Iterator[tuple[int, Record]]:
    """Offset and content of each record of a file; nothing where it does not exist."""
    if not path.is_file():
        return
    with path.open("rb") as stream:
        offset = 0
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                # a crash cuts the journal's last line short, which then counts as not written
                if not crashed:
                    raise OptextractError(f"{path} is damaged: its last line is incomplete")
                return
            yield offset, _parse(line, path, number)
            offset += len(line)


def _slit_order(record: Mapping[str, Any]) -> tuple[bool, str]:
    return record["slit"] is not None, str(record["slit"])


def _dump(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True, allow_nan=False).encode() + b"\n"


class Manifest:
    """The records of an output folder: the sorted manifest and, while a run lasts, a journal of what is new.

    The manifest has one line of JSON a spectrum, the journal one a file, so that what is known of a file changes whole
    or not at all. At the end of a run (or at the beginning of the next, if it had none) they become one sorted file,
    replaced in one step. Only where a record is stays in memory, so the size of a batch does not matter.

    Parameters
    ----------
    folder : Path
        The output folder; made if it does not exist.

    Raises
    ------
    OptextractError
        If the manifest is damaged or of another format, or another run is at work in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.journal = folder / MANIFEST, folder / JOURNAL
        # file -> (where its records are, offset, number of lines; 0: one line of the journal)
        self._where: dict[str, tuple[Path, int, int]] = {}
        self._stream: IO[bytes] | None = None
        self._lock = _locked(folder)
        try:
            self._read()
        except BaseException:
            self._unlock()
            raise

    def _read(self) -> None:
        for offset, record in _lines(self.path, crashed=False):
            if "format" in record:
                _check_format(record, self.path)
                continue
            _, first, lines = self._where.get(record["file"], (self.path, offset, 0))
            self._where[record["file"]] = (self.path, first, lines + 1)
        for offset, line in _lines(self.journal, crashed=True):
            self._where[line["file"]] = (self.journal, offset, 0)
        if self.journal.exists():
            _log.info("%s: an earlier run did not end; what it finished is kept", self.folder)
            self.consolidate()

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, file: str) -> bool:
        return file in self._where

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def records(self, file: str | None = None) -> Iterator[Record]:
        """Yield the records, sorted by file and slit, of one file or of all."""
        files = sorted(self._where) if file is None else [file] if file in self._where else []
        streams: dict[Path, IO[bytes]] = {}
        try:
            for name in files:
                path, offset, lines = self._where[name]
                if path not in streams:
                    streams[path] = path.open("rb")
                stream = streams[path]
                stream.seek(offset)
                if lines:
                    yield from [json.loads(stream.readline()) for _ in range(lines)]
                else:
                    yield from sorted(json.loads(stream.readline())["records"], key=_slit_order)
        finally:
            for stream in streams.values():
                stream.close()

    def put(self, file: str, records: list[Record]) -> None:
        """Replace everything that is known of one file; in the journal before this returns.

        Raises
        ------
        OSError
            If the disk is full; what was known before stays known.
        """
        if self._stream is None:
            self._stream = self.journal.open("ab")
        start = self._stream.tell()
        try:
            self._stream.write(_dump({"file": file, "records": records}))
            self._stream.flush()
        except OSError:
            self._cut(start)
            raise
        self._where[file] = (self.journal, start, 0)

    def _cut(self, start: int) -> None:
        """Take a line that did not fit on the disk off the journal again."""
        stream, self._stream = self._stream, None
        if stream is not None:
            # closing flushes what is left in the buffer, and fails for the same reason as before
            try:
                stream.close()
            except OSError:
                _log.debug("the journal could not be flushed", exc_info=True)
        os.truncate(self.journal, start)

    def consolidate(self) -> None:
        """Make manifest and journal one sorted file, in one step, and start over without a journal.

        Raises
        ------
        OSError
            If the disk is full; manifest and journal stay as they are.
        """
        part = self.folder / (MANIFEST + ".part")
        where: dict[str, tuple[Path, int, int]] = {}
        try:
            with part.open("wb") as stream:
                stream.write(_dump({"format": FORMAT, "tool": "optextract"}))
                for record in self.records():
                    _, first, lines = where.get(record["file"], (self.path, stream.tell(), 0))
                    where[record["file"]] = (self.path, first, lines + 1)
                    stream.write(_dump(record))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError:
            part.unlink(missing_ok=True)
            raise
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        part.replace(self.path)
        self.journal.unlink(missing_ok=True)
        self._where = where

    def close(self) -> None:
        """Consolidate what is new. A disk that is full leaves manifest and journal as they are, which is as good."""
        if self._stream is not None or self.journal.exists() or not self.path.exists():
            try:
                self.consolidate()
            except OSError as error:
                _log.warning("%s: manifest and journal stay apart: %s", self.folder, error)
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._unlock()

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """Keep other runs out of a folder until the descriptor is closed, which the end of the process does too."""
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OptextractError(f"another run is at work in {folder}; wait for it or choose another folder") from error
    return descriptor


def _check_format(record: Mapping[str, Any], path: Path) -> None:
    if record["format"] != FORMAT:
        raise bad_value("format", str(path), f"{FORMAT} (this version of optextract knows no other)", record["format"])


def read_manifest(folder: str | Path) -> list[Record]:
    """Return every record of an output folder, sorted by file and slit; a run may be under way.

    Parameters
    ----------
    folder : str or Path
        The output folder of a run.

    Returns
    -------
    list of dict
        One a spectrum.

    Raises
    ------
    OptextractError
        If the folder has no manifest, or a damaged one.
    """
    folder = Path(folder)
    path, journal = folder / MANIFEST, folder / JOURNAL
    if not path.is_file() and not journal.is_file():
        raise bad_value("folder", "read_manifest", f"the output folder of a run (it holds {MANIFEST})", str(folder))
    found: dict[str, list[Record]] = {}
    for _, record in _lines(path, crashed=False):
        if "format" in record:
            _check_format(record, path)
        else:
            found.setdefault(record["file"], []).append(record)
    for _, line in _lines(journal, crashed=True):
        found[line["file"]] = sorted(line["records"], key=_slit_order)
    return [record for file in sorted(found) for record in found[file]]
