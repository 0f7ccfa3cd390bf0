"""A batch: every spectrum or its reason, nothing overwritten unasked, nothing done twice, nothing half done."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import optextract as ox
from optextract.batch import plan, read_manifest, run_batch
from optextract.errors import OptextractError, RecipeError
from optextract.io import read, read_x1d


def content(path):
    """A FITS file without its timestamps, or the bytes of another file."""
    if path.suffix != ".fits":
        return path.read_bytes()
    with fits.open(path) as hdus:
        return [
            (
                {k: v for k, v in hdu.header.items() if k not in ("DATE", "OXDATE", "CHECKSUM", "DATASUM", "HISTORY")},
                None if hdu.data is None or hdu.name == "ASDF" else hdu.data.tobytes(),
            )
            for hdu in hdus
        ]


def folder_content(folder):
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.name == "manifest.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[path.name] = [{k: v for k, v in line.items() if k != "seconds"} for line in lines]
        else:
            found[str(path.relative_to(folder))] = content(path)
    return found


def test_every_spectrum_has_a_product_a_record_and_a_card(small_files, tmp_path):
    out = tmp_path / "out"
    table = run_batch(small_files, out=out)
    assert len(table) == 9
    assert set(table["status"]) == {"done"}
    assert sorted(table["slit"]) == ["", "", "", "", "", "", "S1", "S2", "S3"]
    assert {p.name for p in out.glob("*.fits")} == {
        *(f"g{k}_s2d_optx1d.fits" for k in range(6)),
        *(f"m_s2d_S{k}_optx1d.fits" for k in (1, 2, 3)),
    }
    assert {p.stem for p in (out / "cards").iterdir()} == {p.stem for p in out.glob("*.fits")}
    records = read_manifest(out)
    assert len(records) == 9
    for record in records:
        assert record["input_sha256"] == __import__("hashlib").sha256(Path(record["file"]).read_bytes()).hexdigest()
        assert record["recipe"] == ox.Recipe().digest()
        assert record["version"] == ox.__version__
        assert record["versions"]["numpy"] == np.__version__
    # S/N rises from file to file, and the table knows
    assert np.all(np.diff(table["snr_median"][:6]) > 5)


def test_a_batch_gives_what_a_single_extraction_gives(small_files, tmp_path):
    run_batch(small_files, out=tmp_path / "out")
    for number in (0, 5):
        path = small_files / f"g{number}_s2d.fits"
        single = ox.extract(read(path))
        found = read_x1d(tmp_path / "out" / f"g{number}_s2d_optx1d.fits")
        np.testing.assert_array_equal(found.flux.to_value("Jy"), single.flux[0])
        np.testing.assert_array_equal(found.uncertainty.to_value("Jy"), single.uncertainty[0])


def test_processes_give_the_same_folder(small_files, tmp_path):
    pytest.importorskip("joblib")
    run_batch(small_files, out=tmp_path / "one")
    run_batch(small_files, out=tmp_path / "two", n_jobs=2)
    assert folder_content(tmp_path / "one") == folder_content(tmp_path / "two")


def test_existing_products_are_refused_and_stay(inputs, tmp_path):
    out = tmp_path / "out"
    run_batch(inputs / "g0_s2d.fits", out=out)
    before = folder_content(out)
    table = run_batch(inputs / "g0_s2d.fits", out=out)
    assert list(table["status"]) == ["refused"]
    assert "exists: --overwrite replaces it, --resume does only what is missing" in table["reason"][0]
    assert folder_content(out) == before
    recipe = ox.Recipe(trace={"degree": 0})
    assert list(run_batch(inputs / "g0_s2d.fits", recipe, out=out, overwrite=True)["status"]) == ["done"]
    assert read_manifest(out)[0]["recipe"] == recipe.digest()


def test_an_input_or_a_stranger_is_never_overwritten(inputs, tmp_path):
    stranger = inputs / "g0_s2d_optx1d.fits"
    fits.PrimaryHDU(np.zeros(3)).writeto(stranger)
    before = stranger.read_bytes()
    table = run_batch(inputs / "g0_s2d.fits", out=inputs, overwrite=True)
    assert "is no product of optextract and is never replaced" in table["reason"][0]
    os.link(inputs / "g1_s2d.fits", inputs / "x.fits")
    (inputs / "g2_s2d_optx1d.fits").symlink_to(inputs / "g1_s2d.fits")
    table = run_batch([inputs / "g1_s2d.fits", inputs / "g2_s2d.fits"], out=inputs, overwrite=True)
    assert list(table["status"]) == ["done", "failed"]
    assert stranger.read_bytes() == before


def test_resume_does_what_is_missing_changed_or_failed_and_no_more(inputs, tmp_path):
    out = tmp_path / "out"
    (inputs / "g5_s2d.fits").write_bytes(b"not a spectrum")
    first = run_batch(inputs, out=out)
    assert list(first["status"]).count("failed") == 1
    assert plan([inputs], out=out, resume=True).jobs[0].path.endswith("g5_s2d.fits")

    (out / "g0_s2d_optx1d.fits").unlink()  # missing
    (inputs / "g1_s2d.fits").write_bytes((inputs / "g2_s2d.fits").read_bytes())  # changed
    os.utime(inputs / "g3_s2d.fits")  # touched only
    table = run_batch(inputs, out=out, resume=True)
    batch_of = {Path(row["file"]).name: row for row in table}
    assert batch_of["g5_s2d.fits"]["status"] == "failed"
    again = plan([inputs], out=out, resume=True)
    assert [Path(job.path).name for job in again.jobs] == ["g5_s2d.fits"]
    assert len(again.unchanged) == 6
    assert len(read_manifest(out)) == 9
    assert batch_of["g1_s2d.fits"]["snr_median"] == batch_of["g2_s2d.fits"]["snr_median"]


def test_another_recipe_or_override_is_a_change(inputs, tmp_path):
    out = tmp_path / "out"
    run_batch(inputs, out=out)
    assert plan([inputs], out=out, resume=True).jobs == ()
    assert len(plan([inputs], ox.Recipe(trace={"degree": 0}), out=out, resume=True).jobs) == 7
    table = tmp_path / "over.csv"
    table.write_text(f"file,slit,trace.degree\n{inputs}/m_s2d.fits,S2,0\n")
    changed = plan([inputs], out=out, resume=True, overrides=table)
    assert [Path(job.path).name for job in changed.jobs] == ["m_s2d.fits"]


def test_another_version_is_a_change(inputs, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run_batch(inputs / "g0_s2d.fits", out=out)
    monkeypatch.setattr(ox, "__version__", "99.0")
    assert len(plan([inputs / "g0_s2d.fits"], out=out, resume=True).jobs) == 1


def test_overrides_reach_the_slit_they_name(inputs, tmp_path):
    table = tmp_path / "over.csv"
    table.write_text(f"file,slit,region\n{inputs}/m_s2d.fits,S2,3:15\n{inputs}/g1_s2d.fits,,2:16\n")
    run_batch([inputs / "m_s2d.fits", inputs / "g1_s2d.fits"], out=tmp_path / "out", overrides=table)
    found = {r["products"][0]: r["recipe"] for r in read_manifest(tmp_path / "out")}
    assert found == {
        "g1_s2d_optx1d.fits": ox.Recipe(region={"cross": (2, 16)}).digest(),
        "m_s2d_S1_optx1d.fits": ox.Recipe().digest(),
        "m_s2d_S2_optx1d.fits": ox.Recipe(region={"cross": (3, 15)}).digest(),
        "m_s2d_S3_optx1d.fits": ox.Recipe().digest(),
    }


def test_a_bad_row_fails_its_own_spectrum_only(inputs, tmp_path):
    table = tmp_path / "over.csv"
    table.write_text(f"file,slit,trace.degree\n{inputs}/m_s2d.fits,S2,99\n")
    found = run_batch(inputs / "m_s2d.fits", out=tmp_path / "out", overrides=table)
    assert list(found["status"]) == ["done", "failed", "done"]
    assert "trace.degree" in found["reason"][1]
    assert "99" in found["reason"][1]


def test_slits_can_be_chosen_and_an_unknown_one_is_named(inputs, tmp_path):
    found = run_batch(inputs / "m_s2d.fits", out=tmp_path / "out", slits=["S3"])
    assert list(found["slit"]) == ["S3"]
    found = run_batch(inputs / "m_s2d.fits", out=tmp_path / "out2", slits=["S9"])
    assert "'slit' parameter of read must be the name of a slit of the file. Got 'S9'" in found["reason"][0]
    # the other slits follow, and the first stays
    run_batch(inputs / "m_s2d.fits", out=tmp_path / "out", resume=True)
    assert [r["slit"] for r in read_manifest(tmp_path / "out")] == ["S1", "S2", "S3"]


def test_the_same_name_in_two_folders_makes_two_products(inputs, tmp_path):
    (inputs / "night").mkdir()
    (inputs / "night" / "g0_s2d.fits").write_bytes((inputs / "g1_s2d.fits").read_bytes())
    run_batch([inputs / "g0_s2d.fits", inputs / "night" / "g0_s2d.fits"], out=tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").glob("*.fits")} == {"g0_s2d_optx1d.fits", "night_g0_s2d_optx1d.fits"}


def test_python_code_in_a_recipe_runs_only_with_trust(inputs, tmp_path):
    recipe = ox.Recipe(profile={"kind": "model", "model": "astropy.modeling.models:Gaussian1D"})
    found = run_batch(inputs / "g0_s2d.fits", recipe, out=tmp_path / "out")
    assert "the recipe names Python code, profile.model: 'astropy.modeling.models:Gaussian1D'" in found["reason"][0]


def test_slit_names_of_a_header_stay_in_the_folder(tmp_path):
    from optextract.simulate import make_scene, write_s2d

    names = ("../../up", "/etc/passwd", "a", "A")
    scenes = [make_scene("mid", k, shape=(19, 160), centre=(8.7, 0.1)) for k in range(4)]
    path = write_s2d(scenes, tmp_path / "evil_s2d.fits", slits=names)
    out = tmp_path / "deep" / "out"
    found = run_batch(path, out=out)
    assert list(found["status"]) == ["done"] * 4
    written = {p.resolve() for p in tmp_path.rglob("*_optx1d.*")}
    assert all(p.is_relative_to(out.resolve()) for p in written)
    assert len({p.name.lower() for p in out.glob("*.fits")}) == 4


def test_what_cannot_begin_is_refused(inputs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OptextractError, match=r"'out' parameter of run_batch must be a folder"):
        run_batch(inputs, out=tmp_path / "file")
    with pytest.raises(OptextractError, match=r"'resume' parameter of run_batch must be False where overwrite is True"):
        run_batch(inputs, out=tmp_path / "out", resume=True, overwrite=True)
    with pytest.raises(OptextractError, match=r"'n_jobs' parameter of run_batch must be 0 .*Got -3"):
        run_batch(inputs, out=tmp_path / "out", n_jobs=-3)
    table = tmp_path / "over.csv"
    table.write_text("file,trace.degre\na,1\n")
    with pytest.raises(RecipeError, match=r"unknown field 'trace.degre'"):
        run_batch(inputs, out=tmp_path / "out", overrides=table)


def test_figures_on_request(inputs, tmp_path):
    run_batch(inputs / "g0_s2d.fits", out=tmp_path / "out", figures=True)
    assert (tmp_path / "out" / "g0_s2d_optx1d.png").read_bytes().startswith(b"\x89PNG")
    assert read_manifest(tmp_path / "out")[0]["products"] == ["g0_s2d_optx1d.fits", "g0_s2d_optx1d.png"]


def test_progress_is_told_file_by_file(inputs, tmp_path):
    seen = []
    run_batch(inputs, out=tmp_path / "out", progress=seen.append)
    assert [len(records) for records in seen] == [1, 1, 1, 1, 1, 1, 3]


def test_names_of_products_stay_when_the_order_of_inputs_changes(inputs, tmp_path):
    (inputs / "night").mkdir()
    (inputs / "night" / "g0_s2d.fits").write_bytes((inputs / "g1_s2d.fits").read_bytes())
    here, there = inputs / "g0_s2d.fits", inputs / "night" / "g0_s2d.fits"
    run_batch([here, there], out=tmp_path / "out")
    before = folder_content(tmp_path / "out")
    assert plan([there, here], out=tmp_path / "out", resume=True).jobs == ()
    recipe = ox.Recipe(trace={"degree": 0})
    run_batch([there, here], recipe, out=tmp_path / "out", resume=True)
    assert folder_content(tmp_path / "out").keys() == before.keys()


def test_resume_without_inputs_takes_those_of_the_earlier_run(inputs, tmp_path):
    recipe = ox.Recipe(trace={"degree": 0})
    run_batch(inputs, recipe, out=tmp_path / "out")
    (tmp_path / "out" / "g3_s2d_optx1d.fits").unlink()
    assert [Path(job.path).name for job in plan((), out=tmp_path / "out", resume=True).jobs] == ["g3_s2d.fits"]
    found = run_batch((), out=tmp_path / "out", resume=True)
    assert len(found) == 9
    assert {record["recipe"] for record in read_manifest(tmp_path / "out")} == {recipe.digest()}
    with pytest.raises(OptextractError, match=r"'inputs' parameter of run_batch must be files, unless resume is True"):
        run_batch((), out=tmp_path / "out2")
    with pytest.raises(OptextractError, match=r"must be the output folder of a run"):
        run_batch((), out=tmp_path / "out3", resume=True)


def test_processes_that_are_kept_follow_to_another_folder(small_files, tmp_path, monkeypatch):
    """A notebook that runs one night, goes to the folder of the next and runs that."""
    for night in ("first", "second"):
        folder = tmp_path / night
        folder.mkdir()
        for k in range(3):
            (folder / f"{night}{k}_s2d.fits").symlink_to(small_files / f"g{k}_s2d.fits")
        monkeypatch.chdir(folder)
        found = run_batch("*_s2d.fits", out="out", n_jobs=2)
        assert list(found["status"]) == ["done"] * 3
        assert len(list((folder / "out").glob(f"{night}*_optx1d.fits"))) == 3
