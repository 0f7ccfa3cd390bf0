"""What the profile lacks is no outlier: measured from the bright columns, and told where no correction explains it."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.misfit import LEAST, UNKNOWN, measure_misfit
from optextract.profiles import Gaussian
from optextract.solve import solve_columns

N_CROSS, N_DISP, CENTRE = 41, 300, 19.3
FINE = (np.arange(25) + 0.5) / 25 - 0.5


def gauss(u, width=1.0):
    return np.exp(-4 * np.log(2) * (u / width) ** 2)


def lobes(u):
    return gauss(u) + 0.05 * gauss(u - 1.5, 0.6) + 0.03 * gauss(u + 1.8, 0.6)


def double(u):
    return gauss(u - 0.55, 0.7) + gauss(u + 0.55, 0.7)


def halo(u):
    return gauss(u) + 0.1 * gauss(u, 4.0)


def pixels_of(curve, fwhm):
    """A curve of u = distance over FWHM, integrated over the pixels of a column, of unit total."""
    whole = np.arange(-40, 40, 0.001)
    rows = np.arange(N_CROSS)[:, None] + FINE - CENTRE
    return curve(rows / fwhm).mean(axis=1) / (curve(whole / fwhm).sum() * 0.001)


def frame_of(curve, fwhm, snr, seed=1):
    """A source of constant flux under unit noise; the frame and the flux."""
    light = pixels_of(curve, fwhm)
    flux = snr / np.sqrt((light**2).sum())
    noise = np.random.default_rng(seed).standard_normal((N_CROSS, N_DISP))
    return ox.Frame(flux * light[:, None] + noise, variance=np.ones((N_CROSS, N_DISP))), flux


@pytest.mark.parametrize(("curve", "fwhm"), [(lobes, 1.6), (double, 2.5)])
def test_rows_that_the_profile_lacks_are_not_rejected_in_all_columns(curve, fwhm):
    frame, flux = frame_of(curve, fwhm, 1000.0)
    result = ox.extract(frame)
    plain = ox.extract(frame, ox.Recipe(rejection={"mode": False}))
    assert result.rejected.sum(axis=1).max() < 0.02 * N_DISP
    assert np.nanmean(result.flux[0]) / flux == pytest.approx(1.0, abs=0.007)
    np.testing.assert_allclose(result.flux, plain.flux, rtol=1e-3)


def test_hits_are_found_on_a_profile_that_has_lobes():
    frame, flux = frame_of(lobes, 1.6, 300.0)
    data = np.array(frame.flux)
    struck = np.arange(10, N_DISP - 10, 20)
    data[19, struck] += 40.0
    data[22, struck + 7] += 20.0  # on a lobe
    result = ox.extract(frame.replace(flux=data))
    assert result.rejected[19, struck].all()
    assert result.rejected[22, struck + 7].all()
    assert np.nanmean(result.flux[0]) / flux == pytest.approx(1.0, abs=0.007)


def measured(snr, *, fwhm=1.6, true=1.6, hits=0):
    profile = Gaussian().integrate(N_CROSS, np.full(N_DISP, CENTRE), np.full(N_DISP, fwhm))
    light = Gaussian().integrate(N_CROSS, np.full(N_DISP, CENTRE), np.full(N_DISP, true))
    flux = snr / np.sqrt((profile**2).sum(axis=1))[:, None]
    rng = np.random.default_rng(4)
    data, weight = flux * light + rng.standard_normal(light.shape), np.ones(light.shape)
    for column in rng.permutation(N_DISP)[:hits]:
        data[column, rng.integers(17, 22)] += 1000.0
    place, width = np.full((1, N_DISP), CENTRE), np.full((1, N_DISP), fwhm)
    terms = profile[:, None, :]
    return measure_misfit(data, weight, terms, solve_columns(data, weight, terms), place, width, 1.0), profile - light


def test_floor_is_what_the_data_can_tell():
    """Nothing is known from faint columns; a bright source that fits leaves little room for an error of the profile."""
    floors = [measured(snr)[0].floor for snr in (5.0, 30.0, 100.0, 300.0, 3000.0)]
    assert floors[0] == UNKNOWN
    assert floors == sorted(floors, reverse=True)
    assert floors[2] < 0.35 * UNKNOWN
    assert floors[-1] == LEAST


def test_cosmic_rays_are_no_misfit():
    clean, struck = measured(300.0)[0], measured(300.0, hits=15)[0]
    assert struck.floor < 2 * clean.floor
    assert np.count_nonzero(struck.systematic) < 0.02 * struck.systematic.size


def test_misfit_is_that_of_the_profile():
    found, wrong = measured(300.0, true=1.8)
    expected = np.abs(wrong)
    clear = expected > 0.02
    assert clear.sum() >= 2 * N_DISP
    # against the flux that the other pixels give, which each follow the wrong profile too: up to twice as much
    ratio = found.systematic[clear] / expected[clear]
    assert ratio.min() > 0.7
    assert ratio.max() < 2.5
    assert found.floor == UNKNOWN


@pytest.mark.parametrize(("curve", "fwhm", "said"), [(double, 2.5, True), (halo, 2.0, True), (gauss, 1.6, False)])
def test_what_no_correction_explains_is_said(curve, fwhm, said):
    frame, _ = frame_of(curve, fwhm, 300.0)
    quality = ox.extract(frame).quality
    words = [sentence for sentence in quality["warnings"] if "of the light into the wrong pixels" in sentence]
    assert bool(words) is said
    if said:
        assert words[0].startswith(f"The profile puts {100 * quality['misfit']:.1f} % of the light")
        assert "profile.template" in words[0]
    else:
        assert quality["misfit"] < 0.001


def test_nothing_is_said_of_the_profile_of_a_faint_source():
    assert ox.extract(frame_of(double, 2.5, 10.0)[0]).quality["misfit"] == 0.0


def test_a_twin_that_no_pixel_sees_leaves_the_others_to_be_judged():
    """Its variance is infinite: the misfit was NaN, and nothing was rejected in the whole frame."""
    columns = np.arange(400)
    fwhm = 1.1 + 1.6 * columns / 400
    centre, flux = 14.0 + 0.3 * columns / 400, 60.0 * (1.2 - 0.6 * columns / 400)
    places = ((0.0, 1.0), (-10.6, -1 / 3), (-5.3, -2 / 3), (5.3, -2 / 3), (10.6, -1 / 3))
    light = sum(depth * Gaussian().integrate(18, centre + offset, fwhm).T for offset, depth in places)
    data = flux * light + np.random.default_rng(1).standard_normal((18, 400))
    data[14, 200] += 1000.0
    frame = ox.Frame(
        data,
        variance=np.ones(data.shape),
        meta={"planned_cross": 14.1, "nod_offsets": tuple(offset for offset, _ in places[1:]), "nod_noise": "included"},
    )
    result = ox.extract(frame)
    assert result.resolved.nods.mode == "model"
    assert result.resolved.rejection.floor <= UNKNOWN
    assert result.rejected[14, 200]
    assert np.nanmedian(result.flux[0] / flux) == pytest.approx(1.0, abs=0.01)
    assert abs(result.flux[0, 200] - flux[200]) < 5 * result.uncertainty[0, 200]
