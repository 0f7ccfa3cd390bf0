"""Going through a run in the panel: the decisions are the review's, and resume redoes exactly what was adjusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import optextract as ox
from optextract import io
from optextract.batch import Review, read_manifest, run_batch
from optextract.recipe import Recipe
from optextract.simulate import make_scene, write_s2d

from .conftest import LABEL


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The output folder of a run of three files, of which one is of another source each."""
    files = [write_s2d(make_scene(name, 3), tmp_path / f"{name}_s2d.fits") for name in ("emission", "faint", "empty")]
    run_batch([str(file) for file in files], Recipe().updated(region={"cross": (2, 22)}), tmp_path / "out")
    return tmp_path / "out"


def test_accept_adjust_reject_and_resume(fresh: Any, run: Path, same: Any) -> None:
    review = Review(run, least=0)
    assert len(review) == 3
    panel = fresh._app.get_tray_item_from_name("optextract")
    with panel.as_active():
        panel.start_review(review)
        assert panel.review["position"] == 1
        assert panel.review["count"] == panel.review["undecided"] == 3
        first = review.current
        # the one that is looked at, with its recipe
        assert panel.dataset_selected == first.name
        assert panel.recipe == first.recipe
        assert panel.recipe.region.cross == (2, 22)
        assert not panel.can_undo
        panel.vue_review_decide({"decision": "accept", "note": "fine"})
        assert panel.review["position"] == 2
        assert panel.review["undecided"] == 2

        second = review.current
        panel.vue_set_field({"name": "profile.kind", "value": "gaussian"})
        panel.vue_set_field({"name": "trace.degree", "value": "0"})
        expected = panel.preview.flux
        adjusted = panel.recipe
        panel.vue_review_decide({"decision": "adjust"})
        assert panel.recipe.trace.degree == "auto"
        panel.vue_review_decide({"decision": "reject", "note": "nothing there"})
        assert panel.review["undecided"] == 0
        assert panel.err_msg == ""
        # only what is looked at is held
        assert sum(data.ndim == 2 for data in fresh._app.data_collection) == 1

    records = {Path(record["file"]).name: record for record in read_manifest(run)}
    assert sorted(record["decision"] for record in records.values()) == ["accepted", "adjusted", "rejected"]
    before = {path: path.stat().st_mtime_ns for path in run.glob("*_optx1d.fits")}
    run_batch([], out=run, resume=True)
    redone = [path.name for path in run.glob("*_optx1d.fits") if before.get(path) != path.stat().st_mtime_ns]
    assert redone == [f"{second.stem}.fits"]
    product = io.read_x1d(run / redone[0])
    assert np.array_equal(product.flux.value, expected[0], equal_nan=True)
    assert same(expected, ox.extract(io.read(second.file), adjusted).flux)


def test_next_and_previous(fresh: Any, run: Path) -> None:
    review = Review(run, least=0)
    panel = fresh._app.get_tray_item_from_name("optextract")
    panel.start_review(review)
    names = [item.name for item in review.items]
    shown = [panel.dataset_selected]
    for _ in range(3):
        panel.vue_review_go(1)
        shown.append(panel.dataset_selected)
    assert shown == [*names, names[-1]]
    panel.vue_review_go(-1)
    assert panel.dataset_selected == names[1]


def test_a_file_that_is_gone_is_said_and_the_next_one_shown(fresh: Any, run: Path) -> None:
    review = Review(run, least=0)
    Path(review.items[1].file).unlink()
    panel = fresh._app.get_tray_item_from_name("optextract")
    panel.start_review(review)
    panel.vue_review_go(1)
    assert review.items[1].file in panel.err_msg
    assert panel.review["position"] == 2
    panel.vue_review_go(1)
    assert panel.dataset_selected == review.items[2].name


def test_the_api_is_the_same_panel(fresh: Any, run: Path) -> None:
    review = Review(run, least=0)
    panel = fresh._app.get_tray_item_from_name("optextract")
    panel.start_review(review)
    spectrum = fresh.plugins[LABEL].extract(add_data=False)
    item = review.current
    expected = ox.extract(item.frame(), item.recipe).to_spectrum()
    assert np.array_equal(spectrum.flux.value, expected.flux.value, equal_nan=True)
