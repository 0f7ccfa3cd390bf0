"""``optextract review`` in a real browser: one spectrum accepted, one adjusted, one rejected; resume redoes one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optextract.batch import read_manifest, run_batch
from optextract.simulate import make_scene, write_s2d

from .conftest import Server
from .test_standalone import open_step, wait_summary


@pytest.fixture
def run(tmp_path: Path) -> Path:
    files = [write_s2d(make_scene(name, 3), tmp_path / f"{name}_s2d.fits") for name in ("emission", "faint", "empty")]
    run_batch([str(file) for file in files], None, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def server(run: Path) -> Iterator[Server]:
    started = Server(str(run), "--least", "0", command="review")
    yield started
    started.close()


def wait_card(page: Any, text: str) -> None:
    page.wait_for_function("text => document.querySelector('.oe-review')?.innerText.includes(text)", arg=text)


def test_accept_adjust_reject_resume(server: Server, open_page: Any, run: Path) -> None:
    page = open_page(server, wait=".oe-review")
    wait_card(page, "1 of 3, 3 undecided")
    page.locator(".oe-review button", has_text="accept").click()
    wait_card(page, "2 of 3, 2 undecided")
    kernel = open_step(page, "kernel")
    kernel.locator(".oe-profile-kind .v-select__slot").click()
    page.locator(".oe-profile-kind .v-list-item", has_text="gaussian").click()
    wait_summary(page, "kernel", "gaussian")
    page.wait_for_timeout(1000)
    page.locator(".oe-review input").fill("a Gaussian does")
    page.locator(".oe-review button", has_text="adjust").click()
    wait_card(page, "3 of 3, 1 undecided")
    page.locator(".oe-review button", has_text="reject").click()
    wait_card(page, "0 undecided")
    page.screenshot(path=run.parent / "review.png")

    decisions = {Path(record["file"]).name: record["decision"] for record in read_manifest(run)}
    assert sorted(decisions.values()) == ["accepted", "adjusted", "rejected"]
    adjusted = next(record for record in read_manifest(run) if record["decision"] == "adjusted")
    assert adjusted["note"] == "a Gaussian does"
    before = {path: path.stat().st_mtime_ns for path in run.glob("*_optx1d.fits")}
    command = [sys.executable, "-m", "optextract", "run", "--resume", "-o", str(run), "-q"]
    subprocess.run(command, check=False, capture_output=True, timeout=180)
    redone = [path.name for path in run.glob("*_optx1d.fits") if before.get(path) != path.stat().st_mtime_ns]
    assert redone == [Path(adjusted["file"]).name.replace("_s2d.fits", "_s2d_optx1d.fits")]
