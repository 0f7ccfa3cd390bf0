"""A spectrum from several exposures as JWST x1d or ECSV.

EXTRACT1D
    FLUX, FLUX_ERROR and DQ on the common bins. What only an exposure of its own has (the components of the variance,
    surface brightness, background, number of pixels, place of the aperture) is NaN or left out.
OPTEXTRACT
    Edges of the bins, row by row with EXTRACT1D.
OXCOVAR
    The full covariance of FLUX: neighbouring bins share columns, so the error of a sum over a line needs it.
OXINPUTS
    For each exposure: file, checksum, factor on its errors, its flux over the combined one with error.
OXRECIPE
    The resolved recipe of each exposure.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits

from ..combine import Combined
from ._columns import flux_in, wavelength_in
from ._masks import JWST_BITS
from .x1d import history, identify, name_spectrum, recipe_hdu, save_model, unit_text

__all__ = ["write_combined_ecsv", "write_combined_x1d"]


def write_combined_x1d(combined: Combined, part: Path, filename: str) -> None:
    """Write a combination into a file named `filename`, by way of `part`."""
    from stdatamodels.jwst import datamodels

    told = combined.provenance
    unit, factor = flux_in(combined)
    model = datamodels.MultiSpecModel()
    model.spec.append(model.spec.item())
    spectrum = model.spec[-1]
    table = np.zeros(len(combined.flux), dtype=spectrum.get_dtype("spec_table"))
    for name in table.dtype.names:
        if table.dtype[name].kind == "f":
            table[name] = np.nan
    wavelength = wavelength_in(combined)
    table["WAVELENGTH"] = wavelength.value
    table["FLUX"], table["FLUX_ERROR"] = combined.flux * factor, combined.uncertainty * factor
    table["DQ"] = np.where(np.isfinite(combined.flux), 0, 1 << JWST_BITS["DO_NOT_USE"])
    spectrum.spec_table = table
    for name, shown in (("WAVELENGTH", wavelength.unit), ("FLUX", unit), ("FLUX_ERROR", unit)):
        spectrum.spec_table.columns[name].unit = unit_text(shown)
    name_spectrum(spectrum, told, str(told.get("source_name", "source")), planned=True)

    def primary(header: fits.Header) -> None:
        identify(header, told, told.get("versions", {}), filename)
        for sentence in (*combined.words(), *_EXPLAIN):
            history(header, sentence)

    covariance = fits.ImageHDU(combined.covariance * factor**2, name="OXCOVAR")
    covariance.header["BUNIT"] = unit_text(unit**2)
    recipes = [recipe_hdu(text, number) for number, text in enumerate(told["recipes"], start=1)]
    save_model(model, filename, part, primary, [_bins(combined), covariance, _inputs(combined), *recipes])


_EXPLAIN = (
    "FLUX is the mean over each bin; its covariance is in OXCOVAR.",
    "NaN: not known of a combination. SRCTYPE is POINT because FLUX is the result.",
)


def _bins(combined: Combined) -> fits.BinTableHDU:
    edges = combined.edges.to(wavelength_in(combined).unit, equivalencies=u.spectral())
    low, high = np.sort([edges.value[:-1], edges.value[1:]], axis=0)
    shown = unit_text(edges.unit)
    columns = [fits.Column("LOWER", "D", array=low, unit=shown), fits.Column("UPPER", "D", array=high, unit=shown)]
    return fits.BinTableHDU.from_columns(columns, name="OPTEXTRACT", ver=1)


def _inputs(combined: Combined) -> fits.BinTableHDU:
    told = combined.provenance
    ratios = np.array(combined.ratios)
    files = np.array([value.encode("ascii", "replace") for value in told["files"]])
    columns = [
        fits.Column("FILE", f"{max(files.dtype.itemsize, 1)}A", array=files),
        fits.Column("SHA256", "64A", array=np.array([value.encode() for value in told["sha256"]], dtype="S64")),
        fits.Column("SCALE", "D", array=np.array(combined.scales)),
        fits.Column("RATIO", "D", array=ratios[:, 0]),
        fits.Column("RATIO_ERROR", "D", array=ratios[:, 1]),
    ]
    return fits.BinTableHDU.from_columns(columns, name="OXINPUTS")


def write_combined_ecsv(combined: Combined, part: Path) -> None:
    """Write wavelength, bin edges, flux and error; the covariance is in the x1d product only, as the table says."""
    told: Mapping[str, Any] = combined.provenance
    unit, factor = flux_in(combined)
    table = combined.table()
    wavelength = wavelength_in(combined)
    edges = combined.edges.to(wavelength.unit, equivalencies=u.spectral())
    table["wavelength"] = wavelength
    table["flux"], table["uncertainty"] = combined.flux * factor * unit, combined.uncertainty * factor * unit
    table.rename_column("uncertainty", "flux_error")
    table["lower"], table["upper"] = np.sort([edges.value[:-1], edges.value[1:]], axis=0) * edges.unit
    table.meta["optextract"] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {str(name): str(version) for name, version in told.get("versions", {}).items()},
        "note": "neighbouring bins share columns: the covariance is in the x1d product",
    }
    plain = {str(name): v.item() if isinstance(v, np.generic) else v for name, v in told.get("header", {}).items()}
    table.meta["header"] = plain
    table.write(part, format="ascii.ecsv", overwrite=True)
