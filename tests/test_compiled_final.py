"""The compiled loops of the last solution and of what is handed over, against the same written with numpy."""

from __future__ import annotations

import numpy as np
import pytest

from optextract.aperture import coverage
from optextract.compiled.figures import compare
from optextract.compiled.final import background_variance, solve_final, spread_along
from optextract.compiled.matched import matched_sums
from optextract.compiled.misfit import wrong_part
from optextract.compiled.products import carry, flag_columns, shares, spectra
from optextract.results import freeze
from optextract.solve import known_of, solve_columns

N_DISP, N_CROSS, N_SOURCE = 80, 17, 2
COLUMN, ROW, N_COLUMN, N_ROW = 3, 2, 90, 21  # of the frame about the window


def scene(rng):
    """A window with two sources and a twin, holes, hits, a column without data, and a background of two terms."""
    row = np.arange(N_CROSS)
    centre = np.array([6.2, 10.1])[:, None] + rng.normal(0, 0.3, N_DISP)
    fwhm = rng.uniform(1.5, 3.0, (N_SOURCE, N_DISP))
    places = np.stack([centre[0], centre[1], centre[0] + 8.0], axis=1)
    profiles = np.exp(-2.8 * ((row - places[:, :, None]) / fwhm[0][:, None, None]) ** 2)
    profiles /= 1.06 * fwhm[0][:, None, None]
    weight = rng.uniform(0.2, 3.0, (N_DISP, N_CROSS)) * (rng.random((N_DISP, N_CROSS)) > 0.1)
    weight[4] = 0.0
    pixels = (rng.random(weight.shape) < 0.05) & (weight > 0)
    kept = weight * ~pixels
    background = rng.normal(size=weight.shape)
    data = background + 30 * profiles[:, 0] + 20 * profiles[:, 1] + rng.normal(size=weight.shape)
    basis = np.stack([np.ones(N_CROSS), np.linspace(-1, 1, N_CROSS)])
    turned = rng.normal(size=(N_DISP, 2, 2))
    uncertain = 0.01 * turned @ turned.transpose(0, 2, 1)
    return locals()


def solved(one):
    """What `solve_final` fills, by name."""
    shape, n_term = (N_DISP, N_SOURCE), one["profiles"].shape[1]
    out = {
        "coefficients": np.empty((N_DISP, n_term)),
        "covariance": np.empty((*shape, N_SOURCE)),
        **{name: np.empty(shape) for name in ("unrejected", "fraction", "good", "total")},
        "struck": np.empty(shape, dtype=np.intp),
        **{name: np.empty((N_DISP, N_CROSS)) for name in ("model", "residual")},
    }
    names = ("data", "background", "weight", "kept", "pixels", "profiles")
    sources = np.ascontiguousarray(one["profiles"][:, :N_SOURCE])
    with_all, inverse = (known_of(one[name], one["profiles"]).covariance for name in ("weight", "kept"))
    given = (sources, one["basis"], one["uncertain"], with_all, inverse, 0.02)
    told = solve_final(*(one[name] for name in names), *given, *out.values())
    return {**out, "inverse": inverse}, told


def test_last_solution(rng):
    one = scene(rng)
    out, (n_good, n_seen, chi2) = solved(one)
    kept, weight, profiles = one["kept"], one["weight"], one["profiles"]
    above = one["data"] - one["background"]
    plain, without = solve_columns(above, kept, profiles), solve_columns(above, weight, profiles)
    np.testing.assert_allclose(out["coefficients"], plain.coefficients, rtol=1e-9)
    np.testing.assert_allclose(out["inverse"], plain.covariance, rtol=1e-9)
    known = np.where(np.isfinite(plain.covariance), plain.covariance, 0.0)
    moved = known @ ((profiles * kept[:, None]) @ one["basis"].T)
    together = known + moved @ one["uncertain"] @ moved.transpose(0, 2, 1)
    np.testing.assert_allclose(out["covariance"], together[:, :N_SOURCE, :N_SOURCE], rtol=1e-9)
    told = np.isfinite(np.diagonal(without.covariance, axis1=1, axis2=2)[:, :N_SOURCE])
    np.testing.assert_allclose(out["unrejected"], np.where(told, without.coefficients[:, :N_SOURCE], np.nan), rtol=1e-9)
    sources = profiles[:, :N_SOURCE]
    np.testing.assert_allclose(out["good"], (sources * (kept > 0)[:, None]).sum(axis=2), rtol=1e-12)
    np.testing.assert_allclose(out["fraction"], (sources * (weight > 0)[:, None]).sum(axis=2), rtol=1e-12)
    np.testing.assert_allclose(out["total"], sources.sum(axis=2), rtol=1e-12)
    np.testing.assert_array_equal(out["struck"], (one["pixels"][:, None] & (sources > 0.02)).sum(axis=2))
    model = one["background"] + np.einsum("xt,xty->xy", plain.coefficients, profiles)
    np.testing.assert_allclose(out["model"], model, rtol=1e-9)
    residual = np.where(kept > 0, one["data"] - model, 0.0)
    np.testing.assert_allclose(out["residual"], residual, atol=1e-9)
    assert n_good == (kept > 0).sum()
    assert n_seen == (kept > 0).any(axis=1).sum() == N_DISP - 1
    assert chi2 == pytest.approx((kept * residual**2).sum(), rel=1e-9)


