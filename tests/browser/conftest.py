"""The real standalone app, started by the real command, in a real chromium. A failing test keeps its screenshot."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from optextract.simulate import make_scene, write_s2d

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
#: Seconds for a page to be there, on a machine that does other things too.
PATIENCE = 120

if os.environ.get("OPTEXTRACT_SLOW") != "1":  # `make test-slow` sets it
    collect_ignore = ["test_asleep.py"]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    page = getattr(item, "_page", None)
    if report.when == "call" and report.failed and page is not None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / (re.sub(r"[^\w-]+", "_", item.name) + ".png")
        page.screenshot(path=path)
        report.sections.append(("screenshot", str(path)))
        report.sections.append(("server", item._server.said()))  # type: ignore[attr-defined]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.jdaviz)
            # one chromium and one server at a time in a worker; two at once starve each other on two cores
            item.add_marker(pytest.mark.xdist_group("browser"))


class Started:
    """A command that serves pages, from where it says its address until `close`."""

    _last: str | None

    def __init__(self, words: list[str], environment: dict[str, str], address: str) -> None:
        # a file: a pipe that nobody reads is full some day, and what writes to it waits for ever
        self._folder = tempfile.TemporaryDirectory(prefix="optextract-")
        self._log, self._last = Path(self._folder.name) / "log", None
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"} | environment
        with self._log.open("w") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env=environment)
        start = time.monotonic()
        while time.monotonic() - start < PATIENCE and self.process.poll() is None:
            found = re.search(address, self.said())
            if found:
                self.url = found.group(1)
                return
            time.sleep(0.1)
        self.close()
        raise AssertionError(f"{' '.join(words)} did not start:\n{self.said()}")

    def said(self) -> str:
        """Everything it has written."""
        return self._log.read_text() if self._last is None else self._last

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._last = self.said()
        self._folder.cleanup()


class Server(Started):
    """``optextract app`` (or ``review``), as a person starts it."""

    def __init__(self, *arguments: str, command: str = "app", grace: float = 3600) -> None:
        words = [sys.executable, "-m", "optextract", command, "--no-browser", *arguments]
        environment = {"PYTHONUNBUFFERED": "1", "OPTEXTRACT_APP_GRACE": str(grace)}
        super().__init__(words, environment, r"serving at (http://\S+)")


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated s2d file with emission lines."""
    return write_s2d(make_scene("emission"), tmp_path_factory.mktemp("browser") / "sample_s2d.fits")


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[..., Server]]:
    """Start the app with arguments; the same arguments are served by the same process."""
    servers: dict[tuple[str, ...], Server] = {}

    def start(*arguments: str) -> Server:
        if arguments not in servers:
            servers[arguments] = Server(*arguments)
        return servers[arguments]

    yield start
    for server in servers.values():
        server.close()


@pytest.fixture(scope="session", autouse=True)
def patient() -> None:
    """What is expected of a page may take as long as a page may take to be there."""
    pytest.importorskip("playwright.sync_api").expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture
def open_page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Callable[[Started], Any]]:
    """Open the app's page, an app of its own each time, and wait for the panel."""
    contexts = []

    def go(server: Started, size: tuple[int, int] = (1600, 1000), wait: str = ".oe-step") -> Any:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]})
        contexts.append(context)
        page = context.new_page()
        request.node._page, request.node._server = page, server
        page.set_default_timeout(PATIENCE * 1000)
        page.asked = []
        page.on("request", lambda sent: page.asked.append(sent.url))
        page.goto(server.url)
        page.wait_for_selector(wait, timeout=PATIENCE * 1000)
        return page

    yield go
    for context in contexts:
        context.close()


@pytest.fixture(params=["jdaviz", "specviz2d"])
def layout(request: pytest.FixtureRequest) -> str:
    """Style of the app."""
    return request.param
