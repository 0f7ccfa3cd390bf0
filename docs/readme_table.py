"""Put the figures of docs/benchmarks.md into the README's table.

python docs/readme_table.py     # rewrites what stands between the two marks in README.md
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- figures: python docs/readme_table.py -->\n", "<!-- end of the figures -->\n"
#: Columns: method of the page, what the README calls it, and its row in the page's table of speed.
METHODS = {
    "optextract": ("optextract", "optextract: all defaults"),
    "specreduce Horne, interpolated": ("specreduce, Horne", "specreduce: trace, background, interpolated Horne"),
    "specreduce boxcar": ("specreduce, boxcar", "specreduce: trace, background, boxcar"),
    "notebook": ("STScI notebook's method", "notebook's method"),
}
#: Rows: scene of the page, and what the README calls it.
SCENES = {
    "faint": "faint, S/N 3",
    "mid": "S/N 20",
    "bright": "bright, S/N 300",
    "moffat": "Moffat wings",
    "curved": "curved trace",
    "blend": "two sources 2 pixels apart",
    "cosmic": "cosmic rays",
    "nods": "nod-subtracted (honest pull: 1.22)",
    "emission": "emission lines",
}


def sections(page: str) -> dict[str, dict[str, list[str]]]:
    """Rows of each table of the page by their first cell."""
    found: dict[str, dict[str, list[str]]] = {}
    for heading, body in re.findall(r"^### ([^\n]*)\n(.*?)(?=^###? |\Z)", page, re.MULTILINE | re.DOTALL):
        lines = [line.strip("|").split("|") for line in body.splitlines() if line.startswith("|")]
        rows = [[cell.strip() for cell in line] for line in lines[2:]]
        found[heading.partition(":")[0]] = {row[0]: row[1:] for row in rows}
    return found


def cell(row: list[str]) -> str:
    """Bias, scatter over bound and pull in one cell."""
    bias, scatter, pull = row[0].partition(" ±")[0], row[1], row[2]
    return (
        f"{float(bias):+.1f} / {float(scatter):.2f} / {'none' if pull == 'no error' else f'{float(pull):.2f}'}".replace(
            "-0.0 ", "0.0 "
        ).replace("+0.0 ", "0.0 ")
    )


def table(page: str) -> str:
    """The README's table from the page of the benchmarks."""
    known = sections(page)
    lines = ["| bias in % / scatter / pull | " + " | ".join(title for title, _ in METHODS.values()) + " |"]
    lines.append("|---|" + "---|" * len(METHODS))
    for scene, title in SCENES.items():
        lines.append(f"| {title} | " + " | ".join(cell(known[scene][method]) for method in METHODS) + " |")
    speeds = [known["One frame, 25 x 1298"][speed][0] for _, speed in METHODS.values()]
    lines.append("| milliseconds a frame | " + " | ".join(f"{float(speed):.0f}" for speed in speeds) + " |")
    return "\n".join(lines) + "\n"


def updated(readme: str, page: str) -> str:
    """The README with the table that the page gives."""
    before, _, rest = readme.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit("README.md has lost the marks between which the figures stand")
    return f"{before}{BEGIN}\n{table(page)}\n{END}{after}"


if __name__ == "__main__":
    path = ROOT / "README.md"
    text = updated(path.read_text(encoding="utf-8"), (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
