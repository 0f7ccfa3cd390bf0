"""JWST s2d and cal files: golden figures of real ones, and what a bent one is refused for."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from optextract.errors import ReadError
from optextract.io import read, read_all, slits
from optextract.io._masks import JWST_BITS
from optextract.recipe import Input

SMACS = "nirspec_mos_smacs_6355/jw02736-o007_s06355_nirspec_f290lp-g395m_{}.fits"
CEERS = "nirspec_mos_ceers_933/jw01345-o062_s00933_nirspec_clear-prism_s2d.fits"
NODS = "nirspec_mos_ceers_933/jw01345062001_03101_0000{}_nrs2_phot.138.1345_933.fits"


def notes(frame) -> str:
    return "\n".join(frame.meta["notes"])


def removed(*names: str, version: int | None = None):
    def edit(hdus: fits.HDUList) -> fits.HDUList:
        return fits.HDUList([h for h in hdus if not (h.name in names and version in (None, h.ver))])

    return edit


def with_cards(name: str, **cards):
    def edit(hdus: fits.HDUList) -> None:
        for key, value in cards.items():
            if value is None:
                hdus[name].header.remove(key, ignore_missing=True)
            else:
                hdus[name].header[key] = value

    return edit


# real observations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("product", ["x1d", "extract1dstep"])
def test_wavelength_is_that_of_the_pipeline_x1d(data_dir, product):
    frame = read(data_dir / SMACS.format("s2d"))
    expected = fits.getdata(data_dir / SMACS.format(product), "EXTRACT1D")["WAVELENGTH"]
    assert frame.wavelength.unit == u.um
    assert frame.wavelength.shape == (1215,)
    np.testing.assert_allclose(frame.wavelength.value, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "name", [SMACS.format("s2d"), CEERS, NODS.format(1), "nirspec_mos_simulated/synthetic_s2d.fits"]
)
def test_pixels_and_wavelength_are_those_of_stdatamodels_and_gwcs(data_dir, name):
    from stdatamodels.jwst import datamodels

    frame = read(data_dir / name)
    with datamodels.open(data_dir / name) as model:
        y, x = np.mgrid[: model.data.shape[0], : model.data.shape[1]]
        wavelength = model.meta.wcs(x, y)[2]
        np.testing.assert_array_equal(frame.flux, model.data.astype(float))
        np.testing.assert_array_equal(frame.variance, model.err.astype(float) ** 2)
        for key in ("poisson", "rnoise", "flat"):
            part = getattr(model, f"var_{key}").astype(float)
            np.testing.assert_array_equal(frame.variance_parts[key][frame.good], np.nan_to_num(part[frame.good]))
        # a FITS card holds 16 digits, the ASDF tree all of them
        assert frame.meta["pixel_area_sr"] == pytest.approx(model.meta.photometry.pixelarea_steradians, rel=1e-14)
        assert frame.meta["slit"] == model.name
        assert frame.meta["source_name"] == model.source_name
    np.testing.assert_allclose(np.broadcast_to(frame.wavelength.value, frame.shape), wavelength, rtol=0, atol=1e-12)


def test_smacs_unit_is_that_of_the_calibration_not_of_bunit(data_dir):
    frame = read(data_dir / SMACS.format("s2d"))
    assert frame.unit == u.MJy / u.sr
    assert frame.flux_unit == u.Jy
    x1d = fits.getdata(data_dir / SMACS.format("extract1dstep"), "EXTRACT1D")
    total = np.where(frame.good, frame.flux, 0.0)[21:29].sum(axis=0) * frame.flux_scale
    np.testing.assert_allclose(total, x1d["FLUX"], rtol=0, atol=1e-12 * np.abs(x1d["FLUX"]).max())
    assert (
        "BUNIT is 'DN/s', which is no unit of flux; S_PHOTOM is COMPLETE and SRCTYPE is EXTENDED, so the pixels are "
        "taken to be in MJy / sr, as the NIRSpec pipeline writes them. input.unit overrules this."
    ) in frame.meta["notes"]


def test_components_add_up_to_err_where_one_is_undefined(data_dir):
    frame = read(data_dir / SMACS.format("s2d"))
    total = sum(frame.variance_parts.values())
    np.testing.assert_allclose(total[frame.good], frame.variance[frame.good], rtol=1e-6)
    assert "VAR_POISSON is not finite in 1046 pixels that have an ERR: zero there." in frame.meta["notes"]


def test_smacs_bad_pixels_are_those_without_data(data_dir):
    frame = read(data_dir / SMACS.format("s2d"))
    empty = [fits.getdata(data_dir / SMACS.format("s2d"), name) == 0 for name in ("SCI", "ERR", "WHT")]
    np.testing.assert_array_equal(frame.mask, np.all(empty, axis=0))
    assert int((~frame.good.any(axis=0)).sum()) == 73


def test_smacs_plans_the_source_where_it_is_seen_and_the_nods_where_they_are(data_dir):
    frame = read(data_dir / SMACS.format("s2d"))
    # a fit to the median slice puts the source at 24.19 +- 0.12; the archive's aperture is centred on row 20
    assert frame.meta["planned_cross"] == pytest.approx(24.19, abs=0.12)
    assert frame.meta["pixel_scale_arcsec"] == pytest.approx(0.10323, abs=1e-5)
    np.testing.assert_allclose(frame.meta["nod_offsets"], (-10.25, -5.125, 5.125, 10.25), atol=0.01)
    # seen: -0.17 at -10, -0.33 at -5
    np.testing.assert_allclose(frame.meta["nod_depths"][:2], (-1 / 6, -1 / 3), atol=1e-3)
    assert all(-0.5 <= depth < -0.25 for depth in frame.meta["nod_depths"][2:])
    assert frame.meta["nod_count"] == 3
    assert "nod_noise" not in frame.meta
    assert frame.meta["outliers_rejected"] is True
    assert frame.meta["rectified"] is True
    assert frame.meta["header"]["CRDS_CTX"] == "jwst_1185.pmap"
    assert frame.meta["header"]["SOURCEID"] == 6355


def test_a_column_read_by_itself_is_that_of_astropy(data_dir):
    from optextract.io._fits import FitsFile

    path = data_dir / SMACS.format("s2d")
    table = fits.getdata(path, "HDRTAB")
    with FitsFile(path) as file:
        index = next(k for k in file.tables() if file.name(k) == "HDRTAB")
        for name in ("XOFFSET", "YOFFSET", "EFFEXPTM", "RA_REF"):
            np.testing.assert_array_equal(file.quick_column(index, name), table[name])
        assert file.quick_column(index, "FILENAME") is None
        assert file.quick_column(index, "NO_SUCH") is None


def test_without_the_exposures_own_offsets_no_nods_are_claimed(data_dir):
    frame = read(data_dir / CEERS)  # NOD_TYPE alone says nothing
    assert "nod_offsets" not in frame.meta
    # the slice has its peak at 16.3 +- 0.2
    assert frame.meta["planned_cross"] == pytest.approx(16.3, abs=0.4)


def test_detector_frame_has_two_dimensional_wavelength_and_a_curved_trace(data_dir):
    rows = []
    for number in (1, 2, 3):
        frame = read(data_dir / NODS.format(number))
        assert frame.wavelength.shape == frame.shape == (25, 341)
        assert frame.meta["rectified"] is False
        trace = frame.meta["planned_trace"]
        assert trace.shape == (341,)
        assert 2 < np.nanmax(trace) - np.nanmin(trace) < 5
        slit = frame.meta["slit_coordinate"]
        columns = np.flatnonzero(np.isfinite(trace))[::40]
        for column in columns:
            good = np.isfinite(slit[:, column])
            assert np.interp(0.0, slit[good, column], np.flatnonzero(good)) == pytest.approx(trace[column], abs=0.01)
        rows.append(frame.meta["planned_cross"])
        dq = fits.getdata(data_dir / NODS.format(number), "DQ")
        assert frame.mask[(dq & 1) == 1].all()
    # the nods are 0.529 arcsec apart
    np.testing.assert_allclose(np.diff(sorted(rows)), 0.529 / 0.10446, atol=0.02)


def test_named_bits_decide_which_pixels_are_bad(data_dir):
    path = data_dir / NODS.format(1)
    dq = fits.getdata(path, "DQ")
    frame = read(path, settings=Input(dq_bits=("DO_NOT_USE", "UNRELIABLE_BIAS")))
    assert frame.mask[(dq >> 22) & 1 == 1].all()
    assert not read(path).mask[((dq >> 22) & 1 == 1) & (dq & 1 == 0)].any()
    with pytest.raises(ReadError, match=r"The 'dq_bits' parameter of input must be named from DO_NOT_USE.*Got 'HOTT'"):
        read(path, settings=Input(dq_bits=("HOTT",)))


def test_bits_are_those_of_stdatamodels():
    from stdatamodels.jwst.datamodels.dqflags import pixel

    ours = {name: 1 << bit for name, bit in JWST_BITS.items()}
    theirs = {name: value for name, value in pixel.items() if value}
    for name, value in ours.items():
        assert value in theirs.values(), name
    assert ours["DO_NOT_USE"] == theirs["DO_NOT_USE"]
    assert {name: ours[name] for name in ours if name in theirs} == {n: theirs[n] for n in ours if n in theirs}


def test_multi_slit_file_by_name_by_source_and_by_index(data_dir):
    path = data_dir / "nirspec_mos_simulated/synthetic_multislit_s2d.fits.gz"
    frames = read_all(path)
    assert [frame.meta["slit"] for frame in frames] == ["100", "101", "102"]
    for wanted in (1, "101", "SYN_101"):
        frame = read(path, wanted)
        np.testing.assert_array_equal(frame.flux, frames[1].flux)
    snr = [slit.snr for slit in slits(path)]
    assert snr[0] > snr[1] > snr[2] > 3


def test_planned_position_from_the_sky_agrees_with_the_true_trace(data_dir):
    truth = fits.getdata(data_dir / "nirspec_mos_simulated/synthetic_truth.fits", 1)
    frame = read(data_dir / "nirspec_mos_simulated/synthetic_s2d.fits")  # there is no slit frame in its WCS
    assert frame.meta["planned_cross"] == pytest.approx(np.median(truth["trace_y"]), abs=0.6)
    assert "from its place on the sky (SRCRA and SRCDEC)." in notes(frame)


def test_source_type_does_not_overrule_a_bunit_of_flux(data_dir):
    assert read(data_dir / "nirspec_mos_simulated/synthetic_s2d.fits").unit == u.MJy / u.sr  # SRCTYPE is POINT
    injected = read(data_dir / "nirspec_mos_injected/inject_mid_s2d.fits")
    assert injected.unit == u.MJy
    assert injected.flux_scale == 1e6


# files of our own ------------------------------------------------------------------------------------------------


def test_extensions_are_paired_by_extver_whatever_their_order(pristine, bend, rng):
    def shuffle(hdus):
        order = [0, *(1 + rng.permutation(len(hdus) - 1))]
        return fits.HDUList([hdus[k] for k in order])

    bent = bend(pristine, shuffle)
    with fits.open(bent) as hdus:
        assert [h.ver for h in hdus if h.name == "SCI"] != sorted(h.ver for h in hdus if h.name == "SCI")
    for before, after in zip(read_all(pristine), read_all(bent), strict=True):
        np.testing.assert_array_equal(before.flux, after.flux)
        np.testing.assert_array_equal(before.variance, after.variance)
        np.testing.assert_array_equal(before.wavelength.value, after.wavelength.value)
        np.testing.assert_array_equal(before.meta["weight"], after.meta["weight"])
        assert before.meta["slit"] == after.meta["slit"]


def test_two_sci_of_the_same_extver_are_refused(pristine, bend):
    def lie(hdus):
        for hdu in hdus:
            if hdu.name == "SCI" and hdu.ver == 2:
                hdu.header["EXTVER"] = 1

    with pytest.raises(
        ReadError, match=r"HDU \d+ and HDU \d+ are both SCI with EXTVER 1; which errors and masks belong"
    ):
        read(bend(pristine, lie), 0)


def test_two_err_of_the_same_extver_are_refused(pristine, bend):
    def lie(hdus):
        for hdu in hdus:
            if hdu.name == "ERR" and hdu.ver == 2:
                hdu.header["EXTVER"] = 1

    bent = bend(pristine, lie)
    with pytest.raises(ReadError, match="are both ERR with EXTVER 1"):
        read(bent, 0)


def test_an_err_of_another_shape_is_refused(single, bend):
    def cut(hdus):
        hdus["ERR"].data = hdus["ERR"].data[1:]

    with pytest.raises(
        ReadError, match=r"ERR, EXTVER 1\) must have the shape of HDU 1 \(SCI, EXTVER 1\), \(25, 80\). Got \(24, 80\)"
    ):
        read(bend(single, cut))


def test_no_variance_is_said_and_not_invented(single, bend):
    frame = read(bend(single, removed("ERR", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT")))
    assert frame.variance is None
    assert not frame.variance_parts
    assert frame.meta["variance_source"] == "none"
    assert "The file has no variance; WHT is a relative weight" in notes(frame)


def test_an_err_of_zeros_is_no_error(single, bend):
    def zero(hdus):
        hdus["ERR"].data = np.zeros_like(hdus["ERR"].data)

    frame = read(bend(single, zero))
    assert frame.variance is None
    assert frame.meta["variance_source"] == "the sum of VAR (poisson, rnoise)"
    assert "ERR is zero or not finite wherever there are data: not used." in frame.meta["notes"]


def test_negative_errors_are_masked_and_said(single, bend):
    def negative(hdus):
        hdus["ERR"].data[10, 10:13] *= -1

    frame = read(bend(single, negative))
    assert frame.mask[10, 10:13].all()
    assert "ERR is negative in 3 pixels: masked." in frame.meta["notes"]


@pytest.mark.parametrize(
    ("cards", "primary", "text"),
    [
        (
            {"BUNIT": None},
            {"S_PHOTOM": None},
            r"BUNIT is absent, and the header does not say that photometric calibration",
        ),
        (
            {"BUNIT": "DN/s"},
            {"S_PHOTOM": "SKIPPED"},
            r"BUNIT is 'DN/s', which is no unit of flux, .*S_PHOTOM is SKIPPED",
        ),
        ({"BUNIT": "DN/s", "SRCTYPE": "UNKNOWN"}, {}, r"SRCTYPE \(UNKNOWN\) does not tell it apart"),
        ({"BUNIT": "DN/s"}, {"INSTRUME": "MIRI"}, r"SRCTYPE \(POINT\) does not tell it apart"),
        (
            {"PIXAR_SR": None},
            {},
            r"the unit is MJy / sr and PIXAR_SR, the solid angle of a pixel, is absent: set input.pixel",
        ),
        ({"PIXAR_SR": -1.0}, {}, r"PIXAR_SR, the solid angle of a pixel, is -1.0"),
        ({"DISPAXIS": 3}, {}, r"DISPAXIS of HDU 1 \(SCI, EXTVER 1\) must be 1 or 2. Got 3 instead"),
        ({"DISPAXIS": 2}, {}, r"DISPAXIS is 2, but the wavelength changes along the other axis"),
    ],
)
def test_what_cannot_be_known_is_refused(single, bend, cards, primary, text):
    def edit(hdus):
        with_cards("SCI", **cards)(hdus)
        with_cards("PRIMARY", **primary)(hdus)

    with pytest.raises(ReadError, match=text):
        read(bend(single, edit))


def test_refusal_of_a_unit_names_the_option_and_the_option_works(single, bend):
    def edit(hdus):
        with_cards("SCI", BUNIT="DN/s")(hdus)
        with_cards("PRIMARY", S_PHOTOM="SKIPPED")(hdus)

    bent = bend(single, edit)
    with pytest.raises(ReadError, match=r"set the unit yourself: input.unit in the recipe, or unit= of read"):
        read(bent)
    frame = read(bent, unit="MJy/sr")
    assert frame.unit == u.MJy / u.sr
    assert "The unit MJy / sr was set by the user; BUNIT says DN/s." in frame.meta["notes"]
    counts = read(bent, settings=Input(unit="DN/s"))
    assert counts.unit == counts.flux_unit == u.DN / u.s
    with pytest.raises(
        ReadError, match=r"The 'unit' parameter of input must be a unit that astropy knows. Got 'Jansen'"
    ):
        read(bent, unit="Jansen")


@pytest.mark.parametrize(("kind", "unit"), [("POINT", u.MJy), ("EXTENDED", u.MJy / u.sr)])
def test_source_type_decides_where_bunit_lies(single, bend, kind, unit):
    assert read(bend(single, with_cards("SCI", BUNIT="DN/s", SRCTYPE=kind))).unit == unit


def test_solid_angle_can_be_given(single, bend):
    frame = read(bend(single, with_cards("SCI", PIXAR_SR=None)), settings=Input(pixel_area_sr=5e-13))
    assert frame.flux_scale == pytest.approx(5e-7, rel=1e-12)


def test_vertical_file_is_turned_once(tmp_path):
    from optextract.simulate import scene, write_s2d

    same = {"seed": 3, "shape": (15, 60), "snr": 40.0}
    across = read(write_s2d(scene(**same), tmp_path / "h.fits"))
    path = write_s2d(scene(**same, dispaxis=2), tmp_path / "v.fits")
    assert fits.getdata(path, "SCI").shape == (60, 15)
    upright = read(path)
    assert upright.shape == (15, 60)
    assert upright.meta["dispaxis"] == 2
    np.testing.assert_array_equal(across.flux, upright.flux)
    np.testing.assert_array_equal(across.variance, upright.variance)
    np.testing.assert_allclose(across.wavelength.value, upright.wavelength.value, rtol=1e-13)


@pytest.mark.parametrize("wcsaxes", [None, 2, 3])
def test_wavelength_does_not_hang_on_the_fits_wcs(tmp_path, wcsaxes):
    from optextract.simulate import scene, write_s2d

    one = scene(seed=3, shape=(15, 60), snr=40.0)
    frame = read(write_s2d(one, tmp_path / "w.fits", wcsaxes=wcsaxes))
    np.testing.assert_allclose(frame.wavelength.to_value(u.um), one.frame.wavelength.to_value(u.um), rtol=1e-12)


def test_without_gwcs_the_wavelength_extension_serves_and_is_named(single, bend):
    exact = read(single).wavelength.value

    def edit(hdus):
        wave = fits.ImageHDU(np.tile(exact, (25, 1)).astype(np.float32), name="WAVELENGTH", ver=1)
        return fits.HDUList([*(h for h in hdus if h.name != "ASDF"), wave])

    frame = read(bend(single, edit))
    np.testing.assert_allclose(frame.wavelength.value, exact, rtol=1e-6)
    assert "Wavelength from the WAVELENGTH extension: the file has no ASDF extension." in frame.meta["notes"]


def test_without_any_wavelength_columns_are_pixels_and_that_is_said(single, bend):
    frame = read(bend(single, removed("ASDF")))
    assert frame.wavelength is None
    assert "The file has no wavelength that can be read: the file has no ASDF extension." in notes(frame)


def test_a_damaged_asdf_extension_is_said(single, bend):
    def damage(hdus):
        raw = hdus["ASDF"].data["ASDF_METADATA"]
        raw[0][:400] = ord("x")

    frame = read(bend(single, damage))
    assert frame.wavelength is None
    assert "the ASDF extension cannot be read" in notes(frame)


def test_simulated_nods_and_plan_are_found(single):
    frame = read(single)
    np.testing.assert_allclose(frame.meta["nod_offsets"], (-10, -5, 5, 10), atol=0.01)
    np.testing.assert_allclose(frame.meta["nod_depths"], (-1 / 6, -1 / 3, -1 / 3, -1 / 6), atol=1e-9)
    assert frame.meta["planned_cross"] == pytest.approx(12.2, abs=0.6)
    assert frame.meta["pixel_scale_arcsec"] == pytest.approx(0.10, abs=0.02)


def test_absent_and_ambiguous_slits_are_listed(pristine, bend):
    for wanted, rule in (
        (None, "the name or index of one of the 3 slits. Got None instead"),
        ("7", "the name of a slit of the file. Got '7' instead"),
        (3, "an index between 0 and 2. Got 3 instead"),
        (True, "a name, an index or None. Got True instead"),
    ):
        with pytest.raises(ReadError) as caught:
            read(pristine, wanted)
        assert f"The 'slit' parameter of read must be {rule}" in str(caught.value)
        assert "0: '100' (" in str(caught.value)
        assert "2: '102' (" in str(caught.value)

    def twins(hdus):
        for hdu in hdus:
            if hdu.name == "SCI":
                hdu.header["SLTNAME"] = "100"

    with pytest.raises(ReadError, match=r"must be the index of one of the 3 slits that share this name. Got '100'"):
        read(bend(pristine, twins), "100")
