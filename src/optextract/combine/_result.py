"""What a combination found, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

if TYPE_CHECKING:
    from astropy.table import QTable
    from specutils import Spectrum

__all__ = ["Agreement", "Combined"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """How well exposures agree with their common spectrum.

    Attributes
    ----------
    chi2 : float
        Sum of squared residuals over the errors, empirical scale included.
    freedom : float
        Degrees of freedom: columns less what they determine of the spectrum (one minus the leverage of each).
    n : int
        Number of columns.
    """

    chi2: float
    freedom: float
    n: int

    @property
    def reduced(self) -> float:
        """chi2 per degree of freedom; NaN without any."""
        return self.chi2 / self.freedom if self.freedom > 0 else float("nan")


@dataclass(frozen=True, eq=False, repr=False)
class Combined:
    """One spectrum from several exposures.

    Attributes
    ----------
    wavelength : Quantity, shape (n,)
        Middle of each bin.
    edges : Quantity, shape (n + 1,)
        Edges of the bins, increasing.
    flux, uncertainty : ndarray, shape (n,)
        Mean of the spectrum over each bin and its 1 sigma error in `unit`; NaN in bins that no column constrains.
    covariance : ndarray, shape (n, n)
        Full covariance; 0 for bins without flux.
    unit : Unit
        Unit of `flux`.
    scales : tuple of float
        Empirical factor that each exposure's errors were multiplied by.
    all, lines, continuum : Agreement
        Residuals of all columns, of those on emission lines, and of the others.
    ratios : tuple of (float, float)
        Flux of each exposure relative to the combined spectrum, and its error.
    residual : tuple of ndarray
        Of each exposure per column: flux minus the combined spectrum over the column's pixel, over its error.
    method : str
        "joint" or "overlap".
    rejected : int
        Columns that were left out as outliers.
    provenance : mapping
        ``files``, ``paths`` and ``sha256`` of the inputs, their resolved ``recipes`` as YAML, ``versions``, and of the
        first one the ``header`` cards, ``slit`` and ``source_name``.
    """

    wavelength: u.Quantity
    edges: u.Quantity
    flux: FloatArray
    uncertainty: FloatArray
    covariance: FloatArray
    unit: u.UnitBase
    scales: tuple[float, ...]
    all: Agreement
    lines: Agreement
    continuum: Agreement
    ratios: tuple[tuple[float, float], ...]
    residual: tuple[FloatArray, ...]
    method: str
    rejected: int
    provenance: Mapping[str, Any]

    def words(self) -> tuple[str, ...]:
        """Return the figures as sentences."""
        scale = ", ".join(f"{value:.2f}" for value in self.scales)
        lines = [
            f"{len(self.scales)} exposures on {int(np.isfinite(self.flux).sum())} bins ({self.method}); errors were "
            f"multiplied by {scale}.",
            f"chi2 per degree of freedom {self.all.reduced:.2f} ({self.all.freedom:.0f}); on lines "
            f"{self.lines.reduced:.2f} ({self.lines.freedom:.0f}), off lines {self.continuum.reduced:.2f} "
            f"({self.continuum.freedom:.0f}).",
        ]
        flux = ", ".join(f"{value:.3f} +- {error:.3f}" for value, error in self.ratios)
        return (*lines, f"Each exposure's flux over the combined one: {flux}.")

    def table(self) -> QTable:
        """Return wavelength, flux and error as a table, the figures in its meta."""
        from astropy.table import QTable

        meta = {
            "words": list(self.words()),
            "scales": list(self.scales),
            "method": self.method,
            **{name: list(self.provenance.get(name, ())) for name in ("files", "sha256", "recipes")},
        }
        columns = {
            "wavelength": self.wavelength,
            "flux": u.Quantity(self.flux, self.unit),
            "uncertainty": u.Quantity(self.uncertainty, self.unit),
        }
        return QTable(columns, meta=meta)

    def to_spectrum(self) -> Spectrum:
        """Return the spectrum as a `specutils.Spectrum`; bins without flux are masked."""
        from astropy.nddata import StdDevUncertainty
        from specutils import Spectrum

        return Spectrum(
            flux=u.Quantity(self.flux, self.unit),
            spectral_axis=self.wavelength,
            uncertainty=StdDevUncertainty(self.uncertainty, unit=self.unit),
            mask=~np.isfinite(self.flux),
            meta={"words": self.words(), **self.provenance},
        )

    def __repr__(self) -> str:
        return f"<Combined: {len(self.scales)} exposures, {len(self.flux)} bins in {self.unit}>"
