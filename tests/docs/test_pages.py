"""Every command and every block of Python in README and docs is run; what a page shows as output is what comes out."""

from __future__ import annotations

import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from optextract.cli import main
from optextract.cli.parser import build_parser

from .conftest import PAGES, ROOT, Block, blocks, name_of


def _parameter(page: Path) -> Any:
    """A page; those that need Jdaviz are run by one worker, which imports it once."""
    jdaviz = any("import jdaviz" in block.text for block in blocks(page))
    marks = [pytest.mark.jdaviz, pytest.mark.xdist_group("jdaviz pages")] if jdaviz else []
    return pytest.param(page, id=name_of(page), marks=marks)


WITH_BLOCKS = [_parameter(page) for page in PAGES if any(True for _ in blocks(page))]


def commands(text: str) -> list[str]:
    """Lines of a block of commands, comments and continuations taken care of."""
    joined = text.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def expanded(words: list[str], folder: Path) -> list[str]:
    """Patterns replaced as a shell does."""
    found = []
    for word in words:
        names = sorted(glob.glob(word, root_dir=folder)) if glob.has_magic(word) else []
        found += names if names else [word]
    return found


def run_optextract(words: list[str], capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """Run a command of ours in this process and return what it printed."""
    if words[0] == "app":
        # the app itself is started by the browser tests: here its words and its files must be right
        args = build_parser().parse_args(words)
        assert all((folder / name).is_file() for name in args.files), f"{words} names a file that the page has not made"
        return ""
    if words[-1] == "--version":
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 0
        return capsys.readouterr().out
    code = main(expanded(words, folder))
    said = capsys.readouterr()
    assert code == 0, f"optextract {shlex.join(words)} gave {code}: {said.err}"
    return said.out


def run_other(words: list[str]) -> None:
    """Check a command that sets up the machine: its targets and extras must exist."""
    if words[0] == "make":
        targets = [word for word in words[1:] if "=" not in word]
        plan = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=False)
        assert plan.returncode == 0, plan.stderr
    elif words[:2] == ["pip", "install"]:
        extras = re.search(r"\[(.*)\]", words[2])
        known = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        assert words[2].startswith("."), words
        for extra in extras[1].split(",") if extras else ():
            assert re.search(rf"^{extra} = \[", known, re.MULTILINE), f"there is no extra {extra}"
    else:
        raise AssertionError(f"no test knows how to run {words}")


def run_line(line: str, capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    words = shlex.split(line, comments=True)
    if words[0] == "optextract":
        return run_optextract(words[1:], capsys, folder)
    run_other(words)
    return ""


NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\w)")


def alike(shown: str, printed: str) -> bool:
    """Whether a shown line is the printed one: ``...`` is anything, numbers may differ by their last digit or 2 %."""
    if shown.strip() == "...":
        return True
    pieces = [NUMBER.sub("\0", piece) for piece in shown.split("...")]
    pattern = ".*".join(re.escape(piece).replace("\0", r"(-?\d+(?:\.\d+)?)") for piece in pieces)
    found = re.fullmatch(pattern, printed)
    if found is None:
        return False
    wanted = [number for piece in shown.split("...") for number in NUMBER.findall(piece)]
    for want, got in zip(wanted, found.groups(), strict=True):
        step = 10.0 ** -len(want.partition(".")[2])
        if abs(float(want) - float(got)) > max(1.01 * step if "." in want else 0.0, 0.02 * abs(float(want))):
            return False
    return True


