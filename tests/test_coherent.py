"""Light that runs on along dispersion is the source's, whatever its extent along the slit; tracks are not."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.cleaning import _without_lines
from optextract.coherent import mixed_profiles
from optextract.profiles import Gaussian
from optextract.reject import Rejected
from optextract.simulate import make_scene
from optextract.solve import solve_columns

N_CROSS, N_DISP, FWHM, SIGMA, GAIN = 40, 600, 4.0, 2.5, 0.1
LINES = ((150, 1.0), (300, 0.6), (430, 0.3))
COLUMN, ROW = np.arange(N_DISP), np.arange(N_CROSS)[:, None]
CENTRE = N_CROSS / 2 - 0.7 + 0.5 * np.linspace(-1, 1, N_DISP)


def profile(fwhm, centre=CENTRE):
    return Gaussian().integrate(N_CROSS, np.broadcast_to(centre, N_DISP), np.full(N_DISP, float(fwhm))).T


def galaxy(seed=0, *, fwhm=FWHM, rotation=0.0, snr=20.0, line=10.0):
    """Continuum and three lines of another extent or with rotation: data without noise, their variance, flux, level."""
    light = profile(FWHM)
    level = snr / np.sqrt((light**2).sum(axis=0)).mean()
    model, flux = level * light, np.full(N_DISP, level)
    for place, part in LINES:
        moved = rotation * np.tanh((ROW - CENTRE[place]) / (FWHM / 2))
        glow = part * line * level * profile(fwhm, CENTRE[place])
        glow = glow * np.exp(-0.5 * ((COLUMN - place - moved) / SIGMA) ** 2)
        model, flux = model + glow, flux + glow.sum(axis=0)
    variance = 1 + GAIN * model
    noise = np.random.default_rng(seed).normal(size=variance.shape) * np.sqrt(variance)
    return model + noise, variance, flux, level


def frame_of(data, variance, **meta):
    return ox.Frame(data, variance=variance, meta={"rectified": True, **meta})


def near(place):
    return slice(place - 10, place + 11)


def ratios(spectrum, flux, level):
    return np.array([(spectrum - level)[near(p)].sum() / (flux - level)[near(p)].sum() for p, _ in LINES])


@pytest.mark.parametrize("meta", [{}, {"outliers_rejected": True}])
@pytest.mark.parametrize(
    "scene",
    [
        {"fwhm": 3.0},
        {"fwhm": 2.5},
        {"fwhm": 2.5, "snr": 60.0},
        {"fwhm": 2.5, "line": 3.0},
        {"fwhm": 2.0},
        {"rotation": 2.0},
        {"rotation": 4.0},
        {"rotation": 2.0, "snr": 60.0},
    ],
)
def test_line_that_differs_from_its_continuum_is_no_outlier(scene, meta):
    data, variance, flux, level = galaxy(**scene)
    result = ox.extract(frame_of(data, variance, **meta))
    assert np.isfinite(result.flux).all()
    found = ratios(result.flux[0], flux, level)
    # lines that are too faint to be rejected keep the continuum's profile, and what its mismatch costs
    np.testing.assert_allclose(found, [1.0, 1.0, 1.0], atol=0.13)
    assert found[0] == pytest.approx(1.0, abs=0.04)
    box = ratios(result.boxcar.flux[0], flux, level)
    np.testing.assert_allclose(box, 1.0, atol=0.14)  # its noise


def test_continuum_of_such_lines_is_unbiased_and_their_errors_are_honest():
    off, pulls = [], []
    for seed in range(6):
        data, variance, flux, level = galaxy(seed, fwhm=2.5, snr=40.0)
        result = ox.extract(frame_of(data, variance))
        between = flux < 1.001 * level
        off.append(np.average(result.flux[0][between], weights=result.uncertainty[0][between] ** -2) / level - 1)
        pulls.append(((result.flux[0] - flux) / result.uncertainty[0])[flux > 2 * level])
    assert abs(np.mean(off)) < 0.01
    assert np.concatenate(pulls).std() == pytest.approx(1.0, abs=0.2)


def test_it_is_flagged_and_told_of():
    result = ox.extract(frame_of(*galaxy(fwhm=2.5)[:2]))
    assert result.flags[0, 150] & ox.Flag.RESTORED_PIXELS
    (said,) = [words for words in result.quality["warnings"] if "differ from the continuum" in words]
    assert "rejection.mode" in said
    usual = ox.extract(frame_of(*galaxy()[:2]))
    assert not usual.rejected[:, 140:160].any()
    assert not any("differ" in words for words in usual.quality["warnings"])


@pytest.mark.parametrize("heights", [(300, 300, 300, 300), (150, 400, 700, 400, 150), (90, 700, 200, 500, 60, 300)])
@pytest.mark.parametrize("offset", [-2, 0, 1])
def test_track_along_dispersion_is_rejected(heights, offset):
    """One row high: sharper across dispersion than any profile, though it runs through several columns."""
    caught = total = 0
    for seed in range(4):
        data, variance, _, _ = galaxy(seed)
        for start in (60, 200, 350, 500):
            row = round(CENTRE[start]) + offset
            data[row, start : start + len(heights)] += heights
            variance[row, start : start + len(heights)] += GAIN * np.array(heights)
        rejected = ox.extract(frame_of(data, variance)).rejected
        for start in (60, 200, 350, 500):
            row = round(CENTRE[start]) + offset
            caught += rejected[row, start : start + len(heights)].sum()
            total += len(heights)
    assert caught >= 0.97 * total


def test_hits_on_such_a_line_are_still_found():
    caught = total = 0
    for seed in range(4):
        data, variance, _, _ = galaxy(seed, fwhm=2.5)
        hit = np.zeros(data.shape, dtype=bool)
        for place, _part in LINES:
            hit[round(CENTRE[place]) + 1, place - 3] = hit[round(CENTRE[place]) - 2, place + 2] = True
        data[hit] += 30.0 * np.sqrt(variance[hit])
        rejected = ox.extract(frame_of(data, variance)).rejected
        caught += (rejected & hit).sum()
        total += hit.sum()
    assert caught >= 0.9 * total


def test_flux_without_rejection_is_there_where_the_pixels_are():
    data, variance, _, _ = galaxy()
    rows = np.flatnonzero(np.abs(ROW[:, 0] - CENTRE[222]) < 5)
    data[rows, 222] += 100.0 * 3.0 ** (np.arange(len(rows)) % 3)
    frame = frame_of(data, variance)
    plain = {"empirical": False}  # without rejection, the hits would make the profile
    on, off = (ox.extract(frame, ox.Recipe(profile=plain, rejection={"mode": mode})) for mode in (True, False))
    assert np.isnan(on.flux[0, 222])
    assert np.isfinite(on.flux_unrejected).all()
    assert on.flux_unrejected[0, 222] == pytest.approx(off.flux[0, 222], rel=0.05)
    variance[:, 223] = np.inf
    assert np.isnan(ox.extract(frame_of(data, variance)).flux_unrejected[0, 223])


def test_rejection_that_takes_runs_of_columns_is_told_of(monkeypatch):
    """As it would be without the rule that this file is about."""
    monkeypatch.setattr("optextract.reject.coherent", lambda data, *_: np.zeros(data.shape, dtype=bool))
    result = ox.extract(frame_of(*galaxy(fwhm=2.5)[:2]))
    assert any("took much of the light" in words for words in result.quality["warnings"])
    assert result.quality["rejection_effect"][0] > 1.1
    struck = make_scene("cosmic", 3)
    usual = ox.extract(struck.frame)
    assert not any("took much" in words or "differ from" in words for words in usual.quality["warnings"])
    assert usual.quality["rejection_effect"][0] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("n_disp", [1, 3, 5, 6, 9])
def test_what_lies_beside_a_line_ends_with_the_frame(n_disp):
    """Frames of fewer columns than are left out about a line."""
    none, line = np.zeros(n_disp, dtype=bool), np.arange(n_disp) == n_disp // 2
    pixels = np.zeros((n_disp, 4), dtype=bool)
    found = Rejected(pixels, none, none, {}, none, line)
    left = _without_lines(np.ones((n_disp, 4)), found)
    beyond = np.abs(np.arange(n_disp) - n_disp // 2) > 3
    np.testing.assert_array_equal(left, np.repeat(beyond[:, None], 4, axis=1).astype(float))
    rows = np.exp(-0.5 * ((np.arange(12) - 5.5) / 1.3) ** 2)
    profiles = np.repeat((rows / rows.sum())[None, None], n_disp, axis=0)
    data = np.where(line, 300.0, 30.0)[:, None] * profiles[:, 0]
    plain = solve_columns(data, np.ones(data.shape), profiles)
    mixed = mixed_profiles(data, np.ones(data.shape), profiles, plain, np.zeros(data.shape, dtype=bool), line, 1.0)
    assert all(0 <= column < n_disp for column in mixed)


@pytest.mark.parametrize("unit", [1e-15, 1e-19, 1e-25, 1e12, 1e17])
def test_a_line_that_is_narrower_than_its_continuum_is_kept_in_any_unit(unit):
    """In erg/s/cm2/A it was eaten: its neighbours' light weighed nothing beside a profile without a unit."""
    light = profile(5.0)
    line = 4000 * np.exp(-0.5 * ((COLUMN - 200) / 1.6) ** 2) + 4000 * np.exp(-0.5 * ((COLUMN - 80) / 1.6) ** 2)
    model = 40 * light + line * profile(2.0)
    variance = 1.0 + 0.02 * model
    data = model + np.random.default_rng(11).normal(size=model.shape) * np.sqrt(variance)
    plain = ox.extract(ox.Frame(data, variance=variance))
    result = ox.extract(ox.Frame(data * unit, variance=variance * unit**2))
    near = line > 40
    # to the digits in which a unit that is no power of two changes the last one
    np.testing.assert_allclose(result.flux[0, near] / unit, plain.flux[0, near], rtol=1e-6)
    assert np.isfinite(plain.flux[0, near]).all()
