"""PSF templates: fluxes are those of the table at any place and width, files are told apart, real data come out."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from scipy.ndimage import gaussian_filter1d

import optextract as ox
from optextract.profiles import Gaussian
from optextract.templates import compare_interpolation, load_template, make_stpsf_cube, save_template

TABLE = "psf/nirspec_merged_s200a1_exp_psf_lookup_001.fits.gz"
SIGMA = 1 / np.sqrt(8 * np.log(2))


def psf_cube(wavelength, *, oversample=4, pixel=0.1, n=120, slope=0.06, widths=None):
    """Cube of Gaussian PSFs in the layout that calc_datacube documents; written by us, not by STPSF."""
    step = pixel / oversample
    edges = (np.arange(n + 1) - n / 2) * step
    fwhm = 0.05 + slope * np.asarray(wavelength) if widths is None else np.asarray(widths)
    planes = []
    for width in fwhm:
        cells = np.diff(Gaussian().cdf(edges / width))
        planes.append(np.outer(cells, cells))
    cube = np.array(planes)
    primary = fits.PrimaryHDU(cube)
    keys = ["WVLN{:04d}" if len(cube) >= 100 else "WAVELN{:02d}"][0]
    detector = fits.ImageHDU(
        cube.reshape(len(cube), n // oversample, oversample, n // oversample, oversample).sum((2, 4))
    )
    for hdu, name, samples in ((primary, "OVERSAMP", oversample), (detector, "DET_SAMP", 1)):
        hdu.header["EXTNAME"] = name
        hdu.header["PIXELSCL"] = pixel / samples
        hdu.header["OVERSAMP"] = samples
        for k, value in enumerate(wavelength):
            hdu.header[keys.format(k)] = value * 1e-6
    primary.header["NWAVES"] = len(cube)
    return fits.HDUList([primary, detector]), fwhm


def write(hdus, path):
    hdus.writeto(path)
    return path


def recipe(path, **profile):
    return ox.Recipe(profile={"kind": "template", "template": {"path": str(path)}, **profile})


def empirical_scene(table, seed, peak=3000.0, n=600, n_cross=27, broaden=0.0):
    """Frame made of the table by interpolation between its numbers, without any code of ours; FWHM of 1.2 to 1.6 px."""
    with fits.open(table) as hdus:
        known, position, waves = hdus["PROF"].data[:, :, 0].astype(float), hdus["YSLIT"].data, hdus["WAVE"].data
    if broaden:
        known = gaussian_filter1d(known, broaden / (position[1] - position[0]), axis=0, mode="constant")
    known = known / (known.sum(axis=0) * (position[1] - position[0]))
    rng = np.random.default_rng(seed)
    wavelength, x = np.linspace(0.65, 5.2, n), np.linspace(-1, 1, n)
    centre, flux = 13.3 + 0.3 * x, peak * (1 + 0.4 * x) * (1 + 0.3 * np.sin(6 * x))
    at = np.clip(np.searchsorted(waves, wavelength) - 1, 0, len(waves) - 2)
    part = (wavelength - waves[at]) / (waves[at + 1] - waves[at])
    curves = known[:, at] * (1 - part) + known[:, at + 1] * part
    rows = np.arange(n_cross)
    profile = np.stack(
        [np.interp(rows - c, position, e, left=0, right=0) for c, e in zip(centre, curves.T, strict=True)], 1
    )
    mean = profile * flux + 20.0
    data = rng.poisson(mean) + rng.normal(0, 6.0, mean.shape) - 20.0
    return ox.Frame(data, variance=mean + 36.0, wavelength=wavelength * u.um, unit="electron"), flux, centre


def bias(result, flux):
    weight = 1 / result.uncertainty[0] ** 2
    return float(np.nansum(weight * result.flux[0] * flux) / np.nansum(weight * flux**2)) - 1


# --- the numbers of a template


def test_pixels_of_a_gaussian_cube_are_those_of_a_gaussian(tmp_path):
    waves = np.linspace(1.0, 5.0, 9)
    hdus, fwhm = psf_cube(waves)
    template = load_template(write(hdus, tmp_path / "cube.fits"))
    image = template.image(25, 12.37, waves, pixel_scale=0.1)
    exact = Gaussian().integrate(25, np.full(9, 12.37), fwhm / 0.1).T
    np.testing.assert_allclose(image, exact, atol=2e-4)
    shape = template.shape(waves, 0.1)
    assert shape.native == pytest.approx(fwhm[4] / 0.1, rel=2e-3)
    # other pixels than those it was made for: nothing is stretched
    coarse = template.image(13, 6.2, waves, pixel_scale=0.2)
    np.testing.assert_allclose(coarse, Gaussian().integrate(13, np.full(9, 6.2), fwhm / 0.2).T, atol=2e-4)


def test_broadening_adds_in_quadrature_at_each_wavelength(tmp_path):
    waves = np.linspace(1.0, 5.0, 9)
    hdus, fwhm = psf_cube(waves)
    shape = load_template(write(hdus, tmp_path / "cube.fits")).shape(waves, 0.1)
    total = np.hypot(shape.native, 2.0)
    found = shape.at(np.arange(9.0)).integrate(31, np.full(9, 15.1), np.full(9, total))
    exact = Gaussian().integrate(31, np.full(9, 15.1), np.hypot(fwhm / 0.1, 2.0))
    np.testing.assert_allclose(found, exact, atol=2e-4)
    # below its own width it is never sharpened
    least = shape.at(np.arange(9.0)).integrate(31, np.full(9, 15.1), np.full(9, 0.5 * shape.native))
    np.testing.assert_allclose(least, Gaussian().integrate(31, np.full(9, 15.1), fwhm / 0.1), atol=2e-4)


def test_derivatives_are_those_of_the_profile(tmp_path):
    waves = np.linspace(1.0, 5.0, 5)
    shape = load_template(write(psf_cube(waves)[0], tmp_path / "cube.fits")).shape(waves, 0.1).at(np.arange(5.0))
    centre, fwhm, step = np.linspace(11.6, 12.4, 5), np.linspace(2.8, 3.9, 5), 1e-4
    _, moved, wider = shape.derivatives(25, centre, fwhm)
    numeric = (shape.integrate(25, centre + step, fwhm) - shape.integrate(25, centre - step, fwhm)) / (2 * step)
    np.testing.assert_allclose(moved, numeric, atol=1e-5)
    up, down = (shape.integrate(25, centre, fwhm * np.exp(s)) for s in (step, -step))
    np.testing.assert_allclose(wider, (up - down) / (2 * step), atol=2e-3)
    whole = shape.fraction(np.full(5, -0.5), np.full(5, 24.5), centre, fwhm)
    np.testing.assert_allclose(whole, shape.integrate(25, centre, fwhm).sum(axis=1), atol=1e-12)


def test_a_different_broadening_in_each_column_is_what_each_alone_would_be(tmp_path):
    waves = np.linspace(1.0, 5.0, 5)
    shape = load_template(write(psf_cube(waves)[0], tmp_path / "cube.fits")).shape(waves, 0.1).at(np.arange(5.0))
    fwhm, centre = np.linspace(2.5, 5, 5), np.full(5, 12.3)
    together = shape.integrate(25, centre, fwhm)
    alone = [shape.integrate(25, centre, np.full(5, f))[k] for k, f in enumerate(fwhm)]
    np.testing.assert_allclose(together, alone, atol=1e-9)


def test_detector_samples_are_left_for_the_oversampled_ones(tmp_path):
    template = load_template(write(psf_cube([1.0, 2.0])[0], tmp_path / "cube.fits"))
    assert template.position[1] - template.position[0] == pytest.approx(0.025)
    assert template.unit == "arcsec"
    assert "4 samples a detector pixel" in template.words


def test_more_than_a_hundred_planes_are_named_otherwise(tmp_path):
    waves = np.linspace(1.0, 5.0, 101)
    template = load_template(write(psf_cube(waves, n=24)[0], tmp_path / "cube.fits"))
    np.testing.assert_allclose(template.wavelength, waves)


@pytest.mark.parametrize(("card", "option", "along"), [(None, None, "x"), (2, None, "y"), (2, "x", "x"), (1, "y", "y")])
def test_the_dispersion_axis_is_the_headers_or_the_users(tmp_path, card, option, along):
    image = np.zeros((40, 40))
    image[18:22, 10:30] = 1.0  # 20 samples wide in x, 4 in y
    hdu = fits.PrimaryHDU(image)
    hdu.header["PIXELSCL"] = 0.02
    if card is not None:
        hdu.header["DISPAXIS"] = card
    hdu.writeto(tmp_path / "one.fits")
    template = load_template(tmp_path / "one.fits", dispersion=option)
    assert not template.changes
    inside = np.interp([-0.041, 0.041], template.position, template.cumulative[0])
    assert inside[1] - inside[0] == pytest.approx(1.0 if along == "x" else 0.2, abs=0.01)


def test_linear_and_cubic_between_wavelengths(tmp_path):
    waves = np.linspace(1.0, 5.0, 9)
    smooth = load_template(write(psf_cube(waves)[0], tmp_path / "smooth.fits"))
    errors = compare_interpolation(smooth, pixel=0.1)
    assert errors["cubic"] < 0.5 * errors["linear"] < 0.05
    rng = np.random.default_rng(1)  # optics that change from plane to plane: cubic overshoots
    rough = load_template(write(psf_cube(waves, widths=0.2 + 0.05 * rng.random(9))[0], tmp_path / "rough.fits"))
    errors = compare_interpolation(rough, pixel=0.1)
    assert errors["linear"] < errors["cubic"]
    np.testing.assert_allclose(smooth.weights([1.25])[0, :2], [0.5, 0.5])
    np.testing.assert_array_equal(smooth.weights([0.2, 9.0])[:, [0, -1]], np.eye(2))


# --- the empirical table of NIRSpec


def test_pixels_of_the_empirical_table_are_as_tabulated(data_dir):
    with fits.open(data_dir / TABLE) as hdus:
        known, position, waves = hdus["PROF"].data, hdus["YSLIT"].data, hdus["WAVE"].data
    template = load_template(data_dir / TABLE)
    at = int(np.argmin(np.abs(position - 0.25)))
    image = template.image(31, 14.75, waves)
    for step in (-2, -1, 0, 1, 2):
        tabulated = known[at + 32 * step, :, 0] / known[at % 32 :: 32, :, 0].sum(axis=0)
        np.testing.assert_allclose(image[15 + step], tabulated, atol=1e-4)
    larger = load_template(data_dir / TABLE, source_size=0.525)
    half = 0.5 * (known[at, :, 10] + known[at, :, 11])
    np.testing.assert_allclose(larger.image(31, 14.75, waves)[15], half, rtol=5e-3)


@pytest.mark.parametrize("peak", [600.0, 5000.0])
def test_the_right_template_is_unbiased_where_a_gaussian_is_not(data_dir, peak):
    found, gaussian, pulls = [], [], []
    for seed in range(5):
        frame, flux, centre = empirical_scene(data_dir / TABLE, seed, peak)
        result = ox.extract(frame, recipe(data_dir / TABLE))
        assert result.resolved.profile.kind == "template"
        assert np.nanmax(np.abs(result.centre[0] - centre)) < 0.02
        found.append(bias(result, flux))
        pulls.append(np.nanstd((result.flux[0] - flux) / result.uncertainty[0]))
        gaussian.append(bias(ox.extract(frame, ox.Recipe(profile={"kind": "gaussian"})), flux))
    assert abs(np.mean(found)) < 0.003
    assert np.mean(gaussian) < -0.02
    assert np.mean(pulls) == pytest.approx(1.0, abs=0.05)


def test_a_frame_whose_wavelengths_decrease_gives_the_same(data_dir):
    frame, _, _ = empirical_scene(data_dir / TABLE, 2, n=200)
    turned = ox.Frame(
        frame.flux[:, ::-1], variance=frame.variance[:, ::-1], wavelength=frame.wavelength[::-1], unit=frame.unit
    )
    one, other = (ox.extract(f, recipe(data_dir / TABLE, empirical=False)) for f in (frame, turned))
    assert np.nanmax(np.abs(one.flux[0] - other.flux[0][::-1]) / one.uncertainty[0]) < 0.1


def test_broadening_is_fitted(data_dir):
    """A template narrower than the drizzled trace loses flux; broadened by the fit it does not."""
    frame, flux, _ = empirical_scene(data_dir / TABLE, 3, broaden=0.6)
    fitted = ox.extract(frame, recipe(data_dir / TABLE))
    native = load_template(data_dir / TABLE).shape(np.linspace(0.65, 5.2, 600)).native
    assert np.nanmedian(fitted.fwhm) == pytest.approx(np.hypot(native, 0.6 / SIGMA), rel=0.03)
    assert abs(bias(fitted, flux)) < 0.004
    frame, flux, _ = empirical_scene(data_dir / TABLE, 3, broaden=1.2)
    assert abs(bias(ox.extract(frame, recipe(data_dir / TABLE)), flux)) < 0.004
    fixed = ox.extract(frame, recipe(data_dir / TABLE, template_broaden=False, empirical=False))
    assert bias(fixed, flux) < -0.1
    np.testing.assert_allclose(fixed.fwhm[0], native)


def test_fixed_width_and_bounds_act(data_dir):
    frame, _, _ = empirical_scene(data_dir / TABLE, 3, broaden=0.6)
    fixed = ox.extract(frame, recipe(data_dir / TABLE, fwhm={"value": 1.7, "fixed": True}))
    np.testing.assert_allclose(fixed.fwhm[0], 1.7)
    bound = ox.extract(frame, recipe(data_dir / TABLE, fwhm={"bounds": (1.0, 1.5)}))
    assert np.nanmax(bound.fwhm) <= 1.5 + 1e-9
    with pytest.raises(
        ox.RecipeError, match=r"'profile.fwhm' parameter of Recipe must be at least the template's own FW"
    ):
        ox.extract(frame, recipe(data_dir / TABLE, fwhm={"value": 0.7, "fixed": True}))


def test_a_faint_source_takes_the_shape_as_it_is(data_dir):
    frame, _, _ = empirical_scene(data_dir / TABLE, 8, peak=3.0)
    result = ox.extract(frame, recipe(data_dir / TABLE))
    assert not result.trace.from_data
    assert (result.flags & ox.Flag.PRIOR_SHAPE).all()
    native = load_template(data_dir / TABLE).shape(np.linspace(0.65, 5.2, 600)).native
    np.testing.assert_allclose(result.fwhm[0], native)


def test_injected_source_with_the_psf_that_was_injected(data_dir):
    """Drizzle broadens the PSF by an amount that varies along the trace: the width's degree must let it."""
    folder = data_dir / "nirspec_mos_injected"
    from optextract.io import read

    frame = read(folder / "inject_mid_s2d.fits")
    truth = fits.getdata(folder / "inject_mid_truth.fits")["flux_noiseless_s2d_sum"].astype(float) * 1e6
    asked = recipe(data_dir / TABLE).updated(
        nods={"mode": "model", "offsets": (-10.1, -5.05, 5.05, 10.1), "depths": (-0.5,) * 4}, trace={"fwhm_degree": 4}
    )
    result = ox.extract(frame, asked)
    ours, error = result.flux[0], result.uncertainty[0]
    use = np.isfinite(ours) & (truth > 0) & (ours > 10 * error)
    assert use.sum() > 60
    weight = 1 / error[use] ** 2
    power = (weight * truth[use] ** 2).sum()
    ratio, sigma = (weight * ours[use] * truth[use]).sum() / power, 1 / np.sqrt(power)
    assert abs(ratio - 1) < 0.01 + 2 * sigma
    assert 0.65 < np.sqrt((((ours - truth)[use] / error[use]) ** 2).mean()) < 1.2


