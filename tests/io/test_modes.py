"""JWST modes of which no real file is at hand: the layout that the pipeline's models give them, with gwcs of our own.

MIRI LRS disperses along axis 2; slitless (WFSS) slits have several orders a source and either axis; the fixed slits are
MultiSlitModel with names; `cal` slits are curved and carry DQ.
"""

from __future__ import annotations

import numpy as np
import pytest
from astropy import coordinates as coord
from astropy import units as u
from astropy.modeling.models import Const1D, Identity, Linear1D, Mapping, Polynomial2D, Scale

from optextract.errors import ReadError
from optextract.io import info, read, read_all, slits

NY, NX = 14, 50


def world(order: bool = False):
    from gwcs import coordinate_frames as cf

    sky = cf.CelestialFrame(name="sky", axes_order=(0, 1), reference_frame=coord.ICRS())
    spectral = cf.SpectralFrame(name="spectral", axes_order=(2,), unit=(u.um,), axes_names=("wavelength",))
    frames = [sky, spectral]
    if order:
        frames.append(
            cf.CoordinateFrame(1, "OTHER", (3,), unit=(u.dimensionless_unscaled,), axes_names=("order",), name="order")
        )
    return cf.CompositeFrame(frames, name="world")


def wcs_of(transform, *, order=False, box=None):
    import gwcs
    from gwcs import coordinate_frames as cf

    detector = cf.Frame2D(name="detector", axes_order=(0, 1), unit=(u.pix, u.pix))
    wcs = gwcs.WCS([(detector, transform), (world(order), None)])
    if box is not None:
        wcs.bounding_box = box
    return wcs


def long_slit(vertical: bool, scale=0.11, centre=(10.0, -20.0), decreasing=False):
    """Pixels to sky and wavelength: rows along declination, columns from 5 um in steps of 0.1."""
    cross = Linear1D(slope=scale / 3600, intercept=centre[1] - scale / 3600 * (NY - 1) / 2)
    wave = Linear1D(slope=-0.1, intercept=10.0) if decreasing else Linear1D(slope=0.1, intercept=5.0)
    order = (1, 0, 1) if vertical else (0, 1, 0)
    return Mapping(order) | Const1D(centre[0]) & cross & wave


def fill(slit, wcs, *, vertical=False, name=None, source=None, order=None, unit="MJy/sr", seed=0):
    rng = np.random.default_rng(seed)
    shape = (NX, NY) if vertical else (NY, NX)
    slit.data = rng.normal(1, 0.1, shape).astype(np.float32)
    slit.err = np.full(shape, 0.1, dtype=np.float32)
    slit.meta.wcs = wcs
    slit.meta.wcsinfo.dispersion_direction = 2 if vertical else 1
    slit.meta.bunit_data = unit
    slit.meta.photometry.pixelarea_steradians = 2.8e-13
    if name is not None:
        slit.name = name
    if source is not None:
        slit.source_id = source
    if order is not None:
        slit.meta.wcsinfo.spectral_order = order
    return slit


def primary(model, instrument, exposure, *, resampled=False, **cards):
    model.meta.telescope = "JWST"
    model.meta.instrument.name = instrument
    model.meta.exposure.type = exposure
    model.meta.cal_step.photom = "COMPLETE"
    if resampled:
        model.meta.cal_step.resample = "COMPLETE"
    for name, value in cards.items():
        setattr(model.meta.target, name, value)
    return model


