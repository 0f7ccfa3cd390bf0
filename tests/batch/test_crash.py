"""Processes that are killed: the pool is rebuilt, the work done again, a file that kills is found and named."""

from __future__ import annotations

import json
import sys

import pytest

from optextract.batch import read_manifest, run_batch

MODULE = '''
import os, signal
from astropy.modeling.models import Gaussian1D

def kill(once=None):
    """End this process as the system's out-of-memory killer does; with a file name: the first time only."""
    if once is not None:
        try:
            os.close(os.open(once, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return Gaussian1D
    os.kill(os.getpid(), signal.SIGKILL)

def __getattr__(name):
    if name == "Poison":
        return kill()
    if name == "Once":
        return kill(os.environ["OPTEXTRACT_TEST_ONCE"])
    raise AttributeError(name)
'''


@pytest.fixture
def killer(tmp_path, monkeypatch):
    """A module whose attributes kill the process that looks them up."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "killer.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("OPTEXTRACT_TEST_ONCE", str(tmp_path / "once"))
    yield "killer"
    sys.modules.pop("killer", None)


def overrides(folder, path, **models):
    rows = [f"{folder}/{name}_s2d.fits,model,killer:{attribute}" for name, attribute in models.items()]
    path.write_text("file,profile.kind,profile.model\n" + "\n".join(rows) + "\n")
    return path


def fluxes(out):
    from optextract.io import read_x1d

    return {path.name: read_x1d(path).flux.value.tobytes() for path in sorted(out.glob("*_optx1d.fits"))}


@pytest.fixture
def fresh_pool():
    """Loky keeps its workers; those of another test do not know this test's environment."""
    joblib = pytest.importorskip("joblib")
    joblib.externals.loky.get_reusable_executor(max_workers=2).shutdown(wait=True, kill_workers=True)
    yield
    joblib.externals.loky.get_reusable_executor(max_workers=2).shutdown(wait=True, kill_workers=True)


@pytest.fixture
def single(small_files, tmp_path):
    run_batch(small_files, out=tmp_path / "single")
    return fluxes(tmp_path / "single")


def test_a_file_that_kills_its_process_is_named_and_the_rest_is_done(
    small_files, tmp_path, killer, fresh_pool, single, caplog
):
    table = overrides(small_files, tmp_path / "over.csv", g2="Poison")
    out = tmp_path / "out"
    found = run_batch(small_files, out=out, overrides=table, trust=True, n_jobs=2)
    failed = {row["file"].rsplit("/", 1)[-1]: row["reason"] for row in found if row["status"] == "failed"}
    assert set(failed) == {"g2_s2d.fits"}
    for reason in failed.values():
        assert "the process that extracts it ended, 2 times out of 2" in reason
    expected = {name: flux for name, flux in single.items() if not name.startswith("g2")}
    assert fluxes(out) == expected
    assert "a worker process ended" in caplog.text
    assert {record["status"] for record in read_manifest(out)} == {"done", "failed"}


def test_a_process_killed_from_outside_costs_no_file(small_files, tmp_path, killer, fresh_pool):
    table = overrides(small_files, tmp_path / "over.csv", g3="Once")
    found = run_batch(small_files, out=tmp_path / "out", overrides=table, trust=True, n_jobs=2)
    assert (tmp_path / "once").exists()
    assert set(found["status"]) == {"done"}
    assert len(found) == 9


def test_a_folder_whose_run_was_cut_off_is_taken_up(small_files, tmp_path):
    """What a killed main process leaves: a journal without its end, parts of products, products nobody recorded."""
    out, whole = tmp_path / "out", tmp_path / "whole"
    run_batch(small_files, out=whole)
    run_batch([small_files / f"g{k}_s2d.fits" for k in range(3)], out=out)
    lines = (out / "manifest.jsonl").read_text().splitlines()
    (out / "manifest.jsonl").write_text("\n".join(lines[:2]) + "\n")
    journal = json.dumps({"file": json.loads(lines[2])["file"], "records": [json.loads(lines[2])]})
    (out / "manifest.journal").write_text(journal + "\n" + journal[:40])
    (out / ".part-99-g4_s2d_optx1d.fits").write_bytes(b"half")
    (out / "g2_s2d_optx1d.fits").write_bytes((whole / "g2_s2d_optx1d.fits").read_bytes())
    found = run_batch(small_files, out=out, resume=True)
    assert len(found) == 9
    assert set(found["status"]) == {"done"}
    assert fluxes(out) == fluxes(whole)
    assert not list(out.rglob(".part-*"))
    assert not (out / "manifest.journal").exists()
    mine, theirs = ([{**r, "seconds": 0} for r in read_manifest(folder)] for folder in (out, whole))
    assert mine == theirs
