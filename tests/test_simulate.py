"""Scenes: the truth in them is true, their noise is what they say, and files of them are read as mission files are."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from scipy.integrate import quad

from optextract.errors import FrameError, OptextractError
from optextract.simulate import SCENES, Line, cramer_rao, make_scene, pixel_profile, scene, write_s2d, write_truth


@pytest.mark.parametrize("kind", ["gaussian", "moffat"])
def test_profile_is_the_integral_over_the_pixel(kind):
    fwhm, centre, index = 1.3, 4.27, 2.5
    if kind == "gaussian":
        sigma = fwhm / 2.3548200450309493

        def density(y):
            return np.exp(-0.5 * ((y - centre) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))

    else:
        core = fwhm / (2 * np.sqrt(2 ** (1 / index) - 1))
        norm = quad(lambda y: (1 + (y / core) ** 2) ** -index, -np.inf, np.inf)[0]

        def density(y):
            return (1 + ((y - centre) / core) ** 2) ** -index / norm

    found = pixel_profile(np.arange(9), centre, fwhm, kind, index)[:, 0]
    expected = [quad(density, row - 0.5, row + 0.5)[0] for row in range(9)]
    np.testing.assert_allclose(found, expected, atol=1e-10)
    # half of the peak density at half of the FWHM
    assert density(centre + fwhm / 2) / density(centre) == pytest.approx(0.5, rel=1e-12)


def test_profile_of_an_unknown_kind_is_refused():
    with pytest.raises(OptextractError, match=r"'kind' parameter of pixel_profile must be 'gaussian' or 'moffat'"):
        pixel_profile(np.arange(3), 1.0, 1.0, "box")


@pytest.mark.parametrize("name", sorted(SCENES))
def test_noise_has_the_variance_that_truth_says(name):
    one = make_scene(name, 3)
    frame, truth = one.frame, one.truth
    good = ~truth.bad
    pull = (frame.flux - truth.model)[good] / np.sqrt(truth.variance[good])
    assert abs(pull.mean()) < 5 / np.sqrt(pull.size)
    # 25 x 1298 pixels; nods share their pixels between rows
    assert pull.std() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("name", sorted(set(SCENES) - {"nods"}))
def test_model_is_sources_and_background(name):
    truth = make_scene(name, 1).truth
    light = (truth.profile * truth.flux[:, None, :]).sum(axis=0)
    np.testing.assert_allclose(light + truth.background, truth.model, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(truth.profile.sum(axis=1), 1.0, atol=0.03 if name == "moffat" else 1e-6)


@pytest.mark.parametrize(("name", "snr"), [("faint", 3.0), ("mid", 20.0), ("bright", 300.0)])
def test_continuum_has_the_signal_to_noise_asked_for(name, snr):
    one = make_scene(name, 2)
    middle = one.frame.n_disp // 2
    assert one.truth.flux[0, middle] / cramer_rao(one)[0, middle] == pytest.approx(snr, rel=0.01)


def test_cramer_rao_is_horne_for_one_source_and_reached_by_the_optimal_sum():
    one = make_scene("mid", 0)
    profile, variance = one.truth.profile[0], one.truth.variance
    np.testing.assert_allclose(cramer_rao(one)[0], 1 / np.sqrt((profile**2 / variance).sum(axis=0)), rtol=1e-12)
    residuals = []
    for seed in range(20):
        other = one.redrawn(seed)
        data = other.frame.flux - other.truth.background
        flux = (profile * data / variance).sum(axis=0) / (profile**2 / variance).sum(axis=0)
        residuals.append((flux - one.truth.flux[0]) / cramer_rao(one)[0])
    assert np.std(residuals) == pytest.approx(1.0, abs=0.02)


def test_cramer_rao_of_a_blend_is_larger_than_of_its_parts():
    one = make_scene("blend", 0)
    alone = 1 / np.sqrt((one.truth.profile**2 / one.truth.variance).sum(axis=1))
    assert np.all(cramer_rao(one) > alone)
    # at the red end, 1.8 px FWHM, 2 px apart: the overlap of the profiles gives the factor
    assert 1.01 < np.max(cramer_rao(one) / alone) < 1.03


def test_nods_leave_negatives_and_noise_that_the_variance_lacks():
    one = make_scene("nods", 5)
    frame, truth = one.frame, one.truth
    assert frame.meta["nod_offsets"] == (-5.0, 5.0, -10.0, 10.0)
    assert frame.meta["nod_depths"] == (-1 / 3, -1 / 3, -1 / 6, -1 / 6)
    column, depths = 600, (-1 / 3, -1 / 3, -1 / 6, -1 / 6)
    light = truth.profile[0, :, column] * truth.flux[0, column]
    expected = sum(d * np.roll(light, int(o)) for d, o in zip(depths, (-5, 5, -10, 10), strict=True))
    np.testing.assert_allclose(truth.negatives[:, column], expected, atol=1e-3 * light.max())
    ratio = truth.variance / frame.variance
    assert np.median(ratio[:3]) == pytest.approx(1.5, abs=0.01)
    included = make_scene("nods", 5, nod_noise="included")
    np.testing.assert_allclose(included.frame.variance, included.truth.variance, rtol=1e-12)


def test_bad_pixels_are_told_but_cosmic_rays_are_not():
    one = make_scene("cosmic", 4)
    frame, truth = one.frame, one.truth
    assert truth.cosmic.sum() > 200
    assert not frame.mask[truth.cosmic].any()
    assert frame.mask[truth.bad & ~truth.cosmic].all()
    assert np.isnan(frame.flux).any()
    assert (frame.flux[frame.mask] == 0).any()


def test_frame_tells_nothing_of_the_truth():
    for name in SCENES:
        meta = make_scene(name, 0).frame.meta
        assert not {"centre", "fwhm", "flux", "profile", "separation", "planned_cross"} & set(meta)


def test_line_flux_is_what_the_lines_hold():
    one = scene(snr=0.0, lines=(Line(300.4, 2.6, 30.0), Line(700.0, 3.0, 10.0, spatial=1.3)))
    assert one.truth.flux[0, 280:320].sum() == pytest.approx(one.truth.line_flux[0], rel=1e-6)
    assert one.truth.flux[0, 680:720].sum() == pytest.approx(one.truth.line_flux[1], rel=1e-6)
    bound = cramer_rao(one)
    assert one.truth.flux[0, 700] / bound[0, 700] == pytest.approx(10.0, rel=0.01)


def test_scenes_are_reproducible_and_seeds_differ():
    np.testing.assert_array_equal(make_scene("cosmic", 7).frame.flux, make_scene("cosmic", 7).frame.flux)
    assert make_scene("mid", 1).truth.centre[0, 0] != make_scene("mid", 2).truth.centre[0, 0]


def test_unknown_scene_is_refused():
    with pytest.raises(OptextractError, match=r"'name' parameter of make_scene must be one of faint, .*'dim' instead"):
        make_scene("dim")


def test_calibrated_scene_keeps_signal_to_noise_and_drops_what_a_file_does_not_tell():
    one = make_scene("mid", 1)
    jansky = one.calibrated(jy_per_electron=2e-9)
    assert jansky.frame.unit == u.MJy / u.sr
    assert "gain" not in jansky.frame.meta
    np.testing.assert_allclose(jansky.truth.flux, one.truth.flux * 2e-9)
    np.testing.assert_allclose(jansky.truth.flux / cramer_rao(jansky), one.truth.flux / cramer_rao(one))


@pytest.mark.parametrize("wcsaxes", [None, 2, 3])
@pytest.mark.parametrize("name", ["mid", "vertical", "nods"])
def test_file_reads_back_in_stdatamodels(tmp_path, name, wcsaxes):
    from stdatamodels.jwst import datamodels

    one = make_scene(name, 1, planned_sigma=0.0).calibrated()
    path = write_s2d(one, tmp_path / "a_s2d.fits", wcsaxes=wcsaxes)
    with datamodels.open(str(path)) as model:
        assert isinstance(model, datamodels.SlitModel)
        flux = model.data.T if name == "vertical" else model.data
        np.testing.assert_allclose(flux, one.frame.flux, rtol=1e-6)
        assert model.meta.wcsinfo.dispersion_direction == (2 if name == "vertical" else 1)
        assert model.meta.wcsinfo.wcsaxes == wcsaxes
        columns, row = np.arange(one.frame.n_disp), np.full(one.frame.n_disp, 12)
        x, y = (row, columns) if name == "vertical" else (columns, row)
        _, _, wavelength = model.meta.wcs(x, y)
        np.testing.assert_allclose(wavelength, one.frame.wavelength.to_value("um"), rtol=1e-12)
        # the planned position, and so the slit frame, agrees with the rows
        planned = one.frame.meta["planned_cross"]
        to_slit = model.meta.wcs.get_transform("detector", "slit_frame")
        place = (planned, 0.0) if name == "vertical" else (0.0, planned)
        assert to_slit(*place)[1] == pytest.approx(model.source_ypos, abs=1e-9)


def test_multi_slit_file_has_every_slit(tmp_path):
    from stdatamodels.jwst import datamodels

    scenes = [make_scene(name, 1) for name in ("mid", "blend", "empty")]
    path = write_s2d(scenes, tmp_path / "b_s2d.fits", slits=("S1", "S2", "S3"))
    with datamodels.open(str(path)) as model:
        assert [slit.name for slit in model.slits] == ["S1", "S2", "S3"]
        for slit, one in zip(model.slits, scenes, strict=True):
            np.testing.assert_allclose(slit.data, one.calibrated().frame.flux, rtol=1e-6)


def test_missing_pixels_are_zero_in_the_file(tmp_path):
    from astropy.io import fits

    one = make_scene("cosmic", 2)
    with fits.open(write_s2d(one, tmp_path / "c_s2d.fits")) as hdus:
        for extension in ("SCI", "ERR", "WHT"):
            assert np.all(hdus[extension].data[one.frame.mask] == 0)
            assert np.isfinite(hdus[extension].data).all()


def test_existing_file_is_kept(tmp_path):
    path = tmp_path / "d_s2d.fits"
    path.write_bytes(b"mine")
    with pytest.raises(FrameError, match="exists; pass overwrite=True"):
        write_s2d(make_scene("mid"), path)
    assert path.read_bytes() == b"mine"


def test_wcsaxes_of_another_number_is_refused(tmp_path):
    with pytest.raises(OptextractError, match=r"'wcsaxes' parameter of write_s2d must be None, 2 or 3. Got 4"):
        write_s2d(make_scene("mid"), tmp_path / "e.fits", wcsaxes=4)


def test_truth_table_reads_back(tmp_path):
    from astropy.table import QTable

    one = make_scene("blend", 1)
    table = QTable.read(write_truth(one, tmp_path / "truth.ecsv"))
    np.testing.assert_allclose(table["flux_1"].to_value("Jy"), one.truth.flux[1] * 1e-9)
    assert table.meta["n_source"] == 2


def test_survey_has_what_a_batch_must_cope_with(tmp_path):
    from optextract.simulate import survey, write_survey

    kinds = [member.kind for member in survey()]
    assert len(kinds) == 79
    assert {kind: kinds.count(kind) for kind in ("empty", "corrupt", "nan", "blend", "nods")} == {
        "empty": 2,
        "corrupt": 1,
        "nan": 1,
        "blend": 6,
        "nods": 4,
    }
    written = write_survey(tmp_path, 3)
    assert [path.name for path, _ in written] == ["sim000_s2d.fits", "sim001_s2d.fits", "sim002_s2d.fits"]
    assert len(list((tmp_path / "truth").iterdir())) == 3
    assert (tmp_path / "overrides.csv").read_text().startswith("file,sources\n")
    with pytest.raises(FrameError, match="exists; pass overwrite=True"):
        write_survey(tmp_path, 3)
    with pytest.raises(OptextractError, match=r"'number' parameter of survey must be 1 or more. Got 0"):
        write_survey(tmp_path / "b", 0)