def test_profile_image_reproduces_a_spectrum_of_msaexp(data_dir):
    from optextract.io import read

    path = data_dir / "nirspec_mos_ceers_933" / "static-test-driz-center-bkg_933.spec.fits"
    spec = fits.getdata(path, "SPEC1D")
    asked = recipe(path, empirical=False).updated(
        background={"degree": "none"}, nods={"mode": "ignore"}, rejection={"mode": False},
        noise={"revise": False}, flux={"min_profile": 0.0, "window": "infinite"},
    )  # fmt: skip
    result = ox.extract(read(path), asked)
    flux, error = np.asarray(spec["flux"], float), np.asarray(spec["err"], float)
    seen = np.isfinite(result.flux[0]) & (error > 0)
    close = np.abs(result.flux[0] - flux) <= 1e-6 * np.abs(flux) + 1e-8 * np.abs(flux[seen]).max()
    # in three columns msaexp left out one pixel of the far wing, which the file does not tell
    assert seen.sum() == 330
    assert list(np.flatnonzero(seen & ~close)) == [87, 92, 168]
    np.testing.assert_allclose(result.uncertainty[0][seen & close], error[seen & close], rtol=1e-6)
    np.testing.assert_array_equal(result.profile[0][:, seen], np.nan_to_num(fits.getdata(path, "PROFILE"))[:, seen])


