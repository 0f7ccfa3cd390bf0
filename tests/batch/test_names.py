"""Products' names come from headers and stay inside the output folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optextract.batch.names import input_stem, product_name, safe_name, unique_stems


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("72", "72"),
        ("../../etc/passwd", "etc-passwd"),
        ("/absolute", "absolute"),
        ("..", "unnamed"),
        ("", "unnamed"),
        (".hidden", "hidden"),
        ("a b\tc\n", "a-b-c"),
        ("S1\x00.fits", "S1-.fits"),
        ("<script>alert(1)</script>", "script-alert-1-script"),
        ("x" * 5000, "x" * 100),
        ("galaxie é", "galaxie"),
    ],
)
def test_any_text_becomes_part_of_a_file_name(text, name):
    assert safe_name(text) == name


@given(st.text())
def test_no_name_leaves_the_folder(text):
    path = (Path("out") / product_name("stem", text)).resolve()
    assert path.parent == Path("out").resolve()
    assert len(path.name) < 200


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("a/b_s2d.fits", "b_s2d"),
        ("b_s2d.fits.gz", "b_s2d"),
        ("b.FITS", "b"),
        (".fits", ".fits"),
        ("noending", "noending"),
    ],
)
def test_stem_is_the_name_without_what_says_nothing(path, stem):
    assert input_stem(path) == stem


def test_files_of_one_name_get_different_products():
    stems = unique_stems(["/d/night1/a_s2d.fits", "/d/night2/a_s2d.fits", "/e/night2/A_s2d.fits", "/e/b_s2d.fits"])
    assert stems == ["a_s2d", "night2_a_s2d", "night2_A_s2d_2", "b_s2d"]


def test_product_names():
    assert product_name("jw_s2d", None) == "jw_s2d_optx1d.fits"
    assert product_name("jw_s2d", "S200/A1", ".png") == "jw_s2d_S200-A1_optx1d.png"
