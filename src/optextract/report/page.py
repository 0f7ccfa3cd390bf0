"""The report of a batch: one HTML page that needs nothing beside it, and the table as ECSV."""

from __future__ import annotations

import json
import math
import os
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from optextract.errors import OptextractError

__all__ = ["PAGE", "TABLE", "render_page"]

PAGE = "report.html"
TABLE = "table.ecsv"

#: Numbers of the page's table: key in the record's quality, heading, digits after the point, what it means.
COLUMNS: tuple[tuple[str, str, int, str], ...] = (
    ("snr_median", "S/N", 1, "median S/N per column"),
    ("snr_total", "S/N total", 0, "S/N of the whole spectrum"),
    ("gain", "gain", 2, "S/N over that of a plain sum of 3 FWHM"),
    ("efficiency", "efficiency", 3, "smallest possible error over the error"),
    ("chi2", "chi2", 2, "reduced chi2 of the region"),
    ("pull", "pull", 2, "scatter of source-free profile spectra over their errors"),
    ("centre", "row", 2, "position of the source, pixel"),
    ("jump", "jump", 2, "distance from the planned position, pixel"),
    ("fwhm", "FWHM", 2, "median FWHM, pixel"),
    ("trace_rms", "trace rms", 3, "scatter about the trace, pixel"),
    ("masked_fraction", "bad pixels", 3, "fraction of pixels without data"),
    ("lost_fraction", "lost columns", 3, "fraction of columns with data but without flux"),
    ("n_rejected", "rejected", 0, "pixels rejected as outliers"),
    ("optimal_over_boxcar", "opt/box", 3, "optimal over boxcar flux"),
    ("x1d_ratio", "x1d/opt", 3, "flux of the x1d over the optimal flux"),
)


def _for_script(value: Any) -> str:
    """JSON that nothing in it can end the script element it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _finite(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the page's table knows of a spectrum."""
    quality = record.get("quality", {})
    products = record.get("products", [])
    return {
        "name": Path(record["file"]).name,
        "file": record["file"],
        "slit": "" if record["slit"] is None else str(record["slit"]),
        "source": str(record.get("source_name", "")),
        "status": record["status"],
        "decision": str(record.get("decision", "")),
        "score": _finite(record.get("score")),
        "flags": list(record.get("flags", ())) if record["status"] != "failed" else [str(record.get("reason", ""))],
        "warnings": [*record.get("warnings", ()), *record.get("notes", ())],
        "compared": list(record.get("compared", ())),
        "product": urllib.parse.quote(products[0]) if products else "",
        "n_source": quality.get("n_source"),
        "numbers": [_finite(quality.get(key)) for key, *_ in COLUMNS],
    }


def _told(record: Mapping[str, Any]) -> dict[str, str]:
    """What failed and why, each said once."""
    file, reason = str(record["file"]), str(record.get("reason", ""))
    name = file if record["slit"] is None else f"{file} [{record['slit']}]"
    return {"name": "" if reason.startswith(file) else f"{name}: ", "reason": reason}


def _ranked(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Worst first; failures before all."""
    return sorted(
        records, key=lambda r: (-float(r.get("score", 0.0)), r["file"], r["slit"] is not None, str(r["slit"]))
    )


def _cards(folder: Path, cards: str, records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str]]:
    """Number and JSON of each card that exists, one at a time."""
    for number, record in enumerate(records):
        products = record.get("products", [])
        path = folder / cards / f"{Path(products[0]).stem}.json" if products else None
        if path is not None and path.is_file():
            try:
                value = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise OptextractError(f"{path} is damaged: {error}") from error
            yield number, _for_script(value)


def render_page(
    records: Sequence[Mapping[str, Any]], folder: Path, path: Path, *, cards: str = "cards", title: str = "optextract"
) -> Path:
    """Write the page.

    Parameters
    ----------
    records : sequence of dict
        The records of a manifest.
    folder : Path
        The output folder that they belong to.
    path : Path
        File to write, whole or not at all; an existing one is replaced.
    cards : str, optional
        Name of the folder of the cards.
    title : str, optional
        Heading of the page.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    OptextractError
        If Jinja2 is not installed, or a card is damaged.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise OptextractError("the report needs Jinja2: pip install 'optextract[report]'") from error
    from optextract import __version__

    ranked = _ranked(records)
    count = {status: sum(r["status"] == status for r in records) for status in ("done", "failed", "rejected")}
    flagged = sum(1 for r in records if r["status"] == "done" and r.get("flags"))
    environment = Environment(
        loader=PackageLoader("optextract.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    stream = environment.get_template("report.html").stream(
        title=title,
        version=__version__,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        count=count,
        flagged=flagged,
        files=len({r["file"] for r in records}),
        failures=[_told(r) for r in ranked if r["status"] == "failed"][:20],
        rows=_for_script([_row(record) for record in ranked]),
        columns=_for_script([list(column) for column in COLUMNS]),
        cards=_cards(folder, cards, ranked),
        table=TABLE,
    )
    part = path.with_name(f".part-{os.getpid()}-{path.name}")
    try:
        stream.dump(str(part), encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
