"""Columns of lines are looked for in runs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_opening

from optextract.bins import in_runs


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 50, 51])
def test_runs_are_a_morphological_opening(rng, n):
    for _ in range(20):
        stands = rng.random(n) < 0.7
        before = stands.copy()
        np.testing.assert_array_equal(in_runs(stands, 3), binary_opening(stands, np.ones(3)))
        np.testing.assert_array_equal(stands, before)