# --- templates made


@pytest.mark.parametrize("kind", ["gaussian", "moffat"])
def test_a_bright_sources_profile_serves_the_faint_ones(tmp_path, kind):
    from optextract.simulate import make_scene

    bright = make_scene("moffat" if kind == "moffat" else "bright", 1)
    result = ox.extract(bright.frame, ox.Recipe(profile={"kind": kind}))
    path = save_template(result, tmp_path / "star.fits")
    again = ox.extract(bright.frame, recipe(path))
    good = np.isfinite(again.flux[0]) & np.isfinite(result.flux[0])
    weight = 1 / result.uncertainty[0][good] ** 2
    ours, theirs = again.flux[0][good], result.flux[0][good]
    # 12 pixels to each side are saved: of a Moffat's wings a part lies beyond
    limit = 0.003 if kind == "gaussian" else 0.01
    assert (weight * ours * theirs).sum() / (weight * theirs**2).sum() == pytest.approx(1.0, abs=limit)
    with pytest.raises(ox.OptextractError, match=r"'path' parameter of save_template must be a new file"):
        save_template(result, path)


def test_a_template_of_a_template_is_the_same(data_dir, tmp_path):
    frame, flux, _ = empirical_scene(data_dir / TABLE, 4, peak=5000.0)
    first = ox.extract(frame, recipe(data_dir / TABLE))
    second = ox.extract(frame, recipe(save_template(first, tmp_path / "star.fits", planes=40)))
    assert abs(bias(second, flux)) < 0.003


