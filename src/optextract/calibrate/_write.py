"""The correction in products and in a figure; the flux itself is never touched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from ..errors import OptextractError, bad_value
from ._fit import Calibration

__all__ = ["add_to_product", "plot", "read_product"]

FloatArray = NDArray[np.float64]

_COLUMNS = ("FLUX_CAL", "FLUX_CAL_ERROR", "FLUX_SCALE", "FLUX_SCALE_ERROR")


def read_product(path: str | Path, source: int = 0) -> tuple[FloatArray, FloatArray, FloatArray, u.UnitBase]:
    """Read one spectrum of an x1d product of optextract, one value per column of its frame.

    Parameters
    ----------
    path : path
        The product.
    source : int, optional
        Which spectrum (0-based).

    Returns
    -------
    wavelength, flux, uncertainty : ndarray, shape (n_disp,)
        Wavelength in micron; NaN in columns that the product leaves out.
    unit : Unit
        Unit of the flux.

    Raises
    ------
    OptextractError
        If the file is no product of optextract, or has no such spectrum.
    """
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            tables = [hdu for hdu in hdus if hdu.name == "OPTEXTRACT"]
            spectra = [hdu for hdu in hdus if hdu.name == "EXTRACT1D"]
            if not tables or len(tables) != len(spectra):
                raise bad_value("path", "read_product", "an x1d product of optextract", str(path))
            if not 0 <= source < len(tables):
                raise bad_value("source", "read_product", f"one of the {len(tables)} spectra of the product", source)
            column = np.asarray(tables[source].data["COLUMN"], int)
            table, units = spectra[source].data, spectra[source].columns
            waves = u.Quantity(np.asarray(table["WAVELENGTH"], float), units["WAVELENGTH"].unit).to_value(
                u.um, u.spectral()
            )
            values = [waves, *(np.asarray(table[name], float) for name in ("FLUX", "FLUX_ERROR"))]
            unit = u.Unit(units["FLUX"].unit) if units["FLUX"].unit else u.dimensionless_unscaled
    except OSError as error:
        raise OptextractError(f"the product {path} cannot be read: {error}") from error
    out = np.full((3, int(column.max()) + 1), np.nan)
    out[:, column] = values
    return out[0], out[1], out[2], unit


def add_to_product(
    calibration: Calibration,
    path: str | Path,
    *,
    source: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the calibrated flux into an x1d product of optextract, in columns of its own.

    The table OPTEXTRACT of the source gets FLUX_CAL and FLUX_CAL_ERROR (in Jy; the error is that of the flux),
    FLUX_SCALE and FLUX_SCALE_ERROR, and the cards OXCALDEG, OXCALCHI, OXCALDOF, OXCALBND, OXCAL0 ... and OXCV00 ...
    (the coefficients and their covariance). EXTRACT1D, with FLUX, stays as it is.

    Parameters
    ----------
    calibration : Calibration
        The correction, of this product's spectrum.
    path : path
        The product.
    source : int, optional
        Which spectrum of the product (0-based).
    out : path, optional
        Where to write; absent: the product itself, whole or not at all.
    overwrite : bool, optional
        Replace an existing `out`, or the columns of an earlier calibration.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    OptextractError
        If the product is none, its columns are not those of the calibration, or something would be overwritten.
    """
    from astropy.io import fits

    path = Path(path)
    target = path if out is None else Path(out)
    if out is not None and target.exists() and not overwrite:
        raise bad_value("out", "add_to_product", "a new file (overwrite replaces it)", str(target))
    try:
        with fits.open(path, memmap=False) as opened:
            hdus = fits.HDUList([hdu.copy() for hdu in opened])
    except OSError as error:
        raise OptextractError(f"the product {path} cannot be read: {error}") from error
    at = [k for k, hdu in enumerate(hdus) if hdu.name == "OPTEXTRACT"]
    if not 0 <= source < len(at):
        raise bad_value("source", "add_to_product", f"one of the {len(at)} spectra of the product", source)
    table = hdus[at[source]]
    present = [name for name in _COLUMNS if name in table.columns.names]
    if present and not overwrite:
        raise bad_value(
            "path", "add_to_product", "a product that is not calibrated (overwrite replaces that)", str(path)
        )
    column = np.asarray(table.data["COLUMN"], int)
    if column.max() >= len(calibration.wavelength):
        rule = f"of the same {len(calibration.wavelength)} columns as the calibration"
        raise bad_value("path", "add_to_product", rule, f"{path}, column {int(column.max())}")
    spectra = [hdu for hdu in hdus if hdu.name == "EXTRACT1D"]
    waves = np.asarray(spectra[source].data["WAVELENGTH"], float)
    if not np.allclose(waves, calibration.wavelength[column], rtol=1e-6, equal_nan=True):
        raise bad_value("path", "add_to_product", "of the wavelengths of the calibration", str(path))
    factor = calibration.unit.to(u.Jy)
    values = (
        calibration.calibrated * factor, calibration.uncertainty * factor, calibration.scale, calibration.scale_error
    )  # fmt: skip
    kept = [c for c in table.columns if c.name not in _COLUMNS]
    new = [
        fits.Column(name, "D", array=np.asarray(value)[column], unit="Jy" if name.startswith("FLUX_CAL") else None)
        for name, value in zip(_COLUMNS, values, strict=True)
    ]
    made = fits.BinTableHDU.from_columns([*kept, *new], name="OPTEXTRACT", ver=table.ver)
    for card in table.header.cards:
        if card.keyword not in made.header and not card.keyword.startswith(
            ("TTYPE", "TFORM", "TUNIT", "OXCAL", "OXCV")
        ):
            made.header.append(card)
    _cards(made.header, calibration)
    hdus[at[source]] = made
    part = target.with_name(target.name + ".part")
    hdus.writeto(part, overwrite=True)
    os.replace(part, target)
    return target


