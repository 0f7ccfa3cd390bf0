"""Records as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["FIGURES", "records_table"]

#: Columns of the table after file, slit, status and score, and what they mean.
FIGURES: Mapping[str, str] = {
    "n_source": "sources",
    "snr_median": "median S/N per column of the first source",
    "snr_total": "S/N of the whole spectrum of the first source",
    "efficiency": "smallest possible error over the error, median",
    "gain": "S/N over that of the matched boxcar, median",
    "chi2": "reduced chi2 of the region",
    "pull": "robust rms of source-free matched-profile spectra over their errors",
    "pull_bin10": "the same in bins of 10 columns",
    "trace_rms": "scatter of the bins about the trace, pixel",
    "centre": "median row of the trace, pixel",
    "fwhm": "median FWHM, pixel",
    "jump": "distance from the planned position, pixel",
    "masked_fraction": "fraction of bad pixels",
    "lost_fraction": "fraction of columns with data but without flux",
    "n_rejected": "rejected pixels",
    "spike": "sigma by which one column alone stands out of its neighbours",
    "rejection_effect": "change of the flux by rejection, fraction",
    "optimal_over_boxcar": "ratio of optimal to boxcar flux",
    "x1d_ratio": "flux of the x1d that was compared over the optimal one",
}


def records_table(records: Iterable[Mapping[str, Any]]) -> Table:
    """Return records as a table, one row a spectrum.

    Parameters
    ----------
    records : iterable of dict
        From a manifest or a run.

    Returns
    -------
    Table
        ``file``, ``slit``, ``source``, ``status``, ``score``, ``product``, ``reason``, ``flags``, ``warnings``,
        ``seconds`` and the figures of `FIGURES`, NaN where there is none.
    """
    from astropy.table import Table

    rows = list(records)

    def text(name: str) -> list[str]:
        return ["" if row.get(name) is None else str(row[name]) for row in rows]

    def joined(name: str) -> list[str]:
        return ["; ".join(row.get(name, ())) for row in rows]

    columns: dict[str, list[Any]] = {
        "file": text("file"),
        "slit": text("slit"),
        "source": text("source_name"),
        "status": text("status"),
        "score": [_number(row.get("score")) for row in rows],
        "product": [row["products"][0] if row.get("products") else "" for row in rows],
    }
    for name in FIGURES:
        columns[name] = [_number(row.get("quality", {}).get(name)) for row in rows]
    columns["flags"], columns["warnings"], columns["reason"] = joined("flags"), joined("warnings"), text("reason")
    columns["decision"] = text("decision")
    columns["seconds"] = [_number(row.get("seconds")) for row in rows]
    table = Table(columns, dtype=None if rows else [float if n in FIGURES or n in _FLOATS else str for n in columns])
    for name, meaning in FIGURES.items():
        table[name].info.description = meaning
    return table


_FLOATS = ("score", "seconds")


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
