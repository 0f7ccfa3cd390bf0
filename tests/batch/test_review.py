"""Review: worst first, decisions in manifest and table; a resumed run does the adjusted one and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.batch import Review, plan, read_manifest, run_batch
from optextract.cli import main
from optextract.errors import OptextractError
from optextract.simulate import make_scene, write_s2d

SMALL = {"shape": (25, 300)}


@pytest.fixture
def out(tmp_path):
    """A run with two good spectra, and three that need a look: an empty slit, wrong errors, a failure."""
    folder = tmp_path / "files"
    folder.mkdir()
    for seed in range(2):
        write_s2d(make_scene("mid", seed, planned_sigma=0.1, **SMALL), folder / f"good{seed}_s2d.fits")
    write_s2d(make_scene("empty", 3, **SMALL), folder / "empty_s2d.fits")
    scenes = [make_scene("mid", 4, planned_sigma=0.1, **SMALL), make_scene("empty", 5, **SMALL)]
    write_s2d(scenes, folder / "two_s2d.fits", slits=("A", "B"))
    write_s2d(make_scene("mid", 6, **SMALL), folder / "fails_s2d.fits")
    (folder / "broken_s2d.fits").write_bytes(b"nothing")
    table = tmp_path / "over.csv"
    table.write_text("file,region\nfiles/fails_s2d.fits,90:99\n")
    run_batch(folder, out=tmp_path / "out", overrides=table)
    return tmp_path / "out"


def names(review):
    return [item.name for item in review.items]


def test_worst_first_and_what_cannot_be_opened_is_left_out(out):
    review = Review(out)
    assert names(review)[0] == "fails_s2d.fits"
    assert set(names(review)[1:]) == {"empty_s2d.fits", "two_s2d.fits [B]"}
    scores = [item.score for item in review.items]
    assert scores == sorted(scores, reverse=True)
    assert review.undecided == 3
    assert "region" in review.current.flags[0]
    assert review.current.recipe.region.cross == (90.0, 99.0)
    assert len(Review(out, least=0.0)) == 6


def test_steps_stay_within_and_frames_are_those_of_the_slit(out):
    review = Review(out)
    assert review.previous() is review.items[0]
    review.go(names(review).index("two_s2d.fits [B]"))
    frame = review.current.frame()
    assert frame.meta["slit"] == "B"
    assert frame.shape == (25, 300)
    for _ in range(5):
        review.next()
    assert review.position == 2
    with pytest.raises(OptextractError, match=r"'position' parameter of Review.go must be between 0 and 2. Got 3"):
        review.go(3)


def test_accept_adjust_reject_and_a_resumed_run_does_exactly_one(out, capsys):
    review = Review(out)
    by_name = {name: position for position, name in enumerate(names(review))}
    review.go(by_name["empty_s2d.fits"])
    assert review.reject("nothing there").status == "rejected"
    review.go(by_name["two_s2d.fits [B]"])
    assert review.accept().decision == "accepted"
    review.go(by_name["fails_s2d.fits"])
    with pytest.raises(OptextractError, match=r"fails_s2d.fits failed and has no spectrum to accept"):
        review.accept()
    adjusted = ox.Recipe(region={"cross": (3.0, 21.0)})
    assert review.adjust(adjusted, "the region was outside").decision == "adjusted"
    assert review.undecided == 0
    assert len(Review(out)) == 0
    assert len(Review(out, decided=True)) == 3

    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*_optx1d.fits")}
    todo = plan((), out=out, resume=True)
    assert [job.path.rsplit("/", 1)[-1] for job in todo.jobs] == ["broken_s2d.fits", "fails_s2d.fits"]
    assert main(["run", "--resume", "-o", str(out)]) == 1
    said = capsys.readouterr()
    assert "6 files: 1 spectra extracted, 4 files unchanged, 1 failed" in said.out
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*_optx1d.fits")}
    assert {name for name in after if before.get(name) != after[name]} == {"fails_s2d_optx1d.fits"}
    records = {(r["file"].rsplit("/", 1)[-1], r["slit"]): r for r in read_manifest(out)}
    assert records["fails_s2d.fits", None]["recipe"] == adjusted.digest()
    assert records["fails_s2d.fits", None]["decision"] == "adjusted"
    assert records["fails_s2d.fits", None]["note"] == "the region was outside"
    assert records["empty_s2d.fits", None]["status"] == "rejected"
    assert records["two_s2d.fits", "B"]["decision"] == "accepted"
    # and nothing is left
    assert [job.path.rsplit("/", 1)[-1] for job in plan((), out=out, resume=True).jobs] == ["broken_s2d.fits"]


def test_the_adjusted_flux_is_that_of_its_recipe(out):
    from optextract.io import read_x1d

    review = Review(out)
    adjusted = ox.Recipe(region={"cross": (4.0, 20.0)}, trace={"degree": 0})
    review.adjust(adjusted)
    run_batch((), out=out, resume=True)
    found = read_x1d(out / "fails_s2d_optx1d.fits").flux.to_value("Jy")
    np.testing.assert_array_equal(found, ox.extract(review.items[0].frame(), adjusted).flux[0])


def test_a_change_of_mind_takes_the_row_back(out):
    review = Review(out)
    review.go(names(review).index("two_s2d.fits [B]"))
    review.adjust(ox.Recipe(trace={"degree": 1}))
    assert len(plan((), out=out, resume=True).jobs) == 3
    review.accept()
    assert "two_s2d" not in (out / "overrides.csv").read_text()
    assert [job.path.rsplit("/", 1)[-1] for job in plan((), out=out, resume=True).jobs] == [
        "broken_s2d.fits",
        "fails_s2d.fits",
    ]
    review.reject()
    assert review.accept().status == "done"


def test_an_adjusted_recipe_waits_for_the_next_run_and_is_shown(out):
    Review(out).adjust(ox.Recipe(trace={"degree": 1}))
    again = Review(out, decided=True)
    assert again.items[0].recipe == ox.Recipe(trace={"degree": 1})


def test_list_on_the_command_line(out, capsys):
    assert main(["review", str(out), "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("100.0  fails_s2d.fits: ")
    assert main(["review", str(out), "--list", "--least", "99.9"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert main(["review", str(out / "nothing"), "--list"]) == 2


def test_what_is_no_recipe_is_refused(out):
    with pytest.raises(OptextractError, match=r"'recipe' parameter of Review.adjust must be a Recipe. Got 'dict'"):
        Review(out).adjust({"trace": {"degree": 1}})