def test_a_faint_source_is_no_template(data_dir, tmp_path):
    frame, _, _ = empirical_scene(data_dir / TABLE, 8, peak=3.0)
    result = ox.extract(frame, recipe(data_dir / TABLE))
    with pytest.raises(ox.OptextractError, match="must be of a source bright enough to have a shape of its own"):
        save_template(result, tmp_path / "no.fits")
    assert not (tmp_path / "no.fits").exists()


def test_stpsf_is_called_as_documented(tmp_path, monkeypatch):
    """A stand-in for STPSF, whose data cannot be downloaded everywhere: its cube has the documented layout."""
    asked = {}

    class NIRSpec:
        filter = "none"

        def calc_datacube(self, wavelengths, fov_arcsec, oversample):
            asked.update(wavelengths=wavelengths, fov=fov_arcsec, oversample=oversample, filter=self.filter)
            return psf_cube(np.array(wavelengths) * 1e6, oversample=oversample)[0]

    monkeypatch.setitem(sys.modules, "stpsf", types.SimpleNamespace(NIRSpec=NIRSpec))
    path = make_stpsf_cube(tmp_path / "cube.fits", [1.0, 2.0], settings={"filter": "CLEAR"})
    np.testing.assert_allclose(asked["wavelengths"], [1e-6, 2e-6])
    assert asked["filter"] == "CLEAR"
    np.testing.assert_allclose(load_template(path).wavelength, [1.0, 2.0])
    with pytest.raises(ox.OptextractError, match=r"attributes of stpsf.NIRSpec. Got 'colour'"):
        make_stpsf_cube(tmp_path / "other.fits", [1.0], settings={"colour": 1})
    monkeypatch.setitem(sys.modules, "stpsf", None)
    with pytest.raises(ox.OptextractError, match="stpsf is not installed: pip install stpsf"):
        make_stpsf_cube(tmp_path / "other.fits", [1.0])


