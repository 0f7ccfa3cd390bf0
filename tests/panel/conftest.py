"""Apps of both styles with a simulated spectrum in them. One app a style is shared and put back after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optextract.recipe import Recipe
from optextract.simulate import make_scene, write_s2d

STYLES = ("jdaviz", "specviz2d")
LABEL = "Optimal Extraction"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/panel" in str(item.path):
            item.add_marker(pytest.mark.jdaviz)
            # the host's warnings about itself, its widgets and its old style of app; ours are errors all the same
            for module in (
                "jdaviz",
                "glue",
                "glue_jupyter",
                "ipyvue",
                "ipywidgets",
                "traitlets",
                "traittypes",
                "specutils",
            ):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::Warning:{module}.*"))
            item.add_marker(pytest.mark.filterwarnings("ignore:Specviz2d is deprecated:DeprecationWarning"))
            # glue writes the unit of every spectral axis as the VO does
            item.add_marker(pytest.mark.filterwarnings("ignore:The unit 'Angstrom' has been deprecated in the VOUnit"))


def new_app(style: str) -> Any:
    import jdaviz

    return jdaviz.Specviz2d() if style == "specviz2d" else jdaviz.new_app()


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated s2d file with emission lines, without a WCS in the SCI header, as real products."""
    return write_s2d(make_scene("emission"), tmp_path_factory.mktemp("panel") / "sample_s2d.fits")


@pytest.fixture(scope="session")
def three_slits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multi-slit file of three sources."""
    scenes = [make_scene("emission", seed) for seed in (1, 2, 3)]
    return write_s2d(scenes, tmp_path_factory.mktemp("panel") / "three_s2d.fits", slits=["S7", "S8", "S9"])


@pytest.fixture(autouse=True)
def _never_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with other tests must not pause the live preview."""
    from optextract.panel import plugin

    monkeypatch.setattr(plugin, "SLOW_MS", 1e9)


@pytest.fixture(params=STYLES)
def style(request: pytest.FixtureRequest) -> str:
    """Style of the app."""
    return request.param


@pytest.fixture
def fresh(style: str) -> Any:
    """An app of its own for tests that leave it in another state."""
    return new_app(style)


@pytest.fixture(scope="session")
def _shared(sample: Path) -> Callable[[str], Any]:
    apps: dict[str, Any] = {}

    def get(style: str) -> Any:
        if style not in apps:
            apps[style] = new_app(style)
            apps[style].load(str(sample), format="2D Spectrum")
        return apps[style]

    return get


@pytest.fixture
def app(style: str, _shared: Callable[[str], Any]) -> Iterator[Any]:
    """An app with the sample in it, as the host's own loader loads it; put back afterwards."""
    helper = _shared(style)
    plg = helper.plugins[LABEL]._obj
    before = {data.label for data in helper._app.data_collection}
    yield helper
    for group in list(helper._app.data_collection.subset_groups):
        helper._app.data_collection.remove_subset_group(group)
    for label in [data.label for data in helper._app.data_collection if data.label not in before]:
        helper._app.data_item_remove(label)
    plg.dataset.selected = plg.dataset.choices[0]
    plg.keep_active, plg.open_step, plg.live, plg.slow, plg.results_label_auto = False, "", True, False, True
    plg._took = 0.0
    plg.clear_results()
    plg.compare_selected, plg._x1d, plg.err_msg = "None", None, ""
    plg.recipe = Recipe()
    plg._settings._past.clear()


@pytest.fixture
def plg(app: Any) -> Iterator[Any]:
    """The panel's API, active as if its tray were open."""
    api = app.plugins[LABEL]
    with api.as_active():
        yield api


@pytest.fixture
def panel(plg: Any) -> Any:
    """The panel itself."""
    return plg._obj


def viewers(helper: Any, two_d: bool) -> list[Any]:
    names = ("Profile2DView", "Spectrum2DViewer") if two_d else ("MosvizProfileView", "Spectrum1DViewer")
    return [v for v in helper._app._viewer_store.values() if type(v).__name__.endswith(names)]


@pytest.fixture
def viewer2d(app: Any) -> Any:
    """The 2D viewer."""
    return viewers(app, True)[0]


@pytest.fixture
def viewer1d(app: Any) -> Any:
    """The 1D viewer."""
    return viewers(app, False)[0]


@pytest.fixture
def marks() -> Callable[[Any, Any], dict[str, Any]]:
    """Visible marks of the panel in a viewer, by name."""

    def get(panel: Any, viewer: Any) -> dict[str, Any]:
        overlay = panel._views._overlays.get(viewer)
        shown = {} if overlay is None else overlay.marks
        return {name: mark for name, mark in shown.items() if mark.visible}

    return get


@pytest.fixture
def same() -> Callable[[Any, Any], bool]:
    """Bit-identical arrays, NaN included."""
    return lambda a, b: np.asarray(a).tobytes() == np.asarray(b).tobytes()
