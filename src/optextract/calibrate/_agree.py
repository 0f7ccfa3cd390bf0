"""An extraction beside a pipeline's spectrum: ratio, pulls and sign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..report.compare import Comparison
from ..report.compare import compare as on_columns
from ..results import Extraction

__all__ = ["Compared", "compare"]


@dataclass(frozen=True, eq=False)
class Compared:
    """What another spectrum says of an extraction.

    Attributes
    ----------
    comparison : Comparison
        The other spectrum on the extraction's columns, and their ratio.
    pull_median, pull_rms : float
        Of (other - ratio * ours) over both errors in quadrature, robust. Both hold the noise of the same pixels, so
        that spectra of one frame agree better than 1.
    correlation : float
        Of the two fluxes, weighted.
    sign : int
        +1, or -1 where the other spectrum is this one turned negative, or 0 where they have nothing in common.
    """

    comparison: Comparison
    pull_median: float
    pull_rms: float
    correlation: float
    sign: int

    def words(self) -> tuple[str, ...]:
        """Return the figures as sentences."""
        sign = {1: "the same sign", -1: "the opposite sign", 0: "nothing in common"}[self.sign]
        return (
            *self.comparison.words(),
            f"{sign} (correlation {self.correlation:.2f}); pulls {self.pull_median:+.2f}, rms {self.pull_rms:.2f}",
        )


def compare(
    result: Extraction, other: Mapping[str, Any], *, source: int = 0, label: str = "other spectrum"
) -> Compared:
    """Compare an extraction with another spectrum of the same source.

    Parameters
    ----------
    result : Extraction
        The extraction.
    other : mapping
        ``wavelength``, ``flux`` and, where known, ``uncertainty`` as Quantity arrays, as
        `optextract.io.read_x1d` gives them.
    source : int, optional
        Which source of the extraction.
    label : str, optional
        What the other spectrum is called.

    Returns
    -------
    Compared
        Ratio, pulls, correlation and sign.

    Raises
    ------
    OptextractError
        If there is no such source, or the units cannot be compared.
    """
    comparison = on_columns(result, other, source=source, label=label)
    ours, error = result.flux[source], result.uncertainty[source]
    theirs, spread = comparison.flux, comparison.uncertainty
    good = np.isfinite(ours) & np.isfinite(theirs) & (error > 0)
    if good.sum() < 3:
        return Compared(comparison, np.nan, np.nan, np.nan, 0)
    sigma = np.where(np.isfinite(spread) & (spread > 0), spread, error)[good]
    scale = comparison.ratio if np.isfinite(comparison.ratio) else 0.0
    pull = (theirs[good] - scale * ours[good]) / np.hypot(sigma, scale * error[good])
    weight = 1.0 / (sigma * error[good])
    both = float((weight * ours[good] * theirs[good]).sum())
    power = float(np.sqrt((weight * ours[good] ** 2).sum() * (weight * theirs[good] ** 2).sum()))
    correlation = both / power if power > 0 else 0.0
    # of pure noise the correlation is about 1 / sqrt(n)
    sign = int(np.sign(correlation)) if abs(correlation) > 5 / np.sqrt(good.sum()) else 0
    median = float(np.median(pull))
    rms = float(1.4826 * np.median(np.abs(pull - median)))
    return Compared(comparison, median, rms, correlation, sign)