def test_variance_of_a_background(rng):
    one = scene(rng)
    along = rng.normal(size=(N_DISP, 3))
    turned = rng.normal(size=(6, 6))
    covariance, found = turned @ turned.T, np.empty((N_DISP, 2, 2))
    spread_along(along, covariance, found)
    blocks = covariance.reshape(2, 3, 2, 3)
    np.testing.assert_allclose(found, np.einsum("xm,imjn,xn->xij", along, blocks, along), rtol=1e-9)
    told = np.einsum("xij,iy,jy->xy", found, one["basis"], one["basis"])
    out = np.empty(told.shape)
    background_variance(one["basis"], found, True, False, out)
    np.testing.assert_allclose(out, told, rtol=1e-9)
    found[5] = 0.0
    background_variance(one["basis"], found, True, True, out)
    assert np.isnan(out[5]).all()
    np.testing.assert_allclose(out[6:], np.sqrt(told[6:]), rtol=1e-9)
    background_variance(one["basis"], found, False, False, out)
    assert (out[5] == 0).all()


def along(values, fill=np.nan):
    """Values of the window's columns, (n_disp, n_source), as those of the frame's, (n_source, n_column)."""
    out = np.full((N_SOURCE, N_COLUMN), fill)
    out[:, COLUMN : COLUMN + N_DISP] = values.T
    return out


