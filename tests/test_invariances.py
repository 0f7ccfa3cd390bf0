"""What must not change a spectrum: units, sky, empty borders, values behind a mask, which way round the frame lies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import optextract as ox
from optextract.simulate import make_scene

KINDS = ("mid", "blend", "cosmic", "moffat", "nods")
EXACT = 1e-10

#: Where outliers are judged or an index is fitted, rounding takes other steps: the fits end within their tolerance.
FITTED = {"cosmic": 1e-6, "moffat": 1e-6}
#: By how many sigma a spectrum may move where the bins of the fits are other ones: two sources share their light.
OTHER_BINS = {"blend": 0.4, "cosmic": 0.4}

scenes = st.tuples(st.sampled_from(KINDS), st.integers(0, 40))
few = settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])


def frame_of(scene: tuple[str, int]) -> tuple[ox.Frame, ox.Recipe]:
    """A small frame of a named scene, without gain and read noise, and a recipe that knows its number of sources."""
    name, seed = scene
    frame = make_scene(name, seed, shape=(25, 240)).frame
    meta = {key: value for key, value in frame.meta.items() if key not in ("gain", "read_noise")}
    return frame.replace(meta=meta), ox.Recipe(sources={"number": 2 if name == "blend" else 1})


def mapped(frame: ox.Frame, change: Callable[[np.ndarray], np.ndarray], **more) -> ox.Frame:
    """The frame with the same change made to every image of it."""
    return frame.replace(
        flux=change(frame.flux),
        variance=change(frame.variance),
        variance_parts={name: change(part) for name, part in frame.variance_parts.items()},
        mask=change(frame.mask),
        **more,
    )


def assert_same(result, expected, tolerance: float, along=slice(None), order=slice(None)) -> None:
    """Fluxes and errors agree to a fraction of the largest flux; the same columns are flagged, for the same reasons."""
    for name in ("flux", "uncertainty", "flux_unrejected"):
        found, wanted = getattr(result, name)[order][:, along], getattr(expected, name)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted), err_msg=name)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.nanmax(np.abs(wanted)), err_msg=name)
    np.testing.assert_array_equal(result.flags[order][:, along] & ~np.uint32(1), expected.flags & ~np.uint32(1))


@few
@example(scene=("cosmic", 2), exponent=-24.0)
@given(scene=scenes, exponent=st.floats(-24, 12))
def test_scaling_the_frame_scales_the_spectrum(scene, exponent):
    frame, recipe = frame_of(scene)
    factor = 10.0**exponent
    scaled = frame.replace(
        flux=frame.flux * factor,
        variance=frame.variance * factor**2,
        variance_parts={name: part * factor**2 for name, part in frame.variance_parts.items()},
    )
    one, other = ox.extract(frame, recipe), ox.extract(scaled, recipe)
    np.testing.assert_allclose(other.flux / factor, one.flux, rtol=0, atol=EXACT * np.nanmax(one.flux))
    np.testing.assert_allclose(other.uncertainty / factor, one.uncertainty, rtol=EXACT)
    np.testing.assert_array_equal(other.flags, one.flags)


@few
@given(scene=scenes, sky=st.floats(-1e3, 1e3), along=st.sampled_from(["column", "smooth"]))
def test_constant_sky_goes_into_a_fitted_background(scene, sky, along):
    frame, recipe = frame_of(scene)
    # the degrees are held: by themselves they may well be chosen by what the sky adds to the evidence
    recipe = recipe.updated(background={"degree": 1, "along": along, "along_degree": 2})
    one, other = ox.extract(frame, recipe), ox.extract(frame.replace(flux=frame.flux + sky), recipe)
    assert_same(other, one, FITTED.get(scene[0], EXACT))
    np.testing.assert_allclose(
        (other.background - one.background)[np.isfinite(one.background)], sky, atol=1e-7 * (1 + abs(sky))
    )


@few
@given(scene=scenes, before=st.integers(0, 6), after=st.integers(0, 6))
def test_masked_rows_beside_the_frame_change_nothing(scene, before, after):
    frame, recipe = frame_of(scene)

    def pad(image):
        fill = True if image.dtype == bool else 1.0
        return np.pad(image, ((before, after), (0, 0)), constant_values=fill)

    one, other = ox.extract(frame, recipe), ox.extract(mapped(frame, pad), recipe)
    assert_same(other, one, EXACT)
    np.testing.assert_allclose(other.centre - before, one.centre, atol=1e-8)


@few
@given(scene=scenes, before=st.integers(0, 40), after=st.integers(0, 40))
def test_masked_columns_beside_the_frame_change_nothing(scene, before, after):
    frame, recipe = frame_of(scene)

    def pad(image):
        fill = True if image.dtype == bool else 1.0
        return np.pad(image, ((0, 0), (before, after)), constant_values=fill)

    step = np.diff(frame.wavelength[:2])[0]
    wavelength = frame.wavelength[0] + step * np.arange(-before, frame.n_disp + after)
    one, other = ox.extract(frame, recipe), ox.extract(mapped(frame, pad, wavelength=wavelength), recipe)
    assert_same(other, one, EXACT, along=slice(before, before + frame.n_disp))
    added = np.ones(frame.n_disp + before + after, dtype=bool)
    added[before : before + frame.n_disp] = False
    assert np.isnan(other.flux[:, added]).all()
    assert (other.flags[:, added] & ox.Flag.NO_DATA).all()


@few
@given(scene=scenes)
def test_reversing_cross_dispersion_changes_nothing(scene):
    frame, recipe = frame_of(scene)
    meta = {**frame.meta}
    if "nod_offsets" in meta:
        meta["nod_offsets"] = tuple(-offset for offset in meta["nod_offsets"])
    one, other = ox.extract(frame, recipe), ox.extract(mapped(frame, lambda image: image[::-1], meta=meta), recipe)
    place = np.argsort(np.nanmedian(one.centre, axis=1))
    mirrored = np.argsort(-np.nanmedian(other.centre, axis=1))
    back = mirrored[np.argsort(place)]
    # of two sources the other one comes first now
    tolerance = {"blend": 1e-6, "cosmic": 1e-3, "moffat": 1e-6}.get(scene[0], EXACT)
    assert_same(other, one, tolerance, order=back)
    np.testing.assert_allclose(frame.n_cross - 1 - other.centre[back], one.centre, atol=1e-3)


@few
@given(scene=scenes)
def test_reversing_dispersion_changes_nothing(scene):
    frame, recipe = frame_of(scene)
    reverse = mapped(frame, lambda image: image[:, ::-1], wavelength=frame.wavelength[::-1])
    one, other = ox.extract(frame, recipe), ox.extract(reverse, recipe)
    np.testing.assert_array_equal(other.wavelength[::-1], one.wavelength)
    np.testing.assert_array_equal(np.isnan(other.flux[:, ::-1]), np.isnan(one.flux))
    # bins of columns start at the other end, so that trace and width differ within a fraction of their errors
    away = (other.flux[:, ::-1] - one.flux) / one.uncertainty
    assert np.nanmax(np.abs(away)) < OTHER_BINS.get(scene[0], 0.1)
    np.testing.assert_allclose(np.nanmedian(other.uncertainty / one.uncertainty[:, ::-1]), 1.0, rtol=0.01)


@few
@given(scene=scenes)
def test_reversing_dispersion_is_exact_for_a_trace_and_a_background_that_are_told(scene):
    frame, recipe = frame_of(scene)
    middle = float(np.nanmedian(ox.extract(frame, recipe).centre[0]))
    recipe = recipe.updated(
        sources={"number": 1, "items": ({"centre": {"value": middle, "fixed": True}},)},
        trace={"given": (middle,) * frame.n_disp},
        profile={"kind": "gaussian", "fwhm": {"value": 1.5, "fixed": True}},
        background={"degree": 0, "along": "column"},
        nods={"mode": "ignore"},
        rejection={"mode": False},
    )
    reverse = mapped(frame, lambda image: image[:, ::-1], wavelength=frame.wavelength[::-1])
    assert_same(ox.extract(reverse, recipe), ox.extract(frame, recipe), EXACT, along=slice(None, None, -1))


@few
@given(
    scene=scenes,
    value=st.sampled_from([1e30, -1e30, np.nan, np.inf, -np.inf]),
    where=st.sampled_from(["flux", "variance", "both"]),
    seed=st.integers(0, 99),
)
def test_what_lies_behind_the_mask_changes_nothing(scene, value, where, seed):
    frame, recipe = frame_of(scene)
    mask = frame.mask | (np.random.default_rng(seed).random(frame.shape) < 0.03)
    hidden = {"mask": mask}
    if where in ("flux", "both"):
        hidden["flux"] = np.where(mask, value, frame.flux)
    if where in ("variance", "both"):
        hidden["variance"] = np.where(mask, value, frame.variance)
        hidden["variance_parts"] = {name: np.where(mask, value, part) for name, part in frame.variance_parts.items()}
    one, other = ox.extract(frame.replace(mask=mask), recipe), ox.extract(frame.replace(**hidden), recipe)
    assert_same(other, one, 0.0)
    np.testing.assert_array_equal(other.boxcar.flux, one.boxcar.flux)
    for name, part in one.variance_parts.items():
        np.testing.assert_array_equal(other.variance_parts[name], part)


@pytest.mark.parametrize("name", KINDS)
def test_memory_layout_and_byte_order_change_nothing(name):
    frame, recipe = frame_of((name, 3))
    turned = mapped(frame, lambda image: np.asfortranarray(image.astype(image.dtype.newbyteorder(">"))))
    transposed = mapped(frame, lambda image: np.ascontiguousarray(image.T).T)
    expected = ox.extract(frame, recipe).flux
    np.testing.assert_array_equal(ox.extract(turned, recipe).flux, expected)
    np.testing.assert_array_equal(ox.extract(transposed, recipe).flux, expected)


@pytest.mark.parametrize("name", KINDS)
def test_the_same_call_gives_the_same_bits(name):
    frame, recipe = frame_of((name, 5))
    one, other = ox.extract(frame, recipe), ox.extract(frame, ox.Recipe.from_yaml(recipe.to_yaml()))
    for field in ("flux", "uncertainty", "flags", "centre", "fwhm", "background", "rejected"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), err_msg=field)


def test_extraction_leaves_the_callers_arrays_alone():
    scene = make_scene("cosmic", 2, shape=(25, 240))
    given_arrays = {
        "flux": np.array(scene.frame.flux),
        "variance": np.array(scene.frame.variance),
        "mask": np.array(scene.frame.mask),
        "wavelength": scene.frame.wavelength.copy(),
    }
    parts = {name: np.array(part) for name, part in scene.frame.variance_parts.items()}
    meta = {"nod_offsets": [1.0], "header": {"A": 1}}

    def content():
        return {name: np.asarray(value).tobytes() for name, value in {**given_arrays, **parts}.items()}

    before = content()
    frame = ox.Frame(**given_arrays, variance_parts=parts, meta=meta)
    ox.extract(frame, ox.Recipe(nods={"mode": "ignore"}))
    ox.boxcar(frame, 3.0, 9.5)
    assert content() == before
    assert meta == {"nod_offsets": [1.0], "header": {"A": 1}}
    assert all(value.flags.writeable for value in (*given_arrays.values(), *parts.values()))


def test_nothing_in_a_frame_or_a_result_can_be_changed():
    frame, recipe = frame_of(("blend", 1))
    result = ox.extract(frame, recipe)
    images = [frame.flux, frame.variance, frame.mask, frame.good, frame.wavelength, *frame.variance_parts.values()]
    names = (
        "flux uncertainty covariance flags centre fwhm profile model background background_uncertainty residual "
        "rejected flux_unrejected"
    )
    images += [getattr(result, name) for name in names.split()]
    images += [
        *result.variance_parts.values(),
        result.boxcar.flux,
        result.kernel.data,
        result.trace.centre,
        result.wavelength,
    ]
    for image in images:
        with pytest.raises(ValueError, match="read-only"):
            image[...] = 0
    with pytest.raises(TypeError, match="does not support item assignment"):
        result.quality["chi2"] = 1.0
    with pytest.raises(TypeError, match="does not support item assignment"):
        frame.meta["gain"] = 2.0
