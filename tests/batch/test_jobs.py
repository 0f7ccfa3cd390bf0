"""Files, folders, patterns, lists and catalogues become jobs; a misspelt field is refused before anything runs."""

from __future__ import annotations

import pytest

from optextract.batch.jobs import expand, read_table
from optextract.errors import OptextractError, RecipeError
from optextract.recipe import Recipe


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("a_s2d.fits", "b_s2d.fits", "c_s2d.fits.gz", "a_x1d.fits"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(jobs):
    return [job.path.rsplit("/", 1)[-1] for job in jobs]


def test_patterns_folders_and_lists(folder):
    (folder / "list.txt").write_text("# the good ones\nb_s2d.fits\n\n  a_s2d.fits\n")
    assert names(expand(["*_s2d.fits"])) == ["a_s2d.fits", "b_s2d.fits"]
    assert names(expand([folder])) == ["a_s2d.fits", "b_s2d.fits", "c_s2d.fits.gz"]
    assert names(expand(["@list.txt"])) == ["b_s2d.fits", "a_s2d.fits"]


def test_a_file_named_twice_is_one_job(folder):
    assert names(expand(["a_s2d.fits", "./a_s2d.fits", "*_s2d.fits"])) == ["a_s2d.fits", "b_s2d.fits"]


def test_a_list_is_relative_to_its_own_folder(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "list").write_text("../a_s2d.fits\n")
    assert [job.path for job in expand(["@sub/list"])] == ["a_s2d.fits"]


def test_a_missing_file_is_a_job_that_will_fail(folder):
    assert names(expand(["gone_s2d.fits"])) == ["gone_s2d.fits"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("*.nothing", r"'files' parameter of optextract run must be a pattern that matches a file"),
        ("@nolist", r"the list nolist cannot be read: .*No such file"),
        ("no.csv", r"the table no.csv cannot be read: .*No such file"),
    ],
)
def test_what_matches_nothing_is_refused(folder, given, message):
    with pytest.raises(OptextractError, match=message):
        expand([given])


def test_an_empty_folder_is_refused(folder):
    (folder / "empty").mkdir()
    with pytest.raises(OptextractError, match=r"must be a folder that holds \*_s2d.fits files. Got 'empty'"):
        expand(["empty"])


def test_catalogue_gives_slits_and_changes(folder):
    (folder / "cat.csv").write_text(
        "file,slit,region,sources,trace.degree,background.rows,ra\n"
        'a_s2d.fits,S1,8:19,2,1,,12.5\na_s2d.fits,S2,"4:20,100:900",,,"[[2, 6], [18, 22]]",\nb_s2d.fits,,,,,,\n'
    )
    jobs = expand(["cat.csv"])
    assert names(jobs) == ["a_s2d.fits", "b_s2d.fits"]
    assert jobs[0].slits == ("S1", "S2")
    assert jobs[1].slits is None
    one = jobs[0].recipe_for({"S1"}, Recipe())
    assert one == Recipe(region={"cross": (8.0, 19.0)}, sources={"number": 2}, trace={"degree": 1})
    two = jobs[0].recipe_for({"S2", "1"}, Recipe())
    assert two.region.cross == (4.0, 20.0)
    assert two.region.disp == (100.0, 900.0)
    assert two.background.rows == ((2.0, 6.0), (18.0, 22.0))
    assert jobs[1].recipe_for((), Recipe()) == Recipe()


def test_ecsv_catalogue(folder):
    from astropy.table import Table

    Table({"file": ["a_s2d.fits"], "trace.degree": [2]}).write(folder / "cat.ecsv", format="ascii.ecsv")
    (job,) = expand(["cat.ecsv"])
    assert job.recipe_for((), Recipe()).trace.degree == 2


def test_overrides_apply_to_inputs_and_later_rows_win(folder):
    (folder / "over.csv").write_text("file,slit,trace.degree\na_s2d.fits,,1\na_s2d.fits,S2,3\nother.fits,,2\n")
    (job, other) = expand(["a_s2d.fits", "b_s2d.fits"], overrides=["over.csv"])
    assert job.slits is None
    assert job.recipe_for({"S1"}, Recipe()).trace.degree == 1
    assert job.recipe_for({"S2"}, Recipe()).trace.degree == 3
    assert other.overrides == ()


def test_a_row_may_name_a_recipe_file(folder):
    Recipe(trace={"degree": 4}).save(folder / "drawn.yaml")
    (folder / "over.csv").write_text("file,recipe,region\na_s2d.fits,drawn.yaml,3:9\n")
    (job,) = expand(["a_s2d.fits"], overrides=["over.csv"])
    assert job.recipe_for((), Recipe()) == Recipe(trace={"degree": 4}, region={"cross": (3.0, 9.0)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\na\n", r"'file' parameter of the table .*cat.csv must be one of the columns. Got \['name'\]"),
        ("file,trace.degre\na,1\n", r"unknown field 'trace.degre' \(known here: degree, fwhm_degree"),
        ("file,tracing.degree\na,1\n", r"unknown field 'tracing.degree' \(known here: .*trace"),
        ("file,region\na,8-19\n", r"'region' parameter of row 1 .* must be rows as first:last.*'8-19'"),
        ("file,slit\n,x\n", r"'file' parameter of row 1 .* must be the name of a file. Got ''"),
    ],
)
def test_tables_that_make_no_sense_are_refused_by_name(folder, text, message):
    (folder / "cat.csv").write_text(text)
    with pytest.raises(OptextractError, match=message):
        read_table(folder / "cat.csv")


def test_a_bad_value_names_field_and_value(folder):
    (folder / "cat.csv").write_text("file,trace.degree\na_s2d.fits,many\n")
    (job,) = expand(["cat.csv"])
    with pytest.raises(RecipeError, match=r"trace.degree.*'many'"):
        job.recipe_for((), Recipe())
