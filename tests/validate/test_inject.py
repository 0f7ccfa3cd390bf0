"""Injection and recovery says what is true of a frame whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.errors import OptextractError
from optextract.simulate import make_scene
from optextract.validate import LEVELS, combine, validate


def halved(frame, factor=0.5):
    """The frame with its errors multiplied."""
    parts = {name: part * factor**2 for name, part in frame.variance_parts.items()}
    return frame.replace(variance=frame.variance * factor**2, variance_parts=parts)


@pytest.fixture(scope="module")
def scene():
    return make_scene("mid", 2, planned_sigma=0.1)


@pytest.fixture(scope="module")
def certificate(scene):
    return validate(scene.frame, name="mid")


def test_honest_errors_are_called_honest(certificate):
    rms, error = certificate.pull_rms
    assert rms == pytest.approx(1.0, abs=0.05)
    assert error < 0.02
    assert certificate.honest
    assert certificate.words() == (f"The errors are honest: pull rms {rms:.2f} +- {error:.2f}.",)
    for level in LEVELS:
        figures = certificate.at(level)
        assert abs(figures["bias"]) < 3.5 * figures["bias_error"]
        assert figures["completeness"] == 1


@pytest.mark.parametrize(("factor", "words"), [(0.5, "times too small"), (2.0, "times too large")])
def test_wrong_errors_are_exposed_with_their_factor(scene, factor, words):
    found = validate(halved(scene.frame, factor), levels=(10.0,), places=4)
    assert found.pull_rms[0] * factor == pytest.approx(1.0, abs=0.08)
    assert not found.honest
    assert words in found.words()[0]


def test_nod_noise_that_the_variance_lacks_is_found_in_the_source_s_own_rows():
    scene = make_scene("nods", 2, planned_sigma=0.1)
    found = validate(scene.frame, levels=(10.0,))
    assert found.place.startswith("own rows")
    assert found.pull_rms[0] == pytest.approx(1.22, abs=0.07)
    assert abs(found.at(10.0)["bias"]) < 0.01
    with_term = validate(scene.frame, ox.Recipe(noise={"nod_term": True}), levels=(10.0,))
    assert with_term.pull_rms[0] == pytest.approx(1.0, abs=0.06)


def test_own_rows_agree_with_free_rows(scene):
    own = validate(scene.frame, where="own", levels=(10.0,))
    assert own.pull_rms[0] == pytest.approx(1.0, abs=0.08)
    assert own.injections[0].row == pytest.approx(np.median(scene.truth.centre), abs=0.1)


def test_a_variance_that_follows_the_pixels_gets_its_own_noise():
    scene = make_scene("poisson20", 2, planned_sigma=0.1)
    found = validate(scene.frame, levels=(3.0, 10.0))
    assert found.pull_rms[0] == pytest.approx(1.0, abs=0.05)
    assert abs(found.at(10.0)["bias"]) < 0.02


def test_bright_neighbours_and_wings_leave_no_trace():
    for name in ("bright", "moffat"):
        found = validate(make_scene(name, 2, planned_sigma=0.1).frame, levels=(30.0,), places=3)
        assert found.pull_rms[0] == pytest.approx(1.0, abs=0.08), name
        assert abs(found.at(30.0)["bias"]) < 0.01, name


def test_a_recipe_that_is_wrong_is_exposed(scene):
    # a width twice too large is a bias, whatever the errors
    recipe = ox.Recipe(profile={"kind": "gaussian", "fwhm": {"value": 3.0, "fixed": True}, "empirical": False})
    found = validate(scene.frame, recipe, levels=(10.0,), places=3)
    assert found.at(10.0)["bias"] == pytest.approx(0.0, abs=0.4)
    positions = ox.Recipe(sources={"items": ({"centre": {"value": 11.8, "bounds": (10.8, 12.8)}},)})
    moved = validate(scene.frame, positions, levels=(10.0,), places=3)
    assert moved.at(10.0)["completeness"] == 1


def test_positions_are_free_of_the_source(scene, certificate):
    rows = sorted({one.row for one in certificate.injections})
    centre = float(np.median(scene.truth.centre))
    assert all(abs(row - centre) > 4 for row in rows)
    assert np.all(np.diff(rows) >= 2)


def test_the_frame_is_not_changed(scene):
    before = scene.frame.flux.copy()
    validate(scene.frame, levels=(3.0,), places=1)
    np.testing.assert_array_equal(scene.frame.flux, before)


def test_table_and_combination(certificate):
    table = certificate.table()
    assert list(table["snr"]) == list(LEVELS)
    assert table.meta["words"] == list(certificate.words())
    both = combine([certificate, certificate], "both")
    assert both.at(3.0)["n"] == 2 * certificate.at(3.0)["n"]
    assert both.place == certificate.place


def test_what_makes_no_sense_is_refused(scene):
    with pytest.raises(OptextractError, match=r"'levels' parameter of validate must be positive numbers. Got \(0.0,\)"):
        validate(scene.frame, levels=(0.0,))
    with pytest.raises(OptextractError, match=r"'places' parameter of validate must be 1 or more. Got 0"):
        validate(scene.frame, places=0)
    with pytest.raises(OptextractError, match=r"'where' parameter of validate must be 'auto', 'free' or 'own'"):
        validate(scene.frame, where="there")
    with pytest.raises(OptextractError, match=r"there are no source-free rows to inject into; where='own' uses"):
        validate(make_scene("nods", 2).frame, where="free")


def test_figure_has_names_and_units(certificate):
    from optextract.report.certificate import certificate_figure

    figure = certificate_figure(certificate)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "flux bias (%)",
        "pull rms (found - true, in σ)",
        "found within 1 px (%)",
    ]
    assert {axes.get_xlabel() for axes in figure.axes} == {"injected S/N per column"}
