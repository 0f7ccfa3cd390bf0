"""Hundreds, thousands, tens of thousands: damage is named, memory stays, the scheduler has little to do."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from optextract.batch import read_manifest, run_batch
from optextract.io import read_x1d
from optextract.simulate import make_scene, write_s2d

REFERENCES = int(os.environ.get("OPTEXTRACT_REFERENCES", "20000"))


def test_500_slits_one_in_ten_damaged(many, damage, tmp_path, tools, say):
    folder = tmp_path / "in"
    folder.mkdir()
    ways = list(damage.items())
    bad = []
    for number in range(500):
        path = folder / f"s{number:03d}_s2d.fits"
        shutil.copy(many / f"g{number % 24:02d}_s2d.fits", path)
        if number % 10 == 3:
            name, spoil = ways[len(bad) % len(ways)]
            spoil(path)
            bad.append((path, name))
    names = [str(folder / f"s{number:03d}_s2d.fits") for number in range(500)]
    (tmp_path / "list").write_text("\n".join(names))
    out = tmp_path / "out"
    started = time.monotonic()
    process = tools.start(f"@{tmp_path / 'list'}", "-o", out, "-j", "2", "-q")
    _, errors = process.communicate()
    seconds = time.monotonic() - started
    assert process.returncode == 1
    lines = [line for line in errors.splitlines() if line.strip()]
    assert len(lines) == len(bad) == 50
    for path, name in bad:
        assert sum(str(path) in line for line in lines) == 1, (path, name)
    single = {}
    for number in range(24):
        run_batch(many / f"g{number:02d}_s2d.fits", out=tmp_path / "single")
        single[number] = read_x1d(tmp_path / "single" / f"g{number:02d}_s2d_optx1d.fits")
    failed = {path.name for path, _ in bad}
    for number in range(500):
        if f"s{number:03d}_s2d.fits" in failed:
            continue
        found, alone = read_x1d(out / f"s{number:03d}_s2d_optx1d.fits"), single[number % 24]
        np.testing.assert_array_equal(found.flux, alone.flux)
        np.testing.assert_array_equal(found.uncertainty, alone.uncertainty)
    say(
        f"500 slits: {len(bad)} damaged in {min(len(bad), len(ways))} ways, each named in one line, exit code 1, "
        f"450 bit-identical to single runs, {seconds:.0f} s\n"
    )


MEASURE = """
import resource, sys
from optextract.cli import main
code = main(sys.argv[1:])
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
sys.exit(code)
"""


def peak(folder, out):
    """Peak memory of a run in one process, kB."""
    command = [sys.executable, "-c", MEASURE, "run", str(folder), "-o", str(out), "--report"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(run.stdout.split("PEAK")[1])


def links(many, folder, number):
    folder.mkdir()
    sources = sorted(many.glob("g*_s2d.fits"))
    for k in range(number):
        (folder / f"r{k:05d}_s2d.fits").symlink_to(sources[k % len(sources)])
    return folder


def test_peak_memory_of_2000_is_that_of_200(many, tmp_path, say):
    few = peak(links(many, tmp_path / "few", 200), tmp_path / "out200")
    lots = peak(links(many, tmp_path / "lots", 2000), tmp_path / "out2000")
    page = (tmp_path / "out2000" / "report.html").stat().st_size
    say(f"peak memory: {few / 1024:.0f} MB for 200 spectra, {lots / 1024:.0f} MB for 2,000: {lots / few:.2f} times\n")
    say(f"report of 2,000 spectra: {page / 1e6:.1f} MB\n")
    assert lots < 1.2 * few


@pytest.mark.browser
def test_a_report_of_2000_opens(many, tmp_path, browser_path, say):
    import json

    from playwright.sync_api import sync_playwright

    from optextract.batch.report import write_report

    out = tmp_path / "out"
    scene = make_scene("mid", 1, planned_sigma=0.1)
    write_s2d(scene, tmp_path / "a_s2d.fits")
    run_batch(tmp_path / "a_s2d.fits", out=out)
    (record,) = read_manifest(out)
    lines = ['{"format": 1, "tool": "optextract"}']
    for k in range(2000):
        one = {**record, "file": f"/data/f{k:04d}_s2d.fits", "products": [f"f{k:04d}_optx1d.fits"], "score": k % 100}
        lines.append(json.dumps(one))
        (out / "cards" / f"f{k:04d}_optx1d.json").symlink_to(out / "cards" / "a_s2d_optx1d.json")
    (out / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    path = write_report(out)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        started = time.monotonic()
        page.goto(path.as_uri())
        page.wait_for_selector("#table tbody tr")
        opened = time.monotonic() - started
        started = time.monotonic()
        page.fill("#filter", "f1999")
        page.wait_for_function("document.querySelectorAll('#table tbody tr').length === 1")
        filtered = time.monotonic() - started
        page.fill("#filter", "")
        page.locator("th", has_text="score").click()
        page.locator("#next").click()
        assert page.locator("#page").inner_text() == "page 2 of 40"
        browser.close()
    size = path.stat().st_size / 1e6
    say(f"report of 2,000 full cards: {size:.0f} MB, open in {opened:.1f} s, filtered in {filtered:.2f} s\n")


def test_references_through_dask(night, tmp_path, say):
    distributed = pytest.importorskip("distributed")
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(REFERENCES):
        (folder / f"r{k:05d}_s2d.fits").symlink_to(night[k % len(night)][0])
    damaged = sum(not night[k % len(night)][1] for k in range(REFERENCES))
    workers = 2
    with distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        address = cluster.scheduler_address
        # workers import before the clock starts
        run_batch([folder / f"r{k:05d}_s2d.fits" for k in range(8)], out=tmp_path / "warm", dask=address)
        started = time.monotonic()
        counted = {"done": 0, "other": 0, "work": 0.0}

        def count(records):
            for record in records:
                counted["done" if record["status"] == "done" else "other"] += 1
                counted["work"] += record.get("seconds", 0.0)

        run_batch(folder, out=tmp_path / "out", dask=address, progress=count)
        wall = time.monotonic() - started
    overhead = wall * workers / counted["work"] - 1
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    say(
        f"dask: {REFERENCES} references to {len(night)} files in {wall:.0f} s on {workers} workers, "
        f"{counted['work']:.0f} s of work: overhead {100 * overhead:.1f} %, "
        f"{1e3 * wall * workers / REFERENCES:.1f} ms a spectrum; this process {peak_kb / 1024:.0f} MB\n"
    )
    assert counted["done"] == REFERENCES - damaged
    assert counted["other"] == damaged


def test_two_processes_beside_one(many, tmp_path, say):
    pytest.importorskip("joblib")
    folder = links(many, tmp_path / "in", 240)
    warm = [folder / f"r{k:05d}_s2d.fits" for k in range(8)]
    seconds = {}
    for jobs in (1, 2):
        run_batch(warm, out=tmp_path / f"warm{jobs}", n_jobs=jobs)
        started = time.monotonic()
        run_batch(folder, out=tmp_path / f"out{jobs}", n_jobs=jobs)
        seconds[jobs] = time.monotonic() - started
    load = os.getloadavg()[0]
    say(
        f"240 spectra after start-up: -j 1 {seconds[1]:.1f} s, -j 2 {seconds[2]:.1f} s: "
        f"{seconds[1] / seconds[2]:.2f} times the throughput (load of the machine {load:.1f})\n"
    )
