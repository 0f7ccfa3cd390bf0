"""Bins of the refined fit: what fills their gaps."""

from __future__ import annotations

import numpy as np

import optextract as ox
from optextract import tracing
from optextract.simulate import make_scene


def test_what_no_pixel_shows_does_not_fill_the_gaps_of_a_bin(monkeypatch):
    """Columns of which only one side is left: the flux of a twin on the other side is unknown, and may be anything."""
    frame = make_scene("nods", 2, shape=(25, 400)).frame
    mask = frame.mask.copy()
    mask[14:, 200:206] = True
    made = []
    original = tracing._second_bins

    def watched(window, swept):
        made.append(original(window, swept))
        return made[-1]

    monkeypatch.setattr(tracing, "_second_bins", watched)
    result = ox.extract(frame.replace(mask=mask), ox.Recipe(nods={"mode": "model"}))
    (binned,) = made
    assert np.abs(binned.data).max() < 3 * np.abs(frame.flux[~mask]).max()
    plain = ox.extract(frame, ox.Recipe(nods={"mode": "model"}))
    np.testing.assert_allclose(result.centre, plain.centre, atol=0.05)
