"""What every test may ask for: the real data, a browser, random numbers that repeat."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# The same examples in every run, and no time limit on a shared machine: `--hypothesis-profile=explore` looks further.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("repeatable")

BROWSER_ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--no-first-run",
]  # fmt: skip
NO_BROWSER = "no chromium on PATH; on Debian: apt-get install chromium"


def find_data(environ: Mapping[str, str], root: Path = ROOT) -> tuple[Path | None, str]:
    """The folder of real observations, or None and the reason in words."""
    named = environ.get("OPTEXTRACT_DATA", "")
    if named:
        folder = Path(named)
        return (folder, "") if folder.is_dir() else (None, f"OPTEXTRACT_DATA names {named!r}, which is not a folder")
    folder = root.parent / "shared" / "data"
    if folder.is_dir():
        return folder, ""
    return None, "real data are absent: OPTEXTRACT_DATA is not set and there is no ../shared/data"


def find_browser(environ: Mapping[str, str]) -> tuple[str | None, bool]:
    """The path of chromium or None, and whether its absence is a failure."""
    return shutil.which("chromium", path=environ.get("PATH")), environ.get("OPTEXTRACT_BROWSER", "") == "required"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real observations; the test is skipped, with the reason, where it is absent."""
    folder, reason = find_data(os.environ)
    if folder is None:
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def browser_path() -> str:
    """The chromium on PATH; without it a skip, or a failure where OPTEXTRACT_BROWSER=required."""
    path, required = find_browser(os.environ)
    if path is None and required:
        pytest.fail(f"OPTEXTRACT_BROWSER=required, but {NO_BROWSER}", pytrace=False)
    if path is None:
        pytest.skip(NO_BROWSER)
    return path


@pytest.fixture(scope="session")
def browser(browser_path: str) -> Iterator[Any]:
    """Debian's chromium: one for all tests of a worker, because playwright does not start twice in a process."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser_path, args=BROWSER_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run and every order of the tests."""
    return np.random.default_rng(20260722)


Columns = Callable[..., tuple[np.ndarray, np.ndarray]]


@pytest.fixture
def columns(rng: np.random.Generator) -> Columns:
    """Columns of sources on a constant background with unit noise, and their weights: both (n, 25)."""
    from optextract.profiles import Gaussian

    def make(n=400, *, places=(11.7,), fluxes=(50.0,), fwhm=1.8, shape=None, background=3.0):
        shape = Gaussian() if shape is None else shape
        lights = [
            flux * shape.integrate(25, np.array([place]), np.array([fwhm]))[0]
            for place, flux in zip(places, fluxes, strict=True)
        ]
        data = sum(lights) + background + rng.standard_normal((n, 25))
        return data, np.ones_like(data)

    return make


@pytest.fixture
def problem() -> Callable[..., Any]:
    """What is fitted to such columns: a Gaussian on a background of degree one, with changes."""
    from optextract.geometry import Problem
    from optextract.kernel import cross_basis
    from optextract.profiles import Gaussian

    def make(**changes):
        return Problem(**{"shape": Gaussian(), "background": cross_basis(25, 1), "prior_taper": None, **changes})

    return make
