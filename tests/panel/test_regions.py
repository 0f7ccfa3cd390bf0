"""Whatever is drawn, wherever, means what a person expects: which pixels of the frame take part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from glue.core.edit_subset_mode import AndMode, NewMode, OrMode, ReplaceMode
from glue.core.roi import CircularROI, EllipticalROI, PolygonalROI, RectangularROI, XRangeROI, YRangeROI
from glue.core.subset import RoiSubsetState

from optextract.errors import OptextractError
from optextract.panel.subsets import region_of
from optextract.recipe import Recipe, Region
from optextract.region import select
from optextract.results import Flag

from .conftest import LABEL, viewers


def draw(helper: Any, viewer: Any, roi: Any, mode: Any = NewMode) -> str:
    """Draw a subset as the mouse does, and return its name."""
    session = helper._app.session
    session.edit_subset_mode.mode = mode
    if mode is NewMode:
        session.edit_subset_mode.edit_subset = None
    viewer.apply_roi(roi)
    session.edit_subset_mode.mode = ReplaceMode
    return helper._app.data_collection.subset_groups[-1].label


def pixels(plg: Any) -> Any:
    return select(plg._obj._read(), plg.recipe.region)


def test_a_rectangle_keeps_its_bounds(app: Any, plg: Any, viewer2d: Any) -> None:
    plg.region = draw(app, viewer2d, RectangularROI(100.25, 900.75, 6.5, 18.25))
    assert plg.recipe.region == Region(cross=(6.5, 18.25), disp=(100.25, 900.75))
    rows, columns = np.nonzero(pixels(plg))
    # a pixel takes part if its centre lies inside
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 18, 101, 900)


def test_what_a_mouse_draws_has_no_more_digits_than_it_can_tell(app: Any, plg: Any, viewer2d: Any) -> None:
    plg.region = draw(app, viewer2d, RectangularROI(100.2531234, 900.7512345, 6.5123456, 18.25))
    assert plg.recipe.region == Region(cross=(6.512, 18.25), disp=(100.253, 900.751))


def test_dragging_the_rectangle_moves_the_region(app: Any, plg: Any, viewer2d: Any) -> None:
    plg.region = draw(app, viewer2d, RectangularROI(100, 900, 6.5, 18.5))
    before = plg.preview
    group = app._app.data_collection.subset_groups[-1]
    app._app.session.edit_subset_mode.edit_subset = [group]
    viewer2d.apply_roi(RectangularROI(200, 1000, 5.5, 17.5))
    assert plg.recipe.region == Region(cross=(5.5, 17.5), disp=(200.0, 1000.0))
    assert plg.preview is not before
    assert plg._obj._result.recipe.region.disp == (200.0, 1000.0)


def test_a_row_range_limits_rows_only(app: Any, plg: Any, viewer2d: Any) -> None:
    plg.region = draw(app, viewer2d, YRangeROI(5.2, 19.9))
    assert plg.recipe.region == Region(cross=(5.2, 19.9))


def test_a_column_range_of_the_2d_viewer(app: Any, plg: Any, viewer2d: Any) -> None:
    plg.spectral_range = draw(app, viewer2d, XRangeROI(300.4, 700.6))
    assert plg.recipe.region == Region(disp=(300.4, 700.6))


def test_a_wavelength_range_of_the_1d_viewer(app: Any, plg: Any, viewer1d: Any) -> None:
    plg.spectral_range = draw(app, viewer1d, XRangeROI(3.5, 4.5))
    inside = pixels(plg).any(axis=0)
    wavelength = plg._obj._read().wavelength.to_value(u.um)
    assert np.array_equal(inside, (wavelength >= 3.5) & (wavelength <= 4.5))
    spectrum = plg.extract(add_data=False)
    good = np.isfinite(spectrum.flux)
    assert spectrum.spectral_axis[good].min() >= 3.5 * u.um
    assert spectrum.spectral_axis[good].max() <= 4.5 * u.um


def test_a_rectangle_and_a_wavelength_range_together(app: Any, plg: Any, viewer1d: Any, viewer2d: Any) -> None:
    plg.region = draw(app, viewer2d, YRangeROI(5.5, 19.5))
    plg.spectral_range = draw(app, viewer1d, XRangeROI(3.5, 4.5))
    assert plg.recipe.region.cross == (5.5, 19.5)
    rows, columns = np.nonzero(pixels(plg))
    assert (rows.min(), rows.max()) == (6, 19)
    wavelength = plg._obj._read().wavelength.to_value(u.um)
    assert wavelength[columns.min()] >= 3.5
    assert wavelength[columns.max()] <= 4.5


def test_a_wavelength_range_after_numbers_keeps_the_rows(app: Any, plg: Any, viewer1d: Any) -> None:
    plg.region = (4, 20)
    plg.spectral_range = draw(app, viewer1d, XRangeROI(3.5, 4.5))
    assert plg.recipe.region.cross == (4, 20)
    assert plg.recipe.region.disp is not None


def test_a_range_drawn_while_the_viewer_shows_other_units(app: Any, plg: Any, viewer1d: Any) -> None:
    conversion = app.plugins["Unit Conversion"]
    conversion.spectral_unit = "Angstrom"
    try:
        plg.spectral_range = draw(app, viewer1d, XRangeROI(35000.0, 45000.0))
        wavelength = plg._obj._read().wavelength.to_value(u.um)
        assert np.array_equal(pixels(plg).any(axis=0), (wavelength >= 3.5) & (wavelength <= 4.5))
    finally:
        conversion.spectral_unit = "um"


def test_a_turned_rectangle_is_a_polygon(app: Any, plg: Any, viewer2d: Any) -> None:
    plg.region = draw(app, viewer2d, RectangularROI(300, 900, 9, 16, theta=0.005))
    assert len(plg.recipe.region.polygon) >= 4
    state = app._app.data_collection.subset_groups[-1].subset_state
    assert np.array_equal(pixels(plg), state.to_mask(plg._obj.dataset.selected_dc_item))


def test_a_polygon_keeps_its_corners(plg: Any) -> None:
    # the host cannot describe polygons and refuses to draw them; a subset that is one is understood all the same
    data = plg._obj.dataset.selected_dc_item
    corners = ((100.0, 5.3), (900.0, 6.2), (880.0, 19.1), (110.0, 18.4))
    roi = PolygonalROI(*zip(*corners, strict=True))
    state = RoiSubsetState(data.pixel_component_ids[1], data.pixel_component_ids[0], roi)
    region = Region(**region_of(state, data, plg._obj._read()))
    assert region == Region(polygon=corners)
    assert np.array_equal(select(plg._obj._read(), region), state.to_mask(data))


@pytest.mark.parametrize("roi", [CircularROI(600, 12, 9), EllipticalROI(600, 12, 500, 8)])
def test_other_shapes_become_a_mask_file(app: Any, plg: Any, viewer2d: Any, roi: Any, tmp_path: Path) -> None:
    plg.region = draw(app, viewer2d, roi)
    region = plg.recipe.region
    assert region.mask is not None
    state = app._app.data_collection.subset_groups[-1].subset_state
    inside = state.to_mask(plg._obj.dataset.selected_dc_item)
    assert np.array_equal(pixels(plg), inside)
    plg.export_recipe(tmp_path / "r.yaml")
    assert (tmp_path / "r_region.npy").is_file()
    loaded = Recipe.load(tmp_path / "r.yaml")
    assert np.array_equal(select(plg._obj._read(), loaded.region), inside)


def test_a_composite_of_two_ranges_is_their_box(app: Any, plg: Any, viewer2d: Any) -> None:
    name = draw(app, viewer2d, XRangeROI(300.4, 700.6))
    draw(app, viewer2d, YRangeROI(5.2, 19.9), AndMode)
    plg.region = name
    assert plg.recipe.region.mask is None
    rows, columns = np.nonzero(pixels(plg))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 19, 301, 700)


def test_a_composite_of_two_rectangles_is_a_mask(app: Any, plg: Any, viewer2d: Any) -> None:
    name = draw(app, viewer2d, RectangularROI(100, 500, 5.5, 18.5))
    draw(app, viewer2d, RectangularROI(700, 1000, 6.5, 19.5), OrMode)
    plg.region = name
    state = app._app.data_collection.subset_groups[-1].subset_state
    assert np.array_equal(pixels(plg), state.to_mask(plg._obj.dataset.selected_dc_item))
    assert (plg.preview.flags[0, 550:650] & Flag.NO_DATA != 0).all()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((4, 20), Region(cross=(4, 20))),
        ([4.5, 20.5], Region(cross=(4.5, 20.5))),
        ({"cross": (4, 20), "disp": (100, 900)}, Region(cross=(4, 20), disp=(100, 900))),
        (Region(disp=(100, 900)), Region(disp=(100, 900))),
        (None, Region()),
    ],
)
def test_numbers(plg: Any, value: Any, expected: Region) -> None:
    plg.region = (3, 21)
    plg.region = value
    assert plg.recipe.region == expected
    assert plg.region.selected == "Numbers"


def test_what_is_drawn_while_the_step_is_open_is_taken(app: Any, plg: Any, viewer1d: Any, viewer2d: Any) -> None:
    first = draw(app, viewer2d, RectangularROI(100, 900, 6.5, 18.5))
    assert plg.region.selected == "Numbers"
    plg._obj.open_step = "region"
    second = draw(app, viewer2d, RectangularROI(200, 800, 5.5, 19.5))
    assert plg.region.selected == second
    assert plg.recipe.region == Region(cross=(5.5, 19.5), disp=(200, 800))
    third = draw(app, viewer1d, XRangeROI(3.5, 4.0))
    assert plg.spectral_range.selected == third
    draw(app, viewer2d, RectangularROI(300, 700, 4.5, 17.5))
    assert plg.region.selected == second
    assert first in plg.region.choices


def test_what_is_drawn_while_the_kernel_is_too_busy_for_pings_is_taken(app: Any, plg: Any, viewer2d: Any) -> None:
    panel = plg._obj
    panel.open_step = "region"
    plg.keep_active, panel.plugin_opened = False, False
    assert not panel.is_active
    drawn = draw(app, viewer2d, RectangularROI(200, 800, 5.5, 19.5))
    assert plg.region.selected == drawn
    plg.region = (4, 20)
    panel._left -= 60.0  # a minute later the panel is closed, not busy
    draw(app, viewer2d, RectangularROI(100, 900, 6.5, 18.5))
    assert plg.region.selected == "Numbers"


def test_typing_numbers_lets_go_of_the_subset(app: Any, plg: Any, viewer2d: Any) -> None:
    plg.region = draw(app, viewer2d, RectangularROI(100, 900, 6.5, 18.5))
    plg._obj.vue_set_field({"name": "region.cross", "value": ["5", "19"]})
    assert plg.region.selected == "Numbers"
    assert plg.recipe.region == Region(cross=(5, 19), disp=(100, 900))


def test_undo_and_the_subset_that_is_followed(app: Any, plg: Any, viewer2d: Any) -> None:
    plg.region = (4, 20)
    plg.region = draw(app, viewer2d, RectangularROI(100, 900, 6.5, 18.5))
    plg.undo()
    assert plg.recipe.region == Region(cross=(4, 20))
    assert plg.region.selected == "Numbers"


def test_an_imported_recipe_lets_go_of_the_subset(app: Any, plg: Any, viewer2d: Any, tmp_path: Path) -> None:
    Recipe().updated(region={"cross": (2, 22)}).save(tmp_path / "r.yaml")
    plg.region = draw(app, viewer2d, RectangularROI(100, 900, 6.5, 18.5))
    plg.import_recipe(tmp_path / "r.yaml")
    assert plg.recipe.region == Region(cross=(2, 22))
    assert plg.region.selected == "Numbers"


def test_a_subset_that_is_deleted_while_selected(app: Any, plg: Any, viewer2d: Any) -> None:
    plg.region = draw(app, viewer2d, RectangularROI(100, 900, 6.5, 18.5))
    app._app.data_collection.remove_subset_group(app._app.data_collection.subset_groups[-1])
    assert plg.region.selected == "Numbers"
    # the limits stay: what is on the screen does not jump
    assert plg.recipe.region == Region(cross=(6.5, 18.5), disp=(100.0, 900.0))
    assert plg._obj.err_msg == ""


def test_a_subset_off_the_image_is_said_and_recovers(app: Any, plg: Any, viewer2d: Any) -> None:
    plg.region = draw(app, viewer2d, RectangularROI(100, 900, 60, 80))
    assert "'region.cross' parameter of Recipe must be inside the frame (0 to 24). Got (60.0, 80.0)" in plg._obj.err_msg
    with pytest.raises(OptextractError, match="inside the frame"):
        plg.extract()
    viewer2d.apply_roi(RectangularROI(100, 900, 5, 20))
    assert plg._obj.err_msg == ""
    assert np.isfinite(plg.extract(add_data=False).flux).any()


def test_a_shape_off_the_image_is_said(app: Any, plg: Any, viewer2d: Any) -> None:
    plg.region = draw(app, viewer2d, CircularROI(600, 80, 5))
    assert plg._obj.err_msg == "no pixel of this 2D spectrum lies inside the subset"


def test_which_subsets_are_offered_where(app: Any, plg: Any, viewer1d: Any, viewer2d: Any) -> None:
    rectangle = draw(app, viewer2d, RectangularROI(100, 900, 6.5, 18.5))
    rows = draw(app, viewer2d, YRangeROI(5, 19))
    columns = draw(app, viewer2d, XRangeROI(100, 900))
    waves = draw(app, viewer1d, XRangeROI(3.5, 4.5))
    assert plg.region.choices == ["Numbers", rectangle, rows]
    assert plg.spectral_range.choices == ["All columns", columns, waves]


def test_vertical_files_are_drawn_on_as_they_are_shown(style: str, tmp_path: Path) -> None:
    from optextract.simulate import make_scene, write_s2d

    from .conftest import new_app

    path = write_s2d(make_scene("vertical"), tmp_path / "v_s2d.fits")
    helper = new_app(style)
    helper.load(str(path), format="2D Spectrum")
    plg = helper.plugins[LABEL]
    frame = plg._obj._read()
    entry = helper._app.data_collection[0]
    # dispersion runs along x in the viewer as in the frame, pixel for pixel
    assert entry.shape == frame.shape
    assert np.array_equal(entry.get_component("flux").data, frame.flux, equal_nan=True)
    with plg.as_active():
        plg.region = draw(helper, viewers(helper, True)[0], RectangularROI(100, 900, 4.5, 20.5))
        assert plg.recipe.region == Region(cross=(4.5, 20.5), disp=(100.0, 900.0))
        assert np.isfinite(plg.extract().flux).sum() > 700
