"""Small files of every family, and how to bend them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from optextract import simulate

Editor = Callable[[fits.HDUList], fits.HDUList | None]


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    """Three slits of different S/N, as the pipeline writes them."""
    scenes = [
        simulate.scene(seed=k, shape=(15, 60), snr=snr, centre=7.0 + 0.3 * k, background=0.0)
        for k, snr in enumerate((40.0, 20.0, 5.0))
    ]
    return simulate.write_s2d(scenes, tmp_path_factory.mktemp("io") / "multi_s2d.fits", slits=("100", "101", "102"))


@pytest.fixture(scope="session")
def single(tmp_path_factory) -> Path:
    """One slit with negative nod traces and a planned position."""
    one = simulate.scene(seed=4, shape=(25, 80), snr=60.0, nod_step=5, centre=12.2, background=0.0, planned_sigma=0.2)
    return simulate.write_s2d(one, tmp_path_factory.mktemp("io") / "single_s2d.fits")


@pytest.fixture
def bend(tmp_path) -> Callable[[Path, Editor], Path]:
    """Return a copy of a FITS file after an edit of its HDUs (in place, or a new list)."""

    def copy(source: Path, edit: Editor, name: str = "bent.fits") -> Path:
        with fits.open(source) as hdus:
            loaded = fits.HDUList([hdu.copy() for hdu in hdus])
        edited = edit(loaded)
        path = tmp_path / name
        (loaded if edited is None else edited).writeto(path, overwrite=True, checksum=False)
        return path

    return copy


@pytest.fixture
def image_file(tmp_path) -> Callable[..., Path]:
    """Write a FITS file of a primary array and named image extensions."""

    def write(primary=None, name="plain.fits", header=None, **images) -> Path:
        hdus = fits.HDUList([fits.PrimaryHDU(primary)])
        for keyword, value in ({} if header is None else header).items():
            hdus[0].header[keyword] = value
        for key, value in images.items():
            array, cards = value if isinstance(value, tuple) else (value, {})
            hdu = fits.ImageHDU(np.asarray(array), name=key)
            hdu.header.update(cards)
            hdus.append(hdu)
        path = tmp_path / name
        hdus.writeto(path, overwrite=True)
        return path

    return write


@pytest.fixture
def scene(rng):
    """Pixel values, their errors and a tilted wavelength, shape (12, 60)."""
    rows = np.arange(12)[:, None]
    flux = 100 * np.exp(-0.5 * ((rows - 5.3) / 1.4) ** 2) + np.zeros(60)
    sigma = rng.uniform(1.0, 2.0, (12, 60))
    wave = 5000.0 + 2.0 * np.arange(60) + 0.3 * rows
    return flux, sigma, wave
