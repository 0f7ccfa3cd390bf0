"""The commands of a fresh clone: which Python is taken, when the environment is made anew, what is built without .git.

Nothing here installs anything: interpreters are fakes or links, and `make -n` says what would be run.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import optextract
from optextract.cli.parser import build_parser

ROOT = Path(__file__).resolve().parents[1]
FIND = ROOT / ".ci" / "find-python"

# The environment without what an outer make, its variables or a developer's settings put there.
OUTER = ("MAKE", "MFLAGS", "OPTEXTRACT_", "PYTEST_", "PYTHON")
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith(OUTER)}

SHIM = "#!/bin/sh\necho 'pyenv: {name}: command not found' >&2\nexit 127\n"
# Says that it works, as the real one would, and then which release it is.
FAKE = '#!/bin/sh\ncase "$2" in *ensurepip*) exit {status};; esac\necho "{minor} $0"\n'


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def fake(path: Path, minor: int, works: bool = True) -> Path:
    return executable(path, FAKE.format(minor=minor, status=0 if works else 1))


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for PATH with what the script itself needs and no Python."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("sh", "awk", "tr", "sed"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def find(*folders: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(str(folder) for folder in folders)
    return subprocess.run(
        [FIND], env={"PATH": path, **environ}, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def test_a_failing_shim_is_passed_over(tmp_path: Path, tools: Path) -> None:
    for name in ("python3.11", "python3.12", "python3.13", "python3", "python"):
        executable(tmp_path / "shims" / name, SHIM.format(name=name))
    works = tmp_path / "bin" / "python3.12"
    works.parent.mkdir()
    works.symlink_to(sys.executable)
    run = find(tmp_path / "shims", works.parent, tools)
    assert run.returncode == 0, run.stderr
    said = subprocess.run(
        [run.stdout.strip(), "-c", "import sys; print(sys.version_info >= (3, 11))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "True\n"


def test_the_same_name_further_down_the_path_is_tried(tmp_path: Path, tools: Path) -> None:
    executable(tmp_path / "shims" / "python3.12", SHIM.format(name="python3.12"))
    works = fake(tmp_path / "bin" / "python3.12", 12)
    assert find(tmp_path / "shims", works.parent, tools).stdout.strip() == str(works)


def test_the_oldest_release_that_works_is_taken(tmp_path: Path, tools: Path) -> None:
    fake(tmp_path / "bin" / "python3.11", 11, works=False)  # no ensurepip, say
    fake(tmp_path / "bin" / "python3.13", 13)
    fake(tmp_path / "bin" / "python3", 14)
    taken = fake(tmp_path / "bin" / "python", 12)
    assert find(tmp_path / "bin", tools).stdout.strip() == str(taken)


def test_versions_of_pyenv_are_tried_behind_its_shims(tmp_path: Path, tools: Path) -> None:
    root = tmp_path / "a root"  # with a space
    executable(tmp_path / "shims" / "pyenv", f'#!/bin/sh\necho "{root}"\n')
    executable(tmp_path / "shims" / "python3.12", SHIM.format(name="python3.12"))
    fake(root / "versions" / "3.10.13" / "bin" / "python", 10)
    fake(root / "versions" / "3.13.0t" / "bin" / "python", 11)
    fake(root / "versions" / "3.13.0" / "bin" / "python", 13)
    taken = fake(root / "versions" / "3.12.1" / "bin" / "python", 12)
    assert find(tmp_path / "shims", tools).stdout.strip() == str(taken)


def test_a_named_python_is_the_only_one_tried(tmp_path: Path, tools: Path) -> None:
    fake(tmp_path / "bin" / "python3.11", 11)
    named = fake(tmp_path / "elsewhere" / "mine", 13)
    assert find(tmp_path / "bin", tools, PYTHON=str(named)).stdout.strip() == str(named)
    run = find(tmp_path / "bin", tools, PYTHON="python3.10")
    assert run.returncode == 1
    assert "    python3.10\n" in run.stderr


def test_no_python_says_what_was_tried_and_what_to_do(tmp_path: Path, tools: Path) -> None:
    shim = executable(tmp_path / "shims" / "python3", SHIM.format(name="python3"))
    run = find(tmp_path / "shims", tools)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == (
        "No Python >= 3.11 with venv and ensurepip works here. Each of these was run:\n"
        f"    {shim}\n"
        "Install one (on Debian: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python\n"
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What a fresh clone has of the files that make reads."""
    folder = tmp_path / "clone"
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy2(ROOT / name, folder / name)
    return folder


