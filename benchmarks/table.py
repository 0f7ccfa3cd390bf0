"""Scenes of known truth through every method in one run: a table on screen, and the page docs/benchmarks.md.

Usage: python benchmarks/table.py [--seeds N] [--scenes NAME ...] [--speed FILE] [--page FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from methods import METHODS, Method
from page import write_page

from optextract.simulate import SCENES, make_scene
from optextract.simulate.score import Score, score, summarise

SCENES_SHOWN = tuple(
    name
    for name in SCENES
    if name not in ("vertical", "empty")  # the one is transposed by readers, the other below
)


@dataclass(frozen=True)
class Row:
    """One method on one scene.

    Attributes
    ----------
    scene, method : str
        Names.
    score : Score or None
        None where the method raised an error.
    milliseconds : float
        Median wall time of a frame.
    error : str
        Class of the error, if there was one.
    """

    scene: str
    method: str
    score: Score | None
    milliseconds: float
    error: str = ""


def measure(name: str, method: Method, seeds: int) -> Row:
    """Run one method on all seeds of one scene."""
    scores, clock = [], []
    try:
        for seed in range(seeds):
            scene = make_scene(name, seed)
            if seed == 0:
                method.run(scene)  # imports, tables, caches
            started = time.perf_counter()
            found = method.run(scene)
            clock.append(time.perf_counter() - started)
            for k, (flux, error) in enumerate(found[: scene.truth.n_source]):
                scores.append(score(scene, flux, error, k))
    except (ValueError, RuntimeError, np.linalg.LinAlgError) as error:
        return Row(name, method.name, None, float("nan"), type(error).__name__)
    return Row(name, method.name, summarise(scores), 1e3 * float(np.median(clock)))


def empty(method: Method, seeds: int) -> tuple[float, float]:
    """Mean of flux over error on empty frames, and its error; NaN without errors."""
    means = []
    for seed in range(seeds):
        flux, error = method.run(make_scene("empty", seed))[0]
        if error is None:
            return float("nan"), float("nan")
        ratio = flux / error
        means.append(ratio[np.isfinite(ratio)].mean())
    return float(np.mean(means)), float(np.std(means, ddof=1) / np.sqrt(seeds))


def cells(row: Row) -> tuple[str, ...]:
    """The row as text: method, bias, scatter, pull, lost columns, milliseconds."""
    if row.score is None:
        return (row.method, f"raises {row.error}", "", "", "", "")
    one = row.score
    pull = f"{one.pull_rms:.2f}" if one.pull.size else "no error"
    bias = f"{100 * one.bias:+.2f} ± {100 * one.bias_error:.2f}"
    return (row.method, bias, f"{one.scatter:.3f}", pull, f"{100 * one.lost_fraction:.2f}", f"{row.milliseconds:.1f}")


HEAD = ("method", "bias %", "scatter / bound", "pull rms", "lost %", "ms")


def lines(rows: list[Row]) -> Iterator[str]:
    """A table in plain text."""
    table = [HEAD, *(cells(row) for row in rows)]
    widths = [max(len(line[k]) for line in table) for k in range(len(HEAD))]
    for line in table:
        yield "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])


def machine() -> str:
    """Versions, processors and threads, in one sentence."""
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("optextract", "numpy", "scipy", "astropy", "specreduce")
    )
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "as many as it likes")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"Python {platform.python_version()}, {packages}; {platform.machine()} with {cpus} processors; "
        f"threads of numpy's linear algebra (OPENBLAS_NUM_THREADS): {threads}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--scenes", nargs="*", default=SCENES_SHOWN)
    parser.add_argument("--speed", type=Path, help="what pytest-benchmark wrote with --benchmark-json")
    parser.add_argument("--page", type=Path, help="page to write")
    asked = parser.parse_args()
    print(machine())
    groups: dict[str, list[Row]] = {}
    for name in asked.scenes:
        groups[name] = [measure(name, method, asked.seeds) for method in METHODS]
        print(f"\n{name}, {asked.seeds} seeds")
        for line in lines(groups[name]):
            print(line)
    nothing = {method.name: empty(method, asked.seeds) for method in METHODS if method.name.startswith("optextract")}
    print("\nempty frames: mean of flux over error")
    for name, (mean, error) in nothing.items():
        print(f"{name}  {mean:+.3f} ± {error:.3f}")
    if asked.page is not None:
        tables = {name: [cells(row) for row in rows] for name, rows in groups.items()}
        write_page(asked.page, HEAD, tables, nothing, asked.speed, machine(), asked.seeds)
        print(f"\nwritten: {asked.page}")


if __name__ == "__main__":
    main()