def _cards(header: Any, calibration: Calibration) -> None:
    header["OXCALDEG"] = (calibration.degree, "degree of FLUX_SCALE in log wavelength")
    header["OXCALCHI"] = (calibration.chi2, "chi2 of the bands")
    header["OXCALDOF"] = (calibration.freedom, "its degrees of freedom")
    header["OXCALBND"] = (",".join(calibration.bands), "bands")
    header["OXCALLO"] = (calibration.domain[0], "[um] wavelength where x = -1")
    header["OXCALHI"] = (calibration.domain[1], "[um] wavelength where x = +1")
    for k, value in enumerate(calibration.coefficients):
        header[f"OXCAL{k}"] = (float(value), f"Legendre coefficient {k}")
        for m in range(k + 1):
            header[f"OXCV{m}{k}"] = (float(calibration.covariance[m, k]), "covariance of coefficients")


def plot(calibration: Calibration, figure: Any = None) -> Any:
    """Draw spectrum, bands and correction.

    Parameters
    ----------
    calibration : Calibration
        What to draw.
    figure : matplotlib.figure.Figure, optional
        Where; absent: a new one.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained") if figure is None else figure
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 2)})
    factor = calibration.unit.to(u.uJy)
    shown = np.isfinite(calibration.calibrated)
    order = np.flatnonzero(shown)[np.argsort(calibration.wavelength[shown])]
    x = calibration.wavelength[order]
    top.plot(
        x, calibration.calibrated[order] / calibration.scale[order] * factor, color="0.7", lw=0.8, label="as extracted"
    )
    top.plot(x, calibration.calibrated[order] * factor, color="C0", lw=0.8, label="calibrated")
    top.errorbar(
        calibration.pivot, calibration.flux * 1e6, calibration.error * 1e6, fmt="o", color="C3", label="photometry"
    )
    top.plot(
        calibration.pivot, calibration.synthetic * 1e6, "s", mfc="none", color="0.4", label="spectrum through the bands"
    )
    high = max(
        float(np.nanpercentile(calibration.calibrated[order] * factor, 99.5)), float(calibration.flux.max() * 1.2e6)
    )
    low = min(0.0, float(np.nanpercentile(calibration.calibrated[order] * factor, 0.5)))
    top.set_ylim(low - 0.05 * (high - low), high + 0.25 * (high - low))
    for place, name in zip(calibration.pivot, calibration.bands, strict=True):
        top.annotate(name, (place, 0.02), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8)
    top.set_ylabel("Flux density (µJy)")
    top.legend(loc="upper right", fontsize=8, ncols=2)
    grid = np.geomspace(*calibration.domain, 200)
    value, error = calibration.at(grid)
    low95, high95 = calibration.interval(grid)
    bottom.fill_between(grid, low95, high95, color="C0", alpha=0.15, lw=0, label="95 %")
    bottom.fill_between(grid, value - error, value + error, color="C0", alpha=0.3, lw=0, label="68 %")
    bottom.plot(grid, value, color="C0")
    ratio = calibration.flux / calibration.synthetic
    spread = np.hypot(
        calibration.error / calibration.synthetic, ratio * calibration.synthetic_error / calibration.synthetic
    )
    bottom.errorbar(calibration.pivot, ratio, spread, fmt="o", color="C3")
    bottom.axhline(1.0, color="0.5", lw=0.8, ls=":")
    bottom.set_ylabel("Photometry / spectrum")
    bottom.set_xlabel("Wavelength (µm)")
    bottom.legend(loc="best", fontsize=8)
    return figure
