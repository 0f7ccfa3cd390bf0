"""The command line: what it writes, what it says, and with which exit code it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

import optextract as ox
from optextract.cli import main


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"optextract {ox.__version__}\n"


def test_init_writes_every_setting_with_what_it_is_for(tmp_path, capsys):
    path = tmp_path / "r.yaml"
    assert main(["init", str(path)]) == 0
    text = path.read_text()
    assert ox.Recipe.load(path) == ox.Recipe()
    for name, section in ox.Recipe():
        if name == "schema_version":
            continue
        assert f"\n# {type(ox.Recipe()).model_fields[name].description}\n{name}:\n" in text
        for key, field in type(section).model_fields.items():
            assert f"  # {field.description}\n  {key}: " in text
    assert main(["init", str(path)]) == 2
    assert "r.yaml exists; --overwrite replaces it" in capsys.readouterr().err
    assert main(["init", str(path), "--overwrite"]) == 0


def test_init_to_the_terminal(capsys):
    assert main(["init", "-"]) == 0
    assert ox.Recipe.from_yaml(capsys.readouterr().out) == ox.Recipe()


def test_template_of_a_changed_recipe_loads_to_the_same():
    from optextract.cli.template import recipe_template

    recipe = ox.Recipe(
        region={"cross": (3, 20)},
        sources={"items": ({"name": "a: b", "centre": {"value": 12.0, "bounds": (11.0, 13.0)}},)},
        profile={"kind": "moffat", "index": 2.5},
        trace={"bins": (0, 400, 900)},
    )
    assert ox.Recipe.from_yaml(recipe_template(recipe)) == recipe


@pytest.mark.parametrize("wcsaxes", [[], ["--wcsaxes", "2"], ["--wcsaxes", "3"]])
def test_simulate_writes_file_and_truth(tmp_path, capsys, wcsaxes):
    from astropy.io import fits
    from astropy.table import QTable

    path, truth = tmp_path / "new" / "a_s2d.fits", tmp_path / "truth.ecsv"
    assert main(["simulate", str(path), "--scene", "mid", "--seed", "4", "--truth", str(truth), *wcsaxes]) == 0
    assert fits.getheader(path, "SCI").get("WCSAXES") == (int(wcsaxes[1]) if wcsaxes else None)
    assert len(QTable.read(truth)) == 1298
    assert f"{path}: mid, seed 4" in capsys.readouterr().out
    assert main(["simulate", str(path)]) == 2
    assert "exists; --overwrite replaces it" in capsys.readouterr().err


def test_simulate_of_several_scenes_has_a_slit_each(tmp_path):
    path = tmp_path / "m_s2d.fits"
    assert main(["simulate", str(path), "--scene", "mid", "--scene", "empty"]) == 0
    from optextract.io import slits

    assert [slit.source_name for slit in slits(path)] == ["SIM_mid", "SIM_empty"]


def test_unknown_scene_is_an_error_in_words(tmp_path, capsys):
    assert main(["simulate", str(tmp_path / "a.fits"), "--scene", "dim"]) == 2
    assert "optextract simulate: The 'name' parameter of make_scene must be one of faint" in capsys.readouterr().err
    assert not (tmp_path / "a.fits").exists()


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """One small file."""
    from optextract.simulate import Line, make_scene, write_s2d

    scene = make_scene("mid", 1, shape=(19, 200), lines=(Line(120.0, 2.6, 80.0),), planned_sigma=0.1)
    return write_s2d(scene, tmp_path_factory.mktemp("sample") / "a_s2d.fits")


def test_run_says_one_line_a_spectrum_and_writes_product_and_figure(sample, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", str(sample), "-o", str(out)]) == 0
    said = capsys.readouterr()
    (line,) = said.out.splitlines()
    assert line.startswith(f"{sample}: 1 source, row ")
    assert line.endswith("-> a_s2d_optx1d.fits")
    assert "um" in line
    assert said.err == ""
    assert {path.name for path in out.iterdir()} == {"a_s2d_optx1d.fits", "a_s2d_optx1d.png", "cards", "manifest.jsonl"}


def test_run_by_default_writes_below_the_working_folder(sample, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(sample), "--figures", "none", "-q"]) == 0
    assert (tmp_path / "optextract" / "a_s2d_optx1d.fits").is_file()
    assert not list((tmp_path / "optextract").glob("*.png"))
    assert capsys.readouterr() == ("", "")
    # and the second time it is refused, in words
    assert main(["run", str(sample), "--figures", "none"]) == 2
    assert (
        "a_s2d_optx1d.fits exists: --overwrite replaces it, --resume does only what is missing"
        in capsys.readouterr().err
    )
    assert main(["run", str(sample), "--figures", "none", "--overwrite"]) == 0
    assert main(["run", str(sample), "--figures", "none", "--resume"]) == 0
    assert "1 files: 0 spectra extracted, 1 files unchanged, 0 failed" in capsys.readouterr().out


def test_run_equals_the_library(sample, tmp_path):
    import numpy as np

    from optextract.io import read_x1d

    recipe = tmp_path / "r.yaml"
    ox.Recipe(region={"cross": (3, 16)}, trace={"degree": 1}).save(recipe)
    assert main(["run", str(sample), "-o", str(tmp_path / "out"), "--recipe", str(recipe), "--figures", "none"]) == 0
    found = read_x1d(tmp_path / "out" / "a_s2d_optx1d.fits")
    np.testing.assert_array_equal(found.flux.value, ox.extract(ox.read(sample), ox.Recipe.load(recipe)).flux[0])


def test_run_compares_with_an_x1d_in_figures(sample, tmp_path, capsys):
    assert main(["run", str(sample), "-o", str(tmp_path / "one"), "--figures", "none", "-q"]) == 0
    x1d = tmp_path / "one" / "a_s2d_optx1d.fits"
    assert main(["run", str(sample), "-o", str(tmp_path / "two"), "--compare", str(x1d)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("    a_s2d_optx1d.fits: 1.000 +- ")
    assert lines[2].startswith("    median ratio 1.000 +- 0.000 over the ")
    assert (tmp_path / "two" / "a_s2d_optx1d.png").is_file()


def test_run_compares_each_file_with_the_x1d_beside_it(sample, tmp_path, capsys):
    import shutil

    main(["run", str(sample), "-o", str(tmp_path / "one"), "--figures", "none", "-q"])
    shutil.copy(sample, tmp_path / "a_s2d.fits")
    shutil.copy(sample, tmp_path / "b_s2d.fits")
    shutil.copy(tmp_path / "one" / "a_s2d_optx1d.fits", tmp_path / "a_x1d.fits")
    files = [str(tmp_path / "a_s2d.fits"), str(tmp_path / "b_s2d.fits")]
    assert main(["run", *files, "-o", str(tmp_path / "two"), "--compare", "auto", "--figures", "none"]) == 0
    assert capsys.readouterr().out.count("a_x1d.fits: 1.000") == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("trace:\n  degre: 1\n", "unknown field 'trace.degre'"),
        ("trace: [1", "is not valid YAML"),
        ("schema: 9\n", "'schema' parameter"),
    ],
)
def test_a_bad_recipe_is_named_before_anything_runs(sample, tmp_path, capsys, text, reason):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(text)
    assert main(["run", str(sample), "-o", str(tmp_path / "out"), "--recipe", str(recipe)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("optextract run: ")
    assert reason in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_a_traceback_only_where_it_is_asked_for(sample, tmp_path, capsys):
    from optextract.errors import RecipeError

    with pytest.raises(RecipeError):
        main(["run", str(sample), "-o", str(tmp_path / "out"), "--recipe", str(tmp_path / "none.yaml"), "-vv"])
    assert main(["run", str(sample), "-o", str(tmp_path / "out"), "--recipe", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml cannot be read" in capsys.readouterr().err


def test_an_empty_region_and_one_outside_are_errors_in_words(sample, tmp_path, capsys):
    for region in ("{cross: [90, 99]}", "{cross: [3.2, 3.4]}"):
        recipe = tmp_path / "r.yaml"
        recipe.write_text(f"region: {region}\n")
        assert main(["run", str(sample), "-o", str(tmp_path / "out"), "--recipe", str(recipe)]) == 2
        assert "region" in capsys.readouterr().err


def test_report_of_a_finished_run(sample, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", str(sample), "-o", str(out), "--report", "-q"]) == 0
    assert (out / "report.html").is_file()
    assert (out / "table.ecsv").is_file()
    page = tmp_path / "page.html"
    assert main(["report", str(out), "--page", str(page), "--title", "A night"]) == 0
    assert "<title>A night</title>" in page.read_text()
    assert main(["report", str(tmp_path)]) == 2
    assert "must be the output folder of a run" in capsys.readouterr().err


def test_info_says_what_is_understood(sample, tmp_path, capsys):
    assert main(["info", str(sample)]) == 0
    assert "19 x 200 (cross, disp)" in capsys.readouterr().out
    assert main(["info", str(tmp_path / "none.fits")]) == 2
    assert "none.fits" in capsys.readouterr().err


def test_info_counts_what_it_refuses_and_names_a_file_once(sample, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("no spectrum")
    assert main(["info", str(sample), "./notes.txt"]) == 1
    said = capsys.readouterr()
    assert "2D spectrum" in said.out
    assert said.err == "ERROR: notes.txt is not a FITS file: it does not begin with SIMPLE\n"
    assert main(["info", "./notes.txt", "none.fits"]) == 2
    assert main(["info", str(sample), str(sample)]) == 0


def test_python_m_is_the_command():
    import subprocess
    import sys

    run = subprocess.run([sys.executable, "-m", "optextract", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"optextract {ox.__version__}\n"


def test_smacs_and_what_the_archive_misses(data_dir, tmp_path, capsys):
    folder = data_dir / "nirspec_mos_smacs_6355"
    path = folder / "jw02736-o007_s06355_nirspec_f290lp-g395m_s2d.fits"
    assert main(["run", str(path), "-o", str(tmp_path), "--compare", "auto", "--figures", "none"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "at 4.34 um" in lines[0] or "at 4.339 um" in lines[0] or "at 4.341 um" in lines[0]
    aperture = next(line for line in lines if "its aperture" in line)
    assert "its aperture, rows 16.0 to 24.0, holds 4" in aperture
    assert "misses 5" in aperture
    from optextract.batch import read_manifest

    (record,) = read_manifest(tmp_path)
    assert abs(record["quality"]["centre"] - 24) < 1
    assert record["quality"]["unit"] == "Jy"
    assert record["quality"]["snr_peak"] > 10
