"""From an output folder to its report page and table."""

from __future__ import annotations

import os
from pathlib import Path

from optextract.errors import OptextractError
from optextract.report.page import PAGE, TABLE, render_page

from .manifest import read_manifest
from .table import records_table
from .worker import CARDS

__all__ = ["write_report"]


def write_report(folder: str | Path, path: str | Path | None = None, *, title: str | None = None) -> Path:
    """Write ``report.html`` and ``table.ecsv`` of an output folder.

    Parameters
    ----------
    folder : str or Path
        The output folder of a run.
    path : str or Path, optional
        The page; absent: ``report.html`` in the folder. Its links to spectra are relative to the folder.
    title : str, optional
        Heading; absent: the folder's name.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    OptextractError
        If the folder holds no run, or Jinja2 is not installed.
    """
    folder = Path(folder)
    records = read_manifest(folder)
    if not records:
        raise OptextractError(f"{folder} holds no spectrum to report on")
    table = folder / TABLE
    part = folder / f".part-{os.getpid()}-{TABLE}"
    records_table(records).write(part, format="ascii.ecsv", overwrite=True)
    part.replace(table)
    target = folder / PAGE if path is None else Path(path)
    heading = folder.resolve().name if title is None else title
    return render_page(records, folder, target, cards=CARDS, title=heading)
