"""Rejection: the hit and not its neighbours, cosmic rays and not emission lines, and always beside the flux without."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.profiles import Gaussian
from optextract.reject import reject
from optextract.simulate import make_scene
from optextract.solve import solve_columns

N_DISP, N_CROSS = 400, 15


def columns(rng, *, flux=200.0, sigma=1.0, fwhm=1.4, centre=7.2, true_fwhm=None):
    """Column-major data of one source, its weights, profiles and what small errors of them look like."""
    place, width = np.full(N_DISP, centre), np.full(N_DISP, fwhm)
    shape = Gaussian()
    profile, shift, wider = shape.derivatives(N_CROSS, place, width)
    third = (shape.integrate(N_CROSS, place, 1.3 * width) - profile) / np.log(1.3)
    light = shape.integrate(N_CROSS, place, width if true_fwhm is None else true_fwhm)
    data = np.broadcast_to(flux, N_DISP)[:, None] * light + sigma * rng.standard_normal((N_DISP, N_CROSS))
    weight = np.full(data.shape, sigma**-2)
    return data, weight, profile[:, None, :], np.stack([shift * fwhm, wider, third], axis=1)


def elsewhere(columns, shift, log_width, *, centre=7.2, fwhm=1.4):
    """The profile of `columns` at other places and of other widths."""
    place = np.repeat(centre + shift * fwhm, len(columns))
    return Gaussian().integrate(N_CROSS, place, np.repeat(fwhm * np.exp(log_width), len(columns)))


def run(data, weight, profiles, changes, *, floor=0.02, threshold=5.0, noise=1.0):
    plain = solve_columns(data, weight, profiles)
    tolerance = floor * profiles[:, :1]
    given = (data, weight, profiles, changes.__getitem__, elsewhere, plain, tolerance)
    return reject(*given, threshold=threshold, noise=noise)


def test_clean_data_lose_nothing(rng):
    found = run(*columns(rng))
    assert found.pixels.sum() <= 1
    assert not found.restored.any()


@pytest.mark.parametrize("row", [2, 6, 7, 8, 9])
@pytest.mark.parametrize("flux", [5.0, 40.0])
def test_hit_is_blamed_and_its_neighbours_are_not(rng, row, flux):
    data, weight, profiles, changes = columns(rng, flux=flux)
    struck = np.arange(5, N_DISP - 5, 25)
    data[struck, row] += 60.0
    found = run(data, weight, profiles, changes)
    expected = np.zeros(data.shape, dtype=bool)
    expected[struck, row] = True
    assert (found.pixels & expected).sum() == len(struck)
    assert (found.pixels & ~expected).sum() <= 1


def test_hit_on_two_core_pixels_is_explained_by_those_two(rng):
    data, weight, profiles, changes = columns(rng, flux=60.0)
    struck = np.arange(5, N_DISP - 5, 40)
    data[struck, 7] += 300.0
    data[struck, 8] += 250.0
    found = run(data, weight, profiles, changes)
    right = found.pixels[struck, 7] & found.pixels[struck, 8] & (found.pixels[struck].sum(axis=1) == 2)
    assert right.mean() >= 0.8


def test_negative_outliers_are_outliers(rng):
    data, weight, profiles, changes = columns(rng, flux=30.0)
    data[50, 7] -= 60.0
    data[90, 2] -= 60.0
    found = run(data, weight, profiles, changes)
    assert found.pixels[50, 7]
    assert found.pixels[90, 2]


def test_wide_profile_is_no_outlier_where_the_source_is_bright(rng):
    """Every column deviates from its profile in the same way, in proportion to its flux."""
    data, weight, profiles, changes = columns(rng, flux=1000.0, true_fwhm=np.full(N_DISP, 1.4 * 1.1))
    found = run(data, weight, profiles, changes)
    core = profiles[:, 0] > 0.05
    assert not (found.pixels & core).any()


@pytest.mark.parametrize("rows", [slice(7, 9), slice(6, 10), slice(5, 11)])
def test_hit_that_covers_the_core_evenly_is_seen_because_it_stands_alone(rng, rows):
    """Nothing in its column looks wrong; but a line would be in the next columns too."""
    data, weight, profiles, changes = columns(rng, flux=40.0, centre=7.5)
    struck = np.arange(10, N_DISP - 10, 40)
    for column in struck:
        data[column, rows] += 80.0 * profiles[column, 0, rows] / profiles[column, 0, 7] + 20.0
    found = run(data, weight, profiles, changes)
    assert found.pixels[struck, 7].all()
    assert found.pixels[struck, 8].all()
    others = np.setdiff1d(np.arange(N_DISP), struck)
    assert found.pixels[others].sum() <= 3


def test_feature_of_one_column_that_fits_its_profile_is_kept_and_told_of(rng):
    """A hit that covers the core evenly looks no different: nothing is thrown away that nothing speaks against."""
    flux = np.full(N_DISP, 5.0)
    spikes = np.arange(10, N_DISP - 10, 40)
    flux[spikes] = 150.0
    found = run(*columns(rng, flux=flux))
    assert not found.pixels[spikes].any()
    np.testing.assert_array_equal(np.flatnonzero(found.alone), spikes)
    structured = run(*columns(rng, flux=40.0 * rng.random(N_DISP)))
    assert structured.pixels.sum() <= 1


def test_line_of_two_columns_is_no_hit(rng):
    """Undersampled along dispersion too: a FWHM of 1.5 pixels, centred on a column."""
    column = np.arange(N_DISP)
    lines = np.exp(-4 * np.log(2) * ((column[:, None] - np.arange(20, N_DISP - 20, 40)) / 1.5) ** 2).sum(axis=1)
    found = run(*columns(rng, flux=10.0 + 300.0 * lines))
    assert found.pixels.sum() <= 3


def test_line_wider_than_its_continuum_is_no_outlier(rng):
    flux = np.full(N_DISP, 20.0)
    flux[198:203] = [30.0, 110.0, 160.0, 110.0, 30.0]  # S/N 100 in the brightest column
    width = np.full(N_DISP, 1.4)
    width[198:203] = 1.4 * 1.3
    data, weight, profiles, changes = columns(rng, flux=flux, true_fwhm=width)
    found = run(data, weight, profiles, changes)
    lost = (profiles[:, 0] * found.pixels)[198:203].sum(axis=1)
    assert (lost * flux[198:203]).sum() / flux[198:203].sum() < 0.01


def test_threshold_floor_and_noise_make_it_more_lenient(rng):
    data, weight, profiles, changes = columns(rng, flux=40.0)
    data[np.arange(10, 390, 10), 2] += 7.0
    counts = [
        run(data, weight, profiles, changes, **settings).pixels.sum()
        for settings in ({}, {"threshold": 9.0}, {"noise": 2.0})
    ]
    assert counts[0] > 30
    assert counts[1] < 3
    assert counts[2] < 3
    bright = columns(rng, flux=2000.0)
    bright[0][np.arange(10, 390, 10), 8] += 30.0
    strict, tolerant = (run(*bright, floor=floor).pixels.sum() for floor in (0.0, 0.1))
    assert strict > tolerant == 0


def test_masked_pixels_are_not_rejected_again_and_columns_without_data_are_passed_over(rng):
    data, weight, profiles, changes = columns(rng)
    weight[30] = 0.0
    weight[40, 7] = 0.0
    data[40, 7] = 1e6
    data[30] = 1e6
    found = run(data, weight, profiles, changes)
    assert not found.pixels[30].any()
    assert not found.pixels[40, 7]


def test_input_is_left_alone(rng):
    given = columns(rng)
    given[0][50, 7] += 100
    before = [a.copy() for a in given]
    run(*given)
    for a, b in zip(given, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_spare_keeps_the_core_of_bright_columns_and_is_what_auto_comes_to():
    """Where a pipeline has rejected before us, a bright column's misfit is its profile."""
    scene = make_scene("bright", 1, shape=(25, 240))
    flux = scene.frame.flux.copy()
    row = round(float(np.median(scene.truth.centre)))
    flux[row, 100] *= 1.5
    flux[3, 150] += 1e4
    done = scene.frame.replace(flux=flux, meta={**scene.frame.meta, "outliers_rejected": True})
    by_mode = {mode: ox.extract(done, ox.Recipe(rejection={"mode": mode})) for mode in ("auto", "spare", True, False)}
    assert by_mode["auto"].resolved.rejection.mode == "spare"
    np.testing.assert_array_equal(by_mode["auto"].flux, by_mode["spare"].flux)
    assert not by_mode["spare"].rejected[row, 100]
    assert by_mode[True].rejected[row, 100]
    assert by_mode["spare"].rejected[3, 150]
    assert by_mode["spare"].flags[0, 100] & ox.Flag.RESTORED_PIXELS
    assert not by_mode[False].rejected.any()


