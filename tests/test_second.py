"""A second look at a finished fit: two sources that were taken for one are told, nothing else is."""

from __future__ import annotations

import re

import numpy as np
import pytest

import optextract as ox
from optextract.simulate import make_scene


def said(result):
    """What is said of a second source."""
    return [sentence for sentence in result.quality["warnings"] if sentence.startswith("Two sources")]


def test_two_sources_taken_for_one_are_told_with_their_rows():
    one = make_scene("blend", 1)
    (sentence,) = said(ox.extract(one.frame))
    found = re.fullmatch(
        r"Two sources, at rows (\S+) and (\S+), fit the kernel slice better than one \(chi2 lower by \d+\): set "
        r"sources.number to 2 or auto\.",
        sentence,
    )
    np.testing.assert_allclose([float(row) for row in found.groups()], np.median(one.truth.centre, axis=1), atol=0.3)


def test_rows_are_those_of_the_frame():
    frame = make_scene("blend", 1).frame
    whole, part = said(ox.extract(frame)), said(ox.extract(frame, region={"cross": (4, 21)}))
    rows = [[float(row) for row in re.findall(r"\d+\.\d", sentence)] for sentence in (*whole, *part)]
    np.testing.assert_allclose(rows[1], rows[0], atol=0.15)


@pytest.mark.parametrize("name", ["mid", "moffat", "curved", "nods", "cosmic"])
def test_one_source_is_one(name):
    """Wings, a bend and negative twins all make a slice that is no single Gaussian, and are no second source."""
    assert said(ox.extract(make_scene(name, 2).frame)) == []


def test_nothing_is_said_where_two_were_asked_for():
    frame = make_scene("blend", 1).frame
    assert said(ox.extract(frame, ox.Recipe(sources={"number": 2}))) == []
