"""A browser that does nothing for most of a minute: a laptop that sleeps, a machine that has other things to do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil

from .conftest import Server
from .test_standalone import open_step, wait_summary


def test_the_session_outlives_a_browser_that_sleeps(open_page: Any, sample: Path) -> None:
    server = Server(str(sample))
    try:
        page = open_page(server)
        wait_summary(page, "trace", "rms")
        asleep = [child for child in psutil.Process().children(recursive=True) if "chrom" in child.name()]
        assert asleep
        for process in asleep:
            process.suspend()
        time.sleep(50)  # a server that pings gives up after 40 s
        for process in asleep:
            process.resume()
        time.sleep(5)
        field = open_step(page, "trace").locator(".oe-trace-degree input")
        field.fill("2")
        field.press("Enter")
        wait_summary(page, "trace", "degree 2")
        assert server.said().count("connection open") == 1
    finally:
        server.close()
