"""Mosviz: each row is a dataset of the panel, and each row's result stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import optextract as ox
from optextract import io
from optextract.simulate import make_scene, write_s2d

from .conftest import LABEL


@pytest.fixture(scope="module")
def mosviz(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Path]]:
    import jdaviz

    folder = tmp_path_factory.mktemp("mosviz")
    paths = [write_s2d(make_scene("emission", seed), folder / f"row{seed}_s2d.fits") for seed in (1, 2)]
    products = [io.write(ox.extract(io.read(path)), folder / f"{path.stem}_x1d.fits") for path in paths]
    app = jdaviz.Mosviz()
    app.load_spectra([str(path) for path in products], [str(path) for path in paths])
    return app, paths


def test_rows_are_datasets_with_the_file_s_own_planes(mosviz: Any, same: Any) -> None:
    app, paths = mosviz
    plg = app.plugins[LABEL]
    table = app._app.get_viewer("table-viewer")
    labels = []
    with plg.as_active():
        for row, path in enumerate(paths):
            table.select_row(row)
            expected = ox.extract(io.read(path)).to_spectrum()
            assert same(plg.extract().flux.value, expected.flux.value)
            labels.append(plg.add_results.label)
    # row 1 does not overwrite row 0
    assert len(set(labels)) == 2
    held = [data.label for data in app._app.data_collection]
    assert all(label in held for label in labels)


def test_the_result_of_a_row_is_shown_with_its_row(mosviz: Any) -> None:
    app, _ = mosviz
    plg = app.plugins[LABEL]
    table = app._app.get_viewer("table-viewer")
    with plg.as_active():
        for row in (0, 1):
            table.select_row(row)
            plg.extract()
        table.select_row(0)
    shown = [layer.layer.label for layer in app._app.get_viewer("spectrum-viewer").layers if layer.visible]
    assert plg.add_results.label in shown
    assert np.sum(["(optimal)" in label for label in shown]) == 1