def check_console(block: Block, page: Path, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Run each line after ``$`` and compare what follows it with what is printed."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    for part in parts:
        line, _, shown = part.partition("\n")
        printed = run_line(line, capsys, folder).splitlines()
        wanted = shown.splitlines()
        where = f"{name_of(page)}, line {block.line}: $ {line}"
        if any(want.strip() == "- ..." or want.strip() == "..." for want in wanted):
            wanted = [want for want in wanted if want.strip() not in ("- ...", "...")]
            printed = printed[: len(wanted)]
        assert len(wanted) == len(printed), f"{where} prints {printed}"
        for want, got in zip(wanted, printed, strict=True):
            assert alike(want, got), f"{where} prints\n{got}\nnot\n{want}"


#: A process that runs what it is sent: Jdaviz takes long to import, so the blocks that need it share one.
WORKER = """
import json, os, sys, traceback
for line in sys.stdin:
    sent = json.loads(line)
    os.chdir(sent["folder"])
    try:
        exec(compile(sent["code"], sent["name"], "exec"), {"__name__": "page"})
        said = ""
    except BaseException:
        said = traceback.format_exc()
    os.write(int(sys.argv[1]), (json.dumps(said) + "\\n").encode())
"""


@pytest.fixture(scope="session")
def jdaviz_worker() -> Iterator[Callable[[str, str, Path], None]]:
    """Run code in the process that has Jdaviz."""
    reader, writer = os.pipe()
    process: subprocess.Popen[str] | None = None

    def run(code: str, name: str, folder: Path) -> None:
        nonlocal process
        if process is None:
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", WORKER, str(writer)], stdin=subprocess.PIPE, text=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(writer,),
                env={**os.environ, "MPLBACKEND": "Agg"},
            )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps({"code": code, "name": name, "folder": str(folder)}) + "\n")
        process.stdin.flush()
        answer = answers.readline()
        assert answer, f"the process that ran {name} ended"
        said = json.loads(answer)
        assert not said, said

    with os.fdopen(reader, encoding="utf-8") as answers:
        yield run
        os.close(writer)
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)


@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_the_blocks_of_a_page_run(
    page: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    jdaviz_worker: Callable[[str, str, Path], None],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    made = "simulate sample_s2d.fits" in page.read_text(encoding="utf-8")
    for sample in samples.iterdir():
        if not (made and sample.name == "sample_s2d.fits"):
            shutil.copy2(sample, tmp_path)
    put_what_is_shown(page, tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    before = list(sys.path)
    try:
        run_all(page, tmp_path, names, capsys, jdaviz_worker)
    finally:
        sys.path[:] = before


def run_all(
    page: Path, folder: Path, names: dict[str, object], capsys: pytest.CaptureFixture[str],
    jdaviz_worker: Callable[[str, str, Path], None],
) -> None:  # fmt: skip
    """Run the blocks of a page in their order."""
    for block in blocks(page):
        if block.reason is not None:
            assert len(block.reason) > 10, f"{name_of(page)}, line {block.line}: the reason is too short to be one"
        elif block.language == "console":
            check_console(block, page, capsys, folder)
        elif block.language == "python" and "import jdaviz" in block.text:
            jdaviz_worker(block.text, f"{name_of(page)}, line {block.line}", folder)
        elif block.language == "python":
            padded = "\n" * (block.line - 1) + block.text  # a traceback then names the line of the page
            exec(compile(padded, str(page), "exec"), names)
        else:
            for line in commands(block.text):
                run_line(line, capsys, folder)


def put_what_is_shown(page: Path, folder: Path) -> None:
    """A table of overrides is shown as text on the page that uses it, a recipe is taken for granted: write them."""
    text = page.read_text(encoding="utf-8")
    table = re.search(r"```text\n(file,.*?)```", text, re.DOTALL)
    if table is not None:
        (folder / "changes.csv").write_text(table[1], encoding="utf-8")
    if "--recipe recipe.yaml" in text and "init recipe.yaml" not in text:
        (folder / "recipe.yaml").write_text("schema: 1\n", encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_yaml_on_a_page_is_a_recipe(page: Path) -> None:
    from optextract import Recipe

    for text in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        Recipe.from_yaml(text, name=name_of(page))


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("row 12.19, 8 px", "row 12.20, 8 px", True),
        ("row 12.19", "row 12.60", False),
        ("3 sources", "4 sources", False),
        ("S/N ... at 4.39 um", "S/N 8.0 a column at 4.40 um", True),
        ("one word", "another word", False),
    ],
)
def test_output_is_compared_by_words_and_numbers(shown: str, printed: str, same: bool) -> None:
    assert alike(shown, printed) is same
