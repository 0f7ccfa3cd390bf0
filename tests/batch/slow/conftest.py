"""What takes longer than the suite should: `make test-slow` sets OPTEXTRACT_SLOW=1; else nothing is collected."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from astropy.io import fits

from optextract.simulate import make_scene, write_s2d, write_survey

if os.environ.get("OPTEXTRACT_SLOW") != "1":
    collect_ignore_glob = ["test_*.py"]

SMALL = {"shape": (19, 160), "centre": (8.7, 0.1), "planned_sigma": 0.1}


@pytest.fixture(scope="session")
def many(tmp_path_factory):
    """Twenty-four files of one slit and two of three."""
    folder = tmp_path_factory.mktemp("many")
    for seed in range(24):
        write_s2d(make_scene("mid", seed, **SMALL), folder / f"g{seed:02d}_s2d.fits")
    for seed in range(2):
        scenes = [make_scene("mid", 100 + 10 * seed + k, **SMALL) for k in range(3)]
        write_s2d(scenes, folder / f"m{seed}_s2d.fits", slits=("A", "B", "C"))
    return folder


def _heed_ctrl_c():
    """A shell that starts the tests in the background lets its children ignore Ctrl-C, and they theirs."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def night(tmp_path_factory):
    """The 79 files of the demo, of full size; the corrupt one and the one without a good pixel are among them."""
    folder = tmp_path_factory.mktemp("night")
    return [(path, member.kind not in ("corrupt", "nan")) for path, member in write_survey(folder, 79)]


def start(*arguments):
    """Begin ``optextract run ...`` as a process of its own."""
    command = [sys.executable, "-m", "optextract", "run", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, preexec_fn=_heed_ctrl_c, **pipes)


def finish(process):
    """Exit code, standard output and error of a process, when it has ended."""
    said, errors = process.communicate()
    return process.returncode, said, errors


def _without_times(path):
    if path.suffix == ".jsonl":
        return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in path.read_text().splitlines()]
    if path.suffix != ".fits":
        return path.read_bytes()
    times = ("DATE", "OXDATE", "CHECKSUM", "DATASUM", "HISTORY")
    with fits.open(path) as hdus:
        return [
            (
                {keyword: value for keyword, value in hdu.header.items() if keyword not in times},
                None if hdu.data is None or hdu.name == "ASDF" else hdu.data.tobytes(),
            )
            for hdu in hdus
        ]


def content(folder):
    """Everything in an output folder but timestamps, by name."""
    return {str(path.relative_to(folder)): _without_times(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="session")
def tools():
    """`start`, `finish` and `content`."""

    class Tools:
        start = staticmethod(start)
        finish = staticmethod(finish)
        content = staticmethod(content)

    return Tools


@pytest.fixture(scope="session")
def undisturbed(many, tmp_path_factory):
    """The output folder of a run that nothing happened to."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert finish(start(many, "-o", out, "-q"))[0] == 0
    return out


@pytest.fixture
def say(capsys):
    """Print past pytest, for the closing note."""

    def tell(text):
        with capsys.disabled():
            print("\n" + text, end="", flush=True)  # noqa: T201

    return tell
