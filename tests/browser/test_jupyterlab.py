"""The panel in a notebook of JupyterLab: what a cell sets is on the screen, what is pressed is in the next cell."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Started
from .test_standalone import wait_summary

pytest.importorskip("jupyterlab", reason="JupyterLab is not installed: pip install jupyterlab")
expect = pytest.importorskip("playwright.sync_api").expect

CELLS = (
    "print('ready')",
    "import warnings; warnings.simplefilter('ignore')\n"
    "import jdaviz\n"
    "jd = jdaviz.new_app()\n"
    "jd.load({path!r}, format='2D Spectrum')\n"
    "plg = jd.plugins['Optimal Extraction']\n"
    "jd.show(height=900)\n"
    "plg.open_in_tray(scroll_to=False)",
    "plg.set('profile.kind', 'moffat')\nplg.region = (4, 20)\nprint('set', plg.recipe.region.cross)",
    "print('results', len(plg.results), plg.recipe.profile.kind)",
)


class Lab(Started):
    """JupyterLab with one notebook."""

    def __init__(self, folder: Path) -> None:
        words = [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0",
            "--IdentityProvider.token=", "--ServerApp.password=", f"--ServerApp.root_dir={folder}",
            f"--LabApp.user_settings_dir={folder / 'settings'}", f"--LabApp.workspaces_dir={folder / 'workspaces'}",
        ]  # fmt: skip
        # the widgets' scripts are in the environment's own share/jupyter
        environment = {"JUPYTER_PATH": str(Path(sys.prefix) / "share" / "jupyter")}
        super().__init__(words, environment, r"(http://127\.0\.0\.1:\d+/lab)")


@pytest.fixture
def lab(tmp_path: Path, sample: Path) -> Iterator[Lab]:
    cells = [
        {"cell_type": "code", "id": f"c{k}", "execution_count": None, "metadata": {}, "outputs": [], "source": text}
        for k, text in enumerate((CELLS[0], CELLS[1].format(path=str(sample)), *CELLS[2:]))
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "panel.ipynb").write_text(json.dumps(notebook))
    started = Lab(tmp_path)
    yield started
    started.close()


def run_cell(page: Any, number: int) -> None:
    """Run a cell, again where nothing comes of it.

    While the app above it is drawn the cell moves, and a click or a key can miss it. On a busy machine a request can
    be lost between JupyterLab and its kernel, which then is idle while the cell waits for ever.
    """
    cell = page.locator(".jp-Notebook-cell").nth(number)
    prompt, ran = cell.locator(".jp-InputPrompt"), re.compile(r"\[\d+\]:")
    for _ in range(6):
        cell.locator(".cm-content").click()
        try:
            expect(cell).to_have_class(re.compile("jp-mod-active"), timeout=5_000)
            page.keyboard.press("Shift+Enter")
            expect(prompt).not_to_have_text("[ ]:", timeout=5_000)
            expect(prompt).to_have_text(ran, timeout=45_000)
        except AssertionError:
            continue
        return
    expect(prompt).to_have_text(ran, timeout=1_000)


def test_the_panel_in_a_notebook(lab: Lab, open_page: Any) -> None:
    lab.url = f"{lab.url}/tree/panel.ipynb"
    page = open_page(lab, size=(1700, 2200), wait=".jp-Notebook .jp-CodeCell")
    expect(page.locator("body")).to_contain_text("| Idle")
    run_cell(page, 0)
    run_cell(page, 1)
    wait_summary(page, "kernel", "FWHM")
    run_cell(page, 2)
    wait_summary(page, "kernel", "moffat")
    wait_summary(page, "region", "rows 4 to 20")
    page.locator(".tray-plugin button", has_text="Extract").last.click()
    page.wait_for_selector("td:has-text('sample_s2d (optimal)')")
    run_cell(page, 3)
    page.wait_for_selector(".jp-OutputArea-output:has-text('results 1 moffat')")