def test_flags_and_spectra(rng):
    one = scene(rng)
    out, _ = solved(one)
    restored, alone = rng.random((2, N_DISP)) < 0.1
    flags, lost = np.empty((N_DISP, N_SOURCE), dtype=np.uint32), np.empty((N_DISP, N_SOURCE), dtype=bool)
    names = ("good", "total", "inverse", "struck")
    bits = (1, 2, 4, 8, 16, 128, 256)
    flag_columns(*(out[n] for n in names), one["kept"], restored, alone, 0.9, 0.02, bits, flags, lost)
    seen = (one["kept"] > 0).any(axis=1)[:, None]
    bad = (out["good"] < 0.9) | ~np.isfinite(np.diagonal(out["inverse"], axis1=1, axis2=2)[:, :N_SOURCE])
    told = 1 * ~seen + 2 * (bad & seen) + 4 * (~bad & (out["total"] - out["good"] > 0.02)) + 8 * (out["struck"] > 0)
    told = told + 16 * restored[:, None] + 128 * alone[:, None] + 256 * (out["total"] < 0.98)
    np.testing.assert_array_equal(flags, told)
    np.testing.assert_array_equal(lost, bad | ~seen)
    assert 0 < lost.sum() < lost.size

    factor = rng.uniform(1.0, 2.0, lost.shape)
    flux, error, unrejected = np.empty((3, N_SOURCE, N_COLUMN))
    together = np.empty((N_COLUMN, N_SOURCE, N_SOURCE))
    spectra(
        out["coefficients"], out["covariance"], out["unrejected"], out["fraction"], 0.9, factor, 1.5, lost, COLUMN,
        flux, error, unrejected, together,
    )  # fmt: skip
    np.testing.assert_allclose(flux, along(np.where(lost, np.nan, out["coefficients"][:, :N_SOURCE] * factor)))
    enough = out["fraction"] >= 0.9
    np.testing.assert_allclose(unrejected, along(np.where(enough, out["unrejected"] * factor, np.nan)))
    covariance = out["covariance"] * factor[:, :, None] * factor[:, None, :] * 1.5**2
    covariance[lost] = np.nan
    covariance.swapaxes(1, 2)[lost] = np.nan
    np.testing.assert_allclose(together[COLUMN : COLUMN + N_DISP], covariance, rtol=1e-12)
    assert np.isnan(together[:COLUMN]).all()
    np.testing.assert_allclose(error, along(np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))))


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_parts_of_the_variance_and_plain_sums(rng, slope):
    one = scene(rng)
    out, _ = solved(one)
    lost = rng.random((N_DISP, N_SOURCE)) < 0.1
    scale = rng.uniform(1.0, 2.0, lost.shape)
    image = rng.uniform(0.5, 2.0, (N_ROW, N_COLUMN))
    image[ROW + 4, COLUMN + 9] = np.nan
    lower = one["centre"] - rng.uniform(1.0, 3.0, one["centre"].shape)
    upper = one["centre"] + rng.uniform(1.0, 3.0, one["centre"].shape)
    spread, boxed = np.empty((2, N_SOURCE, N_COLUMN))
    names = ("data", "kept", "profiles")
    data, kept, profiles = (one[name] for name in names)
    through, summed, counted = shared(kept, profiles, out["inverse"], lower, upper)
    carry(
        freeze(image), ROW, COLUMN, 1.2, slope, data, out["model"], through, scale, lost, summed, 2.0, counted,
        spread, boxed,
    )  # fmt: skip
    values = 1.2 * np.nan_to_num(image[ROW : ROW + N_CROSS, COLUMN : COLUMN + N_DISP].T)
    noise = np.maximum(data, 0) - np.maximum(out["model"], 0)
    followed = np.maximum(values - slope * noise, 0) if slope else values
    inverse = np.where(np.isfinite(out["inverse"]), out["inverse"], 0.0)
    shares = np.einsum("xts,xsy->xty", inverse, profiles)[:, :N_SOURCE] * kept[:, None]
    told = (shares**2 * followed[:, None]).sum(axis=2) * scale**2
    np.testing.assert_allclose(spread, along(np.where(lost, np.nan, told)), rtol=1e-9)

    good = (kept > 0)[:, None]
    part = coverage(N_CROSS, lower.T, upper.T).transpose(1, 2, 0)
    count = (part * good).sum(axis=2)
    empty = count == 0
    summed = (part**2 * good * values[:, None]).sum(axis=2) * 4.0
    np.testing.assert_allclose(boxed, along(np.where(empty, np.nan, summed)), rtol=1e-9)
    assert empty.any()

    flux, error, n_pixels = np.empty((3, N_SOURCE, N_COLUMN))
    flags, inside = np.empty(flux.shape, dtype=np.uint32), np.empty(lower.shape)
    sources = np.ascontiguousarray(profiles[:, :N_SOURCE])
    matched_sums(
        data, one["background"], kept, sources, one["basis"], one["uncertain"], lower, upper, 2.0, (1, 4, 128),
        COLUMN, flux, error, flags, n_pixels, inside,
    )  # fmt: skip
    total = (part * good * (data - one["background"])[:, None]).sum(axis=2)
    np.testing.assert_allclose(flux, along(np.where(empty, np.nan, 2.0 * total)), rtol=1e-9)
    moved = np.einsum("xky,by->xkb", part * good, one["basis"])
    own = (part**2 * good / np.where(good, kept[:, None], 1.0)).sum(axis=2)
    own += np.einsum("xkb,xbc,xkc->xk", moved, one["uncertain"], moved)
    np.testing.assert_allclose(error, along(np.where(empty, np.nan, 2.0 * np.sqrt(own))), rtol=1e-9)
    np.testing.assert_allclose(n_pixels, along(count), rtol=1e-12)
    np.testing.assert_allclose(inside, (part * sources).sum(axis=2).T, rtol=1e-12)
    partial = ~empty & ((part > 0) & ~good).any(axis=2)
    beyond = (lower.T < -0.5) | (upper.T > N_CROSS - 0.5)
    np.testing.assert_array_equal(flags, along(1 * empty + 4 * partial + 128 * beyond, 1))


def shared(kept, profiles, inverse, lower, upper):
    """What `shares` fills."""
    shape = (len(kept), len(lower))
    out = (*np.empty((2, *shape, kept.shape[1])), np.empty(shape, dtype=bool))
    shares(kept, profiles, inverse, lower, upper, *out)
    return out


def carried(weight, terms, inverse, variance):
    """Variance of the coefficients, shape (n_disp, n_term), where that of the pixels is `variance`."""
    n_disp, n_term, _ = terms.shape
    edges, found = np.zeros((n_term, n_disp)), np.empty((2, n_term, n_disp))
    nothing, all_there = np.zeros(weight.shape), np.zeros((n_disp, n_term), dtype=bool)
    through, summed, counted = shared(weight, terms, inverse, edges, edges)
    carry(
        freeze(np.ascontiguousarray(variance.T)), 0, 0, 1.0, 0.0, nothing, nothing, through,
        np.ones((n_disp, n_term)), all_there, summed, 1.0, counted, found[0], found[1],
    )  # fmt: skip
    return found[0].T


