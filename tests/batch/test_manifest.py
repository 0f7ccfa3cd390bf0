"""The manifest is whole at any moment: a journal that a crash cut short, a full disk, a damaged file."""

from __future__ import annotations

import json

import pytest

from optextract.batch.manifest import MANIFEST, Manifest, read_manifest
from optextract.errors import OptextractError

JOURNAL = "manifest.journal"


def record(file, slit=None, **more):
    return {"file": file, "slit": slit, "status": "done", **more}


def crash(manifest):
    """Leave the files as kill -9 leaves them: nothing is consolidated."""
    manifest._stream.close()
    manifest._unlock()


def test_records_are_sorted_and_replaced_by_file(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.put("b", [record("b", "2"), record("b", "1")])
        manifest.put("a", [record("a")])
        manifest.put("b", [record("b", "3"), record("b", "1", score=5)])
    assert read_manifest(tmp_path) == [record("a"), record("b", "1", score=5), record("b", "3")]
    assert not (tmp_path / JOURNAL).exists()
    lines = (tmp_path / MANIFEST).read_text().splitlines()
    assert json.loads(lines[0])["format"] == 1
    assert len(lines) == 4


def test_what_an_interrupted_run_did_is_read_and_kept(tmp_path):
    manifest = Manifest(tmp_path)
    manifest.put("a", [record("a")])
    crash(manifest)
    assert read_manifest(tmp_path) == [record("a")]
    with Manifest(tmp_path) as again:
        assert list(again.records("a")) == [record("a")]
        again.put("b", [record("b")])
    assert [r["file"] for r in read_manifest(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_that_was_cut_short_counts_as_not_written(tmp_path, cut):
    manifest = Manifest(tmp_path)
    manifest.put("a", [record("a")])
    manifest.put("b", [record("b", "1"), record("b", "2")])
    crash(manifest)
    journal = tmp_path / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-cut])
    assert [r["file"] for r in read_manifest(tmp_path)] == ["a"]
    with Manifest(tmp_path) as again:
        assert "b" not in again
    assert [r["file"] for r in read_manifest(tmp_path)] == ["a"]


def test_same_records_in_any_order_give_the_same_bytes(tmp_path):
    for folder, order in (("x", "abc"), ("y", "cab")):
        with Manifest(tmp_path / folder) as manifest:
            for name in order:
                manifest.put(name, [record(name, "2"), record(name, "1")])
    assert (tmp_path / "x" / MANIFEST).read_bytes() == (tmp_path / "y" / MANIFEST).read_bytes()


def test_a_damaged_manifest_is_refused_and_left_alone(tmp_path):
    (tmp_path / MANIFEST).write_text('{"format": 1}\n{"file": "a", broken\n')
    before = (tmp_path / MANIFEST).read_bytes()
    with pytest.raises(OptextractError, match=r"manifest.jsonl is damaged in line 2"):
        Manifest(tmp_path)
    assert (tmp_path / MANIFEST).read_bytes() == before


def test_a_manifest_of_a_later_format_is_refused(tmp_path):
    (tmp_path / MANIFEST).write_text('{"format": 2}\n')
    with pytest.raises(OptextractError, match=r"'format' parameter of .* must be 1 .*Got 2"):
        read_manifest(tmp_path)


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(OptextractError, match=r"must be the output folder of a run \(it holds manifest.jsonl\)"):
        read_manifest(tmp_path)


class FullDisk:
    """A stream whose disk has room for some bytes only."""

    def __init__(self, stream, room):
        self.stream, self.room = stream, room

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, data):
        part = data[: self.room]
        self.room -= len(part)
        self.stream.write(part)
        if len(part) < len(data):
            raise OSError(28, "No space left on device")
        return len(data)


@pytest.mark.parametrize("room", [0, 30, 60])
def test_a_full_disk_loses_only_the_record_that_did_not_fit(tmp_path, room):
    manifest = Manifest(tmp_path)
    manifest.put("a", [record("a")])
    manifest._stream = FullDisk(manifest._stream, room)
    with pytest.raises(OSError, match="No space left"):
        manifest.put("b", [record("b", text="x" * 100)])
    assert [r["file"] for r in read_manifest(tmp_path)] == ["a"]
    # there is room again
    manifest.put("c", [record("c")])
    manifest.close()
    assert [r["file"] for r in read_manifest(tmp_path)] == ["a", "c"]


def test_two_runs_do_not_share_a_folder(tmp_path):
    with (
        Manifest(tmp_path),
        pytest.raises(OptextractError, match=r"another run is at work in .*; wait for it or choose another folder"),
    ):
        Manifest(tmp_path)
    Manifest(tmp_path).close()
