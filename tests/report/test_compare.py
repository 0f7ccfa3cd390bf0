"""Another spectrum beside the extraction: the scale is recovered, the aperture found, what it misses said."""

from __future__ import annotations

import re

import numpy as np
import pytest
from astropy import units as u

import optextract as ox
from optextract.errors import OptextractError
from optextract.report import compare
from optextract.report.compare import find_aperture
from optextract.simulate import make_scene


@pytest.fixture(scope="module")
def scene():
    return make_scene("mid", 1).calibrated()


@pytest.fixture(scope="module")
def result(scene):
    return ox.extract(scene.frame)


@pytest.mark.parametrize(("lower", "upper"), [(8.5, 14.5), (9.2, 13.9), (11.25, 11.75), (-0.5, 24.5)])
def test_the_rows_of_a_plain_sum_are_found(scene, lower, upper):
    spectrum = ox.boxcar(scene.frame, lower, upper)
    found = find_aperture(scene.frame, np.asarray(spectrum.flux))
    assert found is not None
    width = found[1] - found[0]
    assert width == pytest.approx(upper - lower, abs=1e-6)
    if width > 1:
        assert found == pytest.approx((lower, upper), abs=1e-6)


def test_what_is_no_plain_sum_has_no_aperture(scene, result):
    assert find_aperture(scene.frame, result.flux[0]) is None
    assert find_aperture(scene.frame, np.full(scene.frame.n_disp, np.nan)) is None


def other(scene, factor, rng, sigma=None):
    flux = factor * scene.truth.flux[0]
    noise = np.zeros_like(flux) if sigma is None else sigma
    return {
        "wavelength": scene.frame.wavelength,
        "flux": (flux + noise * rng.standard_normal(flux.size)) * u.Jy,
        "uncertainty": np.where(noise > 0, noise, 0.01 * flux) * u.Jy,
    }


def test_scale_is_recovered_with_an_honest_error(scene, result, rng):
    sigma = 2 * result.uncertainty[0]
    pulls = []
    for _ in range(40):
        found = compare(result, other(scene, 0.6, rng, sigma))
        pulls.append((found.ratio - 0.6) / found.ratio_error)
        assert found.ratio == pytest.approx(0.6, abs=0.02)
    # the noise of the extraction itself is the same in all of them and not in the error
    assert np.std(pulls) == pytest.approx(1.0, abs=0.35)
    assert found.error_ratio == pytest.approx(2 / 0.6, rel=0.05)


def test_outliers_do_not_decide(scene, result, rng):
    spectrum = other(scene, 0.6, rng)
    spectrum["flux"][::50] *= 100
    assert compare(result, spectrum).ratio == pytest.approx(0.6, abs=0.01)


def test_zeros_of_the_pipeline_are_missing_values(scene, result, rng):
    spectrum = other(scene, 1.0, rng)
    spectrum["flux"][:100] = 0
    spectrum["uncertainty"][:100] = 0
    assert compare(result, spectrum).n_columns == scene.frame.n_disp - 100


def test_another_grid_is_interpolated_and_reversed_order_is_no_matter(scene, result, rng):
    spectrum = {name: values[::-1] for name, values in other(scene, 0.8, rng).items()}
    assert compare(result, spectrum).ratio == pytest.approx(0.8, abs=0.01)
    coarse = {name: values[::3] for name, values in other(scene, 0.8, rng).items()}
    assert compare(result, coarse).ratio == pytest.approx(0.8, abs=0.01)


def test_sentences_say_what_the_aperture_misses(scene, result):
    centre = float(np.median(result.centre[0]))
    # an aperture whose edge runs through the middle of the trace
    lower, upper = centre - 6.0, centre
    box = ox.boxcar(scene.frame, lower, upper)
    spectrum = {
        "wavelength": scene.frame.wavelength,
        "flux": box.flux * box.unit,
        "uncertainty": box.uncertainty * box.unit,
    }
    found = compare(result, spectrum, label="the x1d", aperture=(lower, upper))
    assert found.enclosed == pytest.approx(0.5, abs=0.03)
    assert found.words()[0].startswith("the x1d: 0.")
    assert re.search(r"misses (4[89]|5[0-2]) % of the source$", found.words()[-1])


def test_units_that_cannot_be_compared_are_refused(scene, result):
    spectrum = {"wavelength": scene.frame.wavelength, "flux": np.ones(scene.frame.n_disp) * u.K}
    with pytest.raises(OptextractError, match=r"the x1d cannot be compared: .*K"):
        compare(result, spectrum, label="the x1d")


def test_a_source_that_is_not_there_is_refused(scene, result):
    with pytest.raises(OptextractError, match=r"'source' parameter of compare must be between 0 and 0. Got 1"):
        compare(result, {}, source=1)


def test_negative_traces_in_the_aperture_are_counted():
    scene = make_scene("nods", 3).calibrated()
    result = ox.extract(scene.frame)
    centre = float(np.median(result.centre[0]))
    lower, upper = centre - 8.0, centre
    box = ox.boxcar(scene.frame, lower, upper)
    spectrum = {"wavelength": scene.frame.wavelength, "flux": box.flux * box.unit}
    found = compare(result, spectrum, label="x", aperture=(lower, upper))
    # half of the source, and a whole trace of depth -1/3
    assert found.enclosed == pytest.approx(0.5, abs=0.03)
    assert found.negative == pytest.approx(-1 / 3, abs=0.01)
    assert found.ratio == pytest.approx(0.5 - 1 / 3, abs=0.03)
    assert found.words()[-1].startswith("negative nod traces in that aperture take away another 33 %, so 1")
