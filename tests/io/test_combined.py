"""A combination of exposures as a product: the same numbers, the covariance, what went in."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

import optextract as ox
from optextract.combine import combine
from optextract.errors import OptextractError
from optextract.io import read, read_x1d, write
from optextract.simulate import scene, write_s2d


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two files of one source whose wavelengths decrease with the column."""
    folder = tmp_path_factory.mktemp("exposures")
    paths = []
    for seed in (3, 4):
        made = scene(seed=seed, shape=(21, 150), centre=10.2, snr=30.0)
        paths.append(write_s2d(made, folder / f"e{seed}_s2d.fits", target="SKY 1"))
    return paths


def turned(path):
    frame = read(path)
    return frame.replace(wavelength=frame.wavelength[..., ::-1].copy())


@pytest.fixture(scope="module")
def joint(inputs):
    return combine([ox.extract(turned(path)) for path in inputs], scale=(1.5, 2.0))


def test_x1d_holds_the_numbers_for_every_reader(joint, inputs, tmp_path):
    from specutils import Spectrum
    from stdatamodels.jwst import datamodels

    path = write(joint, tmp_path / "joint_x1d.fits")
    factor = joint.unit.to(u.Jy)
    with datamodels.open(str(path)) as model:
        assert isinstance(model, datamodels.MultiSpecModel)
        (spectrum,) = model.spec
        table = spectrum.spec_table
        np.testing.assert_array_equal(table["FLUX"], joint.flux * factor)
        np.testing.assert_array_equal(table["FLUX_ERROR"], joint.uncertainty * factor)
        np.testing.assert_array_equal(table["WAVELENGTH"], joint.wavelength.to_value(u.um))
        np.testing.assert_array_equal(table["DQ"] != 0, ~np.isfinite(joint.flux))
        # of a combination this is not known, and 0 would be a claim
        for name in ("FLUX_VAR_POISSON", "SURF_BRIGHT", "BACKGROUND", "NPIXELS"):
            assert np.isnan(table[name]).all(), name
        assert spectrum.source_type == "POINT"
        assert model.meta.filename == "joint_x1d.fits"
    again = Spectrum.read(path, format="JWST x1d")
    order = np.argsort(joint.wavelength.value)
    np.testing.assert_array_equal(np.sort(again.spectral_axis.to_value(u.um)), joint.wavelength.value[order])
    np.testing.assert_allclose(again.flux.to_value(u.Jy), joint.flux * factor, rtol=1e-15)
    ours = read_x1d(path)
    np.testing.assert_array_equal(ours.flux.value, joint.flux * factor)
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(hdus["OXCOVAR"].data, joint.covariance * factor**2)
        assert hdus["OXCOVAR"].header["BUNIT"] == "Jy2"
        np.testing.assert_allclose(hdus["OPTEXTRACT"].data["LOWER"], joint.edges.value[:-1], rtol=1e-15)
        np.testing.assert_allclose(hdus["OPTEXTRACT"].data["UPPER"], joint.edges.value[1:], rtol=1e-15)
        told = hdus["OXINPUTS"].data
        assert list(told["FILE"]) == [path.name for path in inputs]
        assert list(told["SHA256"]) == [hashlib.sha256(path.read_bytes()).hexdigest() for path in inputs]
        np.testing.assert_array_equal(told["SCALE"], (1.5, 2.0))
        np.testing.assert_array_equal(told["RATIO"], [ratio for ratio, _ in joint.ratios])
        for version, text in enumerate(joint.provenance["recipes"], start=1):
            lines = [str(line) for line in hdus["OXRECIPE", version].data["YAML"]]
            assert ox.Recipe.from_yaml("\n".join(lines)) == ox.Recipe.from_yaml(text)
        history = " ".join(hdus[0].header["HISTORY"])
        assert "errors were multiplied by 1.50, 2.00." in history
        assert "its covariance is in OXCOVAR" in history
        assert hdus[0].header["OXVERS"]


def test_ecsv(joint, tmp_path):
    table = QTable.read(write(joint, tmp_path / "joint.ecsv"), format="ascii.ecsv")
    np.testing.assert_array_equal(table["flux"].to_value(u.Jy), joint.flux * joint.unit.to(u.Jy))
    np.testing.assert_array_equal(table["lower"].to_value(u.um), joint.edges.value[:-1])
    assert table.meta["scales"] == [1.5, 2.0]
    assert table.meta["files"] == ["e3_s2d.fits", "e4_s2d.fits"]
    assert table.meta["optextract"]["versions"]["optextract"]
    assert ox.Recipe.from_yaml(table.meta["recipes"][1]) == ox.Recipe.from_yaml(joint.provenance["recipes"][1])


def test_what_it_cannot_be_written_as_or_over(joint, inputs, tmp_path):
    with pytest.raises(OptextractError, match=r"must be a file name that ends in \.fits or \.ecsv for a Combined"):
        write(joint, tmp_path / "joint.asdf")
    with pytest.raises(OptextractError, match="is the input of this result: an input is never overwritten"):
        write(joint, inputs[1], overwrite=True)
    path = write(joint, tmp_path / "joint.fits")
    with pytest.raises(OptextractError, match="exists: overwrite=True replaces it"):
        write(joint, path)


def test_srctype_extended_would_hide_the_flux(inputs, tmp_path):
    """Why SRCTYPE is POINT whatever the input says: the mission's readers take SURF_BRIGHT where it is EXTENDED."""
    from specutils import Spectrum

    result = ox.extract(read(inputs[0]))
    path = write(result, tmp_path / "p_x1d.fits")
    expected = result.flux[0] * result.unit.to(u.Jy)
    np.testing.assert_allclose(Spectrum.read(path, format="JWST x1d").flux.to_value(u.Jy), expected, rtol=1e-12)
    fits.setval(path, "SRCTYPE", value="EXTENDED", extname="EXTRACT1D")
    assert Spectrum.read(path, format="JWST x1d").flux.unit == u.MJy / u.sr
