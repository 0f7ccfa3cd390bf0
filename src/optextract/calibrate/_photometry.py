"""Filter curves, catalogues, and what a spectrum says through a filter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import ArrayLike, NDArray

from ..errors import OptextractError, bad_value

__all__ = ["Band", "Photometry", "band_weights", "load_band", "make_band", "read_catalogue"]

FloatArray = NDArray[np.float64]

_AB_ZERO = 3631.0  # Jy, Oke and Gunn (1983)
_INSTALL = "pip install 'optextract[photometry]'"


@dataclass(frozen=True, eq=False)
class Band:
    """A filter curve.

    Attributes
    ----------
    name : str
        What it is called.
    wavelength, throughput : ndarray, shape (n,)
        In micron, increasing, and photons counted per photon, of any scale.
    pivot : float
        Pivot wavelength, micron.
    """

    name: str
    wavelength: FloatArray
    throughput: FloatArray
    pivot: float


@dataclass(frozen=True)
class Photometry:
    """One measurement of a catalogue.

    Attributes
    ----------
    band : str
        Name of the band.
    flux, error : float
        Flux density and its 1 sigma error, Jy.
    """

    band: str
    flux: float
    error: float


def load_band(curve: str | Path, name: str | None = None) -> Band:
    """Load a filter curve through synphot.

    Parameters
    ----------
    curve : path or str
        A file (text of two columns, Angstrom and throughput; CSV, ECSV or FITS with columns of those names), or the
        identifier of a filter at the SVO service, such as ``JWST/NIRCam.F200W``, which is fetched by astroquery.
    name : str, optional
        What to call it; absent: the end of the file's or filter's name in capitals.

    Returns
    -------
    Band

    Raises
    ------
    OptextractError
        If the file is not there or not understood, the curve is empty, or the service does not answer.
    """
    path = Path(curve)
    if path.is_file():
        wavelength, throughput = _from_file(path)
    elif re.fullmatch(r"[\w+-]+/[\w+-]+\.[\w+-]+", str(curve)):
        wavelength, throughput = _from_svo(str(curve))
    else:
        raise bad_value("curve", "load_band", "a file, or an SVO identifier (facility/instrument.filter)", str(curve))
    title = re.split(r"[._]", path.stem if path.is_file() else str(curve))[-1].upper() if name is None else name
    return make_band(title, wavelength, throughput)


def make_band(name: str, wavelength: u.Quantity, throughput: ArrayLike) -> Band:
    """Make a band of its curve; synphot gives the pivot wavelength."""
    try:
        # synphot enables its units for the whole process when it is imported, and jdaviz then fails on the name
        # PHOTLAM, which cannot be parsed back; this takes them out again
        with u.add_enabled_units([]):
            from synphot import SpectralElement
            from synphot.models import Empirical1D
    except ImportError as error:
        raise OptextractError(f"Photometry needs synphot: {_INSTALL}.") from error
    waves = u.Quantity(wavelength).to(u.AA, u.spectral())
    values = np.asarray(throughput, float)
    order = np.argsort(waves.value)
    good = np.isfinite(values) & np.isfinite(waves.value)
    if values.ndim != 1 or values.shape != waves.shape or not good.all() or not (values > 0).any():
        raise bad_value("throughput", f"the band {name}", "finite, with positive values somewhere", values)
    element = SpectralElement(Empirical1D, points=waves[order], lookup_table=values[order])
    pivot = float(element.pivot().to_value(u.um))
    return Band(name, waves[order].to_value(u.um), values[order], pivot)


def _from_file(path: Path) -> tuple[u.Quantity, FloatArray]:
    from astropy.table import Table

    if path.suffix.lower() in (".fits", ".ecsv", ".csv"):
        try:
            table = Table.read(path, format="ascii.csv") if path.suffix.lower() == ".csv" else Table.read(path)
        except (OSError, ValueError) as error:
            raise OptextractError(f"the filter curve {path} cannot be read: {error}") from error
        names = {name.lower(): name for name in table.colnames}
        wave = next((names[n] for n in ("wavelength", "wave", "lambda", "microns") if n in names), None)
        through = next((names[n] for n in ("throughput", "transmission", "pce", "response") if n in names), None)
        if wave is None or through is None:
            raise bad_value("curve", "load_band", "a table with wavelength and throughput", table.colnames)
        unit = table[wave].unit if table[wave].unit is not None else (u.um if wave.lower() == "microns" else u.AA)
        return u.Quantity(np.asarray(table[wave], float), unit), np.asarray(table[through], float)
    try:
        columns = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise OptextractError(f"the filter curve {path} cannot be read: {error}") from error
    if columns.shape[1] < 2:
        raise bad_value(
            "curve", "load_band", "two columns, Angstrom and throughput", f"{path.name}: {columns.shape[1]}"
        )
    return u.Quantity(columns[:, 0], u.AA), columns[:, 1]


def _from_svo(identifier: str) -> tuple[u.Quantity, FloatArray]:
    try:
        from astroquery.svo_fps import SvoFps
    except ImportError as error:
        raise OptextractError(f"Filter curves of the SVO need astroquery: {_INSTALL}.") from error
    try:
        table = SvoFps.get_transmission_data(identifier)
    except (OSError, ValueError, IndexError) as error:
        raise OptextractError(f"the filter {identifier} could not be fetched from the SVO: {error}") from error
    return u.Quantity(np.asarray(table["Wavelength"], float), u.AA), np.asarray(table["Transmission"], float)


def band_weights(wavelength: FloatArray, band: Band) -> tuple[FloatArray, float]:
    """What each point of a spectrum counts in the mean flux density through a band, and the part of it that is covered.

    The mean is that of photons, ``int F_nu T dlambda/lambda / int T dlambda/lambda`` (Bessell and Murphy 2012), of the
    spectrum joined by lines, by trapezoids on all points of spectrum and curve together: it is linear in the fluxes.

    Parameters
    ----------
    wavelength : ndarray, shape (n,)
        Of the spectrum, micron, increasing.
    band : Band
        The band.

    Returns
    -------
    weights : ndarray, shape (n,)
        Sum to 1 where the spectrum covers the band.
    covered : float
        Part of the band's photons (of a flat spectrum) between the ends of the spectrum.
    """
    x = np.union1d(band.wavelength, wavelength)
    x = x[(x >= band.wavelength[0]) & (x <= band.wavelength[-1])]
    step = np.diff(x)
    area = np.concatenate([[0.0], step]) / 2 + np.concatenate([step, [0.0]]) / 2
    density = np.interp(x, band.wavelength, band.throughput) / x * area
    inside = (x >= wavelength[0]) & (x <= wavelength[-1])
    total = density.sum()
    at = np.clip(np.searchsorted(wavelength, x[inside], side="right") - 1, 0, len(wavelength) - 2)
    part = (x[inside] - wavelength[at]) / (wavelength[at + 1] - wavelength[at])
    weights = np.bincount(at, density[inside] * (1 - part), len(wavelength))
    weights += np.bincount(at + 1, density[inside] * part, len(wavelength))
    return weights / total, float(density[inside].sum() / total)


def read_catalogue(
    table: Any,
    bands: Iterable[str],
    *,
    row: int | None = None,
    match: tuple[str, Any] | None = None,
    columns: Mapping[str, tuple[str, str]] | None = None,
    unit: str | u.UnitBase | None = None,
) -> tuple[Photometry, ...]:
    """Read the photometry of one source.

    Parameters
    ----------
    table : path or astropy.table.Table
        CSV, ECSV or FITS.
    bands : iterable of str
        Bands to look for; those that the table does not have, or that are not finite there, are left out.
    row : int, optional
        Row of the source.
    match : (str, value), optional
        Column and value that identify it; absent, as `row`: the table must have one row.
    columns : mapping of str to (str, str), optional
        Columns of value and error of a band; absent: found by name (``f200w_flux``, ``flux_F200W``, ``F200W``,
        ``f200w_mag`` ... and ``..._err``, ``e_...``).
    unit : unit-like, optional
        Unit of the values where the table has none: a flux density, or "ABmag".

    Returns
    -------
    tuple of Photometry

    Raises
    ------
    OptextractError
        If the table cannot be read, the row is not one, no band is found, or a unit is missing.
    """
    from astropy.table import Table

    if not isinstance(table, Table):
        path = Path(table)
        try:
            table = Table.read(path, format="ascii.csv") if path.suffix.lower() == ".csv" else Table.read(path)
        except (OSError, ValueError) as error:
            raise OptextractError(f"the catalogue {path} cannot be read: {error}") from error
    line = table[_row(table, row, match)]
    found = []
    for band in bands:
        names = columns.get(band) if columns is not None else _columns(table.colnames, band)
        if names is None:
            continue
        for name in names:
            if name not in table.colnames:
                raise bad_value("columns", "read_catalogue", f"columns of the table {table.colnames}", name)
        measured = _measurement(table, line, band, names, unit)
        if measured is not None:
            found.append(measured)
    if not found:
        raise bad_value("bands", "read_catalogue", f"measured in the table {table.colnames}", tuple(bands))
    return tuple(found)


def _row(table: Any, row: int | None, match: tuple[str, Any] | None) -> int:
    if match is not None:
        name, value = match
        if name not in table.colnames:
            raise bad_value("match", "read_catalogue", f"a column of the table {table.colnames}", name)
        rows = [k for k, item in enumerate(table[name]) if item == value or str(item) == str(value)]
        if len(rows) != 1:
            raise bad_value("match", "read_catalogue", "one row of the table", f"{name} = {value}, {len(rows)} rows")
        return rows[0]
    if row is None:
        if len(table) != 1:
            raise bad_value("row", "read_catalogue", f"given for a table of {len(table)} rows", None)
        return 0
    if not -len(table) <= row < len(table):
        raise bad_value("row", "read_catalogue", f"a row of the table of {len(table)}", row)
    return row


def _columns(names: Sequence[str], band: str) -> tuple[str, str] | None:
    known = {name.lower(): name for name in names}
    base = band.lower()
    values = [f"{base}_flux", f"flux_{base}", f"f_{base}", base, f"{base}_mag", f"mag_{base}", f"m_{base}"]
    for value in values:
        if value not in known:
            continue
        for error in (f"{value}_err", f"{value}_error", f"err_{value}", f"e_{value}", f"{value}err", f"{base}_err",
                      f"err_{base}", f"e_{base}", f"fluxerr_{base}", f"{base}_fluxerr", f"sigma_{base}"):  # fmt: skip
            if error in known:
                return known[value], known[error]
        raise bad_value(
            "table", "read_catalogue", f"with an error of {known[value]} (such as {value}_err)", list(names)
        )
    return None


def _measurement(table: Any, line: Any, band: str, names: tuple[str, str], unit: Any) -> Photometry | None:
    value, error = (float(np.ma.filled(line[name], np.nan)) for name in names)
    if not np.isfinite(value) or not np.isfinite(error):
        return None
    if not error > 0:
        raise bad_value(names[1], "read_catalogue", "a positive error", error)
    said = table[names[0]].unit if table[names[0]].unit is not None else unit
    magnitude = "mag" in names[0].lower() if said is None else "mag" in str(said).lower()
    if magnitude:
        flux = _AB_ZERO * 10 ** (-0.4 * value)
        return Photometry(band, flux, flux * error * np.log(10) / 2.5)
    if said is None:
        raise bad_value("unit", "read_catalogue", f"given where the column {names[0]} has no unit", None)
    try:
        factor = u.Unit(said).to(u.Jy)
    except (ValueError, TypeError, u.UnitConversionError) as problem:
        raise bad_value("unit", "read_catalogue", "a flux density per frequency, or ABmag", str(said)) from problem
    return Photometry(band, value * factor, error * factor)
