"""Nods: subtracted with honest variance, combined on a common grid without interpolating data."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

import optextract as ox
from optextract.combine import combine, pixel_edges, subtract_nods
from optextract.profiles import Gaussian

NODS = (13.0, 18.1, 7.9)
SHIFT = (0.0, 0.31, 0.62)  # of a pixel in wavelength between the nods' traces: the slit is tilted


def spectrum(wavelength):
    """Continuum and lines of 3 pixels FWHM."""
    out = 300 + 100 * (wavelength - 2.0)
    for line, height in ((1.42, 900.0), (2.05, 2000.0), (2.5, 1500.0)):
        out = out + height * np.exp(-0.5 * ((wavelength - line) / 0.013) ** 2)
    return out


def pixel_means(low, high):
    grid = low[:, None] + (high - low)[:, None] * (np.arange(40) + 0.5) / 40
    return spectrum(grid).mean(axis=1)


def exposures(seed, n=200, n_cross=26, sky=40.0, noise=8.0, gain=1.0):
    """Three exposures on one detector: the same wavelength in the same pixel, which changes from row to row."""
    rng = np.random.default_rng(seed)
    step = 0.01
    tilt = SHIFT[1] * step / (NODS[1] - NODS[0])
    wavelength = 1.0 + step * np.arange(n) + tilt * (np.arange(n_cross)[:, None] - NODS[0])
    frames = []
    for place in NODS:
        trace = place + 0.4 * np.linspace(-1, 1, n)
        along = 1.0 + step * np.arange(n) + tilt * (trace - NODS[0])
        flux = pixel_means(along - step / 2, along + step / 2)
        profile = Gaussian().integrate(n_cross, trace, np.full(n, 1.8)).T
        mean = profile * flux + sky
        data = rng.poisson(mean) + rng.normal(0, noise, mean.shape)
        frames.append(
            ox.Frame(
                data, variance=mean + noise**2, wavelength=wavelength * u.um, unit="electron",
                meta={"planned_trace": trace, "planned_cross": place, "rectified": False},
            )
        )  # fmt: skip
    return frames


def extracted(seed, **sections):
    asked = ox.Recipe(background={"degree": "none"}, rejection={"mode": False}, noise={"revise": False}).updated(
        **sections
    )
    return [ox.extract(frame, asked) for frame in subtract_nods(exposures(seed))]


# --- subtraction


def test_a_difference_holds_the_noise_of_what_was_subtracted():
    frames = exposures(1)
    first, second, third = subtract_nods(frames)
    np.testing.assert_allclose(first.flux, frames[0].flux - 0.5 * (frames[1].flux + frames[2].flux))
    np.testing.assert_allclose(second.variance, frames[1].variance + 0.25 * (frames[0].variance + frames[2].variance))
    assert first.meta["nod_noise"] == "included"
    assert first.meta["nod_count"] == 3
    np.testing.assert_allclose(third.meta["nod_offsets"], (NODS[0] - NODS[2], NODS[1] - NODS[2]))
    assert third.meta["nod_depths"] == (-0.5, -0.5)
    clear = np.s_[23:]
    pull = (first.flux / np.sqrt(first.variance))[clear]
    assert pull.std() == pytest.approx(1.0, abs=0.06)
    assert abs(pull.mean()) < 0.1


def test_a_bad_pixel_of_one_exposure_is_made_up_for_by_the_other():
    frames = exposures(2)
    mask = np.zeros(frames[1].shape, dtype=bool)
    mask[5, 50] = mask[6, 60] = True
    frames[1] = frames[1].replace(mask=mask)
    both = np.zeros_like(mask)
    both[6, 60] = True
    frames[2] = frames[2].replace(mask=both)
    first, second, _ = subtract_nods(frames)
    assert first.flux[5, 50] == frames[0].flux[5, 50] - frames[2].flux[5, 50]
    assert first.variance[5, 50] == pytest.approx(frames[0].variance[5, 50] + frames[2].variance[5, 50])
    assert first.mask[6, 60]
    assert not first.mask[5, 50]
    assert second.mask[5, 50]


def test_exposures_at_one_position_are_not_subtracted_from_each_other():
    frames = exposures(3)
    first, *_ = subtract_nods([frames[0], frames[0], frames[1]])
    np.testing.assert_allclose(first.flux, frames[0].flux - frames[1].flux)
    assert first.meta["nod_count"] == 2
    with pytest.raises(ox.FrameError, match="different for each frame from those of some others"):
        subtract_nods(frames[:2], positions=(5.0, 5.0))


def test_exposures_that_do_not_belong_together_are_refused():
    frames = exposures(3)
    with pytest.raises(ox.FrameError, match=r"'frames' parameter of subtract_nods must be two or more frames\. Got 1"):
        subtract_nods(frames[:1])
    cut = ox.Frame(
        frames[1].flux[:20], variance=frames[1].variance[:20], wavelength=frames[1].wavelength[:20], unit="electron"
    )
    with pytest.raises(ox.FrameError, match=r"all of shape \(26, 200\). Got '\(20, 200\)'"):
        subtract_nods([frames[0], cut])
    moved = frames[1].replace(wavelength=frames[1].wavelength + 0.005 * u.um)
    with pytest.raises(ox.FrameError, match=r"the same wavelength in the same pixel .* Got 'frame 1, 0.50 pixel away'"):
        subtract_nods([frames[0], moved])
    blank = frames[1].replace(meta={})
    with pytest.raises(ox.FrameError, match="none, and frame 1 has none"):
        subtract_nods([frames[0], blank])
    with pytest.raises(ox.FrameError, match=r"with a variance\. Got 'frame 1 without'"):
        subtract_nods([frames[0], frames[1].replace(variance=None)])


# --- combination


def test_pixel_edges_beside_gaps():
    low, high = pixel_edges(np.array([1.0, 2.0, 3.0, np.nan, 10.0, 12.0]))
    np.testing.assert_allclose(low[[0, 1, 2, 4, 5]], [0.5, 1.5, 2.5, 9.0, 11.0])
    np.testing.assert_allclose(high[[0, 1, 2, 4, 5]], [1.5, 2.5, 3.5, 11.0, 13.0])
    down, up = pixel_edges(np.array([3.0, 2.0, 1.0]))
    np.testing.assert_allclose(down, [2.5, 1.5, 0.5])
    np.testing.assert_allclose(up, [3.5, 2.5, 1.5])


def test_joint_spectrum_is_unbiased_and_its_errors_are_true():
    """Mean over bins, on lines and off, with the pull of bins and the chi2 of all of them with their covariance."""
    pulls, whitened, on, off = [], [], [], []
    for seed in range(12):
        found = combine(
            extracted(seed, trace={"degree": 1}), scale="none", lines=[(1.38, 1.46), (2.0, 2.1), (2.45, 2.55)]
        )
        edges = found.edges.value
        truth = pixel_means(edges[:-1], edges[1:])
        good = np.isfinite(found.flux)
        good[[0, 1, -2, -1]] = False  # bins at the ends are seen by one exposure alone
        away = (found.flux - truth)[good]
        pulls.append(away / found.uncertainty[good])
        whitened.append(away @ np.linalg.solve(found.covariance[np.ix_(good, good)], away) / good.sum())
        on.append((found.lines.chi2, found.lines.freedom))
        off.append((found.continuum.chi2, found.continuum.freedom))
    pulls = np.concatenate(pulls)
    assert abs(pulls.mean()) < 0.06
    assert pulls.std() == pytest.approx(1.0, abs=0.08)
    assert np.mean(whitened) == pytest.approx(1.0, abs=0.12)
    for parts in (on, off):
        chi2, freedom = np.sum(parts, axis=0)
        assert chi2 / freedom == pytest.approx(1.0, abs=0.12)


def test_overlap_smooths_lines_where_joint_does_not():
    results = extracted(3)
    joint, overlap = (combine(results, method=m, scale="none") for m in ("joint", "overlap"))
    edges = joint.edges.value
    peak = int(np.argmax(pixel_means(edges[:-1], edges[1:])))
    truth = pixel_means(edges[:-1], edges[1:])[peak]
    assert joint.flux[peak] == pytest.approx(truth, rel=0.05)
    assert overlap.flux[peak] < 0.98 * truth
    # the price: neighbours anticorrelated there, correlated here; the sum over a line costs the same
    assert joint.covariance[peak, peak + 1] < 0 < overlap.covariance[peak, peak + 1]
    part = slice(peak - 6, peak + 7)
    one, two = (c.covariance[part, part].sum() for c in (joint, overlap))
    assert one == pytest.approx(two, rel=0.15)


def test_one_exposure_is_returned_as_it_is():
    result = extracted(4)[0]
    found = combine([result], scale="none")
    np.testing.assert_allclose(found.flux[1:-1], result.flux[0][1:-1], rtol=1e-6)
    np.testing.assert_allclose(found.uncertainty[1:-1], result.uncertainty[0][1:-1], rtol=1e-6)
    assert found.all.freedom == pytest.approx(0, abs=1e-6)
    assert np.isnan(found.all.reduced) or found.all.chi2 == pytest.approx(0, abs=1e-6)


def test_an_exposure_of_another_flux_is_seen():
    results = extracted(5)
    frames = subtract_nods(exposures(5))
    brighter = ox.extract(frames[0].replace(flux=1.2 * frames[0].flux), results[0].recipe)
    found = combine([brighter, *results[1:]], scale="none")
    assert found.all.reduced > 2
    (one, _), (two, _), _ = found.ratios
    assert one / two == pytest.approx(1.2, abs=0.03)
    assert "Each exposure's flux over the combined one: 1.1" in found.words()[-1]


def test_scales_are_quoted_and_applied():
    results = extracted(6)
    plain, twice = combine(results, scale="none"), combine(results, scale=2.0)
    np.testing.assert_allclose(twice.uncertainty, 2 * plain.uncertainty)
    assert twice.all.chi2 == pytest.approx(plain.all.chi2 / 4)
    assert twice.scales == (2.0, 2.0, 2.0)
    assert "errors were multiplied by 2.00, 2.00, 2.00." in twice.words()[0]
    frames = subtract_nods(exposures(6))
    small = [ox.extract(f.replace(variance=f.variance / 9), r.recipe) for f, r in zip(frames, results, strict=True)]
    scatter = combine(small, scale="scatter")
    np.testing.assert_allclose(scatter.scales, 3.0, rtol=0.2)
    assert scatter.continuum.reduced == pytest.approx(1.0, abs=0.25)
    with pytest.raises(
        ox.OptextractError, match="'scale' parameter of combine must be auto, scatter, none or 3 positive"
    ):
        combine(results, scale=(1.0, 2.0))


def test_an_outlier_is_left_out_when_asked():
    frames = list(subtract_nods(exposures(7)))
    flux = np.array(frames[1].flux)
    flux[int(NODS[1]), 100] += 1500
    frames[1] = frames[1].replace(flux=flux)
    asked = ox.Recipe(background={"degree": "none"}, rejection={"mode": False}, noise={"revise": False})
    results = [ox.extract(frame, asked) for frame in frames]
    with_it, without = combine(results, scale="none"), combine(results, scale="none", clip=6.0)
    assert without.rejected >= 1
    assert without.all.reduced < 1.3 < with_it.all.reduced


def test_grids_and_inputs_that_cannot_be_are_refused():
    results = extracted(8)
    with pytest.raises(
        ox.OptextractError, match="'edges' parameter of combine must be two or more increasing wavelengths"
    ):
        combine(results, edges=[2.0, 1.0] * u.um)
    with pytest.raises(ox.OptextractError, match="'edges' parameter of combine must be wavelengths"):
        combine(results, edges=[1.0, 2.0] * u.kg)
    with pytest.raises(ox.OptextractError, match=r"'source' parameter of combine must be between 0 and 0\. Got 1"):
        combine(results, source=1)
    with pytest.raises(ox.OptextractError, match="'results' parameter of combine must be one extraction or more"):
        combine([])
    wide = combine(results, edges=np.linspace(1.0, 2.9, 40) * u.um, scale="none")
    truth = pixel_means(wide.edges.value[:-1], wide.edges.value[1:])
    good = np.isfinite(wide.flux)
    assert np.std(((wide.flux - truth) / wide.uncertainty)[good][1:-1]) == pytest.approx(1.0, abs=0.35)
    assert good.sum() >= 38


def test_spectrum_and_table():
    found = combine(extracted(9))
    spectrum_ = found.to_spectrum()
    np.testing.assert_array_equal(spectrum_.flux.value, found.flux)
    table = found.table()
    assert table.colnames == ["wavelength", "flux", "uncertainty"]
    assert len(table.meta["words"]) == 3


# --- real data


def test_ceers_nods_meet_on_a_joint_grid(data_dir):
    """Three nods of a real source: what they say of each other, and of the drizzled spectrum."""
    from optextract.io import read

    folder = data_dir / "nirspec_mos_ceers_933"
    frames = [read(path) for path in sorted(folder.glob("*_phot*"))]
    results = [ox.extract(frame) for frame in subtract_nods(frames)]
    waves = np.array([result.wavelength.value for result in results])
    assert np.nanmax(np.abs(waves - waves[0]) / np.gradient(waves[0])) > 0.25
    found = combine(results, scale="scatter", clip=6.0)
    assert len(found.scales) == 3
    assert all(1.0 < value < 2.0 for value in found.scales)
    assert found.continuum.freedom > 500
    assert found.lines.freedom > 20
    assert 0.8 < found.continuum.reduced < 1.5
    assert found.lines.reduced < 4.0
    assert all(0.85 < value < 1.15 for value, _ in found.ratios)
    drizzled = ox.extract(read(folder / "jw01345-o062_s00933_nirspec_clear-prism_s2d.fits"))
    # lines are 2 pixels wide and the grids differ by parts of one: only means over wider bins can be compared
    edges = found.edges[::8]
    native = combine(results, scale=found.scales, clip=6.0, edges=edges)
    resampled = combine([drizzled], scale="none", method="overlap", edges=edges)
    good = np.isfinite(native.flux) & np.isfinite(resampled.flux)
    assert good.sum() >= 38
    weight = 1.0 / (native.uncertainty**2 + resampled.uncertainty**2)[good]
    ours, theirs = native.flux[good], resampled.flux[good]
    # of sums, because noise in the bins would add to a square
    ratio = np.sum(weight * theirs) / np.sum(weight * ours)
    error = 1.0 / (np.sqrt(weight.sum()) * np.average(ours, weights=weight))
    # resampling leaves 1.072 times the row sum
    assert abs(ratio / 1.072 - 1) < 2 * error
    assert error < 0.05