def test_miri_lrs_fixed_slit_is_vertical_and_its_target_planned(tmp_path):
    from stdatamodels.jwst import datamodels

    model = datamodels.SlitModel()
    primary(model, "MIRI", "MIR_LRS-FIXEDSLIT", resampled=True, ra=10.0, dec=-20.0 + 0.11 * 2 / 3600)
    fill(model, wcs_of(long_slit(True, decreasing=True)), vertical=True)
    model.save(str(tmp_path / "lrs_s2d.fits"))
    frame = read(tmp_path / "lrs_s2d.fits")
    assert frame.shape == (NY, NX)
    assert frame.meta["dispaxis"] == 2
    assert frame.meta["pixel_scale_arcsec"] == pytest.approx(0.11, rel=1e-6)
    np.testing.assert_allclose(frame.wavelength.to_value(u.um), 10.0 - 0.1 * np.arange(NX), rtol=1e-12)
    assert frame.meta["planned_cross"] == pytest.approx((NY - 1) / 2 + 2, abs=1e-4)
    assert "from its place on the sky (TARG_RA and TARG_DEC)" in "\n".join(frame.meta["notes"])
    assert "decreasing with column" in str(info(tmp_path / "lrs_s2d.fits"))


def test_a_target_that_is_not_in_the_slit_is_not_planned(tmp_path):
    from stdatamodels.jwst import datamodels

    model = datamodels.SlitModel()
    primary(model, "MIRI", "MIR_LRS-FIXEDSLIT", resampled=True, ra=10.01, dec=-20.0)
    fill(model, wcs_of(long_slit(True)), vertical=True)
    model.save(str(tmp_path / "lrs_s2d.fits"))
    frame = read(tmp_path / "lrs_s2d.fits")
    assert "planned_cross" not in frame.meta
    assert (
        "TARG_RA and TARG_DEC put the source 33.8 arcsec beside the slit: no planned position." in frame.meta["notes"]
    )


def test_miri_lrs_cal_image_keeps_only_the_slit(tmp_path):
    from stdatamodels.jwst import datamodels

    model = datamodels.ImageModel(data=np.ones((NX, NY), dtype=np.float32))
    model.err = np.full((NX, NY), 0.1, dtype=np.float32)
    model.dq = np.zeros((NX, NY), dtype=np.uint32)
    model.dq[7, 5] = 1  # DO_NOT_USE
    model.dq[8, 5] = 4  # JUMP_DET alone is no reason to drop a pixel
    primary(model, "MIRI", "MIR_LRS-FIXEDSLIT", ra=10.0, dec=-20.0)
    model.meta.wcs = wcs_of(long_slit(True), box=((2.5, 10.5), (4.5, 44.5)))
    model.meta.wcsinfo.dispersion_direction = 2
    model.meta.bunit_data = "MJy/sr"
    model.meta.photometry.pixelarea_steradians = 2.8e-13
    model.save(str(tmp_path / "lrs_cal.fits"))
    frame = read(tmp_path / "lrs_cal.fits")
    assert frame.meta["rectified"] is False
    expected = np.ones((NY, NX), dtype=bool)
    expected[3:11, 5:45] = False
    expected[5, 7] = True
    np.testing.assert_array_equal(frame.mask, expected)
    assert "pixels outside the domain of the wavelength solution are masked." in "\n".join(frame.meta["notes"])


def test_nirspec_fixed_slits_by_name(tmp_path):
    from stdatamodels.jwst import datamodels

    model = primary(datamodels.MultiSlitModel(), "NIRSPEC", "NRS_FIXEDSLIT", resampled=True)
    for number, name in enumerate(("S200A1", "S200A2", "S400A1")):
        slit = fill(datamodels.SlitModel(), wcs_of(long_slit(False)), name=name, source=number, unit="MJy", seed=number)
        model.slits.append(slit)
    model.save(str(tmp_path / "fs_s2d.fits"))
    assert [slit.name for slit in slits(tmp_path / "fs_s2d.fits")] == ["S200A1", "S200A2", "S400A1"]
    frame = read(tmp_path / "fs_s2d.fits", "S200A2")
    assert frame.unit == u.MJy
    assert frame.flux_unit == u.Jy
    np.testing.assert_allclose(frame.wavelength.to_value(u.um), 5 + 0.1 * np.arange(NX), rtol=1e-12)


