"""docs/benchmarks.md from the figures of one run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from methods import METHODS

SCENES_IN_WORDS = {
    "faint": "S/N 3 a column",
    "mid": "S/N 20 a column",
    "bright": "S/N 300 a column",
    "moffat": "S/N 60, Moffat wings (index 2.5)",
    "poisson20": "20 electrons a column, variance taken from the counts themselves",
    "curved": "100 x 2048, unrectified: the trace bends by 28 pixels, the width changes by 60 %",
    "blend": "two sources 2 pixels apart, FWHM 1.1 to 1.8",
    "cosmic": "cosmic rays on 1 % of the pixels, another 2 % NaN or without weight",
    "gap": "a detector gap of 131 columns",
    "nods": "three nods combined; the variance lacks the noise of the subtraction, so an honest pull is 1.22",
    "lines": "three emission lines, no continuum",
    "emission": "continuum of S/N 8 with emission lines of S/N 30 to 100",
}

INTRODUCTION = """# Benchmarks

This page is written by `make bench`; nothing in it was typed by hand. Every method sees the same frames in the same
run. A frame is 25 x 1298 pixels at a FWHM of 1.1 to 1.8 pixels unless its heading says otherwise; each seed has its own
noise and its own place within a pixel.

- **bias**: flux over true flux minus one, weighted by the bound, and its error from the scatter between seeds.
- **scatter / bound**: scatter of the flux, its own scale divided out, over the Cramér-Rao bound: the smallest error
  that an unbiased spectrum can have where variance, profile, background and bad pixels are known. 1 is perfect.
- **pull rms**: error over stated error, root mean square. 1 is honest, above 1 too small an error.
- **lost**: columns that are NaN or more than 5 sigma (of the bound) off, although half of the profile or more is good.
- **ms**: median wall time of one frame, the whole chain (search, trace, background, rejection, extraction).

Where a method knows one source only, it is compared with the first.
"""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table, numbers to the right."""
    yield "| " + " | ".join(head) + " |"
    yield "|---|" + "---:|" * (len(head) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def speed_tables(path: Path) -> Iterator[str]:
    """Groups of pytest-benchmark as tables."""
    measured = json.loads(path.read_text(encoding="utf-8"))["benchmarks"]
    groups: dict[str, list[dict]] = {}
    for one in measured:
        groups.setdefault(one["group"], []).append(one)
    for name, members in groups.items():
        yield f"### {name}"
        yield ""
        ordered = sorted(members, key=lambda one: one["extra_info"].get("order", 0))
        fastest = ordered[0]["stats"]["min"]
        rows = [
            (
                one["extra_info"]["label"],
                f"{1e3 * one['stats']['min']:.1f}",
                f"{1e3 * one['stats']['median']:.1f}",
                f"{one['stats']['min'] / fastest:.2f}",
            )
            for one in ordered
        ]
        yield from table(("", "least ms", "median ms", "relative to the first"), rows)


def write_page(
    path: Path,
    head: Sequence[str],
    tables: Mapping[str, Sequence[Sequence[str]]],
    nothing: Mapping[str, tuple[float, float]],
    speed: Path | None,
    machine: str,
    seeds: int,
) -> None:
    """Write the page."""
    text = [INTRODUCTION, machine, "", f"{seeds} seeds a scene.", "", "## The methods", ""]
    text += [f"- **{method.name}**: {method.words}" for method in METHODS]
    text += ["", "## Truth", ""]
    for name, rows in tables.items():
        text += [f"### {name}: {SCENES_IN_WORDS.get(name, name)}", "", *table(head, rows)]
    text += ["### empty: mean of flux over error where there is no source", ""]
    text += table(("method", "mean"), [(name, f"{mean:+.3f} ± {error:.3f}") for name, (mean, error) in nothing.items()])
    if speed is not None:
        text += ["## Speed", "", "The least time is the one that other processes disturbed least.", ""]
        text += speed_tables(speed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")
