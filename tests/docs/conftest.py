"""Pages of documentation as tests: each is run block by block in a folder of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if not {"_build", "_generated", "notebooks"} & set(page.relative_to(ROOT).parts)]

LANGUAGES = ("sh", "bash", "console", "python")
_FENCE = re.compile(r"(?:<!-- not run: (?P<reason>.*?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and the reason that stands before it if it is not to be run."""

    language: str
    text: str
    line: int
    reason: str | None = None


def blocks(page: Path) -> Iterator[Block]:
    """Blocks of commands and of Python, in the order of the page."""
    source = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(source):
        if found["language"] in LANGUAGES:
            line = source.count("\n", 0, found.start("text")) + 1
            yield Block(found["language"], found["text"], line, found["reason"])


def name_of(page: Path) -> str:
    """How a page is called in the list of tests."""
    return str(page.relative_to(ROOT).with_suffix(""))


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that pages take for granted."""
    from optextract.simulate import make_scene, write_s2d

    folder = tmp_path_factory.mktemp("samples")
    write_s2d(make_scene("emission", 0, planned_sigma=0.1), folder / "sample_s2d.fits")
    for number in (1, 2):
        scene = make_scene("mid", number, shape=(25, 300), planned_sigma=0.1)
        write_s2d(scene, folder / f"jw0{number}_s2d.fits")
    return folder