def test_spectrum_that_changes_from_column_to_column_loses_none_of_them():
    one = make_scene("mid", 2, shape=(25, 300))
    factor = 2 * np.random.default_rng(3).random(300)
    light = one.truth.flux[0] * one.truth.profile[0]
    frame = one.frame.replace(flux=one.frame.flux + (factor - 1) * light)
    result = ox.extract(frame)
    assert np.isfinite(result.flux).all()
    pull = (result.flux[0] - factor * one.truth.flux[0]) / result.uncertainty[0]
    assert np.sqrt(np.mean(pull**2)) == pytest.approx(1.0, abs=0.12)
    lone = (result.flags[0] & ox.Flag.LONE_COLUMN) != 0
    assert 0 < lone.sum() < 0.2 * lone.size
    assert not (ox.extract(one.frame).flags & ox.Flag.LONE_COLUMN).any()


# in whole extractions ------------------------------------------------------------------------------------------------


def test_flux_without_rejection_stands_beside_it():
    one = make_scene("cosmic", 3)
    on, off = (ox.extract(one.frame, ox.Recipe(rejection={"mode": mode})) for mode in (True, False))
    assert on.rejected.sum() > 300
    assert off.rejected.sum() == 0
    struck = one.truth.cosmic.any(axis=0)
    differs = np.abs(on.flux - on.flux_unrejected)[0] > 1e-9 * np.abs(on.flux)[0]
    assert not differs[~on.rejected.any(axis=0)].any()
    assert differs[(on.flags[0] & ox.Flag.REJECTED_PIXELS != 0) & np.isfinite(on.flux[0])].all()
    assert differs[struck].mean() > 0.2
    np.testing.assert_array_equal(off.flux, off.flux_unrejected)
    assert on.quality["rejected"] == on.rejected.sum()


