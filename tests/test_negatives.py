"""Negative traces that no header tells of: found in their pattern, and not invented."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.kernel import coadd
from optextract.negatives import find_negatives
from optextract.simulate import make_scene


@pytest.mark.parametrize(
    ("places", "fluxes", "offsets"),
    [
        ((12.0, 7.0, 17.0), (60.0, -25.0, -25.0), (-5.0, 5.0)),
        ((12.0, 6.6), (60.0, -30.0), (-5.4,)),
        ((12.0, 17.4), (60.0, -30.0), (5.4,)),
        ((12.0, 2.0, 7.0, 17.0, 22.0), (60.0, -10.0, -20.0, -20.0, -10.0), (-10.0, -5.0, 5.0, 10.0)),
    ],
    ids=["one nod", "below", "above", "two nods"],
)
def test_patterns_of_negative_traces_are_found(columns, places, fluxes, offsets):
    cut = coadd(*columns(2000, places=places, fluxes=fluxes), (0, 1999), "mean")
    np.testing.assert_allclose(find_negatives(cut, (12.0,), 1.8), offsets, atol=0.15)


@pytest.mark.parametrize(
    ("places", "fluxes"),
    [
        ((12.0,), (60.0,)),
        ((12.0, 17.0), (60.0, 25.0)),
        ((12.0, 17.0), (60.0, -1.0)),
    ],
    ids=["alone", "a source beside it", "too faint"],
)
def test_what_is_no_negative_trace_is_not_taken_for_one(columns, places, fluxes):
    cut = coadd(*columns(2000, places=places, fluxes=fluxes), (0, 1999), "mean")
    assert find_negatives(cut, (12.0,), 1.8) == ()


def test_few_rows_tell_nothing_of_negative_traces(columns):
    data, weight = columns(2000, places=(12.0, 17.0), fluxes=(60.0, -25.0))
    weight[:, :8] = weight[:, 19:] = 0.0
    assert find_negatives(coadd(data, weight, (0, 1999), "mean"), (12.0,), 1.8) == ()


def test_nods_that_the_header_does_not_tell_are_modelled_with_a_warning():
    one = make_scene("nods", 3, snr=40.0)
    meta = {name: value for name, value in one.frame.meta.items() if not name.startswith("nod")}
    result = ox.extract(one.frame.replace(meta=meta))
    assert result.quality["nods"]["mode"] == "model"
    np.testing.assert_allclose(np.abs(result.quality["nods"]["offsets"]) % 5.0, 0.0, atol=0.2)
    assert any("negative" in sentence.lower() for sentence in result.quality["warnings"])
    bias = np.nansum(result.flux[0]) / one.truth.flux[0].sum() - 1
    assert abs(bias) < 0.01
