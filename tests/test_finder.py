"""The search: signed, blind to negatives, edges, hot rows and gradients; along a curve where the frame may bend."""

from __future__ import annotations

import numpy as np
import pytest

from optextract.finder import detect
from optextract.profiles import Gaussian

N_DISP, N_CROSS = 600, 31


def image(rng, *, row=14.3, flux=3.0, fwhm=1.6, sigma=1.0, rows=(), fluxes=()):
    """Column-major noise with sources on rows (or along arrays of rows), flux per column in units of sigma."""
    data = sigma * rng.standard_normal((N_DISP, N_CROSS))
    for where, light in zip((row, *rows), (flux, *fluxes), strict=True):
        data += light * sigma * Gaussian().integrate(N_CROSS, np.broadcast_to(where, (N_DISP,)), np.full(N_DISP, fwhm))
    return data, np.full(data.shape, sigma**-2)


def place(found) -> float:
    return float(np.median(found.row))


@pytest.mark.parametrize("fwhm", [1.1, 1.8, 3.0, 6.0])
def test_source_is_found_at_its_row_with_about_its_width(rng, fwhm):
    found = detect(*image(rng, fwhm=fwhm))
    assert found.found
    assert place(found) == pytest.approx(14.3, abs=0.25 * fwhm + 0.5)
    assert 0.5 < found.fwhm / fwhm < 2.0
    assert not found.curved


def test_signal_to_noise_is_about_that_of_the_matched_filter(rng):
    flux, fwhm = 1.5, 1.8
    profile = Gaussian().integrate(N_CROSS, np.array([14.3]), np.array([fwhm]))[0]
    ideal = flux * np.sqrt((profile**2).sum() * N_DISP)
    found = np.mean([detect(*image(rng, flux=flux, fwhm=fwhm)).snr for _ in range(8)])
    # medians of columns cost sqrt(pi/2), a filter freed of its mean and slope some more
    assert 0.5 < found / ideal < 1.0


def test_noise_alone_is_no_source(rng):
    assert sum(detect(*image(rng, flux=0.0)).found for _ in range(60)) <= 1
    assert sum(detect(*image(rng, flux=0.0), may_curve=True).found for _ in range(30)) <= 1


def test_brighter_negative_trace_is_not_taken(rng):
    found = detect(*image(rng, flux=2.0, rows=(7.0, 22.0), fluxes=(-8.0, -5.0)))
    assert place(found) == pytest.approx(14.3, abs=1.0)
    alone = detect(*image(rng, flux=-8.0))
    assert abs(place(alone) - 14.3) > 1 or not alone.found


def test_source_with_negative_twins_is_preferred_to_a_lone_brighter_row(rng):
    """Of two rows of like brightness the one with twins where the nods put them is the source."""
    twins = {"rows": (9.3, 19.3, 24.0), "fluxes": (-1.2, -1.2, 3.2)}
    found = detect(*image(rng, flux=3.0, **twins), nods=(-5.0, 5.0))
    assert place(found) == pytest.approx(14.3, abs=1.0)


@pytest.mark.parametrize("row", [0, N_CROSS - 1, 20])
def test_bright_edge_or_hot_row_is_not_taken(rng, row):
    data, weight = image(rng, flux=2.5)
    data[:, row] += 30.0
    assert place(detect(data, weight)) == pytest.approx(14.3, abs=1.0)


@pytest.mark.parametrize("gradient", [-1.5, 0.5, 3.0])
def test_gradient_of_the_background_is_no_source(rng, gradient):
    data, weight = image(rng, flux=3.0)
    data += gradient * np.arange(N_CROSS) + 50.0 * np.sin(np.arange(N_DISP) / 40)[:, None]
    assert place(detect(data, weight)) == pytest.approx(14.3, abs=1.0)


def test_cosmic_rays_are_outvoted(rng):
    data, weight = image(rng, flux=2.5)
    data[rng.integers(0, N_DISP, 80), rng.integers(0, N_CROSS, 80)] += 1000.0
    data[100:110, 22] += 500.0
    assert place(detect(data, weight)) == pytest.approx(14.3, abs=1.0)


def test_planned_source_is_preferred_where_it_is_seen_and_left_where_it_is_not(rng):
    both = {"rows": (21.0,), "fluxes": (6.0,)}
    assert place(detect(*image(rng, flux=2.5, **both))) == pytest.approx(21.0, abs=1.0)
    assert place(detect(*image(rng, flux=2.5, **both), planned=14.0)) == pytest.approx(14.3, abs=1.0)
    assert place(detect(*image(rng, flux=0.0, **both), planned=9.0)) == pytest.approx(21.0, abs=1.0)
    nothing = detect(*image(rng, flux=0.0), planned=9.0)
    assert not nothing.found
    assert place(nothing) == pytest.approx(9.0, abs=2.1)


