"""Files of no particular observatory, msaexp, tables of arrays, and objects in memory: right, or refused by text."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from optextract.errors import ReadError, RecipeError
from optextract.io import info, read, slits
from optextract.recipe import Input, Mapped, Recipe

NY, NX = 12, 60
ANGSTROM = {"CTYPE1": "WAVE", "CUNIT1": "Angstrom", "CRVAL1": 5000.0, "CRPIX1": 1.0, "CDELT1": 2.0}


def notes(frame) -> str:
    return "\n".join(frame.meta["notes"])


# real files ------------------------------------------------------------------------------------------------------


def test_every_shared_file_is_read_or_refused_for_a_stated_reason(data_dir):
    read_, refused = [], {}
    for path in sorted(p for p in data_dir.glob("*/*") if p.is_file()):
        told = info(path)
        assert str(told).startswith(str(path))
        if told.refused:
            refused[path.name] = told.refused
            with pytest.raises(ReadError):
                read(path, 0)
        else:
            assert all(not one.problem for one in told.slits)
            for one in told.slits:
                frame = read(path, one.slit.index)
                assert frame.good.mean() > 0.5
                assert frame.meta["notes"] or frame.variance is not None
            read_.append(path.name)
    assert len(read_) == 11
    assert "1313.104R_2d.fits.gz" in read_
    for name, reason in refused.items():
        if name.endswith((".par", ".rst", "LICENSE", ".sedpy")) or "LICENSE" in name:
            assert "is not a FITS file: it does not begin with SIMPLE" in reason
        elif "psf_lookup" in name:
            assert "holds no image of two axes." in reason
        else:
            assert "holds no 2D spectrum but tables" in reason
            assert "an extracted spectrum is read by read_x1d" in reason


def test_msaexp_pixels_are_microjansky_and_weights_inverse_variance(data_dir):
    path = data_dir / "nirspec_mos_ceers_933/static-test-driz-center-bkg_933.spec.fits"
    frame = read(path)
    assert frame.unit == frame.flux_unit == u.uJy
    assert "BUNIT says mJy, TOMUJY says 1.0 uJy a unit; TOMUJY is believed." in frame.meta["notes"]
    profile, table = fits.getdata(path, "PROFILE"), fits.getdata(path, "SPEC1D")
    np.testing.assert_array_equal(frame.wavelength.to_value(u.um), table["wave"])
    weight = np.where(frame.good, 1.0 / frame.variance, 0.0)
    flux = np.where(frame.good, frame.flux, 0.0)
    good = table["flux"] != 0
    with np.errstate(invalid="ignore", divide="ignore"):
        ours = (profile * flux * weight).sum(axis=0) / (profile**2 * weight).sum(axis=0)
    # five columns of 330 were made with other weights than the file holds (their own quotient says so)
    off = np.abs(ours[good] / table["flux"][good] - 1)
    assert (off < 1e-6).sum() == 325
    assert off.max() < 0.004
    peak = np.average(np.arange(31), weights=np.median(profile[:, good], axis=1))
    assert frame.meta["planned_cross"] == pytest.approx(peak, abs=0.2)


def test_deep2_slit_keeps_its_tilted_wavelength(data_dir):
    frame = read(data_dir / "keck_deimos/1313.104R_2d.fits.gz")
    assert frame.shape == frame.wavelength.shape == (53, 4096)
    assert frame.wavelength.unit == u.AA
    assert "BUNIT is 'electron/hr (unverified)', which is no unit that astropy knows" in notes(frame)
    assert "rectified" not in frame.meta


# extensions by name ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("ERR", lambda s: s),
        ("SIGMA", lambda s: s),
        ("VAR", lambda s: s**2),
        ("VARIANCE", lambda s: s**2),
        ("IVAR", lambda s: s**-2),
        ("INVVAR", lambda s: s**-2),
    ],
)
def test_uncertainties_of_every_kind_give_the_same_variance(image_file, scene, name, make):
    flux, sigma, wave = scene
    frame = read(image_file(FLUX=(flux, {"BUNIT": "adu"}), **{name: make(sigma)}, WAVE=(wave, {"BUNIT": "Angstrom"})))
    np.testing.assert_allclose(frame.variance, sigma**2, rtol=1e-12)
    np.testing.assert_array_equal(frame.flux, flux)
    np.testing.assert_array_equal(frame.wavelength.value, wave)
    assert f"from HDU 2 ({name})" in notes(frame)


def test_inverse_variance_of_zero_is_a_bad_pixel_and_a_negative_one_is_said(image_file, scene):
    flux, sigma, _ = scene
    ivar = sigma**-2
    ivar[3, 4], ivar[5, 6] = 0.0, -1.0
    frame = read(image_file(SCI=(flux, ANGSTROM), IVAR=ivar))
    assert frame.mask[3, 4]
    assert frame.mask[5, 6]
    assert int(frame.mask.sum()) == 2
    assert "HDU 2 (IVAR) is negative in 1 pixels: masked." in frame.meta["notes"]


def test_errors_in_another_unit_of_the_same_kind_are_converted(image_file, scene):
    flux, sigma, _ = scene
    frame = read(image_file(SCI=(flux, {"BUNIT": "mJy", **ANGSTROM}), ERR=(sigma * 1e3, {"BUNIT": "uJy"})))
    np.testing.assert_allclose(frame.variance, sigma**2, rtol=1e-12)
    with pytest.raises(ReadError, match=r"HDU 2 \(ERR\) is in Angstrom, which does not go with pixel values in mJy"):
        read(image_file(SCI=(flux, {"BUNIT": "mJy", **ANGSTROM}), ERR=(sigma, {"BUNIT": "Angstrom"})))


def test_a_unit_set_by_the_user_goes_for_the_errors_too(image_file, scene):
    flux, sigma, _ = scene
    path = image_file(SCI=(flux, {"BUNIT": "DN/s", **ANGSTROM}), ERR=(sigma, {"BUNIT": "DN/s"}))
    frame = read(path, unit="uJy")
    assert frame.unit == u.uJy
    np.testing.assert_allclose(frame.variance, sigma**2, rtol=1e-12)
    assert "The unit uJy was set by the user; the file says DN / s." in frame.meta["notes"]
    path = image_file(SCI=(flux, {"BUNIT": "mJy", **ANGSTROM}), IVAR=(sigma**-2 * 1e-6, {"BUNIT": "uJy-2"}))
    np.testing.assert_allclose(read(path).variance, sigma**2, rtol=1e-12)


def test_mask_is_non_zero_and_an_all_bad_mask_is_refused(image_file, scene):
    flux, sigma, _ = scene
    mask = np.zeros((NY, NX), dtype=np.uint8)
    mask[2, 3] = 4
    frame = read(image_file(SCI=(flux, ANGSTROM), ERR=sigma, MASK=mask))
    assert np.argwhere(frame.mask).tolist() == [[2, 3]]
    with pytest.raises(ReadError, match="the mask is non-zero everywhere, which would leave no good pixel"):
        read(image_file(SCI=(flux, ANGSTROM), ERR=sigma, MASK=np.ones_like(mask)))


def test_vertical_dispersion_is_turned_whoever_says_so(image_file, scene):
    flux, sigma, wave = scene
    straight = read(image_file(SCI=flux, ERR=sigma, WAVELENGTH=(wave, {"BUNIT": "Angstrom"})))
    by_wave = read(image_file(SCI=flux.T, ERR=sigma.T, WAVELENGTH=(wave.T, {"BUNIT": "Angstrom"})))
    np.testing.assert_array_equal(by_wave.flux, straight.flux)
    np.testing.assert_array_equal(by_wave.variance, straight.variance)
    np.testing.assert_array_equal(by_wave.wavelength.value, straight.wavelength.value)
    assert by_wave.meta["dispaxis"] == 2
    vertical = {key.replace("1", "2"): value for key, value in ANGSTROM.items()}
    for cards in (vertical, {"DISPAXIS": 2}):
        frame = read(image_file(SCI=(flux.T, cards), ERR=sigma.T))
        np.testing.assert_array_equal(frame.flux, flux)
        np.testing.assert_array_equal(frame.variance, straight.variance)
    by_user = read(image_file(SCI=flux.T, ERR=sigma.T), settings=Input(mapping=Mapped(disp_axis="y")))
    np.testing.assert_array_equal(by_user.flux, flux)
    with pytest.raises(
        ReadError, match=r"the header says that axis 1 disperses, but the wavelength changes along the other"
    ):
        read(image_file(SCI=(flux.T, {"DISPAXIS": 1}), WAVELENGTH=(wave.T, {"BUNIT": "Angstrom"})))


def test_nothing_that_says_which_axis_disperses(image_file):
    wide = read(image_file(np.ones((10, 40))))
    assert "Nothing says which axis disperses; it is taken to be the longer one, NAXIS1." in wide.meta["notes"]
    tall = read(image_file(np.ones((40, 10))))
    assert tall.shape == (10, 40)
    assert "it is taken to be the longer one, NAXIS2." in notes(tall)
    with pytest.raises(ReadError, match=r"which axis of the 30 x 40 image disperses cannot be known .* Set disp_axis"):
        read(image_file(np.ones((30, 40))))


def test_decreasing_wavelength_stays_decreasing(image_file, scene):
    flux, sigma, _ = scene
    frame = read(image_file(SCI=(flux, {**ANGSTROM, "CDELT1": -2.0}), ERR=sigma))
    np.testing.assert_allclose(frame.wavelength.to_value(u.AA), 5000.0 - 2.0 * np.arange(NX), rtol=1e-13)
    path = image_file(SCI=(flux, {**ANGSTROM, "CDELT1": -2.0}), ERR=sigma)
    assert "decreasing with column" in str(info(path))


def test_air_wavelengths_are_kept_and_labelled(image_file, scene):
    flux, sigma, _ = scene
    for cards in ({**ANGSTROM, "CTYPE1": "AWAV"}, {**ANGSTROM, "AIRORVAC": "air"}, {**ANGSTROM, "VACUUM": False}):
        frame = read(image_file(SCI=(flux, cards), ERR=sigma))
        np.testing.assert_allclose(frame.wavelength.to_value(u.AA), 5000.0 + 2.0 * np.arange(NX), rtol=1e-13)
        assert frame.meta["air_wavelength"] is True
        assert "Wavelengths are those in air, and are kept so." in frame.meta["notes"]
    assert "air_wavelength" not in read(image_file(SCI=(flux, ANGSTROM), ERR=sigma)).meta


def test_logarithmic_and_unofficial_wavelength_axes(image_file, scene):
    flux, sigma, _ = scene
    pixel = np.arange(NX)
    log = {"CTYPE1": "LINEAR", "DC-FLAG": 1, "CRVAL1": 3.7, "CDELT1": 1e-4, "CRPIX1": 1.0, "CUNIT1": "Angstrom"}
    frame = read(image_file(SCI=(flux, log), ERR=sigma))
    np.testing.assert_allclose(frame.wavelength.to_value(u.AA), 10 ** (3.7 + 1e-4 * pixel), rtol=1e-13)
    other = {"CTYPE1": "LAMBDA", "CUNIT1": "nm", "CRVAL1": 500.0, "CD1_1": 0.2, "CRPIX1": 3.0}
    frame = read(image_file(SCI=(flux, other), ERR=sigma))
    np.testing.assert_allclose(frame.wavelength.to_value(u.nm), 500.0 + 0.2 * (pixel - 2), rtol=1e-13)
    standard = {**ANGSTROM, "CTYPE1": "WAVE-LOG"}
    frame = read(image_file(SCI=(flux, standard), ERR=sigma))
    np.testing.assert_allclose(frame.wavelength.to_value(u.AA), 5000 * np.exp(2.0 * pixel / 5000), rtol=1e-12)


def test_a_wavelength_without_unit_is_never_guessed(image_file, scene):
    flux, sigma, wave = scene
    path = image_file(SCI=flux, ERR=sigma, WAVELENGTH=wave)
    with pytest.raises(ReadError, match=r"HDU 3 \(WAVELENGTH\) has no unit. Set wavelength_unit in input.mapping"):
        read(path)
    frame = read(path, settings=Input(mapping=Mapped(wavelength_unit="Angstrom")))
    assert frame.wavelength.unit == u.AA
    with pytest.raises(ReadError, match=r"must be a unit of wavelength. Got 'Jy' instead"):
        read(path, settings=Input(mapping=Mapped(wavelength_unit="Jy")))


def test_without_a_unit_values_are_numbers_and_that_is_said(image_file, scene):
    flux, sigma, _ = scene
    frame = read(image_file(SCI=(flux, ANGSTROM), ERR=sigma))
    assert frame.unit == u.dimensionless_unscaled
    assert "The file gives no unit: values are numbers without a unit. input.unit sets one." in frame.meta["notes"]
    assert read(image_file(SCI=(flux, ANGSTROM), ERR=sigma), unit="uJy").unit == u.uJy


def test_surface_brightness_needs_its_solid_angle(image_file, scene):
    flux, sigma, _ = scene
    path = image_file(SCI=(flux, {"BUNIT": "MJy/sr", **ANGSTROM}), ERR=sigma)
    with pytest.raises(ReadError, match=r"PIXAR_SR, the solid angle of a pixel, is absent: set input.pixel_area_sr"):
        read(path)
    assert read(path, settings=Input(pixel_area_sr=1e-12)).flux_scale == pytest.approx(1e-6)


@pytest.mark.parametrize("kind", [">f4", "<f8", ">i2", ">f8"])
def test_byte_order_and_type_of_the_file_do_not_show(image_file, scene, kind):
    flux, sigma, _ = scene
    frame = read(image_file(SCI=(np.round(flux).astype(kind), ANGSTROM), ERR=sigma.astype(">f4")))
    assert frame.flux.dtype == np.float64
    assert frame.flux.dtype.isnative
    np.testing.assert_array_equal(frame.flux, np.round(flux))


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".fits"])
def test_compressed_files_are_known_by_content(image_file, scene, tmp_path, suffix):
    import bz2
    import gzip
    import lzma

    flux, sigma, _ = scene
    plain = image_file(SCI=(flux, ANGSTROM), ERR=sigma)
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".fits": gzip.compress}[suffix]
    path = tmp_path / f"packed{suffix}"
    path.write_bytes(pack(plain.read_bytes()))
    np.testing.assert_array_equal(read(path).flux, flux)


def test_tile_compressed_images(tmp_path, scene):
    flux, sigma, _ = scene
    image = fits.CompImageHDU(np.round(flux).astype(np.int32), name="SCI", compression_type="RICE_1")
    image.header.update(ANGSTROM)
    error = fits.CompImageHDU(sigma.astype(np.float32), name="ERR", compression_type="GZIP_2", quantize_level=0)
    path = tmp_path / "tiles.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), image, error]).writeto(path)
    frame = read(path)
    np.testing.assert_array_equal(frame.flux, np.round(flux))
    np.testing.assert_allclose(frame.variance, sigma.astype(np.float32).astype(float) ** 2)


def test_axes_of_length_one_are_dropped_and_five_axes_refused(image_file, scene):
    flux, sigma, _ = scene
    frame = read(image_file(SCI=(flux[None, None], ANGSTROM), ERR=sigma))
    np.testing.assert_array_equal(frame.flux, flux)
    with pytest.raises(ReadError, match=r"holds no image of two axes. Tried:"):
        read(image_file(SCI=np.zeros((2, 2, 2, 3, 4))))


def test_several_spectra_by_extver(image_file, scene, tmp_path):
    flux, sigma, _ = scene
    hdus = [fits.PrimaryHDU()]
    for version in (2, 1, 3):
        sci = fits.ImageHDU(flux * version, name="SCI", ver=version)
        sci.header.update(ANGSTROM)
        sci.header["SLTNAME"] = f"slit{version}"
        hdus.append(sci)
    for version in (3, 2, 1):
        hdus.append(fits.ImageHDU(sigma * version, name="ERR", ver=version))
    path = tmp_path / "several.fits"
    fits.HDUList(hdus).writeto(path)
    assert [slit.name for slit in slits(path)] == ["slit1", "slit2", "slit3"]
    for version in (1, 2, 3):
        frame = read(path, f"slit{version}")
        np.testing.assert_allclose(frame.flux, flux * version)
        np.testing.assert_allclose(frame.variance, (sigma * version) ** 2)


# mapping ---------------------------------------------------------------------------------------------------------


def test_a_mapping_names_every_part(image_file, scene):
    flux, sigma, wave = scene
    bad = np.zeros((NY, NX), dtype=np.int16)
    bad[1, 1] = 1
    path = image_file(A=flux.T, B=(sigma.T) ** -2, C=bad.T, D=wave[0])
    mapping = Mapped(
        flux="A", variance=2, variance_kind="inverse_variance", mask="C,1", wavelength="D", wavelength_unit="nm",
        disp_axis="y",
    )  # fmt: skip
    frame = read(path, settings=Input(mapping=mapping, unit="adu"))
    np.testing.assert_array_equal(frame.flux, flux)
    np.testing.assert_allclose(frame.variance[frame.good], sigma[frame.good] ** 2)
    np.testing.assert_array_equal(frame.wavelength.to_value(u.nm), wave[0])
    assert np.argwhere(frame.mask).tolist() == [[1, 1]]
    assert frame.unit == u.adu
    assert frame.meta["format"] == "FITS images named by input.mapping"


def test_a_mapping_uses_nothing_that_it_does_not_name(image_file, scene):
    flux, sigma, _ = scene
    frame = read(image_file(SCI=(flux, ANGSTROM), ERR=sigma), settings=Input(mapping=Mapped(flux="SCI")))
    assert frame.variance is None


def test_wavelength_by_polynomial(image_file, scene):
    flux, sigma, _ = scene
    mapping = Mapped(flux="SCI", variance="ERR", wavelength_polynomial=(1.0, 0.01, 1e-6), wavelength_unit="um")
    frame = read(image_file(SCI=(flux, ANGSTROM), ERR=sigma), settings=Input(mapping=mapping))
    pixel = np.arange(NX)
    np.testing.assert_allclose(frame.wavelength.to_value(u.um), 1 + 0.01 * pixel + 1e-6 * pixel**2, rtol=1e-14)
    with pytest.raises(ReadError, match=r"must be given with wavelength_polynomial. Got None"):
        read(
            image_file(SCI=(flux, ANGSTROM), ERR=sigma),
            settings=Input(mapping=Mapped(flux="SCI", wavelength_polynomial=(1.0, 0.1))),
        )


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (
            "NOPE",
            r"The 'flux' parameter of input.mapping must be the name of an HDU. Got 'NOPE' instead.*HDU 1 \(SCI\)",
        ),
        (9, r"must be the number of an HDU, 0 to 2. Got 9 instead"),
        (0, r"must be an HDU that holds an image. Got 0 instead"),
        ("ERR,2", r"must be the name of an HDU. Got 'ERR,2' instead"),
    ],
)
def test_a_mapping_that_names_nothing_is_refused(image_file, scene, wanted, text):
    flux, sigma, _ = scene
    with pytest.raises(ReadError, match=text):
        read(image_file(SCI=flux, ERR=sigma), settings=Input(mapping=Mapped(flux=wanted)))


def test_a_mapping_of_another_shape_is_refused(image_file, scene):
    flux, sigma, _ = scene
    with pytest.raises(ReadError, match=r"HDU 2 \(B\) must have the shape of HDU 1 \(A\), \(12, 60\). Got \(12, 59\)"):
        read(image_file(A=flux, B=sigma[:, 1:]), settings=Input(mapping=Mapped(flux="A", variance="B")))


def test_a_mapping_without_flux_adds_to_names_only():
    with pytest.raises(RecipeError, match="flux must be named where variance is"):
        Recipe(input={"mapping": {"variance": "ERR"}})


# primary image only ----------------------------------------------------------------------------------------------


def test_primary_image_with_gain_and_read_noise(image_file, scene):
    flux, _, _ = scene
    cards = {"GAIN": 1.7, "RDNOISE": 4.5, "BUNIT": "adu", "OBJECT": "M 31", **ANGSTROM}
    frame = read(image_file(flux, header=cards))
    assert frame.variance is None
    assert (frame.meta["gain"], frame.meta["read_noise"]) == (1.7, 4.5)
    assert frame.meta["source_name"] == "M 31"
    assert "GAIN of the header is taken as 1.7 electrons per unit of the pixels." in frame.meta["notes"]
    from optextract import extract

    result = extract(frame, Recipe(noise={"variance": "gain"}))
    expected = np.sqrt(flux.sum(axis=0) / 1.7 + (4.5 / 1.7) ** 2)
    assert (result.uncertainty[0] > 0.5 * expected).all()


def test_gain_is_not_applied_to_a_unit_it_does_not_belong_to(image_file, scene):
    flux, _, _ = scene
    frame = read(image_file(flux, header={"GAIN": 1.7, "RDNOISE": 4.5, "BUNIT": "uJy", **ANGSTROM}))
    assert "gain" not in frame.meta
    assert "The file has no variance. Give noise.gain and noise.read_noise" in notes(frame)
    electrons = read(image_file(flux, header={"GAIN": 1.7, "RDNOISE": 4.5, "BUNIT": "electron", **ANGSTROM}))
    assert electrons.meta["gain"] == 1.0
