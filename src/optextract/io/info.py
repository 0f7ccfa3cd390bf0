"""What a file holds, as it was understood, without extracting anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptextractError
from ..frame import Frame
from ..recipe import Input
from ._fits import FitsFile
from ._records import Slit
from ._registry import identify, settings_of

__all__ = ["Info", "SlitInfo", "info"]


@dataclass(frozen=True)
class SlitInfo:
    """One 2D spectrum of a file.

    Attributes
    ----------
    slit : Slit
        Its record.
    unit, flux_unit : str
        Units of the pixels and of an extracted spectrum.
    variance : str
        Where the variance comes from.
    wavelength : str
        Range and unit of the wavelength, and whether it is one row for all.
    good : float
        Fraction of good pixels.
    notes : tuple of str
        What the reader understood, doubted or refused to believe.
    problem : str
        Why it cannot be read; empty where it can.
    """

    slit: Slit
    unit: str = ""
    flux_unit: str = ""
    variance: str = ""
    wavelength: str = ""
    good: float = float("nan")
    notes: tuple[str, ...] = ()
    problem: str = ""

    def __str__(self) -> str:
        lines = [f"  {self.slit}"]
        if self.problem:
            return "\n".join([*lines, f"      cannot be read: {self.problem}"])
        lines.append(f"      unit: {self.unit}; spectra in {self.flux_unit}")
        lines.append(f"      variance: {self.variance}")
        lines.append(f"      wavelength: {self.wavelength}")
        lines.append(f"      good pixels: {100 * self.good:.1f} %")
        return "\n".join([*lines, *(f"      - {note}" for note in self.notes)])


@dataclass(frozen=True)
class Info:
    """What a file holds.

    Attributes
    ----------
    path : str
        The file.
    format : str
        Format it was recognised as; empty where it was refused.
    slits : tuple of SlitInfo
        Its 2D spectra.
    refused : str
        Why the file cannot be read; empty where it can.
    """

    path: str
    format: str
    slits: tuple[SlitInfo, ...]
    refused: str = ""

    def __str__(self) -> str:
        if self.refused:
            return f"{self.path}\n  refused: {self.refused.removeprefix(self.path).lstrip(': ')}"
        count = len(self.slits)
        head = f"{self.path}\n  format: {self.format}; {count} 2D spectr{'um' if count == 1 else 'a'}"
        return "\n".join([head, *(str(one) for one in self.slits)])


def info(path: str | Path, settings: Input | None = None) -> Info:
    """Say what a file holds, without extracting.

    Parameters
    ----------
    path : path
        Any file.
    settings : recipe.Input, optional
        Section ``input`` of the recipe.

    Returns
    -------
    Info
        Its text says it in words. A file that cannot be read is no error: the reason is in `Info.refused`.
    """
    merged = settings_of(settings, None)
    try:
        with FitsFile(path) as file:
            known = identify(file, merged)
            records = known.slits(file, merged)
            return Info(str(path), known.name, tuple(_slit(known, file, record, merged) for record in records))
    except OptextractError as error:
        return Info(str(path), "", (), str(error))


def _slit(known: Any, file: FitsFile, record: Slit, settings: Input) -> SlitInfo:
    try:
        frame: Frame = known.frame(file, record.index, settings)
    except OptextractError as error:
        return SlitInfo(record, problem=str(error))
    meta = frame.meta if frame.meta is not None else {}
    return SlitInfo(
        record,
        unit=_unit(frame.unit),
        flux_unit=_unit(frame.flux_unit),
        variance=str(meta.get("variance_source", "none" if frame.variance is None else "given")),
        wavelength=_wavelength(frame),
        good=float(frame.good.mean()),
        notes=tuple(meta.get("notes", ())),
    )


def _unit(unit: Any) -> str:
    text = str(unit)
    return text if text else "no unit"


def _wavelength(frame: Frame) -> str:
    if frame.wavelength is None:
        return "none, columns are numbered in pixels"
    values = frame.wavelength.value
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "nowhere finite"
    kind = "one for all rows" if values.ndim == 1 else "of each pixel"
    row = values if values.ndim == 1 else values[frame.n_cross // 2]
    steps = np.diff(row[np.isfinite(row)])
    order = "increasing" if (steps > 0).all() else "decreasing" if (steps < 0).all() else "not monotonic"
    return f"{finite.min():.6g} to {finite.max():.6g} {frame.wavelength.unit}, {kind}, {order} with column"