def test_lines_without_continuum_are_found_only_when_asked_for(rng):
    data, weight = image(rng, flux=0.0)
    line = Gaussian().integrate(N_CROSS, np.array([14.3]), np.array([1.6]))[0]
    for column in (210, 215):
        data[column : column + 3] += 14 * line
    assert not detect(data, weight).found
    found = detect(data, weight, lines=True)
    assert found.found
    assert place(found) == pytest.approx(14.3, abs=1.0)
    at = found.edges[found.bin_snr.argmax()]
    assert 205 <= at <= 219


@pytest.mark.parametrize("part", [0.3, 0.1, 0.04])
@pytest.mark.parametrize("start", [0.0, 0.6])
def test_light_in_a_part_of_the_columns_is_found(rng, part, start):
    """Behind a break, say: medians of many columns know nothing of the last few, and all bins together drown them."""
    data, weight = image(rng, flux=0.0)
    lit = slice(int(start * N_DISP), int((start + part) * N_DISP))
    data[lit] += 60 * Gaussian().integrate(N_CROSS, np.array([14.3]), np.array([1.6]))[0]
    found = detect(data, weight)
    assert found.snr > 20
    assert place(found) == pytest.approx(14.3, abs=1.0)


def test_hits_and_tracks_are_no_lines(rng):
    """Tracks along dispersion and pairs of hits fill several neighbouring pixels, as lines do."""
    for _ in range(8):
        data, weight = image(rng, flux=0.0)
        hit = rng.random(data.shape) < 0.004
        data[hit] += rng.exponential(200, hit.sum())
        for _ in range(20):
            column, row = rng.integers(0, N_DISP - 8), rng.integers(0, N_CROSS - 8)
            step = np.arange(rng.integers(2, 8))
            data[column + step, row + (rng.random() * step).astype(int)] += rng.exponential(100, len(step))
        assert not detect(data, weight).found


def test_faint_continuum_is_not_left_for_hits(rng):
    data, weight = image(rng, flux=0.6)
    data[100:104, 22] += 500.0
    data[300:302, 8:10] += 500.0
    assert place(detect(data, weight)) == pytest.approx(14.3, abs=1.0)


def test_lines_that_are_not_believed_are_told(rng):
    """One line alone may as well be a hit of several pixels."""
    data, weight = image(rng, flux=0.0)
    peak = 100 * np.exp(-0.5 * ((np.arange(N_DISP) - 300.3) / 1.2) ** 2)
    data += peak[:, None] * Gaussian().integrate(N_CROSS, np.array([18.3]), np.array([1.7]))[0]
    found = detect(data, weight)
    assert not found.found
    assert found.line_snr > 50
    assert found.line_row == pytest.approx(18.3, abs=0.5)


def test_curved_trace_is_followed_where_the_frame_may_bend(rng):
    path = 8 + 14 * np.linspace(0, 1, N_DISP) ** 2
    data, weight = image(rng, row=path, flux=4.0)
    found = detect(data, weight, may_curve=True)
    assert found.curved
    at = np.clip(found.column.astype(int), 0, N_DISP - 1)
    assert np.median(np.abs(found.row - path[at])) < 1.0
    assert not detect(data, weight).curved


def test_straight_trace_is_not_bent(rng):
    for _ in range(10):
        assert not detect(*image(rng, flux=3.0), may_curve=True).curved


def test_masked_pixels_do_not_matter(rng):
    data, weight = image(rng, flux=3.0)
    hidden = rng.random(data.shape) < 0.2
    hidden[:, 25:] = True
    weight = np.where(hidden, 0.0, weight)
    one = detect(np.where(hidden, 0.0, data), weight)
    assert place(one) == pytest.approx(14.3, abs=1.0)
    assert detect(np.where(hidden, 0.0, data), weight).snr == one.snr


@pytest.mark.parametrize("n_cross", [1, 2, 3, 5])
def test_frames_of_few_rows_have_an_answer(rng, n_cross):
    found = detect(rng.standard_normal((50, n_cross)), np.ones((50, n_cross)))
    assert np.isfinite(found.row).all()
    assert (found.row >= -0.5).all()
    assert (found.row <= n_cross - 0.5).all()


def test_frame_without_a_good_pixel_has_no_source():
    found = detect(np.zeros((50, 9)), np.zeros((50, 9)))
    assert not found.found
    assert found.snr == 0.0
