"""Extracted spectra read back for comparison: JWST x1d, ours, msaexp's SPEC1D, ECSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from astropy import units as u

from ..errors import ReadError, bad_value
from ._fits import FitsFile, card, plain
from ._units import parse_unit

__all__ = ["ExtractedSpectrum", "read_x1d"]


@dataclass(frozen=True, eq=False)
class ExtractedSpectrum(Mapping[str, u.Quantity]):
    """One extracted spectrum; also a mapping of ``wavelength``, ``flux`` and ``uncertainty``.

    Attributes
    ----------
    wavelength, flux : Quantity, shape (n,)
        As the file has them.
    uncertainty : Quantity, shape (n,), or None
        1 sigma error, where the file has one.
    name : str
        Name of the source or slit.
    columns : tuple of str
        Which columns of the file these are.
    meta : mapping
        Cards of its header.
    """

    wavelength: u.Quantity
    flux: u.Quantity
    uncertainty: u.Quantity | None
    name: str
    columns: tuple[str, ...]
    meta: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __getitem__(self, key: str) -> u.Quantity:
        if key not in self._keys():
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys())

    def __len__(self) -> int:
        return len(self._keys())

    def _keys(self) -> tuple[str, ...]:
        return ("wavelength", "flux") if self.uncertainty is None else ("wavelength", "flux", "uncertainty")


#: Names that a column goes by, in lower case, best first.
_WAVELENGTH = ("wavelength", "wave", "lambda", "spectral_axis")
_FLUX = ("flux", "flux_density", "flam", "fnu")
_ERROR = ("flux_error", "uncertainty", "err", "error", "flux_err", "sigma")


def read_x1d(path: str | Path, which: int | str | None = None) -> ExtractedSpectrum:
    """Read an extracted spectrum.

    Parameters
    ----------
    path : path
        A FITS file with a table of wavelength and flux (JWST x1d, optextract, msaexp), or an ECSV table.
    which : int or str, optional
        Index, or name of the source or slit, where the file has several spectra.

    Returns
    -------
    ExtractedSpectrum
        Wavelength, flux and error with their units.

    Raises
    ------
    ReadError
        If the file holds no such table, several spectra of which none is named, or columns without a unit.
    """
    path = Path(path)
    found = _from_ecsv(path) if path.suffix.lower() == ".ecsv" else _from_fits(path)
    if not found:
        raise ReadError(f"{path} holds no table with a wavelength and a flux")
    names = [spectrum.name for spectrum in found]
    if which is None and len(found) == 1:
        return found[0]
    if isinstance(which, str):
        same = [spectrum for spectrum in found if spectrum.name == which]
        if len(same) == 1:
            return same[0]
    elif isinstance(which, int) and not isinstance(which, bool) and 0 <= which < len(found):
        return found[which]
    raise bad_value("which", "read_x1d", f"an index or one of the names {names} in {path}", which, ReadError)


def _from_fits(path: Path) -> list[ExtractedSpectrum]:
    found = []
    with FitsFile(path) as file:
        tables = [index for index in file.tables() if file.name(index) == "EXTRACT1D"]
        # FITS has no way to write that a value is a plain number but no TUNIT at all; in our own files it means that
        bare = u.dimensionless_unscaled if card(file.primary, "OXVERS") is not None else None
        for index in tables if tables else file.tables():
            if file.name(index) in ("OPTEXTRACT", "ASDF", "OXRECIPE"):
                continue
            units = {column.name: column.unit for column in file.columns(index)}
            chosen = _choose({name.lower(): name for name in units})
            if chosen is None:
                continue
            header = file.headers[index]
            named = card(header, "SRCNAME", card(header, "SLTNAME", file.name(index)))
            columns = [
                None if name is None else u.Quantity(file.column(index, name), _unit(units[name], name, path, bare))
                for name in chosen
            ]
            cards = MappingProxyType(plain(header))
            found.append(_spectrum(columns, chosen, str(named), cards))
    return found


def _from_ecsv(path: Path) -> list[ExtractedSpectrum]:
    import yaml
    from astropy.table import QTable  # it imports asdf, which a reader of FITS need not wait for

    try:
        table = QTable.read(path, format="ascii.ecsv")
    except FileNotFoundError as error:
        raise ReadError(f"{path} cannot be read: there is no such file") from error
    except (ValueError, OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ReadError(f"{path} is not an ECSV table: {error}") from error
    chosen = _choose({name.lower(): name for name in table.colnames})
    if chosen is None:
        return []
    keys = [name for name in ("slit", "source") if name in table.colnames]
    labels = list(zip(*(table[name] for name in keys), strict=True)) if keys else [("",)] * len(table)
    found = []
    for label in dict.fromkeys(labels):
        rows = np.array([one == label for one in labels])
        columns = []
        for name in chosen:
            column = None if name is None else table[name][rows]
            if column is not None and not isinstance(column, u.Quantity):
                column = u.Quantity(np.asarray(column, dtype=float), _unit(table[name].unit, name, path))
            columns.append(column)
        found.append(_spectrum(columns, chosen, str(label[-1]), MappingProxyType(dict(table.meta))))
    return found


def _choose(names: Mapping[str, str]) -> tuple[str, str, str | None] | None:
    def first(known: tuple[str, ...]) -> str | None:
        return next((names[name] for name in known if name in names), None)

    wavelength, flux = first(_WAVELENGTH), first(_FLUX)
    return None if wavelength is None or flux is None else (wavelength, flux, first(_ERROR))


def _unit(text: Any, name: str | None, path: Path, bare: u.UnitBase | None = None) -> u.UnitBase:
    unit = parse_unit(str(text)) if text else bare
    if unit is None:
        said = f"TUNIT is {str(text)!r}" if text else "there is no TUNIT"
        raise ReadError(f"{path}: the column {name} has no unit that can be read ({said})")
    return unit


def _spectrum(
    columns: list[Any], names: tuple[str | None, ...], name: str, meta: Mapping[str, Any]
) -> ExtractedSpectrum:
    for column in columns:
        if column is not None:
            column.flags.writeable = False
    return ExtractedSpectrum(
        columns[0], columns[1], columns[2], name, tuple(str(one) for one in names if one is not None), meta
    )
