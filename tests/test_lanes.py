"""Variable projection of many bins at once, against least squares of one bin after the other."""

from __future__ import annotations

import numpy as np
import pytest

from optextract.compiled.lanes import project, sums_of_background
from optextract.compiled.profile import fill_bins
from optextract.profiles import Gaussian, Moffat

ROWS, BINS = 30, 9
NODS = np.array([0.0, -9.0])
BACKGROUND = np.stack([np.ones(ROWS), np.linspace(-1.0, 1.0, ROWS)])


def filled(shape, centre, fwhm):
    """Profiles and derivatives, zero beyond what they reach, and that."""
    terms, shifts, widths = np.zeros((3, len(centre), ROWS, centre.shape[1]))
    reach = np.empty((len(centre), 2), dtype=np.intp)
    for slot in range(len(centre)):
        fill_bins(terms, shifts, widths, reach, slot, centre, fwhm, shape.table)
    return terms, shifts, widths, reach


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("kind", ["gaussian", "moffat", "at an end"])
def test_profiles_of_bins_are_those_of_the_shape(rng, kind, alike):
    shape = Moffat(2.5).fast() if kind == "moffat" else Gaussian().fast()
    centre = np.full((2, BINS), -0.7 if kind == "at an end" else 14.3)
    centre += 0.0 if alike else rng.normal(size=centre.shape)
    fwhm = np.full((2, BINS), 1.9) if alike else rng.uniform(0.3, 2.5, centre.shape)
    found = filled(shape, centre, fwhm)
    for slot in range(2):
        told = shape.derivatives(ROWS, centre[slot], fwhm[slot])
        for ours, theirs in zip(found[:3], told, strict=True):
            np.testing.assert_allclose(ours[slot], theirs.T, atol=1e-13)
    low, high = found[3].T
    assert (low >= 0).all()
    assert (high <= ROWS).all()
    assert (high - low < 20).all() or kind == "moffat" or not alike


def projected(matrix, right, weight):
    """Least squares of one bin: coefficients, their errors, and a projector of what they can not describe."""
    inverse = np.linalg.inv((matrix * weight) @ matrix.T)
    beyond = np.diag(weight) - (matrix * weight).T @ inverse @ (matrix * weight)
    return inverse @ (matrix * weight) @ right, np.sqrt(np.diag(inverse)), beyond


@pytest.mark.parametrize("decide", [True, False])
@pytest.mark.parametrize("n_width", [1, 2])
def test_bins_are_those_of_least_squares(rng, decide, n_width):
    """Two sources with a twin each, a sloping background, free spacing and index; some twins are positive."""
    centre = np.array([[14.0], [17.5], [5.0], [8.5]]) + rng.normal(size=BINS)
    terms, shifts, widths, reach = filled(Gaussian().fast(), centre, np.full((4, BINS), 1.8))
    index = 0.1 * rng.normal(size=terms.shape) * (terms > 0)
    weight = rng.uniform(0.5, 2.0, (ROWS, BINS)) * (rng.random((ROWS, BINS)) > 0.1)
    flux = np.array([30.0, 20.0, -15.0, -10.0])[:, None] * np.where(np.arange(BINS) % 3 == 0, -1.0, 1.0)
    data = (flux[:, None] * terms).sum(axis=0) + 2.0 + rng.normal(size=weight.shape)
    fixed = np.empty((2, 3, BINS))
    sums_of_background(data, weight, BACKGROUND, fixed)
    whole = terms.copy()
    positive = np.zeros((2, BINS), dtype=bool) if decide else flux[2:] > 0
    sizes = (1, 1, n_width, 2, 1, 1)
    n_field = n_width + 4
    amplitude, error = np.empty((2, 2, BINS))
    gradient, curvature = np.empty((n_field, BINS)), np.empty((n_field, n_field, BINS))
    chi2 = project(
        data, weight, fixed, terms, shifts, widths, index, reach, BACKGROUND, positive, decide, NODS, sizes,
        amplitude, error, gradient, curvature,
    )  # fmt: skip
    np.testing.assert_array_equal(positive, flux[2:] > 0)
    total = 0.0
    for x in range(BINS):
        shown = np.array([True, True, *~positive[:, x]])
        matrix = np.vstack([whole[shown, :, x], BACKGROUND])
        linear, sigma, beyond = projected(matrix, data[:, x], weight[:, x])
        residual = data[:, x] - linear @ matrix
        total += (weight[:, x] * residual**2).sum()
        each = np.zeros(4)
        each[shown] = linear[: shown.sum()]
        moved, wider = each[:, None] * shifts[:, :, x], each[:, None] * widths[:, :, x]
        of_width = [wider.sum(axis=0)] if n_width == 1 else [wider[0] + wider[2], wider[1] + wider[3]]
        of_index = (each[:, None] * index[:, :, x]).sum(axis=0)
        fields = np.array([moved.sum(axis=0), *of_width, moved[1] + moved[3], -9.0 * (moved[2] + moved[3]), of_index])
        np.testing.assert_allclose(amplitude[:, x], linear[:2], rtol=1e-8)
        np.testing.assert_allclose(error[:, x], sigma[:2], rtol=1e-8)
        np.testing.assert_allclose(gradient[:, x], fields @ (weight[:, x] * residual), rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(curvature[:, :, x], fields @ beyond @ fields.T, rtol=1e-7, atol=1e-7)
    assert chi2 == pytest.approx(total)


def test_a_bin_without_weight_says_nothing():
    terms, shifts, widths, reach = filled(Gaussian().fast(), np.full((1, 2), 14.0), np.full((1, 2), 2.0))
    data, weight, fixed = np.ones((ROWS, 2)), np.array([0.0, 1.0]) * np.ones((ROWS, 1)), np.empty((2, 3, 2))
    sums_of_background(data, weight, BACKGROUND, fixed)
    amplitude, error = np.empty((2, 1, 2))
    gradient, curvature = np.empty((2, 2)), np.empty((2, 2, 2))
    project(
        data, weight, fixed, terms, shifts, widths, np.empty((0, ROWS, 2)), reach, BACKGROUND,
        np.zeros((0, 2), dtype=bool), True, np.zeros(1), (1, 1, 1, 1, 0, 0), amplitude, error, gradient, curvature,
    )  # fmt: skip
    for values in (amplitude[:, 0], error[:, 0], gradient[:, 0], curvature[:, :, 0]):
        np.testing.assert_array_equal(values, 0.0)
    assert np.isfinite(curvature).all()
    assert error[0, 1] > 0.0
