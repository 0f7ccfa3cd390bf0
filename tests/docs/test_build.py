"""The pages made from the code, and the site as a whole."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import optextract
from optextract.cli.parser import build_parser
from optextract.frame import META_KEYS
from optextract.recipe import Recipe
from optextract.results import Flag

from .conftest import PAGES, ROOT


@pytest.fixture(scope="module")
def generated() -> ModuleType:
    """The Sphinx extension of these pages."""
    pytest.importorskip("sphinx", reason="Sphinx comes with the extra docs")
    sys.path.insert(0, str(ROOT / "docs" / "_ext"))
    try:
        import generated
    finally:
        sys.path.pop(0)
    return generated


def test_every_field_of_the_recipe_is_in_its_reference(generated: ModuleType) -> None:
    page = generated.recipe_reference()
    for section in Recipe.model_fields.values():
        for name, field in getattr(section.annotation, "model_fields", {}).items():
            assert re.search(rf"^\| `{name}` \| .* \| {re.escape(str(field.description))} \|$", page, re.MULTILINE)


def test_every_option_of_every_command_is_in_its_reference(generated: ModuleType) -> None:
    page = generated.command_reference()
    commands = build_parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    for name, command in commands.items():
        part = page.partition(f"## optextract {name}\n")[2].partition("\n## ")[0]
        for action in command._actions:
            for option in action.option_strings:
                assert option in ("-h", "--help") or f"`{option}" in part, (name, option)


def test_flags_meta_and_modules_are_listed(generated: ModuleType) -> None:
    assert all(f"`{flag.name}`" in generated.flag_table() for flag in Flag)
    assert all(f"`{key}`" in generated.meta_table() for key in META_KEYS)
    assert "| `pipeline.py` | " in generated.house_table()
    assert "None" not in generated.house_table()


def test_every_public_name_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    public = page.split(".. currentmodule:: optextract\n")
    listed = set(re.findall(r"^\.\. auto\w+:: (\w+)(?:\(.*\))?$", "".join(public), re.MULTILINE))
    assert set(optextract.__all__) - {"__version__"} <= listed


def test_every_figure_of_quality_is_explained() -> None:
    from optextract.simulate import make_scene

    page = (ROOT / "docs" / "reference" / "quality.md").read_text(encoding="utf-8")
    quality = optextract.extract(make_scene("mid", shape=(25, 200)).frame).quality
    assert [name for name in quality if f"`{name}`" not in page] == []


def test_every_page_is_reached_from_the_index() -> None:
    docs = ROOT / "docs"
    reached, todo = set(), ["index"]
    while todo:
        name = todo.pop()
        reached.add(name)
        text = (docs / f"{name}.md").read_text(encoding="utf-8")
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL):
            entries = [line.strip() for line in tree.splitlines() if line.strip() and not line.startswith(":")]
            folder = Path(name).parent
            todo += [str(folder / entry) for entry in entries if "*" not in entry]
    pages = {str(page.relative_to(docs).with_suffix("")) for page in PAGES if docs in page.parents}
    assert pages == reached


def test_the_readme_s_figures_are_those_of_the_benchmarks() -> None:
    found = spec_from_file_location("readme_table", ROOT / "docs" / "readme_table.py")
    assert found is not None
    assert found.loader is not None
    script = module_from_spec(found)
    found.loader.exec_module(script)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert script.updated(readme, page) == readme, "run: python docs/readme_table.py"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """What `make docs` does, without the notebooks, which have tests of their own."""
    pytest.importorskip("sphinx", reason="Sphinx comes with the extra docs")
    for name in ("docs", "notebooks"):
        ignored = shutil.ignore_patterns("_build", "_generated", "__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.rmtree(tmp_path / "docs" / "notebooks", ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    run = subprocess.run(
        [*command, "-D", "nb_execution_mode=off", "docs", "site"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "site" / "reference" / "recipe.html").is_file()
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html")]
    fetched = {host for page in pages for host in re.findall(r'(?:src|rel="stylesheet" href)="https?://([^/"]+)', page)}
    assert fetched == set(), "a page must not need other sites to be read"
