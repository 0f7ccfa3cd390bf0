"""From the command to the first figure: stock jdaviz, the same with the panel, and ``optextract app``, in turn.

``python benchmarks/startup.py [S2D] [--pairs 10]``: needs chromium on PATH; the medians and their ratio are printed.
Stock is jdaviz with the plugin switched off in glue's own settings.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from panel import default_file  # isort: skip

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

#: The 2D spectrum is in its viewer; what is seen of it is looked at in pictures of the page.
READY = """() => {
    const letters = [...document.querySelectorAll('.layer-legend .v-btn')].map(b => b.innerText.trim());
    return letters.includes('A') && document.querySelectorAll('.bqplot canvas').length > 0;
}"""


def commands(path: str) -> dict[str, list[str]]:
    """What is timed: name, command."""
    python = sys.executable
    stock = [
        python,
        "-c",
        "from jdaviz.cli import _main; _main()",
        "--layout",
        "flexible",
        "-fp",
        path,
        "-ff",
        "2D Spectrum",
    ]
    ours = [python, "-m", "optextract", "app", path, "--no-browser"]
    return {"stock jdaviz": stock, "jdaviz with the panel": stock, "optextract app": ours}


def once(name: str, command: list[str], browser: Any, home: Path) -> tuple[float, float]:
    """Seconds from the command to the first figure, by the clock and by the server's processor."""
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
        "BROWSER": "true",
        "HOME": str(home),
    }
    before, start = _processor(), time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        assert process.stdout is not None
        while True:
            found = re.search(r"(http://localhost:(\d+))", process.stdout.readline())
            if found:
                break
            if process.poll() is not None:
                raise RuntimeError(f"{name} did not start")
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        _wait_for_port(int(found.group(2)))
        page.goto(found.group(1))
        page.wait_for_function(READY, timeout=180_000)
        _wait_for_paint(page)
        took = time.perf_counter() - start
    finally:
        process.kill()
        process.wait()
    used = _processor() - before
    page.close()
    return took, used


def _wait_for_paint(page: Any) -> None:
    """Come back when the middle of the first viewer shows an image: many levels of grey, not only lines."""
    box = page.locator(".bqplot").first.bounding_box()
    part = {"x": box["x"] + 0.3 * box["width"], "y": box["y"] + 0.3 * box["height"]}
    clip = {**part, "width": 0.4 * box["width"], "height": 0.4 * box["height"]}
    for _ in range(300):
        picture = np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("L"), dtype=float)
        if picture.std() > 20 and len(np.unique(picture)) > 40:
            return
    raise RuntimeError("the image was never drawn")


def _wait_for_port(port: int) -> None:
    """Come back as soon as connections are taken: the address is printed a little earlier."""
    for _ in range(2000):
        try:
            socket.create_connection(("localhost", port), 1.0).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"nothing answers at port {port}")


def _processor() -> float:
    """Processor seconds of the processes that this one has started and seen end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?")
    parser.add_argument("--pairs", type=int, default=10)
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    times: dict[str, list[float]] = {}
    processor: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        homes = {}
        for name in ("stock jdaviz", "jdaviz with the panel", "optextract app"):
            homes[name] = Path(folder) / name.replace(" ", "_")
            (homes[name] / ".glue").mkdir(parents=True)
        (homes["stock jdaviz"] / ".glue" / "plugins.cfg").write_text("[plugins]\noptextract = 0\n")
        path = str(arguments.file if arguments.file is not None else default_file(folder))
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        for turn in range(arguments.pairs + 1):
            for name, command in commands(path).items():
                took, used = once(name, command, chromium, homes[name])
                if turn:  # the first fills the caches
                    times.setdefault(name, []).append(took)
                    processor.setdefault(name, []).append(used)
        chromium.close()
    stock = np.median(times["stock jdaviz"])
    print(f"{Path(path).name}, medians of {arguments.pairs}")
    for name, values in times.items():
        ratios = np.array(values) / np.array(times["stock jdaviz"])
        print(
            f"{name:24s} {np.median(values):6.2f} s ({min(values):.2f} to {max(values):.2f}), "
            f"{100 * (np.median(values) / stock - 1):+.1f} % against stock, "
            f"pairs {100 * (np.median(ratios) - 1):+.1f} %; processor {np.median(processor[name]):.2f} s"
        )


if __name__ == "__main__":
    main()
