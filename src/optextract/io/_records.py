"""What readers hand around: the record of a slit, and the contract of a format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError
from ..frame import Frame
from ..recipe import Input
from ._fits import FitsFile

__all__ = ["Format", "Slit", "choose", "quick_snr"]


@dataclass(frozen=True)
class Slit:
    """One 2D spectrum of a file, as the headers tell it.

    Attributes
    ----------
    index : int
        0-based position in the file, by EXTVER.
    name : str
        Name of the slit; empty where the file has none.
    source_name, source_id : str
        The source; empty where unknown.
    kind : str
        Type of the source (SRCTYPE); empty where unknown.
    shape : tuple of int
        Shape (n_cross, n_disp) of its frame.
    snr : float
        Quick figure: the highest, over rows, of the median over columns of value / error; NaN without an error.
    """

    index: int
    name: str
    source_name: str
    source_id: str
    kind: str
    shape: tuple[int, int]
    snr: float

    def __str__(self) -> str:
        identifier = f"id {self.source_id}" if self.source_id else ""
        told = [part for part in (self.source_name, identifier, self.kind) if part]
        snr = "" if np.isnan(self.snr) else f", S/N {self.snr:.1f} a pixel"
        return (
            f"{self.index}: {self.name!r}" + (f" ({', '.join(told)})" if told else "")
            + f", {self.shape[0]} x {self.shape[1]} (cross, disp){snr}"
        )  # fmt: skip


class Format(Protocol):
    """A family of files: recognises its own by content, lists their slits, reads one."""

    name: str

    def refusal(self, file: FitsFile) -> str:
        """Why the file is not of this family; an empty text where it is."""
        ...

    def slits(self, file: FitsFile, settings: Input) -> tuple[Slit, ...]:
        """The 2D spectra of the file."""
        ...

    def frame(self, file: FitsFile, index: int, settings: Input) -> Frame:
        """Read one of them."""
        ...


@np.errstate(all="ignore")
def quick_snr(flux: NDArray[np.float64], error: NDArray[np.float64] | None) -> float:
    """The highest, over rows, of the median over columns of flux / error; arrays (n_cross, n_disp)."""
    if error is None:
        return float("nan")
    good = np.isfinite(flux) & np.isfinite(error) & (error > 0)
    ratio = np.where(good, flux / np.where(good, error, 1.0), np.nan)
    # a row of a few good pixels says nothing of the spectrum
    rows = good.sum(axis=1) >= max(5, 0.2 * good.sum(axis=1).max())
    return float(np.nanmedian(ratio[rows], axis=1).max()) if rows.any() else float("nan")


def choose(slits: Sequence[Slit], wanted: str | int | None, path: object) -> int:
    """Return the index of the slit that was asked for.

    Raises
    ------
    ReadError
        If there are several and none is named, if the name fits none or more than one, or the index is out of range;
        the message lists the slits.
    """

    def refuse(rule: str) -> ReadError:
        listed = "\n  ".join(str(slit) for slit in slits)
        return ReadError(
            f"The 'slit' parameter of read must be {rule}. Got {wanted!r} instead. {path} holds:\n  {listed}"
        )

    if wanted is None:
        if len(slits) == 1:
            return 0
        raise refuse(f"the name or index of one of the {len(slits)} slits")
    if isinstance(wanted, bool) or not isinstance(wanted, str | int | np.integer):
        raise refuse("a name, an index or None")
    if not isinstance(wanted, str):
        if not 0 <= wanted < len(slits):
            raise refuse(f"an index between 0 and {len(slits) - 1}")
        return int(wanted)
    for attribute in ("name", "source_name", "source_id"):
        found = [slit.index for slit in slits if getattr(slit, attribute) == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            raise refuse(f"the index of one of the {len(found)} slits that share this name")
    if wanted.isdecimal() and int(wanted) < len(slits):
        return int(wanted)
    raise refuse("the name of a slit of the file")
