"""One damaged file, in whatever way, is named with its reason and stops nothing."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from astropy.io import fits

from optextract.batch import run_batch
from optextract.cli import main
from optextract.io import read_x1d


def test_every_kind_of_damage_is_named_and_the_good_ones_are_as_alone(small_files, damage, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    good = []
    for number, spoil in enumerate(damage.values()):
        path = folder / f"d{number:02d}_s2d.fits"
        shutil.copy(small_files / "g1_s2d.fits", path)
        spoil(path)
        if number % 5 == 0:
            good.append(folder / f"d{number:02d}_good_s2d.fits")
            shutil.copy(small_files / f"g{number % 6}_s2d.fits", good[-1])
    names = [str(folder / f"d{k:02d}_s2d.fits") for k in range(len(damage))]
    out = tmp_path / "out"
    code = main(["run", *names, *map(str, good), "-o", str(out), "--figures", "none"])
    said = capsys.readouterr()
    assert code == 1
    lines = [line for line in said.err.splitlines() if line.startswith("ERROR")]
    assert len(lines) == len(damage)
    for name, line in zip(damage, lines, strict=True):
        assert len(line) > 40, (name, line)
        assert "Traceback" not in line
    # each is named once, with a reason of its own
    for path in names:
        assert sum(path in line for line in lines) == 1
    assert f"{len(good)} spectra extracted" in said.out
    assert f"{len(damage)} failed" in said.out

    single = tmp_path / "single"
    for path in good:
        run_batch(path, out=single / path.stem)
        product = f"{path.stem}_optx1d.fits"
        one, many = read_x1d(single / path.stem / product), read_x1d(out / product)
        np.testing.assert_array_equal(one.flux, many.flux)
        np.testing.assert_array_equal(one.uncertainty, many.uncertainty)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty", "is empty"),
        ("text", "is not a FITS file"),
        ("cut in the data", "is truncated"),
        ("all NaN", "must have a good pixel inside the region"),
        ("no variance", "variance"),
        ("unit unknown", "furlong"),
        ("no pixel area", "PIXAR_SR"),
        ("DISPAXIS 3", "DISPAXIS"),
        ("ERR of another shape", "ERR"),
        ("two SCI of one EXTVER", "EXTVER"),
        ("gone", "there is no such file"),
        ("a folder", "is a folder"),
        ("absurd NAXIS1", "no 2D spectrum has more than"),
    ],
)
def test_the_reason_says_what_is_wrong(small_files, damage, tmp_path, name, reason):
    path = tmp_path / "a_s2d.fits"
    shutil.copy(small_files / "g1_s2d.fits", path)
    damage[name](path)
    # named through a list, because a folder as such stands for what is in it
    (tmp_path / "list").write_text("a_s2d.fits\n")
    found = run_batch([path if name != "a folder" else f"@{tmp_path}/list"], out=tmp_path / "out")
    assert list(found["status"]) == ["failed"]
    assert reason in found["reason"][0]


def test_one_damaged_slit_leaves_the_others(small_files, tmp_path):
    path = tmp_path / "m_s2d.fits"
    with fits.open(small_files / "m_s2d.fits", memmap=False) as hdus:
        hdus["SCI", 2].data[:] = np.nan
        hdus["ERR", 3].data = hdus["ERR", 3].data[:-2].copy()
        hdus.writeto(path)
    found = run_batch(path, out=tmp_path / "out")
    assert list(found["status"]) == ["done", "failed", "failed"]
    assert list(found["slit"]) == ["S1", "S2", "S3"]


def test_nothing_could_run(tmp_path, capsys):
    assert main(["run", str(tmp_path / "gone.fits"), "-o", str(tmp_path / "out")]) == 2
    assert "gone.fits: there is no such file" in capsys.readouterr().err
    assert main(["run", str(tmp_path / "*.none"), "-o", str(tmp_path / "out")]) == 2
    assert "must be a pattern that matches a file" in capsys.readouterr().err
