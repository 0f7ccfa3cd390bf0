"""The compiled loops that measure scatter over errors, against the same written with numpy."""

from __future__ import annotations

import numpy as np
import pytest

from optextract.noise import pulls, source_pull
from optextract.robust import robust_rms

LEAST = 0.1


def image(rng, n_disp=400, n_cross=31):
    """Residuals, weights with holes, a profile whose trace is row 15, and which pixels are clear of it."""
    row = np.arange(n_cross)
    weight = rng.uniform(0.2, 3.0, (n_disp, n_cross)) * (rng.random((n_disp, n_cross)) > 0.1)
    weight[7], weight[:, 3] = 0.0, 0.0
    residual = rng.normal(size=weight.shape) * 1.3
    profile = np.exp(-0.5 * ((row - 15.0) / rng.uniform(0.7, 1.2, n_disp)[:, None]) ** 2)
    clear = np.tile(np.abs(row - 15) > 5, (n_disp, 1))
    clear[5, 20] = False
    return residual, weight, profile / profile.sum(axis=1, keepdims=True), clear


def background(rng, n_disp, n_cross):
    """Two terms, and the covariance of their coefficients in each column; one column knows nothing."""
    basis = np.stack([np.ones(n_cross), np.linspace(-1, 1, n_cross)])
    turned = rng.normal(size=(n_disp, 2, 2)) * 0.1
    covariance = turned @ turned.transpose(0, 2, 1)
    covariance[11] = np.nan
    return basis, covariance


def left_of(taken):
    return np.clip(1.0 - np.where(np.isfinite(taken), taken, 0.0), LEAST, 1.0)


def spectra(residual, weight, profile, clear, basis, covariance):
    """Blank spectra and their inverse variances, one place after the other."""
    mean = profile.mean(axis=0)
    core = np.flatnonzero(mean > 0.05 * mean.max())
    free, size, place, found = clear.all(axis=0), len(core), 0, []
    while place + size <= len(free):
        if not free[place : place + size].all():
            place += 1
            continue
        there = slice(place, place + size)
        moved = profile[:, core] * weight[:, there]
        norm = (moved * profile[:, core]).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            shared = moved @ basis[:, there].T / norm[:, None]
            left = left_of(np.einsum("xi,xij,xj->x", shared, covariance, shared) * norm)
        full = norm > 0.3 * np.median(norm[norm > 0])
        found.append(((moved * residual[:, there]).sum(axis=1)[full] / norm[full], norm[full] / left[full]))
        place += size
    return found


@pytest.mark.parametrize("fitted", [False, True])
def test_pulls_of_pixels_and_of_blank_spectra(rng, fitted):
    residual, weight, profile, clear = image(rng)
    n_disp, n_cross = residual.shape
    basis, covariance = background(rng, n_disp, n_cross)
    if not fitted:
        covariance = np.zeros_like(covariance)
    found = pulls(residual, weight, profile, clear, (basis, covariance) if fitted else None)
    leverage = weight * np.einsum("xij,iy,jy->xy", covariance, basis, basis)
    free = weight / left_of(leverage)
    use = clear & (weight > 0)
    assert found["n"] == use.sum()
    assert found["pixel"] == pytest.approx(robust_rms((residual * np.sqrt(free))[use]), rel=1e-12)
    blank = spectra(residual, weight, profile, clear, basis, covariance)
    assert len(blank) > 2
    alone = np.concatenate([flux * np.sqrt(inverse) for flux, inverse in blank])
    assert found["profile"] == pytest.approx(robust_rms(alone), rel=1e-12)
    for n in (5, 10, 20):
        sums = []
        for flux, inverse in blank:
            whole = len(flux) // n * n
            top = (flux * inverse)[:whole].reshape(-1, n).sum(axis=1)
            sums.append(top / np.sqrt(inverse[:whole].reshape(-1, n).sum(axis=1)))
        sums = np.concatenate(sums)
        assert found[f"bin{n}"] == pytest.approx(robust_rms(sums), rel=1e-12)
        if n == 10:
            assert found["n_bin10"] == len(sums)


def test_pull_of_a_peak_is_judged_by_the_other_pixels(rng):
    residual, weight, profile, _ = image(rng)
    variance = rng.uniform(0.5, 2.0, len(residual))
    variance[20] = np.inf
    centre = np.full(len(residual), 15.3)
    centre[30], centre[31] = 0.2, 30.4  # at the edges there are fewer rows
    pull, n = source_pull(residual, weight, profile, variance, centre)
    told = []
    for x, peak in enumerate(np.round(centre).astype(int)):
        for y in range(max(peak - 1, 0), min(peak + 2, residual.shape[1])):
            own = weight[x, y]
            free = 1.0 - profile[x, y] ** 2 * own * (variance[x] if np.isfinite(variance[x]) else 0.0)
            if own > 0 and free > LEAST:
                told.append(residual[x, y] * np.sqrt(own / free))
    assert n == len(told)
    assert pull == pytest.approx(robust_rms(np.array(told)), rel=1e-12)
