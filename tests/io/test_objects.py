"""Tables of arrays and objects in memory: right, or refused by text."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, NDData, StdDevUncertainty, VarianceUncertainty

from optextract.errors import ReadError
from optextract.io import from_nddata, from_spectrum, info, read
from optextract.recipe import Input

NY, NX = 12, 60


def notes(frame) -> str:
    return "\n".join(frame.meta["notes"])


# tables of arrays ------------------------------------------------------------------------------------------------


def deimos_table(scene, *, rows=1, lambda0=None, units=True):
    flux, sigma, wave = scene
    dim = f"({NX},{NY})"
    lambda0 = wave[0] if lambda0 is None else lambda0
    size = NX * NY

    def column(name, kind, array, dim=None, unit=None):
        return fits.Column(name, kind, dim=dim, array=np.repeat(array[None], rows, axis=0), unit=unit)

    bad = np.zeros((NY, NX), dtype=np.uint8)
    bad[0, 0] = 1
    l0 = ("LAMBDA0", f"{NX}E", lambda0) if lambda0.ndim == 1 else ("LAMBDA0", f"{size}E", lambda0, dim)
    table = fits.BinTableHDU.from_columns(
        [
            column("FLUX", f"{size}E", flux, dim, "electron/h" if units else None),
            column("IVAR", f"{size}E", sigma**-2, dim),
            column("MASK", f"{size}B", bad, dim),
            column(*l0),
            column("DLAMBDA", f"{size}E", wave - wave[0], dim),
        ],
    )
    table.header["SLITNO"], table.header["OBJNO"] = 104, "13025290"
    return fits.HDUList([fits.PrimaryHDU(), table])


@pytest.mark.parametrize("two", [False, True])
def test_deep2_slit_table(tmp_path, scene, two):
    flux, sigma, wave = scene
    path = tmp_path / "slit.1313.104R.fits"
    lambda0 = np.repeat(wave[:1], NY, axis=0) if two else None
    deimos_table(scene, lambda0=lambda0).writeto(path)
    frame = read(path)
    np.testing.assert_allclose(frame.flux, flux, rtol=1e-6)
    np.testing.assert_allclose(frame.variance[frame.good], sigma[frame.good] ** 2, rtol=1e-6)
    np.testing.assert_allclose(frame.wavelength.to_value(u.AA), wave, rtol=1e-7)
    assert np.argwhere(frame.mask).tolist() == [[0, 0]]
    assert frame.unit == u.electron / u.hour
    assert frame.meta["slit"] == "104"
    assert frame.meta["source_name"] == "13025290"
    assert "does not say whether its wavelengths are those in air or in vacuum" in notes(frame)
    assert "104" in str(info(path))


def test_deep2_table_without_units_or_with_two_rows(tmp_path, scene):
    deimos_table(scene, units=False).writeto(tmp_path / "a.fits")
    frame = read(tmp_path / "a.fits")
    assert frame.unit == u.electron / u.hour
    assert "FLUX has no unit; the DEEP2 pipeline writes electrons an hour. input.unit overrules this." in notes(frame)
    deimos_table(scene, rows=2).writeto(tmp_path / "b.fits")
    with pytest.raises(ReadError, match=r"HDU 1 must be a table of one row. Got 2 instead"):
        read(tmp_path / "b.fits")


# objects ---------------------------------------------------------------------------------------------------------


def test_two_dimensional_spectrum(scene):
    from specutils import Spectrum

    flux, sigma, wave = scene
    mask = np.zeros((NY, NX), dtype=bool)
    mask[2, 2] = True
    spectrum = Spectrum(
        flux=flux * u.mJy, spectral_axis=wave[0] * u.AA, uncertainty=StdDevUncertainty(sigma), mask=mask,
        meta={"header": {"OBJECT": "x", "SOURCEID": 7}, "planned_cross": 5.3, "variance_parts": {"rnoise": sigma**2}},
    )  # fmt: skip
    for frame in (from_spectrum(spectrum), read(spectrum)):
        np.testing.assert_array_equal(frame.flux, flux)
        np.testing.assert_allclose(frame.variance, sigma**2)
        np.testing.assert_array_equal(frame.wavelength.value, wave[0])
        assert frame.unit == u.mJy
        assert np.argwhere(frame.mask).tolist() == [[2, 2]]
        assert frame.meta["planned_cross"] == 5.3
        assert frame.meta["header"]["SOURCEID"] == 7
        np.testing.assert_allclose(frame.variance_parts["rnoise"], sigma**2)


def test_spectrum_whose_spectral_axis_is_first(scene):
    from specutils import Spectrum

    flux, sigma, wave = scene
    spectrum = Spectrum(
        flux=flux.T * u.mJy, spectral_axis=wave[0] * u.AA, uncertainty=VarianceUncertainty(sigma.T**2),
        spectral_axis_index=0,
    )  # fmt: skip
    frame = read(spectrum)
    np.testing.assert_array_equal(frame.flux, flux)
    np.testing.assert_allclose(frame.variance, sigma**2)
    np.testing.assert_array_equal(frame.wavelength.value, wave[0])


def test_spectrum_in_pixels_has_no_wavelength(scene):
    from specutils import Spectrum

    flux, sigma, _ = scene
    frame = read(Spectrum(flux=flux * u.mJy, uncertainty=InverseVariance(sigma**-2), spectral_axis_index=1))
    assert frame.wavelength is None
    np.testing.assert_allclose(frame.variance, sigma**2)


def test_a_loaders_copy_of_a_bunit_that_lies_is_not_obeyed(scene):
    from specutils import Spectrum

    flux, sigma, wave = scene
    cards = {"PIXAR_SR": 5e-13, "SRCTYPE": "EXTENDED", "INSTRUME": "NIRSPEC", "TELESCOP": "JWST"}
    axis = {"spectral_axis": wave[0] * u.um, "uncertainty": StdDevUncertainty(sigma)}
    frame = read(Spectrum(flux=flux * u.DN / u.s, meta={"header": {**cards, "S_PHOTOM": "COMPLETE"}}, **axis))
    assert frame.unit == u.MJy / u.sr
    assert "S_PHOTOM is COMPLETE and SRCTYPE is EXTENDED, so the pixels are taken to be in MJy / sr" in notes(frame)
    frame = read(Spectrum(flux=flux * u.DN / u.s, meta={"header": cards}, **axis))
    assert frame.unit == u.DN / u.s
    assert "a loader may have copied a BUNIT that is not true" in notes(frame)
    chosen = read(Spectrum(flux=flux * u.DN / u.s, meta={"header": cards}, **axis), unit="MJy/sr")
    assert chosen.unit == u.MJy / u.sr


def test_ccddata_with_a_wcs_and_nddata_without(scene):
    from astropy.wcs import WCS

    flux, sigma, _ = scene
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["WAVE", ""]
    wcs.wcs.cunit = ["Angstrom", "pix"]
    wcs.wcs.crval, wcs.wcs.cdelt, wcs.wcs.crpix = [5000.0, 0.0], [2.0, 1.0], [1.0, 1.0]
    ccd = CCDData(flux, unit="adu", uncertainty=StdDevUncertainty(sigma), mask=flux < -1, wcs=wcs, meta={"GAIN": 2.0})
    for frame in (from_nddata(ccd), read(ccd)):
        np.testing.assert_allclose(frame.wavelength.to_value(u.AA), 5000.0 + 2.0 * np.arange(NX))
        np.testing.assert_allclose(frame.variance, sigma**2)
        assert frame.unit == u.adu
        assert frame.meta["gain"] == 2.0
    plain = from_nddata(NDData(flux), settings=Input(unit="uJy"))
    assert plain.unit == u.uJy
    assert plain.variance is None


def test_what_is_no_two_dimensional_spectrum_is_refused(scene):
    from astropy.nddata import UnknownUncertainty
    from specutils import Spectrum

    with pytest.raises(ReadError, match=r"must be a Spectrum with two axes. Got 'shape \(5,\)'"):
        from_spectrum(Spectrum(flux=np.ones(5) * u.mJy))
    with pytest.raises(ReadError, match="must be NDData with two axes"):
        from_nddata(NDData(np.ones((2, 3, 4))))
    with pytest.raises(ReadError, match=r"must be a path, a 2D Spectrum, an NDData or a CCDData. Got 'dict'"):
        read({})
    with pytest.raises(ReadError, match="must be a StdDevUncertainty, VarianceUncertainty or InverseVariance"):
        from_nddata(NDData(np.ones((5, 20)), uncertainty=UnknownUncertainty(np.ones((5, 20)))))
