"""What a person does, with the mouse and the keyboard, in the real app."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import optextract as ox
from optextract import io
from optextract.recipe import Recipe

from .conftest import PATIENCE, Server

playwright = pytest.importorskip("playwright.sync_api")
PlaywrightError, expect = playwright.Error, playwright.expect

PREVIEW = "rgb(199, 93, 44)"

#: What the panel has drawn in one colour into the viewers, longest path first.
PATHS = """colour => {
    const seen = p => getComputedStyle(p).stroke === colour && getComputedStyle(p).display !== 'none';
    return [...document.querySelectorAll('.bqplot path')].filter(p => !p.closest('.tray-plugin') && seen(p))
        .map(p => p.getAttribute('d') || '').filter(d => d.length > 20).sort((a, b) => b.length - a.length);
}"""


#: Letters of the layers in the legends of all viewers.
LAYERS = (
    "() => [...document.querySelectorAll('.layer-legend .v-btn')].map(b => b.innerText).filter(t => /[A-Z]/.test(t))"
)


def drawn(page: Any, colour: str = PREVIEW) -> list[str]:
    return page.evaluate(PATHS, colour)


def wait_drawn(page: Any, old: list[str] | None = None) -> None:
    """Wait for a preview in the viewers, another one than the old one."""
    page.wait_for_function(
        f"([colour, old]) => {{ const now = ({PATHS})(colour); return now.length && now[0] !== old; }}",
        arg=[PREVIEW, old[0] if old else None],
    )


def open_step(page: Any, key: str) -> Any:
    step = page.locator(f".oe-{key}")
    if not step.locator(".v-expansion-panel-content--wrap, .v-expansion-panel-content__wrap").count():
        step.locator(".v-expansion-panel-header").click()
        step.locator(".v-expansion-panel-content__wrap").wait_for()
    return step


def wait_summary(page: Any, key: str, text: str) -> None:
    page.wait_for_function(
        "([key, text]) => document.querySelector(`.oe-${key} .oe-summary`)?.innerText.includes(text)", arg=[key, text]
    )


def image_box(page: Any) -> dict[str, float]:
    """Where the pixels of the first 2D viewer are on the screen."""
    return page.evaluate("""() => {
        const figure = [...document.querySelectorAll('.bqplot')].find(f => !f.closest('.tray-plugin'));
        const area = figure.querySelector('.plotarea_events, .plotarea_background').getBoundingClientRect();
        return {x: area.x, y: area.y, width: area.width, height: area.height};
    }""")


def point(box: dict[str, float], x: float, y: float) -> tuple[float, float]:
    """A place in the image as fractions of its width and of its height from below."""
    return box["x"] + x * box["width"], box["y"] + (1 - y) * box["height"]


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    for step in (0.25, 0.5, 0.75, 1.0):
        page.mouse.move(start[0] + step * (end[0] - start[0]), start[1] + step * (end[1] - start[1]))
    page.mouse.up()


def until(page: Any, act: Callable[[], None], done: str) -> None:
    """Do something with the mouse until it has had its effect: a tool takes a moment to be the active one."""
    for _ in range(6):
        page.wait_for_timeout(1000)
        act()
        try:
            page.wait_for_function(done, timeout=8000)
        except PlaywrightError:
            continue
        return
    raise AssertionError(f"no effect after six attempts: {done}")


def choose_tool(page: Any, name: str, behind: str | None = None, place: int = 1) -> None:
    """Press a tool of the 2D viewer's toolbar; one that stands behind another is reached by the arrow beside it."""
    toolbar = page.locator(".jdaviz-nested-toolbar").first
    if behind is None:
        toolbar.locator(f"button[value='{name}']").click()
        return
    toolbar.locator(f"button[value='{behind}'] .suboptions-carrot").click()
    page.locator(".v-menu__content.menuable__content__active .v-list-item").nth(place).click()


def test_the_whole_job(serve: Callable[..., Any], open_page: Any, layout: str, sample: Path, tmp_path: Path) -> None:
    page = open_page(serve(str(sample), "--layout", layout))
    wait_summary(page, "kernel", "FWHM")
    wait_drawn(page)
    before = drawn(page)

    # a rectangle, drawn with the mouse while the Region step is open, is the region
    open_step(page, "region")
    choose_tool(page, "bqplot:rectangle")
    box = image_box(page)
    until(
        page,
        lambda: drag(page, point(box, 0.2, 0.25), point(box, 0.85, 0.8)),
        "() => document.querySelector('.oe-region .oe-summary').innerText.includes('rows ')",
    )
    wait_summary(page, "region", "columns ")
    wait_drawn(page, before)
    after_region = drawn(page)

    # another profile changes the preview
    kernel = open_step(page, "kernel")
    kernel.locator(".oe-profile-kind .v-select__slot").click()
    page.locator(".oe-profile-kind .v-list-item", has_text="moffat").click()
    wait_summary(page, "kernel", "moffat")
    wait_drawn(page, after_region)

    # Extract: a new layer and a line in the table of results
    layers = page.evaluate(LAYERS)
    page.locator(".tray-plugin button", has_text="Extract").last.click()
    page.wait_for_selector("td:has-text('sample_s2d (optimal)')")
    page.wait_for_function(f"n => ({LAYERS})().length > n", arg=len(layers))

    # the exported recipe is the panel's, and gives its flux
    extract = open_step(page, "extract")
    recipe_path, product_path = tmp_path / "night.yaml", tmp_path / "panel_x1d.fits"
    extract.locator("input[type=text]").nth(0).fill(str(product_path))
    extract.locator("button", has_text="Save").click()
    extract.locator("input[type=text]").nth(1).fill(str(recipe_path))
    extract.locator("button", has_text="Export").click()
    page.wait_for_selector(".oe-done:has-text('recipe written to')")
    recipe = Recipe.load(recipe_path)
    assert recipe.profile.kind == "moffat"
    assert recipe.region.cross is not None
    assert recipe.region.disp is not None
    assert 3 < recipe.region.cross[0] < 9 < 16 < recipe.region.cross[1] < 22
    product = io.read_x1d(product_path)
    expected = ox.extract(io.read(sample), recipe)
    assert np.array_equal(product.flux.value, expected.flux[0], equal_nan=True)


