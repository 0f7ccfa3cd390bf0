"""Fields of the recipe that name a file, or that only a reader consumes: each does what it says."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

import optextract as ox
from optextract.simulate import make_scene, pixel_profile

COLUMNS = 300
SCENE = make_scene("mid", 3, shape=(25, COLUMNS))
ROW = float(np.median(SCENE.truth.centre))


def same(a: ox.Extraction, b: ox.Extraction) -> bool:
    return np.array_equal(a.flux, b.flux, equal_nan=True)


def test_schema_of_another_number_is_refused():
    with pytest.raises(ox.RecipeError, match=r"'schema' parameter of the recipe must be 1 .* Got 7 instead"):
        ox.Recipe.from_yaml("schema: 7")


@pytest.fixture
def mapped_file(tmp_path):
    """A file whose HDUs no convention names: pixels, sigma, bad pixels, wavelength."""
    one = make_scene("mid", 3, shape=(12, 40))
    bad = np.zeros((12, 40), dtype=np.int16)
    bad[2, 3] = 1
    images = {
        "PIX": one.frame.flux,
        "OTHER": 2 * one.frame.flux,
        "NOISE": np.sqrt(one.frame.variance),
        "LAM": one.frame.wavelength.value,
        "BAD": bad,
    }
    hdus = fits.HDUList([fits.PrimaryHDU(), *[fits.ImageHDU(np.asarray(v), name=k) for k, v in images.items()]])
    hdus.writeto(tmp_path / "odd.fits")
    return tmp_path / "odd.fits", one.frame


MAPPING = {"flux": "PIX", "variance": "NOISE", "wavelength": "LAM", "wavelength_unit": "um"}


@pytest.mark.parametrize(
    ("change", "effect"),
    [
        ({"flux": "OTHER"}, lambda a, b: np.allclose(b.flux, 2 * a.flux)),
        (
            {"variance": "OTHER"},  # a sigma that is negative is none
            lambda a, b: np.allclose(b.variance[b.good], 4 * a.flux[b.good] ** 2) and (b.good == (a.flux > 0)).all(),
        ),
        ({"variance_kind": "variance"}, lambda a, b: np.allclose(b.variance**2, a.variance)),
        ({"variance_kind": "inverse_variance"}, lambda a, b: np.allclose(b.variance, a.variance**-0.5)),
        ({"mask": "BAD"}, lambda a, b: b.mask[2, 3] and not a.mask[2, 3]),
        (
            {"wavelength": None, "wavelength_polynomial": (1.0, 0.5)},
            lambda a, b: np.allclose(b.wavelength.value, 1 + 0.5 * np.arange(40)),
        ),
        ({"wavelength_unit": "nm"}, lambda a, b: b.wavelength.unit == u.nm),
        ({"disp_axis": "y", "wavelength": None, "wavelength_unit": None}, lambda a, b: b.shape == (40, 12)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_mapping_is_consumed_by_the_reader(mapped_file, change, effect):
    path, _ = mapped_file
    base = ox.read(path, settings=ox.Recipe(input={"mapping": MAPPING}).input)
    settings = ox.Recipe(input={"mapping": {**MAPPING, **change}}).input
    assert effect(base, ox.read(path, settings=settings))


def test_bits_of_a_dq_image_are_those_named(tmp_path):
    from optextract.simulate import write_s2d

    path = write_s2d(make_scene("mid", 3, shape=(12, 40)), tmp_path / "a_s2d.fits")
    with fits.open(path, mode="append") as hdus:
        bits = np.zeros((12, 40), dtype=np.uint32)
        bits[4, 5], bits[6, 7] = 1, 4  # DO_NOT_USE, JUMP_DET
        hdus.append(fits.ImageHDU(bits, name="DQ", ver=hdus["SCI"].ver))
    default = ox.read(path)
    jumps = ox.read(path, settings=ox.Recipe(input={"dq_bits": ("DO_NOT_USE", "JUMP_DET")}).input)
    assert (default.mask[4, 5], default.mask[6, 7]) == (True, False)
    assert (jumps.mask[4, 5], jumps.mask[6, 7]) == (True, True)


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def files(tmp_path) -> dict[str, Any]:
    """A region, a trace and two templates as files."""
    inside = np.zeros((25, COLUMNS), dtype=np.uint8)
    inside[5:20] = 1
    np.save(tmp_path / "region.npy", inside)
    np.save(tmp_path / "trace.npy", np.full(COLUMNS, ROW + 0.3))
    position = np.arange(-96, 97) / 8.0
    wave = np.linspace(2.8, 5.3, 6)
    widths = 1.1 + 0.7 * ((wave - wave[0]) / np.ptp(wave)) ** 3
    sizes = np.array([0.0, 0.5, 1.0])
    profile = np.zeros((len(position), len(wave), len(sizes)))
    for j, fwhm in enumerate(widths):
        for k, size in enumerate(sizes):
            total = np.hypot(fwhm, 2.3548 * size)
            profile[:, j, k] = pixel_profile(position, 0.0, total)[:, 0]
    hdus = [
        fits.ImageHDU(np.ascontiguousarray(v), name=k)
        for k, v in zip(("PROF", "YSLIT", "WAVE", "SIGMA"), (profile, position, wave, sizes), strict=True)
    ]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "table.fits")
    y, x = np.mgrid[-40:41, -40:41] * 0.2  # detector pixels; narrow along y, wide along x
    psf = np.exp(-0.5 * (y / 0.6) ** 2 - 0.5 * (x / 1.4) ** 2)
    image = fits.ImageHDU(psf, name="OVERDIST")
    image.header["PIXELSCL"] = 0.2 * 0.1032
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "psf.fits")
    return {name.split(".")[0]: tmp_path / name for name in ("region.npy", "trace.npy", "table.fits", "psf.fits")}


@pytest.mark.parametrize(
    ("section", "name", "file"),
    [("region", "mask", "region"), ("profile", "template", "table"), ("trace", "given", "trace")],
)
def test_file_is_used_and_one_that_has_changed_is_refused(files, section, name, file):
    more = {"kind": "template"} if name == "template" else {}
    path = files[file]
    right = ox.Recipe(**{section: {**more, name: {"path": str(path), "sha256": sha256(path)}}})
    used = ox.extract(SCENE.frame, right)
    if section == "region":
        assert np.isnan(used.model[:5]).all()
        assert np.isfinite(used.model[5:20]).all()
    elif section == "trace":
        np.testing.assert_allclose(used.centre[0], ROW + 0.3)
    else:
        assert used.resolved.profile.kind == "template"
        assert not same(used, ox.extract(SCENE.frame))
    wrong = right.updated(**{section: {name: {"sha256": "0" * 64}}})
    with pytest.raises(
        ox.RecipeError, match=rf"'sha256' parameter of FileRef.* must be that of the file, {sha256(path)}"
    ):
        ox.extract(SCENE.frame, wrong)
    absent = right.updated(**{section: {name: {"path": str(path) + ".not"}}})
    with pytest.raises(ox.RecipeError, match=r"'path' parameter of FileRef must be an existing file"):
        ox.extract(SCENE.frame, absent)


@pytest.mark.parametrize(
    ("file", "base", "change", "effect"),
    [
        ("table", {"template_broaden": False}, {"template_broaden": False, "template_size": 0.5}, "wider"),
        (
            "table",
            {"template_broaden": False},
            {"template_broaden": False, "template_interpolation": "cubic"},
            "differs",
        ),
        ("psf", {"template_broaden": False}, {"template_broaden": False, "template_dispersion": "y"}, "wider"),
        ("table", {"template_broaden": False, "template_size": 0.0}, {"template_broaden": True}, "differs"),
    ],
    ids=["template_size", "template_interpolation", "template_dispersion", "template_broaden"],
)
def test_template_is_taken_as_the_recipe_says(files, file, base, change, effect):
    template = {"kind": "template", "template": {"path": str(files[file])}, "empirical": False}

    def run(fields):
        return ox.extract(SCENE.frame, ox.Recipe(profile={**template, **fields}))

    one, other = run(base), run(change)
    assert not same(one, other)
    if effect == "wider":
        # a wider profile holds less in its brightest pixel
        assert np.median(other.profile[0].max(axis=0)) < 0.95 * np.median(one.profile[0].max(axis=0))
