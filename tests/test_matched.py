"""The matched boxcar: a plain sum that follows the trace, with room for its neighbours."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.simulate import make_scene
from optextract.simulate.score import score, summarise


def test_matched_boxcar_is_a_plain_sum_and_noisier():
    scores, gains = [], []
    for seed in range(10):
        one = make_scene("mid", seed)
        result = ox.extract(one.frame)
        inside = np.clip(one.truth.profile[0].sum(axis=0), 0.5, 1)
        scores.append(score(one, result.boxcar.flux[0] / inside, result.boxcar.uncertainty[0]))
        gains.append(result.quality["gain"][0])
        stated, error = result.quality["optimal_over_boxcar"][0]
        assert abs(stated - 1) < 4 * error + 0.005
    whole = summarise(scores)
    assert whole.bias == pytest.approx(0.0, abs=0.01)
    assert whole.pull_rms == pytest.approx(1.0, abs=0.04)
    assert whole.scatter == pytest.approx(np.mean(gains), abs=0.05)
    assert np.mean(gains) > 1.03


def test_matched_boxcar_ends_half_way_to_what_is_near():
    """Three FWHM where there is room; beside another source or a negative twin, half the distance to either side."""
    alone = ox.extract(make_scene("mid", 1).frame)
    width = alone.boxcar.upper - alone.boxcar.lower
    np.testing.assert_allclose(width, 3.0 * alone.fwhm, rtol=1e-9)
    blend = ox.extract(make_scene("blend", 1).frame, ox.Recipe(sources={"number": 2}))
    gap = np.abs(blend.centre[1] - blend.centre[0])
    np.testing.assert_allclose(blend.boxcar.upper - blend.boxcar.lower, np.minimum(3.0 * blend.fwhm, gap), rtol=1e-9)
    nods = ox.extract(make_scene("nods", 1).frame, ox.Recipe(nods={"mode": "model", "offsets": (-2.5, 2.5)}))
    assert (nods.boxcar.upper - nods.boxcar.lower).max() <= 2.5 + 1e-9


@pytest.mark.parametrize("width", [2.0, 5.5])
def test_width_of_the_recipe_is_taken_and_sums_what_its_edges_hold(width):
    one = make_scene("mid", 2, shape=(25, 300))
    recipe = ox.Recipe(flux={"boxcar_width": width}, rejection={"mode": False}, background={"degree": "none"})
    result = ox.extract(one.frame, recipe.updated(noise={"revise": False}))
    box = result.boxcar
    np.testing.assert_allclose(box.upper - box.lower, width, rtol=1e-9)
    np.testing.assert_allclose(0.5 * (box.upper + box.lower), result.centre, rtol=1e-9)
    column = 120
    rows = np.arange(25)
    taken = np.clip(np.minimum(rows + 0.5, box.upper[0, column]) - np.maximum(rows - 0.5, box.lower[0, column]), 0, 1)
    assert box.flux[0, column] == pytest.approx(taken @ one.frame.flux[:, column], rel=1e-12)
    assert box.uncertainty[0, column] == pytest.approx(np.sqrt(taken**2 @ one.frame.variance[:, column]), rel=1e-12)


def test_sum_beside_a_background_holds_its_uncertainty():
    frame = make_scene("mid", 2, shape=(25, 300)).frame
    result = ox.extract(frame, ox.Recipe(background={"degree": 1, "along": "column"}, rejection={"mode": False}))
    pixels = sum(result.boxcar.variance_parts.values())
    ratio = result.boxcar.uncertainty**2 / pixels
    # about n / 40 for a sum of n rows above a background of some 20
    assert 1.05 < np.nanmedian(ratio) < 1.3
    none = ox.extract(frame, ox.Recipe(background={"degree": "none"}, rejection={"mode": False}))
    np.testing.assert_allclose(none.boxcar.uncertainty**2, sum(none.boxcar.variance_parts.values()), rtol=1e-9)
