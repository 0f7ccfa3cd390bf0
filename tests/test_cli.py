"""The command line: what it writes, what it says, and with which exit code it ends."""

from __future__ import annotations

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