def test_dragging_a_source_and_the_kernel_columns(serve: Callable[..., Any], open_page: Any, sample: Path) -> None:
    page = open_page(serve(str(sample), "--layout", "jdaviz"))
    wait_summary(page, "kernel", "FWHM")
    kernel = open_step(page, "kernel")
    choose_tool(page, "optextract:columns", behind="optextract:source")
    box = image_box(page)
    until(
        page,
        lambda: drag(page, point(box, 0.3, 0.2), point(box, 0.6, 0.2)),
        "() => document.querySelectorAll('.oe-kernel-disp input')[1]?.value > 700",
    )
    for end, place in ((0, 0.3), (1, 0.6)):
        column = float(kernel.locator(".oe-kernel-disp input").nth(end).input_value())
        assert column == pytest.approx(place * 1298, abs=15)
    choose_tool(page, "optextract:source", behind="optextract:columns", place=0)
    until(
        page,
        lambda: page.mouse.click(*point(box, 0.5, 0.8)),
        "() => document.querySelector('.oe-kernel .oe-summary').innerText.includes('2 sources')",
    )


def test_works_without_internet(serve: Callable[..., Any], open_page: Any, sample: Path) -> None:
    """Nothing is asked for but from the app itself."""
    server = serve(str(sample), "--layout", "jdaviz")
    page = open_page(server)
    own = (server.url, server.url.replace("http", "ws"), "data:", "blob:")
    assert [url for url in page.asked if not url.startswith(own)] == []
    assert len(page.asked) > 10


def test_no_file_opens_a_simulated_sample(serve: Callable[..., Any], open_page: Any) -> None:
    page = open_page(serve())
    wait_summary(page, "source", "sample_s2d")


def test_errors_are_shown_where_they_belong(serve: Callable[..., Any], open_page: Any, sample: Path) -> None:
    page = open_page(serve(str(sample), "--layout", "jdaviz"))
    wait_summary(page, "trace", "rms")
    trace = open_step(page, "trace")
    field = trace.locator(".oe-trace-degree input")
    field.fill("many")
    field.press("Enter")
    # one after the other: each change of the panel is a message of its own to the browser
    expect(page.locator(".oe-error")).to_contain_text("trace.degree")
    expect(trace.locator(".oe-trace-degree .v-messages")).to_contain_text("many")
    field.fill("1")
    field.press("Enter")
    page.wait_for_selector(".oe-error", state="detached")


def test_a_coefficient_is_bounded_and_held_in_the_table(
    serve: Callable[..., Any], open_page: Any, layout: str, sample: Path
) -> None:
    """Limits come one after the other; what is ticked without a value is held where it was fitted."""
    page = open_page(serve(str(sample), "--layout", layout))
    wait_summary(page, "trace", "rms")
    trace = open_step(page, "trace")
    degree = trace.locator(".oe-trace-degree input")
    degree.fill("1")
    degree.press("Enter")
    wait_summary(page, "trace", "degree 1, rms")
    trace.locator("button", has_text="More settings").click()
    line = trace.locator(".oe-trace-coefficients tbody tr")
    line.wait_for()
    for place, value in ((1, "-0.3"), (2, "-0.2")):
        line.locator("input[type=text]").nth(place).fill(value)
        line.locator("input[type=text]").nth(place).press("Tab")
        trace.locator(".oe-trace-coefficients .error--text").wait_for(state="attached" if place == 1 else "detached")
    page.wait_for_function(
        "() => document.querySelector('.oe-trace-coefficients tbody td:nth-child(2)').innerText === '-0.2'"
    )
    line.locator(".v-simple-checkbox").click()
    page.wait_for_function("() => document.querySelector('.oe-trace-coefficients tbody input').value === '-0.2'")


def test_the_server_ends_with_its_last_page(browser: Any, sample: Path) -> None:
    server = Server(str(sample), grace=8)
    try:
        page = browser.new_page()
        page.goto(server.url)
        page.wait_for_selector(".oe-step", timeout=PATIENCE * 1000)
        page.reload()
        page.wait_for_selector(".oe-step", timeout=PATIENCE * 1000)
        page.wait_for_timeout(1000)
        assert server.process.poll() is None, "loading the page again ended the server"
        page.close()
        assert server.process.wait(60) == 0
    finally:
        server.close()
