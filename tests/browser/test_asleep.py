"""A browser that does nothing for most of a minute: a laptop that sleeps, a machine that has other things to do."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from .conftest import Server
from .test_standalone import open_step, wait_summary


def processes_below(parent: int) -> list[int]:
    """All processes that descend from one."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    found, before = {parent}, 0
    while len(found) > before:
        before = len(found)
        found |= {process for process, above in parents.items() if above in found}
    return sorted(found - {parent})


def test_the_session_outlives_a_browser_that_sleeps(open_page: Any, sample: Path) -> None:
    server = Server(str(sample))
    try:
        page = open_page(server)
        wait_summary(page, "trace", "rms")
        asleep = [
            process for process in processes_below(os.getpid()) if "chrom" in Path(f"/proc/{process}/comm").read_text()
        ]
        assert asleep
        for process in asleep:
            os.kill(process, signal.SIGSTOP)
        time.sleep(50)  # a server that pings gives up after 40 s
        for process in asleep:
            os.kill(process, signal.SIGCONT)
        time.sleep(5)
        field = open_step(page, "trace").locator(".oe-trace-degree input")
        field.fill("2")
        field.press("Enter")
        wait_summary(page, "trace", "degree 2")
        assert server.said().count("connection open") == 1
    finally:
        server.close()