# --- what is refused


def small_frame(wavelength=True, **meta):
    rng = np.random.default_rng(0)
    data = rng.normal(0, 1, (20, 60)) + 50 * Gaussian().integrate(20, np.full(60, 10.0), np.full(60, 2.0)).T
    waves = np.linspace(1, 2, 60) * u.um if wavelength else None
    return ox.Frame(data, variance=np.ones(data.shape), wavelength=waves, meta=meta)


def test_templates_that_cannot_be_used_are_refused(tmp_path):
    cube = write(psf_cube([1.0, 1.5, 2.0])[0], tmp_path / "cube.fits")
    with pytest.raises(ox.RecipeError, match=r"must be a file where profile.kind is 'template'. Got None"):
        ox.extract(small_frame(), ox.Recipe(profile={"kind": "template"}))
    with pytest.raises(ox.RecipeError, match="must be a positive number of arcsec per pixel for a template in arcsec"):
        ox.extract(small_frame(), recipe(cube))
    with pytest.raises(
        ox.RecipeError, match="one that does not change with wavelength where the frame has no wavelengths"
    ):
        ox.extract(small_frame(wavelength=False, pixel_scale_arcsec=0.1), recipe(cube))
    np.save(tmp_path / "image.npy", np.ones((20, 59)))
    with pytest.raises(
        ox.RecipeError, match=r"of the frame's shape \(n_cross, n_disp\) = \(20, 60\). Got 'image.npy of"
    ):
        ox.extract(small_frame(), recipe(tmp_path / "image.npy"))
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((3, 3, 3)), name="X")]).writeto(tmp_path / "odd.fits")
    with pytest.raises(ox.RecipeError, match=r"is not understood. Tried: a table of .* Found X \(3, 3, 3\)\."):
        load_template(tmp_path / "odd.fits")
    hdus, _ = psf_cube([1.0, 2.0, 3.0])
    for hdu in hdus:
        del hdu.header["WAVELN01"]
    hdus.writeto(tmp_path / "gap.fits")
    with pytest.raises(ox.RecipeError, match=r"Got 'gap.fits without WAVELN01'"):
        load_template(tmp_path / "gap.fits")
    with pytest.raises(ox.RecipeError, match=r"cannot be read"):
        load_template(tmp_path / "absent.fits")
    (tmp_path / "text.fits").write_text("no FITS at all")
    with pytest.raises(ox.RecipeError, match=r"cannot be read as FITS"):
        load_template(tmp_path / "text.fits")


def test_columns_beyond_the_template_are_spoken_of(tmp_path):
    cube = write(psf_cube([1.2, 1.5, 1.8])[0], tmp_path / "cube.fits")
    result = ox.extract(small_frame(pixel_scale_arcsec=0.1), recipe(cube))
    said = "The template covers 1.2 to 1.8 um: 24 columns beyond take its nearest end."
    assert said in result.quality["warnings"]


def test_a_profile_image_that_does_not_sum_to_one_is_spoken_of(tmp_path):
    image = 0.5 * Gaussian().integrate(20, np.full(60, 10.0), np.full(60, 2.0)).T
    np.save(tmp_path / "half.npy", image)
    result = ox.extract(small_frame(), recipe(tmp_path / "half.npy"))
    assert (
        "The profile image sums to 0.500 a column, not to 1: the flux is as much smaller or larger."
        in (result.quality["warnings"])
    )
    assert np.nanmedian(result.flux[0]) == pytest.approx(100, rel=0.05)
