"""Small files of which everything is known."""

from __future__ import annotations

import pytest

from optextract.simulate import make_scene, write_s2d

#: Small, so that a batch of them takes no time.
SMALL = {"shape": (19, 160), "centre": (8.7, 0.1)}


@pytest.fixture(scope="session")
def small_files(tmp_path_factory):
    """Six single-slit files and one of three slits, read-only by agreement."""
    folder = tmp_path_factory.mktemp("inputs")
    for seed in range(6):
        scene = make_scene("mid", seed, snr=15.0 + 10 * seed, **SMALL)
        write_s2d(scene, folder / f"g{seed}_s2d.fits", target=f"G{seed}")
    scenes = [make_scene("mid", 10 + k, **SMALL) for k in range(3)]
    write_s2d(scenes, folder / "m_s2d.fits", slits=("S1", "S2", "S3"))
    return folder


@pytest.fixture
def inputs(small_files, tmp_path):
    """A copy of them that a test may damage."""
    import shutil

    folder = tmp_path / "in"
    shutil.copytree(small_files, folder)
    return folder