def test_cosmic_rays_of_a_scene_are_found():
    caught = total = 0
    for seed in range(4):
        one = make_scene("cosmic", seed)
        result = ox.extract(one.frame)
        strong = one.truth.cosmic & (one.frame.flux - one.truth.model > 10 * np.sqrt(one.truth.variance))
        caught += (result.rejected & strong).sum()
        total += strong.sum()
    assert caught / total > 0.98


def test_flags_tell_of_rejection_where_the_profile_is():
    one = make_scene("cosmic", 3)
    result = ox.extract(one.frame)
    on_profile = (result.rejected & (result.profile[0] > 0.02)).any(axis=0)
    flagged = (result.flags[0] & ox.Flag.REJECTED_PIXELS) != 0
    np.testing.assert_array_equal(flagged, on_profile)


def test_growth_takes_neighbours_along_dispersion_and_no_masked_ones():
    one = make_scene("cosmic", 3)
    plain, grown = (ox.extract(one.frame, ox.Recipe(rejection={"grow": grow})) for grow in (0, 1))
    assert grown.rejected.sum() > 1.5 * plain.rejected.sum()
    assert not (grown.rejected & one.frame.mask).any()


def test_rejection_by_the_pipeline_is_believed_for_bright_sources():
    one = make_scene("bright", 3, cosmic_rate=0.002)
    done = one.frame.replace(meta={**one.frame.meta, "outliers_rejected": True})
    ours, theirs = ox.extract(one.frame), ox.extract(done)
    core = ours.profile[0] > 0.05
    assert (ours.rejected & core).sum() > 20
    assert (theirs.rejected & core).sum() < 0.2 * (ours.rejected & core).sum()
    asked = ox.extract(done, ox.Recipe(rejection={"mode": True}))
    assert (asked.rejected & core).sum() > 20
