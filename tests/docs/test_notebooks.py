"""The notebooks: without outputs in the repository, executed here, and quick enough to be looked at."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from .conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def _parameter(path: Path) -> object:
    jdaviz = "import jdaviz" in path.read_text(encoding="utf-8")
    return pytest.param(path, id=path.stem, marks=[pytest.mark.jdaviz] if jdaviz else [])


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "1_walk_through",
        "2_panel",
        "3_batch_and_triage",
        "4_psf_templates",
        "5_photometry",
        "6_your_own_instrument",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_repository_holds_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [], "strip the outputs: jupyter nbconvert --clear-output --inplace"
            assert cell.execution_count is None


@pytest.mark.slow
@pytest.mark.parametrize("path", [_parameter(path) for path in NOTEBOOKS])
def test_the_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = ROOT.parent / "shared" / "data"
    if not os.environ.get("OPTEXTRACT_DATA"):
        # an empty name is none: a notebook then says that there is no real observation
        monkeypatch.delenv("OPTEXTRACT_DATA", raising=False)
        if beside.is_dir():
            monkeypatch.setenv("OPTEXTRACT_DATA", str(beside))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=180, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert pictures, "a notebook without a figure shows nothing"
