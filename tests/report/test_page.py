"""The report page: self-contained, nothing from a header becomes HTML, and it works in a real browser."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import optextract as ox
from optextract.batch.quality import figures_of, rate
from optextract.report.card import card_of
from optextract.report.page import render_page
from optextract.simulate import make_scene

EVIL = '</script><script>document.title = "owned"</script><img src=x onerror="document.title=\'owned\'">'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An output folder with two spectra, one failure, and hostile names everywhere."""
    folder = tmp_path_factory.mktemp("out")
    (folder / "cards").mkdir()
    records = []
    for name, number in (("mid", 0), ("faint", 1)):
        scene = make_scene(name, 1).calibrated()
        result = ox.extract(scene.frame)
        card = card_of(scene.frame, result)
        (folder / "cards" / f"{name}_optx1d.json").write_text(json.dumps(card))
        quality = figures_of(scene.frame, result)
        records.append(
            {
                "file": f"/data/{name}_s2d.fits",
                "slit": EVIL if number else None,
                "source_name": EVIL,
                "status": "done",
                "score": rate(quality).score,
                "flags": [EVIL] if number else [],
                "warnings": [EVIL],
                "products": [f"{name}_optx1d.fits"],
                "quality": quality,
            }
        )
    records.append(
        {"file": f"/data/{EVIL}.fits", "slit": None, "status": "failed", "score": 100.0, "flags": ["failed"],
         "reason": f"cannot be read: {EVIL}", "products": []}
    )  # fmt: skip
    render_page(records, folder, folder / "report.html", title=EVIL)
    return folder


def test_page_is_self_contained(folder):
    page = (folder / "report.html").read_text()
    assert not re.findall(r"(?:src|href)=[\"'](?!table\.ecsv)[^\"']+", page)
    assert "default-src 'none'" in page
    assert "@import" not in page
    assert "url(" not in page


def test_nothing_from_a_header_ends_a_script_or_becomes_an_element(folder):
    page = (folder / "report.html").read_text()
    assert "<img" not in page
    assert "<script>document" not in page
    # columns, rows, two cards, the program
    assert page.count("<script") == page.count("</script>") == 5
    assert "&lt;/script&gt;" in page


def test_rows_are_ranked_worst_first_and_numbers_survive(folder):
    page = (folder / "report.html").read_text()
    rows = json.loads(re.search(r'id="rows">(.*?)</script>', page)[1])
    assert [row["status"] for row in rows] == ["failed", "done", "done"]
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert rows[0]["flags"] == [f"cannot be read: {EVIL}"]


def test_a_figure_that_does_not_exist_is_empty_and_not_zero():
    from optextract.report.page import _row

    record = {"file": "a", "slit": None, "status": "done", "products": [], "quality": {"chi2": np.nan, "gain": 1.1}}
    numbers = _row(record)["numbers"]
    assert numbers.count(None) == len(numbers) - 1


def test_links_are_quoted():
    from optextract.report.page import _row

    record = {"file": "a", "slit": None, "status": "done", "products": ["javascript:alert(1)//_optx1d.fits"]}
    assert _row(record)["product"].startswith("javascript%3A")


@pytest.mark.browser
@pytest.mark.xdist_group("browser")  # playwright does not start beside an event loop, which other tests leave
@pytest.mark.parametrize(("width", "height"), [(1400, 900), (390, 844)], ids=["full", "phone"])
def test_page_in_a_browser(folder, browser, width, height):
    problems = []
    with browser.new_context(viewport={"width": width, "height": height}) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
        page.goto((folder / "report.html").as_uri())
        assert page.locator("#table tbody tr").count() == 3
        assert page.locator("h1").inner_text() == EVIL
        assert page.title() == EVIL
        # nothing is wider than the window
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.fill("#filter", "mid")
        assert page.locator("#table tbody tr").count() == 1
        page.fill("#filter", "")
        page.select_option("#status", "failed")
        assert page.locator("#shown").inner_text() == "1 of 3 spectra"
        page.select_option("#status", "done")
        page.locator("th", has_text="spectrum").click()
        names = page.locator("#table tbody td.name").all_inner_texts()
        assert names[0].startswith("faint_s2d.fits")
        assert names[1] == "mid_s2d.fits"
        page.locator("#table tbody tr").nth(1).click()
        page.wait_for_timeout(600)
        card = page.locator(".card", has_text="mid_s2d.fits")
        for name in ("image", "kernel", "spectrum"):
            painted = card.locator(f".{name} canvas").evaluate(
                "c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;"
                " for (let i = 3; i < d.length; i += 4) if (d[i]) n++; return n / (c.width * c.height); }"
            )
            assert painted > 0.01, name
    assert problems == []