@pytest.mark.parametrize("vertical", [False, True])
def test_slitless_spectra_have_an_order_and_a_source_each(tmp_path, vertical):
    from stdatamodels.jwst import datamodels

    model = primary(datamodels.MultiSlitModel(), "NIRISS", "NIS_WFSS")
    for source, order in ((3, 1), (3, 2), (8, 1)):
        axis = (1,) if vertical else (0,)
        mapping = Mapping((*axis, *axis, *axis, *axis), n_inputs=2)
        # every pixel of a slitless spectrum looks at the same place of the sky
        transform = mapping | Const1D(10.0) & Const1D(-20.0) & Linear1D(0.005 * order, 1.0) & Const1D(order)
        slit = fill(
            datamodels.SlitModel(), wcs_of(transform, order=True), vertical=vertical, source=source, order=order,
            seed=source + order,
        )  # fmt: skip
        slit.source_ra, slit.source_dec = 10.0, -20.0
        model.slits.append(slit)
    path = tmp_path / "wfss_cal.fits"
    model.save(str(path))
    assert [slit.name for slit in slits(path)] == ["3_order1", "3_order2", "8_order1"]
    frames = read_all(path)
    for frame, order in zip(frames, (1, 2, 1), strict=True):
        assert frame.shape == (NY, NX)
        np.testing.assert_allclose(frame.wavelength.to_value(u.um), 1 + 0.005 * order * np.arange(NX), rtol=1e-12)
        assert frame.meta["header"]["SPORDER"] == order
        assert "planned_cross" not in frame.meta
        assert "pixel_scale_arcsec" not in frame.meta
    np.testing.assert_array_equal(read(path, "8").flux, frames[2].flux)
    with pytest.raises(ReadError, match="must be the index of one of the 2 slits that share this name"):
        read(path, "3")


def test_a_tilted_slit_has_a_planned_trace(tmp_path):
    from stdatamodels.jwst import datamodels

    tilt = Polynomial2D(1, c0_0=-20.0 - 0.1 / 3600 * 6, c1_0=-0.1 / 3600 * 0.05, c0_1=0.1 / 3600)
    wave = Polynomial2D(1, c0_0=1.0, c1_0=0.01, c0_1=0.0004)
    transform = Mapping((0, 0, 1, 0, 1)) | Const1D(10.0) & tilt & wave
    model = primary(datamodels.SlitModel(), "NIRSPEC", "NRS_FIXEDSLIT")
    fill(model, wcs_of(transform | Identity(2) & Scale(1.0)), name="S200A1")
    model.source_ra, model.source_dec = 10.0, -20.0
    model.save(str(tmp_path / "cal.fits"))
    frame = read(tmp_path / "cal.fits")
    assert frame.wavelength.shape == (NY, NX)
    np.testing.assert_allclose(frame.meta["planned_trace"], 6 + 0.05 * np.arange(NX), atol=1e-6)
    assert frame.meta["planned_cross"] == pytest.approx(6 + 0.05 * (NX - 1) / 2, abs=1e-6)


def test_a_corrected_wavelength_image_of_a_cal_slit_is_used_and_said(tmp_path):
    from stdatamodels.jwst import datamodels

    model = primary(datamodels.SlitModel(), "NIRSPEC", "NRS_MSASPEC")
    fill(model, wcs_of(long_slit(False)), name="5")
    corrected = np.tile(5.0 + 0.1 * (np.arange(NX) + 0.3), (NY, 1))
    model.wavelength = corrected.astype(np.float32)
    model.save(str(tmp_path / "cal.fits"))
    frame = read(tmp_path / "cal.fits")
    np.testing.assert_allclose(frame.wavelength.to_value(u.um), corrected[0], rtol=1e-6)
    assert "Wavelength from the WAVELENGTH extension, +0.30 pixels from the WCS" in "\n".join(frame.meta["notes"])
