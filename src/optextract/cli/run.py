"""``optextract run``: plan, run, and say what became of each spectrum in one line."""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from optextract.batch import plan
from optextract.batch.progress import watched
from optextract.errors import OptextractError
from optextract.recipe import Recipe

__all__ = ["run", "spectrum_line"]

_log = logging.getLogger(__name__)

#: Up to so many files each gets a figure and each spectrum a line, unless the command says otherwise.
_FEW = 10
_LINES = 200


def run(args: argparse.Namespace) -> Generator[str, None, int]:
    """Run a batch; yields lines, returns the exit code."""
    recipe = Recipe() if args.recipe is None else Recipe.load(args.recipe)
    batch = plan(
        args.files,
        recipe,
        args.out,
        slits=args.slit,
        overrides=args.overrides,
        overwrite=args.overwrite,
        resume=args.resume,
        compare=args.compare,
        trust=args.trust,
        figures=args.figures,
        few=_FEW,
    )
    total = len(batch.jobs)
    if not total and not batch.unchanged:
        raise OptextractError("there is no file to extract")
    started = time.monotonic()
    count = {"done": 0, "failed": 0, "refused": 0}
    results = batch.run(n_jobs=args.jobs, dask=args.dask)
    for records in watched(results, total, hidden=args.quiet or total < 2):
        for record in records:
            count[record["status"]] += 1
            if record["status"] != "done":
                # failures are named even where the rest is quiet
                _log.error("%s", _failure_line(record))
            elif total <= _LINES or args.verbose:
                yield spectrum_line(record)
                for sentence in record.get("compared", ()):
                    yield f"    {sentence}"
            if args.verbose and record["status"] == "done":
                for sentence in (*record["warnings"], *record["notes"]):
                    yield f"    {sentence}"
    if total > 1 or batch.unchanged:
        yield _summary(count, len(batch.unchanged), total, time.monotonic() - started, batch.settings.out)
    if args.report:
        from optextract.batch.report import write_report

        yield f"report: {write_report(batch.settings.out)}"
    if not count["failed"] and not count["refused"]:
        return 0
    return 1 if count["done"] or batch.unchanged else 2


def _name(record: Mapping[str, Any]) -> str:
    slit, file = record["slit"], _shown(record["file"])
    return file if slit is None else f"{file} [{slit}]"


def _shown(file: str) -> str:
    """A file below the working folder without that folder."""
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative


def _failure_line(record: Mapping[str, Any]) -> str:
    reason = record["reason"]
    named = reason.startswith(record["file"]) or Path(record["file"]).name in reason.split(" ", 1)[0]
    return reason if named else f"{_name(record)}: {reason}"


def _figure(value: float | None, form: str, unit: str = "") -> str:
    return "?" if value is None else format(value, form) + unit


def spectrum_line(record: Mapping[str, Any]) -> str:
    """One line about one spectrum.

    Parameters
    ----------
    record : mapping
        A record of a manifest, of a spectrum that was extracted.
    """
    quality = record["quality"]
    number = quality["n_source"]
    told = [
        f"{number} source{'s' if number != 1 else ''}",
        f"row {_figure(quality['centre'], '.2f')}",
        f"FWHM {_figure(quality['fwhm'], '.2f', ' px')}",
        f"S/N {_figure(quality['snr_median'], '.1f')} a column, at most {_figure(quality['snr_peak'], '.0f')}"
        f" at {quality['peak_at']}",
    ]
    if record["flags"]:
        told.append(f"look at it ({record['score']:.0f}): {record['flags'][0]}")
    product = record["products"][0] if record["products"] else "nothing written"
    return f"{_name(record)}: {', '.join(told)} -> {product}"


def _summary(count: Mapping[str, int], unchanged: int, total: int, seconds: float, out: Path) -> str:
    parts = [f"{count['done']} spectra extracted"]
    if unchanged:
        parts.append(f"{unchanged} files unchanged")
    if count["refused"]:
        parts.append(f"{count['refused']} refused")
    parts.append(f"{count['failed']} failed")
    return f"{total + unchanged} files: {', '.join(parts)}, in {seconds:.1f} s -> {out}"
