"""Take the panel guide's pictures: the standalone app on the simulated sample, each step opened, in chromium.

python docs/screenshots.py [FOLDER]     # default: docs/_static/panel
python docs/screenshots.py FOLDER --file x_s2d.fits --theme dark --layout specviz2d     # to look at, not to keep
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

import optextract as ox
from optextract.simulate import make_scene, write_s2d

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--no-first-run",
]  # fmt: skip
STEPS = ("source", "region", "kernel", "background", "trace", "noise", "extract", "compare")
PATIENCE = 180
COLOURS = 255


def keep(picture: bytes, path: Path) -> None:
    """Write a screenshot as a small PNG of few colours."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)


def serve(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    """Start the app and return its process and address."""
    command = [sys.executable, "-m", "optextract", *arguments, "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        line = process.stdout.readline()
        found = re.search(r"serving at (http://\S+)", line)
        if found:
            # what it says from now on must be read, or it waits for ever to say it
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return process, found.group(1)
        if process.poll() is not None:
            break
    process.terminate()
    raise SystemExit("the app did not start")


def settle(page: Any, seconds: float = 4.0) -> None:
    page.wait_for_timeout(int(1000 * seconds))


def show_step(page: Any, step: str, folder: Path) -> None:
    """Open a step, take the picture of it alone, and close it."""
    panel = page.locator(f".oe-{step}")
    panel.locator(".v-expansion-panel-header").click()
    panel.locator(".v-expansion-panel-content__wrap").wait_for(timeout=1000 * PATIENCE)
    settle(page)
    panel.scroll_into_view_if_needed()
    settle(page, 1)
    keep(panel.screenshot(), folder / f"{step}.png")
    panel.locator(".v-expansion-panel-header").click()
    settle(page, 1)


def take(page: Any, url: str, folder: Path) -> None:
    page.goto(url)
    page.locator(".oe-step").first.wait_for(timeout=1000 * PATIENCE)
    page.wait_for_function(
        "document.querySelector('.oe-trace .oe-summary')?.innerText.includes('rms')", timeout=1000 * PATIENCE
    )
    # the host's figures take the width of their viewers when the window changes
    page.set_viewport_size({"width": 1441, "height": 1000})
    settle(page, 8)
    keep(page.screenshot(), folder / "overview.png")
    page.set_viewport_size({"width": 1441, "height": 1900})
    settle(page)
    for step in STEPS:
        show_step(page, step, folder)


def take_review(page: Any, url: str, folder: Path) -> None:
    page.goto(url)
    card = page.locator(".oe-review")
    card.wait_for(timeout=1000 * PATIENCE)
    settle(page, 8)
    keep(card.screenshot(), folder / "review.png")


def batch(place: Path) -> Path:
    """A small run of which one spectrum needs a look: a blend that was taken for one source."""
    for number, name in enumerate(("mid", "blend", "faint")):
        write_s2d(make_scene(name, number, planned_sigma=0.1), place / f"galaxy{number + 1}_s2d.fits")
    ox.run_batch(sorted(place.glob("galaxy*_s2d.fits")), out=place / "night")
    return place / "night"


def main(folder: Path, file: Path | None, options: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    browser_path = shutil.which("chromium")
    if browser_path is None:
        raise SystemExit("no chromium on PATH")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        place = Path(name)
        sample = write_s2d(make_scene("emission", 0, planned_sigma=0.1), place / "sample_s2d.fits")
        jobs = [(take, ("app", str(sample if file is None else file), *options))]
        if file is None and not options:
            jobs.append((take_review, ("review", str(batch(place)))))
        browser = playwright.chromium.launch(executable_path=browser_path, args=ARGUMENTS)
        for pictures, command in jobs:
            process, url = serve(*command)
            try:
                page = browser.new_page(viewport={"width": 1440, "height": 1000})
                page.set_default_timeout(1000 * PATIENCE)
                pictures(page, url, folder)
                page.close()
            finally:
                process.terminate()
                process.wait()
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "_static" / "panel")
    parser.add_argument("--file", type=Path, help="default: the simulated sample, and the review of a small run")
    parser.add_argument("--theme", choices=("light", "dark"))
    parser.add_argument("--layout", choices=("jdaviz", "specviz2d"))
    asked = parser.parse_args()
    chosen = [
        word for name in ("theme", "layout") if getattr(asked, name) for word in (f"--{name}", getattr(asked, name))
    ]
    main(asked.folder, asked.file, chosen)