def make(folder: Path, *words: str, **environ: str) -> str:
    run = subprocess.run(
        ["make", *words], cwd=folder, env={**CLEAN, **environ}, capture_output=True, text=True,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout


def made(clone: Path) -> Path:
    """A finished environment in the clone, as far as make can see."""
    python = clone / ".venv" / "bin" / "python"
    executable(python, "#!/bin/sh\nexit 0\n")
    stamp = clone / ".venv" / "complete"
    stamp.write_text(f"{clone}\n", encoding="utf-8")
    later = (clone / "pyproject.toml").stat().st_mtime + 10
    os.utime(stamp, (later, later))
    return stamp


SET_UP = "-m venv .venv"


@pytest.mark.parametrize("target", ["app", "test", "lint", "type", "demo"])
def test_every_target_sets_up_first_whichever_runs_first(target: str, clone: Path) -> None:
    said = make(clone, "-n", target)
    assert said.count(SET_UP) == 1
    assert "pip install --quiet --editable '.[all,test]'" in said
    made(clone)
    assert SET_UP not in make(clone, "-n", target)


def test_a_younger_pyproject_makes_the_environment_anew(clone: Path) -> None:
    stamp = made(clone)
    later = stamp.stat().st_mtime + 10
    os.utime(clone / "pyproject.toml", (later, later))
    assert SET_UP in make(clone, "-n", "venv")


def test_a_broken_half_made_or_moved_environment_is_made_anew(clone: Path) -> None:
    stamp = made(clone)
    executable(clone / ".venv" / "bin" / "python", SHIM.format(name="python"))
    assert SET_UP in make(clone, "-n", "venv"), "a Python that does not run"
    made(clone)
    stamp.unlink()
    assert SET_UP in make(clone, "-n", "venv"), "interrupted before the stamp"
    made(clone).write_text("/somewhere/else\n", encoding="utf-8")
    assert SET_UP in make(clone, "-n", "venv"), "moved"
    made(clone)
    assert SET_UP not in make(clone, "-n", "venv"), "whole"


def test_an_interrupted_install_leaves_no_stamp(clone: Path) -> None:
    """The real recipe, with a Python whose pip fails on the package itself."""
    inner = '#!/bin/sh\ncase "$*" in *--editable*) exit 1;; esac\nexit 0\n'
    outer = f'#!/bin/sh\nmkdir -p .venv/bin\ncat > .venv/bin/python <<"E"\n{inner}E\nchmod +x .venv/bin/python\n'
    python = executable(
        clone / "fake-python", outer.replace("mkdir", 'case "$2" in *sys*) echo "11 $0"; exit;; esac\nmkdir')
    )
    made(clone)
    later = (clone / ".venv" / "complete").stat().st_mtime + 10
    os.utime(clone / "pyproject.toml", (later, later))
    run = subprocess.run(
        ["make", "venv", f"PYTHON={python}"],
        cwd=clone,
        env=CLEAN,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert (clone / ".venv" / "bin" / "python").exists()
    assert not (clone / ".venv" / "complete").exists()


def test_test_runs_lint_types_and_tests_in_this_order(clone: Path) -> None:
    made(clone)
    ran = [line.split(" -m ")[1] for line in make(clone, "-n", "test").splitlines() if " -m " in line]
    assert ran == ["ruff check", "ruff format --check", "mypy", "pytest -n 2 --dist loadgroup"]


def test_the_data_folder_is_handed_on_where_it_exists(clone: Path) -> None:
    with (clone / "Makefile").open("a", encoding="utf-8") as makefile:
        makefile.write("\nsay:\n\t@echo data=$$OPTEXTRACT_DATA\n")
    without = {"OPTEXTRACT_DATA": ""}

    def say() -> str:
        return subprocess.run(["make", "-s", "say"], cwd=clone, env=CLEAN, capture_output=True, text=True).stdout

    assert say() == "data=\n"
    (clone.parent / "shared" / "data").mkdir(parents=True)
    assert say() == f"data={clone.parent / 'shared' / 'data'}\n"
    assert make(clone, "-s", "say", OPTEXTRACT_DATA="/mine") == "data=/mine\n"
    assert make(clone, "-s", "say", **without) == "data=\n"


def test_ci_requires_the_browser_and_fails_with_the_tests(tmp_path: Path, clone: Path) -> None:
    executable(tmp_path / "bin" / "chromium", "#!/bin/sh\n")
    executable(tmp_path / "bin" / "make", '#!/bin/sh\necho "$* $OPTEXTRACT_BROWSER in $PWD"\ncat\nexit 3\n')
    environ = {**CLEAN, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    run = subprocess.run(
        [clone / ".ci" / "run"], cwd=tmp_path, env=environ, capture_output=True, text=True, input="not read", timeout=60
    )
    assert (run.returncode, run.stdout) == (3, f"test required in {clone}\n")


def test_ci_installs_chromium_where_it_is_root_and_there_is_none(tmp_path: Path, clone: Path) -> None:
    bin_ = tmp_path / "bin"
    for name in ("bash", "dirname"):
        found = shutil.which(name)
        assert found is not None
        bin_.mkdir(exist_ok=True)
        (bin_ / name).symlink_to(found)
    executable(bin_ / "id", "#!/bin/sh\necho $FAKE_UID\n")
    executable(bin_ / "apt-get", '#!/bin/sh\necho "apt-get $*"\n')
    executable(bin_ / "make", '#!/bin/sh\necho "make $*"\n')

    def run(uid: str) -> list[str]:
        environ = {"PATH": str(bin_), "FAKE_UID": uid}
        command = [bin_ / "bash", clone / ".ci" / "run"]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.splitlines()

    assert run("0") == ["apt-get update -qq", "apt-get install -qq -y --no-install-recommends chromium", "make test"]
    assert run("1000") == ["make test"]


ASKS = """
def test_data(data_dir):
    assert data_dir.is_dir()

def test_browser(browser_path):
    assert browser_path.endswith("chromium")

def test_rng(rng):
    assert rng.random() != rng.random()
"""


def ask(tmp_path: Path, **environ: str) -> str:
    """What pytest says of tests that ask for the fixtures, in a folder beside which there is no shared/data."""
    tests = tmp_path / "repository" / "tests"
    tests.mkdir(parents=True, exist_ok=True)
    shutil.copy2(ROOT / "tests" / "conftest.py", tests)
    (tests / "test_asks.py").write_text(ASKS, encoding="utf-8")
    (tests.parent / "pytest.ini").write_text("[pytest]\naddopts = -rs --tb=short\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests"]
    run = subprocess.run(
        command,
        cwd=tests.parent,
        env={**CLEAN, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return run.stdout


def test_absent_data_and_browser_skip_with_the_reason(tmp_path: Path) -> None:
    nothing = str(tmp_path / "nothing")
    said = ask(tmp_path, PATH=nothing)
    assert "real data are absent: OPTEXTRACT_DATA is not set and there is no ../shared/data" in said
    assert "no chromium on PATH; on Debian: apt-get install chromium" in said
    assert "1 passed, 2 skipped" in said
    said = ask(tmp_path, PATH=nothing, OPTEXTRACT_DATA=nothing)
    assert f"OPTEXTRACT_DATA names '{nothing}', which is not a folder" in said


def test_a_required_browser_that_is_absent_is_a_failure(tmp_path: Path) -> None:
    said = ask(tmp_path, PATH=str(tmp_path / "nothing"), OPTEXTRACT_BROWSER="required")
    assert "OPTEXTRACT_BROWSER=required, but no chromium on PATH; on Debian: apt-get install chromium" in said
    assert "1 passed, 1 skipped, 1 error" in said


def test_data_and_browser_are_found(tmp_path: Path) -> None:
    executable(tmp_path / "bin" / "chromium", "#!/bin/sh\n")
    (tmp_path / "shared" / "data").mkdir(parents=True)
    assert "3 passed" in ask(tmp_path, PATH=str(tmp_path / "bin"), OPTEXTRACT_BROWSER="required")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git knows, as they are now, in a folder without .git."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("the tree under test has no .git to make an archive from")
    folder = tmp_path_factory.mktemp("archive") / "optextract"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def built(archive: Path) -> Path:
    run = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel"],
        cwd=archive,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return archive / "dist"


def test_a_tree_without_git_builds_with_the_fallback_version(archive: Path, built: Path) -> None:
    assert not (archive / ".git").exists()
    names = sorted(path.name for path in built.iterdir())
    assert names == ["optextract-0.1.0.dev0-py3-none-any.whl", "optextract-0.1.0.dev0.tar.gz"]


def test_the_wheel_holds_the_package_whole_and_nothing_else(archive: Path, built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        files = set(wheel.namelist())
        entry_points = wheel.read("optextract-0.1.0.dev0.dist-info/entry_points.txt").decode()
        metadata = wheel.read("optextract-0.1.0.dev0.dist-info/METADATA").decode()
    source = archive / "src"
    wanted = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert {name for name in files if not name.startswith("optextract-")} == wanted
    assert "[console_scripts]\noptextract = optextract.cli:main\n" in entry_points
    assert "[glue.plugins]\noptextract = optextract.panel._glue:setup\n" in entry_points
    assert "License-Expression: BSD-3-Clause\n" in metadata
    assert not [
        line for line in metadata.splitlines() if line.startswith("Requires-Dist: jdaviz") and "extra" not in line
    ]


def test_the_sdist_has_what_its_commands_need(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {
            name.partition("/")[2]: member.mode
            for name, member in zip(sdist.getnames(), sdist.getmembers(), strict=True)
        }
    for name in ("pyproject.toml", "LICENSE", "README.md", "Makefile", ".ci/find-python", "tests/conftest.py"):
        assert name in names, f"{name} is not in the sdist"
    assert names[".ci/find-python"] & 0o100


def test_ignored_files_do_not_hide_the_package() -> None:
    """The default output folder has the package's name: only the one at the root is ignored."""

    def ignored(name: str) -> bool:
        run = subprocess.run(["git", "check-ignore", "-q", "--no-index", name], cwd=ROOT, check=False)
        if run.returncode > 1:
            pytest.skip("the tree under test has no .git to ask")
        return run.returncode == 0

    assert not ignored("src/optextract/frame.py")
    for name in (
        "optextract/a_optx1d.fits",
        "night/a_slit1_optx1d.fits",
        ".venv/bin/python",
        "demo/sample_s2d.fits",
        "dist/a.whl",
    ):
        assert ignored(name), name


def test_the_readme_names_only_make_targets_that_exist() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony is not None
    for page in ("README.md", "CONTRIBUTING.md"):
        named = set(re.findall(r"\bmake ([a-z-]+)\b", "\n".join(code_blocks(ROOT / page))))
        assert named, page
        assert named <= set(phony[1].split())


def test_the_readme_s_commands_are_understood() -> None:
    lines = "\n".join(code_blocks(ROOT / "README.md")).splitlines()
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("optextract ")]
    assert {words[1] for words in commands} == {"run", "init", "simulate", "app"}
    for words in commands:
        assert build_parser().parse_args(words[1:]).command == words[1]


def test_the_readme_s_python_uses_public_names_only() -> None:
    used = set(re.findall(r"\box\.(\w+)", "\n".join(code_blocks(ROOT / "README.md", "python"))))
    assert {"read", "extract", "write", "Recipe"} <= used <= set(optextract.__all__)


def code_blocks(page: Path, language: str = "sh") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
