"""What takes part: pixels that only their variance marks as bad do not."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.simulate import make_scene


@pytest.mark.parametrize("value", [1e6, 1e30])
def test_pixels_marked_by_a_huge_variance_are_as_good_as_masked(rng, value):
    made = make_scene("mid", 3, shape=(25, 500))
    bad = rng.random(made.frame.shape) < 0.05
    sigma2 = np.median(made.frame.variance)
    told = ox.extract(made.frame.replace(mask=made.frame.mask | bad))
    marked = ox.extract(made.frame.replace(variance=np.where(bad, value * sigma2, made.frame.variance)))
    np.testing.assert_array_equal(marked.flux, told.flux)
    assert marked.quality["warnings"] == told.quality["warnings"]


def test_rows_and_columns_that_are_noisy_as_a_whole_take_part(rng):
    made = make_scene("mid", 3, shape=(25, 400))
    variance = made.frame.variance.copy()
    variance[:, 100:110] = 1e5 * np.median(variance)
    variance[3] = 1e5 * np.median(variance)
    result = ox.extract(made.frame.replace(variance=variance))
    assert np.isfinite(result.residual).all()
    assert np.isfinite(result.flux).all()


def test_bright_line_keeps_its_pixels_though_its_photons_make_the_variance_huge(rng):
    """Ten thousand times the sky's variance on the peak, and all of the light is there."""
    made = make_scene("mid", 2, shape=(25, 400))
    profile, sky = made.truth.profile[0], np.median(made.frame.variance)
    flux = 20_000.0 * sky * np.exp(-0.5 * ((np.arange(400) - 200.0) / 1.2) ** 2)
    photons = flux * profile
    variance = made.frame.variance + photons
    assert variance.max() > 5e3 * sky
    result = ox.extract(
        made.frame.replace(
            flux=made.frame.flux + photons + rng.standard_normal(photons.shape) * np.sqrt(photons), variance=variance
        )
    )
    assert np.isfinite(result.residual[:, 190:211]).all()
    line = slice(195, 206)
    assert (result.flux[0] - made.truth.flux[0])[line].sum() == pytest.approx(flux[line].sum(), rel=0.01)
