"""The panel's tools in the 2D viewer: events as the browser sends them."""

from __future__ import annotations

import time
from typing import Any

import pytest

import optextract
from optextract.recipe import Source


def send(viewer: Any, event: str, x: float, y: float) -> None:
    """One event of the mouse, in pixels of the image."""
    viewer._on_mouse_interaction(viewer._mouse_interact, {"event": event, "domain": {"x": x, "y": y}}, [])


@pytest.fixture
def tool(viewer2d: Any) -> Any:
    def activate(name: str) -> None:
        viewer2d.toolbar.active_tool_id = name

    yield activate
    viewer2d.toolbar.active_tool_id = None


def test_a_click_adds_a_source(plg: Any, viewer2d: Any, tool: Any) -> None:
    found = plg.preview.kernel.centres[0]
    tool("optextract:source")
    send(viewer2d, "click", 500.0, 18.3)
    assert [item.centre.value for item in plg.recipe.sources.items] == [round(found, 3), 18.3]
    assert plg.preview.n_source == 2
    assert plg.preview.kernel.centres[1] == pytest.approx(18.3, abs=3)


def test_a_click_on_a_source_adds_none(plg: Any, viewer2d: Any, tool: Any) -> None:
    tool("optextract:source")
    send(viewer2d, "click", 500.0, plg.preview.kernel.centres[0] + 0.4)
    assert plg.recipe.sources.items == ()


def test_dragging_moves_the_nearest_source_live(plg: Any, viewer2d: Any, tool: Any) -> None:
    plg.sources = [12.2, 18.0]
    tool("optextract:source")
    send(viewer2d, "dragstart", 500.0, 17.5)
    for row in (17.0, 16.5, 16.0):
        plg._obj.latency_ms = 0.0
        send(viewer2d, "dragmove", 500.0, row)
        assert plg._obj._result.recipe.sources.items[1].centre.value == row
    send(viewer2d, "dragend", 500.0, 15.5)
    assert [item.centre.value for item in plg.recipe.sources.items][1] == 15.5
    # the whole drag is one step back
    plg.undo()
    assert plg.recipe.sources.items[1].centre.value == 18.0


def test_moving_keeps_what_else_is_known_of_a_source(plg: Any, viewer2d: Any, tool: Any) -> None:
    plg.sources = [
        Source(name="A", centre={"value": 12.2, "fixed": True, "bounds": (11, 13)}),
        Source(name="B", centre=18.0),
    ]
    tool("optextract:source")
    send(viewer2d, "dragstart", 500.0, 12.0)
    send(viewer2d, "dragend", 500.0, 12.5)
    assert plg.recipe.sources.items[0] == Source(name="A", centre={"value": 12.5, "fixed": True, "bounds": (11, 13)})
    assert plg.recipe.sources.items[1].name == "B"


def test_dragging_sets_the_kernel_columns(plg: Any, viewer2d: Any, tool: Any) -> None:
    tool("optextract:columns")
    send(viewer2d, "dragstart", 700.0, 12.0)
    plg._obj.latency_ms = 0.0
    send(viewer2d, "dragmove", 500.0, 12.0)
    assert plg.recipe.kernel.disp == (500.0, 700.0)
    send(viewer2d, "dragend", 400.5, 12.0)
    assert plg.recipe.kernel.disp == (400.5, 700.0)
    assert plg.preview.kernel.columns == (401, 700)
    send(viewer2d, "click", 400.0, 12.0)
    assert plg.recipe.kernel.disp is None


def test_a_slow_extraction_is_not_asked_for_every_step_of_a_drag(
    plg: Any, viewer2d: Any, tool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract, seen = optextract.extract, []

    def slow(frame: Any, recipe: Any) -> Any:
        seen.append(recipe.kernel.disp)
        time.sleep(0.05)
        return extract(frame, recipe)

    monkeypatch.setattr(optextract, "extract", slow)
    tool("optextract:columns")
    send(viewer2d, "dragstart", 200.0, 12.0)
    for column in range(300, 400):
        send(viewer2d, "dragmove", float(column), 12.0)
    send(viewer2d, "dragend", 401.0, 12.0)
    assert len(seen) < 10
    assert seen[-1] == plg.recipe.kernel.disp == (200.0, 401.0)


def test_a_tool_that_is_off_hears_nothing(plg: Any, viewer2d: Any, tool: Any) -> None:
    tool("optextract:columns")
    tool("optextract:source")
    send(viewer2d, "dragstart", 700.0, 12.0)
    send(viewer2d, "dragend", 500.0, 12.3)
    assert plg.recipe.kernel.disp is None


def test_a_click_off_the_image_does_nothing(plg: Any, viewer2d: Any, tool: Any) -> None:
    tool("optextract:source")
    send(viewer2d, "click", 500.0, 60.0)
    assert plg.recipe.sources.items == ()


def test_sources_typed_in_the_list(plg: Any) -> None:
    panel = plg._obj
    assert panel.source_rows[0]["value"] == ""
    assert panel.source_rows[0]["found"] == f"{plg.preview.kernel.centres[0]:.2f}"
    panel.vue_set_source(
        {"number": 0, "value": {"name": "A", "value": "12.3", "fixed": True, "lower": "11", "upper": "14"}}
    )
    assert plg.recipe.sources.items == (Source(name="A", centre={"value": 12.3, "fixed": True, "bounds": (11, 14)}),)
    panel.vue_add_source()
    assert plg.preview.n_source == 2
    panel.vue_remove_source(1)
    assert plg.preview.n_source == 1
    assert plg.recipe.sources.items[0].name == "A"
    panel.vue_remove_source(0)
    assert plg.recipe.sources.items == ()


def test_names_of_sources_are_the_names_of_their_spectra(app: Any, plg: Any) -> None:
    plg.sources = [Source(name="host", centre=12.2), Source(name="companion", centre=17.0)]
    plg.extract()
    labels = [data.label for data in app._app.data_collection]
    assert labels[-2:] == [f"{plg.add_results.label} host", f"{plg.add_results.label} companion"]
