"""``optextract validate`` on files and on the folder of a run."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from optextract.batch import run_batch
from optextract.cli import main
from optextract.simulate import make_scene, write_s2d

SMALL = {"shape": (25, 400), "planned_sigma": 0.1}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two honest files and one whose ERR was halved."""
    folder = tmp_path_factory.mktemp("files")
    for name, seed in (("good", 1), ("also", 2), ("halved", 3)):
        write_s2d(make_scene("mid", seed, **SMALL), folder / f"{name}_s2d.fits")
    with fits.open(folder / "halved_s2d.fits", mode="update") as hdus:
        hdus["ERR"].data /= 2
        for part in ("VAR_POISSON", "VAR_RNOISE"):
            hdus[part].data /= 4
    scenes = [make_scene("mid", 5 + k, **SMALL) for k in range(2)]
    write_s2d(scenes, folder / "two_s2d.fits", slits=("A", "B"))
    return folder


def test_files(files, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["validate", str(files / "good_s2d.fits"), "-o", str(out), "--levels", "3,10", "--places", "3"]) == 0
    said = capsys.readouterr().out
    assert "good_s2d.fits: injected into source-free rows" in said
    assert "The errors are honest" in said
    assert list(Table.read(out / "good_s2d_validate.ecsv")["snr"]) == [3, 10]
    assert (out / "good_s2d_validate.png").read_bytes().startswith(b"\x89PNG")


def test_a_slit_of_a_file(files, tmp_path, capsys):
    arguments = ["validate", str(files / "two_s2d.fits"), "-o", str(tmp_path), "--levels", "10", "--places", "2"]
    assert main([*arguments, "--slit", "B"]) == 0
    assert (tmp_path / "two_s2d_B_validate.ecsv").is_file()
    assert main(arguments) == 2
    assert "two_s2d.fits" in capsys.readouterr().err


def test_a_folder_exposes_the_one_whose_errors_were_halved(files, tmp_path, capsys):
    out = tmp_path / "out"
    run_batch(files, out=out)
    assert main(["validate", str(out), "--levels", "10", "--places", "3"]) == 1
    said = capsys.readouterr().out
    assert "halved_s2d.fits: The errors are" in said
    assert "times too small" in said
    assert "4 have honest errors, 1 have not, 0 could not be validated" in said
    table = Table.read(out / "validate.ecsv")
    assert len(table) == 5
    wrong = table[~table["honest"]]
    assert wrong["file"][0].endswith("halved_s2d.fits")
    assert wrong["pull_rms"][0] == pytest.approx(2.0, abs=0.2)
    assert np.all(np.abs(table["pull_rms"][table["honest"]] - 1) < 0.12)
    assert (out / "validate.png").is_file()


def test_errors_in_words(files, tmp_path, capsys):
    assert main(["validate", str(tmp_path / "gone.fits"), "-o", str(tmp_path)]) == 2
    assert "gone.fits" in capsys.readouterr().err
    assert main(["validate", str(tmp_path), "-o", str(tmp_path)]) == 2
    assert "must be the output folder of a run" in capsys.readouterr().err
    assert main(["validate", str(files / "good_s2d.fits"), "--levels", "many", "-o", str(tmp_path)]) == 2
    assert "'levels' parameter of optextract validate must be numbers with commas between" in capsys.readouterr().err
