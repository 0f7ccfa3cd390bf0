"""Results as ECSV: one table of all spectra, with the recipe and provenance in its head."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, vstack

from ..results import Extraction, Flag
from ._columns import flux_in, source_name, wavelength_in

__all__ = ["table_of", "write_ecsv"]


def table_of(results: Sequence[Extraction]) -> QTable:
    """Return all spectra as one table.

    Parameters
    ----------
    results : sequence of Extraction
        One for each slit.

    Returns
    -------
    QTable
        Columns ``slit``, ``source``, ``column``, ``wavelength``, ``flux``, ``flux_error``, ``var_*`` (the components
        that all results have), ``flags``, ``centre``, ``fwhm``, ``boxcar``, ``boxcar_error``, ``n_pixels`` and
        ``flux_unrejected``.
    """
    common = set.intersection(*(set(result.variance_parts) for result in results))
    tables = []
    for result in results:
        unit, factor = flux_in(result)
        wavelength = wavelength_in(result)
        count = result.flux.shape[1]
        for source in range(result.n_source):
            box = result.boxcar
            columns: dict[str, Any] = {
                "slit": np.full(count, str(result.meta.get("slit", ""))),
                "source": np.full(count, source_name(result, source)),
                "column": np.arange(count),
                "wavelength": wavelength,
                "flux": result.flux[source] * factor * unit,
                "flux_error": result.uncertainty[source] * factor * unit,
            }
            for name in sorted(common):
                columns[f"var_{name}"] = result.variance_parts[name][source] * factor**2 * unit**2
            columns |= {
                "flags": np.array(result.flags[source]),
                "centre": result.centre[source] * u.pix,
                "fwhm": result.fwhm[source] * u.pix,
                "boxcar": box.flux[source] * factor * unit,
                "boxcar_error": box.uncertainty[source] * factor * unit,
                "n_pixels": np.array(box.n_pixels[source]),
                "flux_unrejected": result.flux_unrejected[source] * factor * unit,
            }
            tables.append(QTable(columns))
    table = vstack(tables, metadata_conflicts="silent") if len(tables) > 1 else tables[0]
    table["flags"].description = ", ".join(f"{int(flag)} {flag.name}" for flag in Flag)
    first = results[0]
    table.meta = {
        "optextract": {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {str(key): str(value) for key, value in first.provenance.get("versions", {}).items()},
            "input": first.meta.get("file"),
            "input_sha256": first.meta.get("sha256"),
            "recipes": {
                str(result.meta.get("slit", number)): result.resolved.to_yaml(full=True)
                for number, result in enumerate(results)
            },
            "notes": list(dict.fromkeys(str(note) for result in results for note in result.meta.get("notes", ()))),
            "warnings": [str(text) for result in results for text in result.quality.get("warnings", ())],
        },
        "header": {str(key): _plain(value) for key, value in first.meta.get("header", {}).items()},
    }
    return table


def _plain(value: Any) -> Any:
    """Python's own type of a numpy scalar: what YAML can hold."""
    return value.item() if isinstance(value, np.generic) else value


def write_ecsv(results: Sequence[Extraction], part: Path) -> None:
    """Write the table of `table_of`."""
    table_of(results).write(part, format="ascii.ecsv", overwrite=True)
