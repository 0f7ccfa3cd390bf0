"""Killed at any moment, resumed, and the folder is that of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest

from optextract.batch import read_manifest
from optextract.io import read_x1d

KILLS = int(os.environ.get("OPTEXTRACT_KILLS", "50"))


def test_kill_9_at_random_moments(many, undisturbed, tmp_path, tools, say):
    expected = tools.content(undisturbed)
    started = time.monotonic()
    assert tools.finish(tools.start(many, "-o", tmp_path / "timed", "-q"))[0] == 0
    whole = time.monotonic() - started
    chance = random.Random(79)
    kills, folders, during = 0, 0, 0
    while kills < KILLS:
        folders += 1
        out = tmp_path / f"out{folders}"
        for _ in range(chance.randint(2, 6)):
            process = tools.start(many, "-o", out, "-q", "--resume")
            try:
                process.wait(timeout=chance.uniform(0.3, 1.0) * whole)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
            process.communicate()
            # whatever is there under its own name is whole
            products = [path for path in out.glob("*_optx1d.fits") if not path.name.startswith(".")]
            for path in products:
                read_x1d(path)
            if (out / "manifest.jsonl").exists() or (out / "manifest.journal").exists():
                during += 0 < len(products) < 30
                read_manifest(out)
        code, *said = tools.finish(tools.start(many, "-o", out, "-q", "--resume"))
        assert code == 0, said
        assert tools.content(out) == expected
    say(f"kill -9: {kills} kills, {during} of them in the middle of a run, {folders} folders resumed and identical\n")
    assert during > 0


def loky_workers(process):
    """Children of a run that extract, not the one that tidies up."""
    commands = {child: " ".join(child.cmdline()) for child in process.children(recursive=True)}
    return [child for child, text in commands.items() if "popen_loky" in text and "tracker" not in text]


def test_workers_killed_at_random_moments(many, undisturbed, tmp_path, tools, say):
    expected = tools.content(undisturbed)
    chance = random.Random(80)
    killed = 0
    rounds = max(3, KILLS // 5)
    for number in range(rounds):
        out = tmp_path / f"out{number}"
        process = tools.start(many, "-o", out, "-q", "-j", "2")
        # until the pool is at work
        while process.poll() is None and not (out / "manifest.journal").exists():
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.5))
        try:
            workers = loky_workers(psutil.Process(process.pid))
            if workers:
                chance.choice(workers).kill()
                killed += 1
        except psutil.NoSuchProcess:
            pass
        said = process.communicate()
        assert process.returncode == 0, said
        assert tools.content(out) == expected
    say(f"joblib: {killed} workers killed in {rounds} runs of two processes, every folder identical\n")
    assert killed >= rounds // 2


def test_ctrl_c_leaves_a_usable_folder(many, undisturbed, tmp_path, tools, say):
    expected = tools.content(undisturbed)
    codes = []
    for number, jobs in enumerate((1, 2)):
        out = tmp_path / f"out{number}"
        process = tools.start(many, "-o", out, "-q", "-j", jobs)
        while process.poll() is None and not (out / "manifest.journal").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said = process.communicate()
        codes.append(process.returncode)
        assert "Traceback" not in said[1], said[1]
        done = len(read_manifest(out))
        assert done > 0
        assert tools.finish(tools.start(many, "-o", out, "-q", "--resume"))[0] == 0
        assert tools.content(out) == expected
    say(f"Ctrl-C: exit codes {codes}, both folders resumed and identical\n")
    assert all(code in (130, 0) for code in codes)
    assert 130 in codes


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="a small tmpfs needs root on Linux")
def test_a_full_disk(many, undisturbed, tmp_path, tools, say):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mount.stderr.strip()}")
    try:
        out = disk / "out"
        process = tools.start(many, "-o", out, "-j", "1")
        _, errors = process.communicate()
        told = [line for line in errors.splitlines() if "space" in line]
        assert process.returncode in (1, 2)
        assert "no space left on the disk of" in told[-1]
        assert "Traceback" not in errors
        records = read_manifest(out)
        assert records
        assert all(record["status"] == "done" for record in records)
        for record in records:
            read_x1d(out / record["products"][0])
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        assert tools.finish(tools.start(many, "-o", out, "-q", "--resume"))[0] == 0
        assert tools.content(out) == tools.content(undisturbed)
        say(f"full disk: {len(records)} spectra kept, then: {told[-1]}\n")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
