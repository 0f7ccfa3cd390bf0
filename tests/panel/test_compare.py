"""The optimal spectrum beside others: overlay, ratio, figures in words, badges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import optextract as ox
from optextract import io

from .conftest import LABEL, viewers


@pytest.fixture
def x1d(sample: Path, tmp_path: Path) -> Path:
    """A plain sum of rows 10 to 14, written as the pipeline writes an x1d."""
    from optextract.recipe import Recipe

    recipe = Recipe().updated(profile={"kind": "gaussian"}, region={"cross": (2, 22)})
    return io.write(ox.extract(io.read(sample), recipe), tmp_path / "other_x1d.fits")


def test_a_spectrum_from_a_file(plg: Any, x1d: Path, viewer1d: Any, marks: Any) -> None:
    panel = plg._obj
    panel.open_step = "compare"
    assert "compare" not in marks(panel, viewer1d)
    plg.compare_with(x1d)
    drawn = marks(panel, viewer1d)
    assert {"preview", "boxcar", "compare"} <= drawn.keys()
    assert panel.comparison[0].startswith("other_x1d.fits: ")
    ratio = panel._gallery.charts["ratio"]
    assert {"matched boxcar", "other_x1d.fits"} <= ratio.marks.keys()
    assert np.nanmedian(ratio.marks["other_x1d.fits"].y) == pytest.approx(1, abs=0.05)
    # one colour for one spectrum, in the panel and in the viewer
    for name, mark in (("matched boxcar", "boxcar"), ("other_x1d.fits", "compare")):
        assert ratio.legend[name] == ratio.marks[name].colors[0] == drawn[mark].colors[0]
    assert "+-" not in "".join(panel.comparison)
    plg.compare_with(None)
    assert "compare" not in marks(panel, viewer1d)


def test_a_spectrum_of_the_data_collection(app: Any, plg: Any, x1d: Path) -> None:
    app.load(str(x1d), format="1D Spectrum", data_label="pipeline")
    plg._obj.open_step = "compare"
    plg.compare = "pipeline"
    assert plg._obj.comparison[0].startswith("pipeline: ")
    app._app.data_item_remove("pipeline")
    assert plg.compare.selected == "None"
    assert plg._obj.comparison == []
    assert plg._obj.err_msg == ""


def test_what_the_archive_s_aperture_misses_is_said(fresh: Any, data_dir: Path) -> None:
    folder = data_dir / "nirspec_mos_smacs_6355"
    fresh.load(str(next(folder.glob("*_s2d.fits"))), format="2D Spectrum")
    plg = fresh.plugins[LABEL]
    with plg.as_active():
        plg._obj.open_step = "compare"
        plg.compare_with(next(folder.glob("*_x1d.fits")))
        words = " ".join(plg._obj.comparison)
    assert "its aperture, rows 16.0 to 24.0" in words


def test_a_file_that_is_no_spectrum(plg: Any, sample: Path) -> None:
    panel = plg._obj
    panel.vue_compare_file(str(sample))
    assert str(sample) in panel.err_msg
    panel.vue_compare_file("")
    assert panel.err_msg == ""


def test_the_boxcar_is_overlaid_only_while_compared(panel: Any, viewer1d: Any, marks: Any) -> None:
    assert "boxcar" not in marks(panel, viewer1d)
    panel.open_step = "compare"
    assert "boxcar" in marks(panel, viewer1d)
    panel.open_step = ""
    assert "boxcar" not in marks(panel, viewer1d)


def test_badges_are_the_figures_of_the_result(panel: Any) -> None:
    quality = panel._result.quality
    texts = [badge["text"] for badge in panel.badges]
    assert texts[0] == f"efficiency {quality['efficiency'][0]:.2f}"
    assert texts[1] == f"pull {quality['pull']['profile']:.2f}"
    assert texts[2] == f"S/N gain {quality['gain'][0]:.2f}"


def test_a_pull_that_is_off_is_orange_and_said_in_words(fresh: Any, data_dir: Path) -> None:
    fresh.load(str(next((data_dir / "nirspec_mos_smacs_6355").glob("*_s2d.fits"))), format="2D Spectrum")
    panel = fresh.plugins[LABEL]._obj
    with panel.as_active():
        badge = next(badge for badge in panel.badges if badge["text"].startswith("pull"))
        assert badge["colour"] == "orange"
        assert any("times too small" in note for note in panel.warnings)


def test_flags_are_badges_in_words(plg: Any) -> None:
    plg.region = (11.5, 22)
    assert any(badge["text"].startswith("profile reaches beyond the region: ") for badge in plg._obj.badges)


def test_injection_and_recovery_in_the_user_s_own_frame(plg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from optextract import validate

    monkeypatch.setattr(validate, "LEVELS", (10.0, 30.0))
    seen: list[float] = []
    plg._obj.observe(lambda change: seen.append(change["new"]), "progress")
    certificate = plg.certify()
    assert certificate.levels == (10.0, 30.0)
    assert certificate.honest
    assert seen == [1.0, 50.0, 100.0, 0.0]
    shown = plg._obj.certificate
    assert shown["words"] == [line.replace("+-", "\u00b1") for line in certificate.words()]
    assert [row["snr"] for row in shown["rows"]] == ["10", "30"]
    # it is the certificate of these settings only
    plg.set("profile.kind", "moffat")
    assert plg._obj.certificate == {}


def test_viewers_of_the_fixture_are_what_they_say(app: Any) -> None:
    assert len(viewers(app, True)) == len(viewers(app, False)) == 1