def test_components_through_the_same_weights_add_up_to_the_covariance(rng):
    one = scene(rng)
    weight, terms = (np.delete(one[name], 4, axis=0) for name in ("kept", "profiles"))
    inverse = solve_columns(np.zeros(weight.shape), weight, terms).covariance
    variance = np.where(weight > 0, 1 / np.where(weight > 0, weight, 1), 0)
    share = rng.random(weight.shape)
    parts = [carried(weight, terms, inverse, part) for part in (share * variance, (1 - share) * variance)]
    np.testing.assert_allclose(sum(parts), np.diagonal(inverse, axis1=1, axis2=2), rtol=1e-9)


def test_weights_need_not_be_the_variance_for_the_errors_to_be_true(rng):
    """The variance of a fit that was weighted with another one than the data have is that of its scatter."""
    one = scene(rng)
    n, weight, terms = 20_000, one["weight"][:1], one["profiles"][:1]
    true_variance = rng.uniform(0.3, 3.0, N_CROSS)
    data = rng.normal(size=(n, N_CROSS)) * np.sqrt(true_variance)
    found = solve_columns(data, np.broadcast_to(weight, data.shape), np.broadcast_to(terms, (n, *terms.shape[1:])))
    stated = carried(weight, terms, found.covariance[:1].copy(), true_variance[None, :])[0]
    np.testing.assert_allclose(found.coefficients.var(axis=0), stated, rtol=0.05)


def middle(values):
    return np.median(values[np.isfinite(values)])


def test_figures(rng):
    one = scene(rng)
    out, _ = solved(one)
    flux, error, unrejected, box_flux, box_error = rng.uniform(1.0, 3.0, (5, N_SOURCE, N_COLUMN))
    flux[0, COLUMN + 5] = np.nan
    inside = rng.uniform(0.5, 1.0, (N_SOURCE, N_DISP))
    inside[1, 7] = 0.0
    found = np.empty((N_SOURCE, 8))
    there = (out["inverse"], out["covariance"], out["good"])
    lost = compare(flux, error, unrejected, box_flux, box_error, COLUMN, inside, *there, found)
    assert lost == 1
    window = slice(COLUMN, COLUMN + N_DISP)
    for k in range(N_SOURCE):
        f, e, n = flux[k, window], error[k, window], unrejected[k, window]
        with np.errstate(divide="ignore", invalid="ignore"):
            box, own = box_flux[k, window] / inside[k], box_error[k, window] / inside[k]
            bound = np.sqrt(out["inverse"][:, k, k] / out["covariance"][:, k, k])
        snr = (f / e)[np.isfinite(f)]
        use = np.isfinite(f) & np.isfinite(box)
        weight = own[use] ** -2
        bottom = (weight * f[use] ** 2).sum()
        ratio = (weight * f[use] * box[use]).sum() / bottom
        told = [
            np.sqrt((snr**2 - 1).sum()), np.median(snr), middle(own / e), middle(bound), np.median(out["good"][:, k]),
            middle(n / f), 1 / ratio, 1 / np.sqrt(bottom) / ratio**2,
        ]  # fmt: skip
        np.testing.assert_allclose(found[k], told, rtol=1e-9)


def test_light_in_the_wrong_pixels(rng):
    one = scene(rng)
    out, _ = solved(one)
    residual = out["residual"] + 0.3 * one["profiles"][:, 0] * (rng.random(N_DISP) > 0.5)[:, None]
    kept, centre, fwhm = one["kept"], one["centre"], one["fwhm"]
    noise, least, reach, clear = 1.1, 5.0, 1.2, 1.0
    args = (residual, kept, out["coefficients"], out["covariance"], centre, fwhm, noise, least)
    assert wrong_part(*args, 1e9, reach, clear) == 0.0
    found = wrong_part(*args, 10.0, reach, clear)
    raw = out["coefficients"][:, :N_SOURCE]
    with np.errstate(divide="ignore", invalid="ignore"):
        bright = raw / (noise * np.sqrt(np.diagonal(out["covariance"], axis1=1, axis2=2))) > least
    flux = np.where(bright, raw, 0.0).sum(axis=1)
    away = np.arange(N_CROSS) - centre[:, :, None]
    nearest = np.abs(away).argmin(axis=0)
    away = np.take_along_axis(away, nearest[None], axis=0)[0]
    near = np.abs(away) <= reach * np.take_along_axis(fwhm[:, :, None], nearest[None], axis=0)[0]
    use = near & (kept > 0) & (flux > 0)[:, None]
    told = 0.0
    for cell in np.unique(np.round(2 * away[use])):
        there = use & (np.round(2 * away) == cell)
        top = (kept * flux[:, None] * residual)[there].sum()
        bottom = (kept * flux[:, None] ** 2)[there].sum()
        if top**2 > (clear * noise) ** 2 * bottom:
            told += abs(top) / bottom * there.sum() / (flux > 0).sum()
    assert told > 0
    assert found == pytest.approx(told, rel=1e-9)
