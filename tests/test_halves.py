"""Two sources that are asked for: half a FWHM apart they are told apart, nearer they are told of, and so is noise."""

from __future__ import annotations

import re

import numpy as np
import pytest

import optextract as ox
from optextract.halves import divided
from optextract.simulate import make_scene

FWHM = 1.45
TWO = ox.Recipe(sources={"number": 2})


def pair(part: float, seed: int, **changes):
    """Two sources that many FWHM apart."""
    return make_scene("blend", seed, separation=part * FWHM, fwhm=FWHM, **changes)


def by_row(result):
    return np.argsort(np.median(result.centre, axis=1))


# on the slice of seed 3 noise far away is the better second source
@pytest.mark.parametrize("seed", [0, 3, 6])
def test_two_sources_half_a_fwhm_apart_are_told_apart(seed):
    scene = pair(0.5, seed)
    result = ox.extract(scene.frame, TWO)
    order = by_row(result)
    apart = np.median(result.centre[order[1]] - result.centre[order[0]])
    assert apart == pytest.approx(0.5 * FWHM, rel=0.05)
    pull = (result.flux[order] - scene.truth.flux) / result.uncertainty[order]
    assert 0.94 < np.sqrt(np.nanmean(pull**2)) < 1.06
    assert (np.abs(np.nanmedian(result.flux[order] / scene.truth.flux, axis=1) - 1) < 0.02).all()
    assert not any("Nothing is seen" in words for words in result.quality["warnings"])


def test_sources_too_close_to_be_told_apart_are_told_of_and_their_sum_is_right():
    scene = pair(0.25, 1)
    result = ox.extract(scene.frame, TWO)
    (found,) = (re.match(r"Sources 1 and 2 are (\S+) pixels apart, (\S+) of", w) for w in result.quality["warnings"])
    apart, part = (float(number) for number in found.groups())
    assert part == pytest.approx(apart / np.median(result.fwhm), abs=0.006)
    assert part < 0.5
    ratio = np.nansum(result.flux) / scene.truth.flux.sum()
    assert ratio == pytest.approx(1.0, abs=0.005)


def test_a_second_source_that_is_none_is_told_of():
    scene = make_scene("mid", 3)
    result = ox.extract(scene.frame, TWO)
    told = [re.match(r"Nothing is seen of source 2, at row (\S+): the mean of its flux is \S+ times", w)
            for w in result.quality["warnings"]]  # fmt: skip
    assert [float(found[1]) for found in told if found] == [pytest.approx(np.median(result.centre[1]), abs=0.06)]
    assert np.nanmedian(result.flux[0] / scene.truth.flux[0]) == pytest.approx(1.0, abs=0.02)


def test_a_second_source_of_lines_alone_is_seen():
    """The mean of its flux says little, the lines say all."""
    scene = make_scene("mid", 2)
    rows, columns = np.arange(25)[:, None], np.arange(1298)
    line = 3.0 * np.median(scene.truth.flux) * np.exp(-0.5 * ((columns - 600) / 2.0) ** 2)
    profile = np.exp(-4 * np.log(2) * ((rows - scene.truth.centre[0] - 5.0) / FWHM) ** 2)
    light = line * profile / profile.sum(axis=0)
    result = ox.extract(
        scene.frame.replace(flux=scene.frame.flux + light),
        ox.Recipe(sources={"items": [{"centre": float(np.median(scene.truth.centre) + d)} for d in (0.0, 5.0)]}),
    )
    assert not any("Nothing is seen" in words for words in result.quality["warnings"])


@pytest.mark.parametrize("kind", ["good", "faint"])
def test_a_start_is_kept_unless_halves_fit_much_better(kind, monkeypatch):
    """A good pair is not tried at all; nor does one source become two because it could be."""
    from optextract import tracing

    seen = []

    def watched(*asked):
        seen.append((asked[1], divided(*asked)))
        return seen[-1][1]

    monkeypatch.setattr(tracing, "divided", watched)
    ox.extract((pair(1.0, 1) if kind == "good" else make_scene("mid", 3)).frame, TWO)
    ((before, after),) = seen
    assert after is before


@pytest.mark.parametrize(
    "sources",
    [{"number": 1}, {"number": "auto"}, {"items": [{"centre": 11.0}, {"centre": 17.0}]}],
    ids=["one", "auto", "told"],
)
def test_nothing_is_divided_where_the_places_are_told_or_found(sources, monkeypatch):
    from optextract import tracing

    def never(*_):
        raise AssertionError

    monkeypatch.setattr(tracing, "divided", never)
    assert ox.extract(pair(0.5, 3).frame, ox.Recipe(sources=sources)).n_source >= 1
