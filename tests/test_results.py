"""The frozen result: flags by name, what its parts have to do with each other, and the way out to specutils."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import StdDevUncertainty

import optextract as ox
from optextract import Flag
from optextract.results import freeze
from optextract.simulate import make_scene

QUALITY = {
    "chi2", "pull", "noise_scale", "snr_total", "snr_median", "gain", "efficiency", "optimal_over_boxcar",
    "profile_fraction", "trace_rms", "profile", "empirical", "flux_window", "rejected", "restored", "rejection_effect",
    "masked_fraction", "lost_columns", "background", "nods", "variance", "revised_slope", "detection_snr", "noise",
    "warnings",
}  # fmt: skip


@lru_cache(maxsize=8)
def extracted(name: str = "mid", cross: tuple[int, int] | None = None) -> ox.Extraction:
    frame = make_scene(name, 3, shape=(25, 300)).frame
    recipe = ox.Recipe(sources={"number": 2 if name == "blend" else 1})
    return ox.extract(frame, recipe, region=None if cross is None else {"cross": cross})


def test_flags_are_single_bits_with_names():
    values = [int(flag) for flag in Flag]
    assert values == [2**k for k in range(len(values))]
    assert Flag.words(0) == ()
    assert Flag.words(int(Flag.NO_DATA | Flag.EDGE)) == ("NO_DATA", "EDGE")
    assert Flag.words(sum(values)) == tuple(flag.name for flag in Flag)


def test_frozen_view_shares_memory_and_cannot_be_written():
    array = np.arange(3.0)
    frozen = freeze(array)
    assert np.shares_memory(array, frozen)
    with pytest.raises(ValueError, match="read-only"):
        frozen[0] = 1
    assert array.flags.writeable
    assert freeze([1, 2], np.uint32).dtype == np.uint32


@pytest.mark.parametrize(("name", "n_source"), [("mid", 1), ("blend", 2), ("cosmic", 1), ("nods", 1)])
def test_shapes_are_those_of_the_documentation(name, n_source):
    result = extracted(name)
    assert result.n_source == n_source
    for field in ("flux", "uncertainty", "flags", "centre", "fwhm", "flux_unrejected"):
        assert getattr(result, field).shape == (n_source, 300), field
    for field in ("model", "background", "background_uncertainty", "residual", "rejected"):
        assert getattr(result, field).shape == (25, 300), field
    assert result.covariance.shape == (300, n_source, n_source)
    assert result.profile.shape == (n_source, 25, 300)
    assert result.wavelength.shape == (300,)
    assert result.flags.dtype == np.uint32
    assert result.rejected.dtype == bool
    assert result.boxcar.flux.shape == (n_source, 300)
    for part in (*result.variance_parts.values(), *result.boxcar.variance_parts.values()):
        assert part.shape == (n_source, 300)


@pytest.mark.parametrize("name", ["mid", "blend"])
def test_model_is_sources_times_profiles_and_background(name):
    result = extracted(name)
    light = (result.flux[:, None, :] * result.profile).sum(axis=0)
    np.testing.assert_allclose(result.model, light + result.background, rtol=1e-9, atol=1e-9)
    frame = make_scene(name, 3, shape=(25, 300)).frame
    np.testing.assert_allclose(result.residual[frame.good], (frame.flux - result.model)[frame.good], atol=1e-9)
    assert np.isnan(result.residual[frame.mask]).all()


def test_covariance_has_the_squared_errors_on_its_diagonal_and_is_symmetric():
    result = extracted("blend")
    for k in range(2):
        np.testing.assert_allclose(result.covariance[:, k, k], result.uncertainty[k] ** 2, rtol=1e-12)
    np.testing.assert_allclose(result.covariance[:, 0, 1], result.covariance[:, 1, 0], rtol=1e-9)
    assert (np.linalg.det(result.covariance) > 0).all()


def test_profiles_sum_to_the_light_inside_and_lie_on_the_trace():
    result = extracted("mid")
    np.testing.assert_allclose(result.profile.sum(axis=1), 1.0, atol=1e-3)
    middle = (result.profile[0] * np.arange(25)[:, None]).sum(axis=0) / result.profile[0].sum(axis=0)
    np.testing.assert_allclose(middle, result.centre[0], atol=2e-3)


def test_flux_in_the_region_is_that_part_of_the_whole():
    frame = make_scene("mid", 3, shape=(25, 300)).frame
    whole = ox.extract(frame, region={"cross": (10, 24)})
    part = ox.extract(frame, ox.Recipe(flux={"window": "region"}), region={"cross": (10, 24)})
    inside = whole.profile[0].sum(axis=0)
    assert (inside < 1).all()
    np.testing.assert_allclose(part.flux[0], whole.flux[0] * inside, rtol=1e-9)
    np.testing.assert_allclose(part.uncertainty[0], whole.uncertainty[0] * inside, rtol=1e-9)
    np.testing.assert_allclose(part.profile[0].sum(axis=0), 1.0, rtol=1e-9)
    np.testing.assert_allclose(part.model, whole.model, rtol=1e-9, equal_nan=True)
    assert part.quality["flux_window"] == part.resolved.flux.window == "region"


def test_extended_sources_refer_to_the_window_by_default():
    frame = make_scene("mid", 3, shape=(25, 300)).frame
    extended = frame.replace(meta={**frame.meta, "source_type": "EXTENDED"})
    assert ox.extract(extended).resolved.flux.window == "region"
    assert ox.extract(frame).resolved.flux.window == "infinite"


def test_profile_that_leaves_the_region_is_flagged():
    frame = make_scene("mid", 3, shape=(25, 300)).frame
    row = float(np.median(make_scene("mid", 3, shape=(25, 300)).truth.centre))
    cut = ox.extract(frame, region={"cross": (round(row), 24)})
    assert (cut.flags & Flag.EDGE).all()
    assert not (extracted("mid").flags & Flag.EDGE).any()


def test_too_little_of_the_profile_is_nan_and_flagged_and_part_of_it_flagged():
    one = make_scene("mid", 3, shape=(25, 300))
    core = round(float(np.median(one.truth.centre)))
    mask = np.zeros(one.frame.shape, dtype=bool)
    mask[core - 2 : core + 3, 50] = True
    mask[core + 1, 60] = True
    mask[:, 70] = True
    result = ox.extract(one.frame.replace(mask=mask))
    assert np.isnan(result.flux[0, [50, 70]]).all()
    assert np.isnan(result.uncertainty[0, [50, 70]]).all()
    assert np.isfinite(result.flux[0, [49, 51, 60, 69, 71]]).all()
    assert Flag.words(result.flags[0, 50]) == ("LOW_PROFILE",)
    assert Flag.words(result.flags[0, 60]) == ("PARTIAL_PROFILE",)
    assert Flag.words(result.flags[0, 70]) == ("NO_DATA",)
    assert result.quality["lost_columns"] == 2


@pytest.mark.parametrize(("separation", "flagged"), [(0.15, True), (3.0, False)])
def test_sources_too_close_are_flagged_and_their_errors_grow(separation, flagged):
    one = make_scene("blend", 3, shape=(25, 300))
    first = float(np.median(one.truth.centre[0]))
    items = [{"centre": {"value": first + k * separation, "fixed": True}} for k in range(2)]
    width = {"kind": "gaussian", "fwhm": {"value": 1.5, "fixed": True}, "empirical": False}
    off = {"mode": False}  # a profile of two that is wrong by intent
    result = ox.extract(one.frame, ox.Recipe(sources={"items": items}, profile=width, rejection=off))
    assert (result.flags & Flag.BLENDED != 0).all() == flagged
    alone = ox.extract(one.frame, ox.Recipe(sources={"items": items[:1]}, profile=width, rejection=off))
    growth = np.median(result.uncertainty[0] / alone.uncertainty[0])
    assert (growth > 2) == flagged
    assert np.isfinite(result.flux).all()


# figures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mid", "blend", "cosmic", "nods"])
def test_quality_has_its_figures_one_a_source(name):
    result = extracted(name)
    quality = result.quality
    assert set(quality) >= QUALITY
    per_source = "snr_total snr_median gain efficiency optimal_over_boxcar profile_fraction rejection_effect".split()  # noqa: SIM905
    for key in per_source:
        assert len(quality[key]) == result.n_source
    assert 0.85 < quality["chi2"] < 1.6
    assert np.isfinite(quality["trace_rms"])
    assert all(isinstance(words, str) and words.endswith(".") for words in quality["warnings"])
    assert len(set(quality["warnings"])) == len(quality["warnings"])


def test_figures_are_what_they_say():
    one, result = make_scene("mid", 3, shape=(25, 300)), extracted("mid")
    quality = result.quality
    snr = one.truth.flux[0] / result.uncertainty[0]
    assert quality["snr_total"][0] == pytest.approx(np.sqrt((snr**2).sum()), rel=0.03)
    assert quality["snr_median"][0] == pytest.approx(np.median(result.flux[0] / result.uncertainty[0]))
    assert 0.95 < quality["efficiency"][0] <= 1.0 + 1e-9
    assert quality["gain"][0] > 1.0
    assert quality["rejected"] == result.rejected.sum()
    assert quality["masked_fraction"] == pytest.approx(one.frame.mask.mean())
    assert quality["variance"] == "the frame's variance"
    assert quality["profile"] == result.resolved.profile.kind


def test_optimal_over_boxcar_tells_of_a_wrong_profile():
    """A Gaussian on Moffat data misses some percent of the flux: the ratio to the plain sum shows it."""
    frame = make_scene("moffat", 3, snr=100.0).frame
    wrong = ox.extract(frame, ox.Recipe(profile={"kind": "gaussian", "empirical": False}))
    right = ox.extract(frame, ox.Recipe(profile={"kind": "moffat", "empirical": False}))
    assert right.quality["optimal_over_boxcar"][0][0] == pytest.approx(1.0, abs=0.005)
    ratio, error = wrong.quality["optimal_over_boxcar"][0]
    assert abs(ratio - 1) > 10 * error


# out -----------------------------------------------------------------------------------------------------------------


def test_spectrum_has_flux_errors_mask_and_what_made_it():
    from specutils import Spectrum

    one = make_scene("mid", 3, shape=(25, 300))
    wavelength = one.frame.wavelength.copy()
    wavelength[:5] = np.nan * u.um
    mask = np.zeros(one.frame.shape, dtype=bool)
    mask[:, 100] = True
    result = ox.extract(one.frame.replace(wavelength=wavelength, mask=mask))
    spectrum = result.to_spectrum()
    assert isinstance(spectrum, Spectrum)
    assert spectrum.flux.shape == (295,)
    assert spectrum.flux.unit == result.unit
    np.testing.assert_array_equal(spectrum.flux.value, result.flux[0, 5:])
    np.testing.assert_array_equal(spectrum.spectral_axis.value, result.wavelength[5:].value)
    assert isinstance(spectrum.uncertainty, StdDevUncertainty)
    np.testing.assert_array_equal(spectrum.uncertainty.array, result.uncertainty[0, 5:])
    np.testing.assert_array_equal(np.flatnonzero(spectrum.mask), [95])
    assert ox.Recipe.from_yaml(spectrum.meta["recipe"]) == result.resolved
    assert spectrum.meta["source_name"] == "SIM_mid"
    assert spectrum.meta["provenance"]["versions"]["optextract"] == ox.__version__
    assert (result.flags[0, :5] & Flag.NO_WAVELENGTH).all()


def test_spectrum_of_each_source_by_its_name():
    frame = make_scene("blend", 3, shape=(25, 300)).frame
    items = [{"name": "south", "centre": 10.9}, {"name": "north", "centre": 12.9}]
    result = ox.extract(frame, ox.Recipe(sources={"items": items}))
    assert [result.to_spectrum(k).meta["source_name"] for k in range(2)] == ["south", "north"]
    np.testing.assert_array_equal(result.to_spectrum(1).flux.value, result.flux[1])
    for wrong in (2, -1):
        with pytest.raises(
            ox.OptextractError, match=rf"'source' parameter of Extraction.to_spectrum must be .* Got {wrong}"
        ):
            result.to_spectrum(wrong)


def test_frame_without_wavelength_gives_a_spectrum_in_pixels():
    frame = make_scene("mid", 3, shape=(25, 300)).frame.replace(wavelength=None)
    spectrum = ox.extract(frame).to_spectrum()
    assert spectrum.spectral_axis.unit == u.pix
    np.testing.assert_array_equal(spectrum.spectral_axis.value, np.arange(300))


def test_result_says_what_it_is():
    assert repr(extracted("mid")) == "<Extraction: 1 source(s), 300 columns, 300 good values in electron>"
