"""What is drawn into the viewers and the figures is what was asked for and found."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u

import optextract as ox
from optextract import io
from optextract.panel.charts import Chart, round_ticks
from optextract.panel.plots import Gallery
from optextract.simulate import make_scene, write_s2d

from .conftest import LABEL, new_app, viewers


def test_the_region_is_a_box_where_it_has_limits(plg: Any, viewer2d: Any, marks: Any) -> None:
    plg.region = {"cross": (4.5, 20.5), "disp": (100, 900)}
    box = marks(plg._obj, viewer2d)["region"]
    assert (min(box.x), max(box.x), min(box.y), max(box.y)) == (100, 900, 4.5, 20.5)


def test_trace_and_band_lie_on_the_source(plg: Any, viewer2d: Any, marks: Any) -> None:
    drawn, result = marks(plg._obj, viewer2d), plg.preview
    assert np.array_equal(drawn["trace"].y, result.centre[0], equal_nan=True)
    lower, upper = np.split(drawn["band"].y, [result.centre.shape[1]])
    assert np.array_equal(lower, result.centre[0] - result.fwhm[0], equal_nan=True)
    assert np.array_equal(upper[1:], result.centre[0] + result.fwhm[0], equal_nan=True)


def test_the_columns_of_the_kernel_are_pixel_edges(plg: Any, viewer2d: Any, marks: Any) -> None:
    plg.set("kernel.disp", (300, 700))
    first, last = plg.preview.kernel.columns
    drawn = marks(plg._obj, viewer2d)["columns"]
    assert np.unique(drawn.x[np.isfinite(drawn.x)]).tolist() == [first - 0.5, last + 0.5]


def test_background_rows_are_drawn(plg: Any, viewer2d: Any, marks: Any) -> None:
    assert "background" not in marks(plg._obj, viewer2d)
    plg.set("background.rows", ((1, 5), (18, 23)))
    drawn = marks(plg._obj, viewer2d)["background"]
    assert np.unique(drawn.y[np.isfinite(drawn.y)]).tolist() == [1, 5, 18, 23]


def test_rejected_pixels_are_drawn_where_they_are(style: str, tmp_path: Path, marks: Any) -> None:
    app = new_app(style)
    app.load(str(write_s2d(make_scene("cosmic"), tmp_path / "c_s2d.fits")), format="2D Spectrum")
    plg = app.plugins[LABEL]
    with plg.as_active():
        drawn = marks(plg._obj, viewers(app, True)[0])["rejected"]
        image = np.zeros(plg.preview.rejected.shape, bool)
        image[drawn.y.astype(int), drawn.x.astype(int)] = True
        assert image.sum() > 10
        assert np.array_equal(image, plg.preview.rejected)


def test_predicted_negative_traces_are_drawn(style: str, tmp_path: Path, marks: Any) -> None:
    app = new_app(style)
    app.load(str(write_s2d(make_scene("nods"), tmp_path / "n_s2d.fits")), format="2D Spectrum")
    plg = app.plugins[LABEL]
    with plg.as_active():
        offsets = plg.preview.resolved.nods.offsets
        assert offsets
        drawn = marks(plg._obj, viewers(app, True)[0])["nods"]
        inside = [o for o in offsets if np.any(np.abs(plg.preview.centre[0] + o - 12) < 12.5)]
        assert np.isnan(drawn.x).sum() >= len(inside) - 1
        plg.set("nods.mode", "ignore")
        assert "nods" not in marks(plg._obj, viewers(app, True)[0])


def test_two_sources_are_two_traces(plg: Any, viewer2d: Any, marks: Any) -> None:
    plg.sources = [12.2, 17.0]
    drawn = marks(plg._obj, viewer2d)["trace"]
    assert np.isnan(drawn.x).sum() == 1
    assert drawn.x.size == 2 * plg.preview.centre.shape[1] + 1


def test_the_preview_has_its_error_band_in_the_viewer_s_units(plg: Any, viewer1d: Any, marks: Any) -> None:
    drawn, result = marks(plg._obj, viewer1d), plg.preview
    unit = u.Unit(viewer1d.state.y_display_unit)
    factor = (
        result.unit.to(unit)
        if unit.is_equivalent(result.unit)
        else (1 / result.meta["pixel_area_sr"] * u.Jy / u.sr).to_value(unit)
    )
    assert np.allclose(drawn["preview"].y, result.flux[0] * factor, equal_nan=True)
    assert np.allclose(
        drawn["uncertainty"].y[1] - drawn["uncertainty"].y[0], 2 * result.uncertainty[0] * factor, equal_nan=True
    )
    assert np.allclose(drawn["preview"].x, result.wavelength.to_value(viewer1d.state.x_display_unit))


def test_each_source_of_a_blend_has_its_colour(plg: Any, viewer1d: Any, marks: Any) -> None:
    plg.sources = [12.2, 17.0]
    plg._obj.open_step = "trace"
    shown = marks(plg._obj, viewer1d)["preview"]
    assert shown.y.shape == (2, plg.preview.flux.shape[1])
    colours = [entry["colour"] for entry in plg._obj.figures[0]["legend"]]
    assert [entry["text"] for entry in plg._obj.figures[0]["legend"]] == ["source 1", "source 2"]
    assert shown.colors[:2] == colours
    plg.sources = 1
    assert marks(plg._obj, viewer1d)["preview"].y.ndim == 1
    assert plg._obj.figures[0]["legend"] == []


def test_a_change_does_not_take_the_preview_out_of_sight(style: str, tmp_path: Path, marks: Any) -> None:
    """Two sources are each half as bright as one: below the limits that the host has set for their sum."""
    app = new_app(style)
    app.load(str(write_s2d(make_scene("blend"), tmp_path / "b_s2d.fits")), format="2D Spectrum")
    plg, viewer = app.plugins[LABEL], viewers(app, False)[0]

    def seen() -> float:
        y = marks(plg._obj, viewer)["preview"].y
        return float(np.mean((y > viewer.state.y_min) & (y < viewer.state.y_max)))

    with plg.as_active():
        y = marks(plg._obj, viewer)["preview"].y
        viewer.state.y_min, viewer.state.y_max = np.nanpercentile(y, [1, 99])
        plg.set("trace.degree", 1)
        before = viewer.state.y_min, viewer.state.y_max
        assert seen() > 0.8
        plg.sources = 2
        assert seen() > 0.8
        assert viewer.state.y_max >= before[1]
        # who looks elsewhere stays there
        viewer.state.y_min, viewer.state.y_max = 100 * before[1], 200 * before[1]
        plg.sources = 1
        assert viewer.state.y_min == 100 * before[1]


def test_preview_and_extracted_layer_lie_on_each_other(app: Any, plg: Any, marks: Any) -> None:
    plg.extract()
    viewer = next(v for v in viewers(app, False) if plg.add_results.label in [x.layer.label for x in v.layers])
    layer = next(x for x in viewer.layers if x.layer.label == plg.add_results.label)
    mark = marks(plg._obj, viewer)["preview"]
    good = np.isfinite(layer.line_mark.y)
    assert good.sum() > 1000
    assert np.allclose(np.interp(layer.line_mark.x[good], mark.x, mark.y), layer.line_mark.y[good], rtol=1e-6)


def test_live_off_hides_and_on_brings_up_to_date(plg: Any, viewer2d: Any, marks: Any) -> None:
    plg.live = False
    assert marks(plg._obj, viewer2d) == {}
    plg.region = (5, 19)
    plg.live = True
    assert min(marks(plg._obj, viewer2d)["region"].y) == 5


def summary(panel: Any, key: str) -> str:
    return next(step["summary"] for step in panel.steps if step["key"] == key)


def test_one_slow_update_pauses_nothing_two_do(plg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # the first one in a process loads what is compiled
    from optextract.panel import plugin

    panel = plg._obj
    panel._took = 0.0
    monkeypatch.setattr(plugin, "SLOW_MS", 1e-3)
    plg.set("profile.kind", "moffat")
    assert not panel.slow
    assert "moffat" in summary(panel, "kernel")
    plg.region = (4, 20)
    assert panel.slow
    assert "FWHM" in summary(panel, "kernel")
    # it stays paused, and the lines say what is asked for, not what was found for something else
    plg.set("profile.kind", "gaussian")
    assert panel.slow
    assert panel._stale
    assert summary(panel, "kernel") == "gaussian profile, all columns"
    assert summary(panel, "region") == "rows 4 to 20, columns all"
    assert not panel.badges
    assert not panel.warnings
    # the button brings it up to date
    panel.slow = False
    assert not panel._stale
    assert "gaussian, row" in summary(panel, "kernel")


def test_a_busy_machine_is_no_slow_extraction(plg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from optextract.panel import plugin

    panel = plg._obj
    real, waited = plugin.optextract.extract, []

    def waiting(*args: Any) -> Any:
        waited.append(time.sleep(0.6))
        return real(*args)

    monkeypatch.setattr(plugin.optextract, "extract", waiting)
    monkeypatch.setattr(plugin, "SLOW_MS", 500.0)
    for rows in ((4, 21), (4, 22), (4, 23)):
        plg.region = rows
    assert len(waited) == 3
    assert panel.latency_ms > 600
    assert panel._took < panel.latency_ms - 500
    assert not panel.slow


def test_an_error_leaves_the_region_to_be_mended(plg: Any, viewer2d: Any, marks: Any) -> None:
    plg._obj.vue_set_field({"name": "region.cross", "value": ["60", "80"]})
    assert plg._obj.err_msg
    assert marks(plg._obj, viewer2d).keys() == {"region"}


def test_the_legend_names_what_is_seen(panel: Any) -> None:
    assert [entry["text"] for entry in panel.legend][:4] == ["region", "kernel columns", "trace", "\u00b1FWHM"]
    assert "background rows" not in [entry["text"] for entry in panel.legend]


def test_no_mark_survives_in_a_viewer_that_shows_something_else(
    fresh: Any, sample: Path, three_slits: Path, marks: Any
) -> None:
    from optextract.panel.loader import load_slit

    fresh.load(str(sample), format="2D Spectrum")
    plg = fresh.plugins[LABEL]
    with plg.as_active():
        load_slit(fresh._app, str(three_slits), 0, "S7")
        # the panel stays with its dataset, which is hidden now
        assert plg.dataset.selected == "sample_s2d" or fresh._app.config == "specviz2d"
        assert marks(plg._obj, viewers(fresh, True)[0]) == {}
        plg.dataset = plg.dataset.choices[-1]
        assert "trace" in marks(plg._obj, viewers(fresh, True)[0])


# ----------------------------------------------------------------------------------------------------- figures


@pytest.fixture(scope="module")
def extracted(sample: Path) -> tuple[ox.Frame, ox.Extraction]:
    frame = io.read(sample)
    return frame, ox.extract(frame)


@pytest.fixture
def gallery() -> Gallery:
    return Gallery(lambda number, row: None)


@pytest.mark.parametrize("step", Gallery.STEPS)
def test_every_axis_has_a_unit_and_every_figure_a_caption(gallery: Gallery, extracted: Any, step: str) -> None:
    gallery.update(
        step, *extracted, {"matched boxcar": (extracted[1].boxcar.flux[0], extracted[1].boxcar.uncertainty[0])}
    )
    units = ("(pixel)", "(um)", "Jy)", "(\u00b5m)", "MJy/sr", "Pull", "a pixel", "gain", "Optimal / other")
    for name in Gallery.STEPS[step]:
        chart = gallery.charts[name]
        for part in (chart["main"], chart["side"]) if isinstance(chart, dict) else (chart,):
            for axis in (part.x_axis, part.y_axis):
                assert not axis.visible or any(unit in axis.label for unit in units), (name, axis.label)
        assert gallery.shown(step)[Gallery.STEPS[step].index(name)]["caption"]


def test_the_slice_has_the_image_s_rows_on_its_vertical_axis(gallery: Gallery, extracted: Any) -> None:
    gallery.update("kernel", *extracted, {})
    main, kernel = gallery.charts["slice"]["main"], extracted[1].kernel
    assert main.y_axis.label == "Row (pixel)"
    assert np.array_equal(main.marks["model"].y, kernel.rows)
    assert np.array_equal(main.marks["model"].x, kernel.model)
    kinds = {candidate.kind for candidate in kernel.candidates}
    assert {"gaussian", "moffat"} <= kinds
    assert {f"candidate {kind}" for kind in kinds} <= set(main.marks)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.5, 1214.5, ["0", "500", "1000"]),
        (2.87, 5.27, ["3", "4", "5"]),
        (-1.2, 4.1, ["0", "2", "4"]),
        (-1.2, 7.0, ["0.0", "2.5", "5.0"]),
        (0.95, 1.9, ["1.00", "1.25", "1.50", "1.75"]),
        (-0.094, 0.089, ["-0.05", "0.00", "0.05"]),
        (0.5, 40.5, ["10", "20", "30", "40"]),
        (2.9e-21, 4.1e-21, ["3e-21", "3.5e-21", "4e-21"]),
    ],
)
def test_ticks_stand_at_round_numbers(low: float, high: float, expected: list[str]) -> None:
    ticks, how = round_ticks(low, high)
    assert [format(tick, how) for tick in ticks] == expected
    assert ticks == pytest.approx([float(text) for text in expected])


@pytest.mark.parametrize("step", Gallery.STEPS)
def test_the_axes_of_every_figure_have_ticks_inside(gallery: Gallery, extracted: Any, step: str) -> None:
    gallery.update(
        step, *extracted, {"matched boxcar": (extracted[1].boxcar.flux[0], extracted[1].boxcar.uncertainty[0])}
    )
    for name in Gallery.STEPS[step]:
        chart = gallery.charts[name]
        for part in (chart["main"], chart["side"]) if isinstance(chart, dict) else (chart,):
            for axis in (part.x_axis, part.y_axis):
                if axis.visible:
                    ticks = axis.tick_values
                    assert 3 <= len(ticks) <= 7, (name, ticks)
                    assert axis.scale.min <= ticks[0] + 1e-9 * abs(ticks[0])
                    assert ticks[-1] <= axis.scale.max * (1 + 1e-9)


def test_ticks_and_their_format_change_together() -> None:
    """A format that comes after the values is drawn with the next ones only: 2.5, 3, 3.5 as 3, 3, 4."""
    chart, seen = Chart("Row (pixel)", "FWHM (pixel)"), []
    chart.limits(y=[2.0, 5.0], exact=True)
    chart.y_axis.observe(lambda change: seen.append(change["name"]), ["tick_values", "tick_format"])
    chart.limits(y=[2.2, 4.2], exact=True)
    assert seen == ["tick_format", "tick_values"]
    assert [format(value, chart.y_axis.tick_format) for value in chart.y_axis.tick_values][:2] == ["2.5", "3.0"]


def test_every_candidate_is_seen_beside_the_model(gallery: Gallery, extracted: Any) -> None:
    """They differ by less than a line is wide: each stands on top of the model, and its pull beside it."""
    gallery.update("kernel", *extracted, {})
    charts, kernel = gallery.charts["slice"], extracted[1].kernel
    order = list(charts["main"].marks)
    for candidate in kernel.candidates:
        name = f"candidate {candidate.kind}"
        assert order.index(name) > order.index("model")
        pull = charts["side"].marks[name].x
        assert np.allclose(pull, (kernel.data - candidate.curve) / kernel.error, equal_nan=True)
    colours = list(charts["main"].legend.values())
    assert len(set(colours)) == len(colours)


def test_the_gain_is_broken_where_there_is_no_flux(gallery: Gallery, extracted: Any) -> None:
    mask = np.array(extracted[0].mask)
    mask[:, 600:640] = True
    frame = extracted[0].replace(mask=mask)
    result = ox.extract(frame)
    gallery.update("noise", frame, result, {})
    chart = gallery.charts["gain"]
    lost = ~np.isfinite(result.flux[0])
    assert lost[600:640].all()
    assert np.isnan(chart.marks["gain 0"].y[lost]).all()
    assert chart.y.min < 1 < chart.y.max


def test_dragging_a_handle_in_the_slice_moves_the_source(plg: Any) -> None:
    plg._obj.open_step = "kernel"
    handles = plg._obj._gallery.charts["slice"]["main"].marks["handles"]
    handles._handle_custom_msgs(handles, {"event": "drag_end", "point": {"x": 0.0, "y": 13.4}, "index": 0}, [])
    assert plg.recipe.sources.items[0].centre.value == 13.4


def test_the_variance_image_shows_bad_pixels_apart(gallery: Gallery, extracted: Any) -> None:
    frame, result = extracted
    mask = np.array(frame.mask)
    mask[3, 10:20] = True
    gallery.update("noise", frame.replace(mask=mask), result, {})
    image = gallery.charts["variance"].marks["image"].image
    assert (image[3, 10:20] == 0).all()
    assert (image[~mask] >= 1).all()


def test_figures_follow_the_number_of_sources(plg: Any) -> None:
    panel = plg._obj
    panel.open_step = "trace"
    plg.sources = [12.2, 17.0]
    assert {"fit 0", "fit 1"} <= panel._gallery.charts["width"].marks.keys()
    plg.sources = 1
    assert "fit 1" not in panel._gallery.charts["width"].marks
    assert len(panel._gallery.charts["width"].figure.marks) == len(panel._gallery.charts["width"].marks)


def test_figures_of_closed_steps_are_not_made(plg: Any) -> None:
    gallery = Gallery(lambda number, row: None)
    assert gallery.charts == {}
    assert gallery.shown("background") == []
