"""On a real cluster of processes: the same spectra, a killed worker costs nothing, a poisonous file is named."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from optextract.batch import run_batch
from optextract.batch.backends import _chunks
from optextract.batch.jobs import Job
from optextract.errors import OptextractError
from optextract.io import read_x1d

distributed = pytest.importorskip("distributed")

#: The cluster's own threads and sockets are closed by the time the process ends, not by the time a test does.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning"
)

MODULE = "import os, signal\n\ndef __getattr__(name):\n    os.kill(os.getpid(), signal.SIGKILL)\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("code")
    (folder / "poison.py").write_text(MODULE)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(folder)
    sys.path.insert(0, str(folder))
    import dask

    try:
        # a task is given up with its first worker, where the default is the fourth: the test is about what follows
        with (
            dask.config.set({"distributed.scheduler.allowed-failures": 0}),
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
            ) as running,
        ):
            yield running
    finally:
        sys.path.remove(str(folder))
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def fluxes(out):
    return {path.name: read_x1d(path).flux.value.tobytes() for path in sorted(out.glob("*_optx1d.fits"))}


@pytest.fixture(scope="module")
def single(small_files, tmp_path_factory):
    out = tmp_path_factory.mktemp("single")
    run_batch(small_files, out=out)
    return fluxes(out)


def test_a_cluster_gives_the_same_spectra(small_files, cluster, single, tmp_path):
    found = run_batch(small_files, out=tmp_path / "out", dask=cluster.scheduler_address)
    assert set(found["status"]) == {"done"}
    assert fluxes(tmp_path / "out") == single


def test_names_are_those_of_the_folder_in_which_the_batch_is_run(small_files, cluster, tmp_path, monkeypatch):
    """The workers were started in another one."""
    (tmp_path / "a_s2d.fits").symlink_to(small_files / "g0_s2d.fits")
    monkeypatch.chdir(tmp_path)
    found = run_batch("a_s2d.fits", out="out", dask=cluster.scheduler_address)
    assert list(found["status"]) == ["done"]
    assert (tmp_path / "out" / "a_s2d_optx1d.fits").is_file()


def test_a_worker_killed_in_the_middle_costs_nothing(small_files, cluster, single, tmp_path):
    for k in range(6):
        for copy in range(4):
            (tmp_path / f"g{k}{copy}_s2d.fits").symlink_to(small_files / f"g{k}_s2d.fits")
    killed = []

    def kill(records):
        if not killed:
            with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
                killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    found = run_batch(tmp_path, out=tmp_path / "out", dask=cluster.scheduler_address, progress=kill)
    assert killed
    assert len(found) == 24
    assert set(found["status"]) == {"done"}
    spectra = fluxes(tmp_path / "out")
    assert {name[:2]: flux for name, flux in spectra.items()} == {
        name[:2]: flux for name, flux in single.items() if name[0] == "g"
    }


def test_a_file_that_kills_its_worker_is_named(small_files, cluster, single, tmp_path):
    table = tmp_path / "over.csv"
    table.write_text(f"file,profile.kind,profile.model\n{small_files}/g2_s2d.fits,model,poison:Model\n")
    out = tmp_path / "out"
    found = run_batch(small_files, out=out, dask=cluster.scheduler_address, overrides=table, trust=True)
    failed = {row["file"].rsplit("/", 1)[-1]: row["reason"] for row in found if row["status"] == "failed"}
    assert set(failed) == {"g2_s2d.fits"}
    assert "the process that extracts it ended" in failed["g2_s2d.fits"]
    assert fluxes(out) == {name: flux for name, flux in single.items() if not name.startswith("g2")}


def test_a_scheduler_that_is_not_there_is_an_error(small_files, tmp_path, monkeypatch):
    with pytest.raises(OptextractError, match=r"'dask' parameter of run_batch must be tcp://host:port .*Got 'here'"):
        run_batch(small_files, out=tmp_path / "out", dask="here")
    with pytest.raises(OptextractError, match=r"the dask scheduler tcp://127.0.0.1:9 cannot be reached"):
        run_batch(small_files, out=tmp_path / "out", dask="tcp://127.0.0.1:9")


@pytest.mark.parametrize(("n", "workers", "most"), [(100_000, 8, 50), (79, 2, 5), (3, 2, 1), (1, 1, 1)])
def test_chunks_are_few_for_many_and_small_for_few(n, workers, most):
    chunks = _chunks([Job(path=str(k), stem=str(k)) for k in range(n)], workers)
    assert max(map(len, chunks)) <= most
    assert sum(map(len, chunks)) == n
    assert len(chunks) >= min(n, workers)
