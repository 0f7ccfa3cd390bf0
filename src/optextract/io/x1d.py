"""Results as JWST x1d files: MultiSpecModel with all 18 columns, and beside it what that model has no place for.

EXTRACT1D
    One table for each spectrum. FLUX is the optimal flux; FLUX_VAR_* its components through the same weights, NaN
    where the frame has none. SURF_BRIGHT is the mean over the matched boxcar (its flux over NPIXELS and PIXAR_SR),
    NaN where the solid angle is unknown. BACKGROUND is the mean of the fitted background over the same aperture,
    BKGD_ERROR the mean of its error there (an upper limit: neighbouring rows share their error); the components
    BKGD_VAR_* are not known and NaN. NPIXELS counts the good pixels of the aperture, fractions included. DQ holds what
    has a JWST name. SRCTYPE is POINT because FLUX, not SURF_BRIGHT, is the result; OXSRCTYP keeps the input's.
OPTEXTRACT
    One table for each spectrum, row by row with EXTRACT1D: COLUMN, FLAGS, CENTRE, FWHM, the boxcar and the flux
    without rejection.
OXRECIPE
    The resolved recipe as YAML, a line a row, for each result.
"""

from __future__ import annotations

import hashlib
import io
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from numpy.typing import NDArray

from ..results import Extraction, Flag
from ._columns import aperture_mean, background_unit, flux_in, jwst_dq, source_name, wavelength_in

__all__ = ["history", "identify", "name_spectrum", "recipe_hdu", "save_model", "unit_text", "write_x1d"]

#: Cards of a slit, and the attribute of the spectrum that each is in MultiSpecModel.
_SLIT_CARDS = {
    "SLITID": "slitlet_id",
    "SRCALIAS": "source_alias",
    "STLARITY": "stellarity",
    "SHUTSTA": "shutter_state",
    "SPORDER": "spectral_order",
    "DETECTOR": "detector",
}
_SOURCE_CARDS = {
    "SOURCEID": "source_id",
    "SRCXPOS": "source_xpos",
    "SRCYPOS": "source_ypos",
    "SRCRA": "source_ra",
    "SRCDEC": "source_dec",
}
_ELSEWHERE = {*_SLIT_CARDS, *_SOURCE_CARDS, "SLTNAME", "SRCNAME", "SRCTYPE", "DISPAXIS", "SHUTRID"} - {"DETECTOR"}


def write_x1d(results: Sequence[Extraction], part: Path, filename: str) -> None:
    """Write the spectra of all results into one file named `filename`, by way of `part`.

    Parameters
    ----------
    results : sequence of Extraction
        One for each slit; a result of several sources makes as many spectra.
    part : Path
        What is written to; it takes the product's place afterwards.
    filename : str
        For the FILENAME card.
    """
    from stdatamodels.jwst import datamodels

    model = datamodels.MultiSpecModel()
    extras: list[fits.BinTableHDU] = []
    for number, result in enumerate(results, start=1):
        unit, factor = flux_in(result)
        for source in range(result.n_source):
            columns = np.flatnonzero(np.isfinite(result.wavelength.value))
            # a SpecModel of its own would read and check the whole schema once more, in half of the time of a product
            model.spec.append(model.spec.item())
            spectrum = model.spec[-1]
            table, units = _table(result, source, columns, spectrum.get_dtype("spec_table"), factor, unit)
            spectrum.spec_table = table
            for name, text in units.items():
                spectrum.spec_table.columns[name].unit = text
            _describe(spectrum, result, source)
            extras.append(_extra(result, source, columns, len(extras) + 1, number, factor, unit))
    recipes = [recipe_hdu(result.resolved.to_yaml(full=True), n) for n, result in enumerate(results, start=1)]
    save_model(model, filename, part, lambda header: _primary(header, results, filename), [*extras, *recipes])


def save_model(
    model: Any, filename: str, part: Path, change: Callable[[fits.Header], None], extras: Sequence[Any]
) -> None:
    """Write a MultiSpecModel with HDUs of our own behind its spectra.

    Parameters
    ----------
    model : MultiSpecModel
        With its spectra.
    filename : str
        Name of the product.
    part : Path
        Where it is written.
    change : callable
        Changes the primary header.
    extras : sequence of HDU
        What follows the spectra.
    """
    model.meta.cal_step.extract_1d = "COMPLETE"
    model.meta.bunit_data = None
    model.meta.filename = filename
    buffer = io.BytesIO()
    model.to_fits(buffer)
    buffer.seek(0)
    # what the model wrote is passed on as bytes: only the primary header changes
    with fits.open(buffer, memmap=False, lazy_load_hdus=False) as hdus, warnings.catch_warnings():
        change(hdus[0].header)
        for hdu in extras:
            hdus.append(hdu)
        # HISTORY is text for people; cards longer than a line become CONTINUE, which is what is wanted
        warnings.simplefilter("ignore", VerifyWarning)
        hdus.writeto(part, overwrite=True)


def _table(
    result: Extraction, source: int, columns: NDArray[np.intp], dtype: Any, factor: float, unit: u.UnitBase
) -> tuple[NDArray[Any], dict[str, str]]:
    """The 18 columns of one source at the columns that have a wavelength, and their units."""
    table = np.zeros(result.flux.shape[1], dtype=dtype)
    nothing = np.full(len(table), np.nan)
    wavelength = wavelength_in(result)
    table["WAVELENGTH"] = wavelength.value
    table["FLUX"] = result.flux[source] * factor
    table["FLUX_ERROR"] = result.uncertainty[source] * factor
    box = result.boxcar
    table["NPIXELS"] = np.nan_to_num(box.n_pixels[source])
    table["DQ"] = jwst_dq(result.flux[source], result.flags[source])
    area = result.meta.get("pixel_area_sr")
    janskys = box.unit.is_equivalent(u.Jy)
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = np.where(table["NPIXELS"] > 0, table["NPIXELS"], np.nan)
        bright = box.unit.to(u.MJy) / (float(area) * pixels) if janskys and area is not None else nothing
    table["SURF_BRIGHT"] = box.flux[source] * bright
    table["SB_ERROR"] = box.uncertainty[source] * bright
    background, scale = background_unit(result)
    lower, upper = box.lower[source], box.upper[source]
    table["BACKGROUND"] = aperture_mean(result.background, lower, upper) * scale
    table["BKGD_ERROR"] = aperture_mean(result.background_uncertainty, lower, upper) * scale
    for name in ("POISSON", "RNOISE", "FLAT"):
        part = result.variance_parts.get(name.lower())
        table[f"FLUX_VAR_{name}"] = nothing if part is None else part[source] * factor**2
        part = box.variance_parts.get(name.lower())
        table[f"SB_VAR_{name}"] = nothing if part is None else part[source] * bright**2
        table[f"BKGD_VAR_{name}"] = nothing
    levels = u.MJy / u.sr if background is None else background
    units = {"WAVELENGTH": wavelength.unit.to_string("fits")}
    for prefix, one in (("FLUX", unit), ("SURF_BRIGHT", u.MJy / u.sr), ("BACKGROUND", levels)):
        short = {"FLUX": "FLUX", "SURF_BRIGHT": "SB", "BACKGROUND": "BKGD"}[prefix]
        units[prefix] = units[f"{short}_ERROR"] = unit_text(one)
        for name in ("POISSON", "RNOISE", "FLAT"):
            units[f"{short}_VAR_{name}"] = unit_text(one**2)
    return table[columns], {name: text for name, text in units.items() if text}


def unit_text(unit: u.UnitBase) -> str:
    """A unit as FITS writes it; a unit that FITS does not know as astropy does."""
    try:
        return str(unit.to_string("fits"))
    except ValueError:
        return str(unit.to_string())


def _describe(spectrum: Any, result: Extraction, source: int) -> None:
    """Cards of one spectrum."""
    meta = result.meta
    name_spectrum(spectrum, meta, source_name(result, source), planned=source == 0)
    vertical = meta.get("dispaxis") == 2
    spectrum.dispersion_direction = 2 if vertical else 1
    good = np.flatnonzero(np.isfinite(result.flux[source]))
    if good.size:
        # 1-based, first and last pixel of the aperture, as the pipeline writes them
        disp = (float(good[0] + 1), float(good[-1] + 1))
        lower = float(np.nanmedian(result.boxcar.lower[source, good]))
        upper = float(np.nanmedian(result.boxcar.upper[source, good]))
        cross = (lower + 1.5, upper + 0.5)
        middle = float(np.nanmedian(result.centre[source, good])) + 1
        along, across = ("y", "x") if vertical else ("x", "y")
        for axis, (start, stop) in ((along, disp), (across, cross)):
            setattr(spectrum, f"extraction_{axis}start", start)
            setattr(spectrum, f"extraction_{axis}stop", stop)
        setattr(spectrum, f"extraction_{across}", middle)


def name_spectrum(spectrum: Any, meta: Mapping[str, Any], name: str, *, planned: bool) -> None:
    """Slit and source of one spectrum; only the planned source is the one that the header's cards describe."""
    cards: Mapping[str, Any] = meta.get("header", {})
    if meta.get("slit") is not None:
        spectrum.name = str(meta["slit"])
    for keyword, attribute in {**_SLIT_CARDS, **(_SOURCE_CARDS if planned else {})}.items():
        if keyword in cards:
            setattr(spectrum, attribute, cards[keyword])
    spectrum.source_name = name
    # readers take FLUX where SRCTYPE is POINT and SURF_BRIGHT where it is EXTENDED
    spectrum.source_type = "POINT"


def _extra(
    result: Extraction,
    source: int,
    columns: NDArray[np.intp],
    version: int,
    number: int,
    factor: float,
    unit: u.UnitBase,
) -> fits.BinTableHDU:
    """What MultiSpecModel has no column for, row by row with EXTRACT1D."""
    text = unit_text(unit)

    def column(name: str, kind: str, values: Any, unit: str | None = None) -> fits.Column:
        return fits.Column(name, kind, array=np.asarray(values)[columns], unit=unit)

    box = result.boxcar
    hdu = fits.BinTableHDU.from_columns(
        [
            column("COLUMN", "J", np.arange(result.flux.shape[1])),
            fits.Column("FLAGS", "J", array=result.flags[source, columns].astype(np.int32)),
            column("CENTRE", "D", result.centre[source], "pix"),
            column("FWHM", "D", result.fwhm[source], "pix"),
            column("BOXCAR_FLUX", "D", box.flux[source] * factor, text),
            column("BOXCAR_ERROR", "D", box.uncertainty[source] * factor, text),
            column("BOXCAR_LOWER", "D", box.lower[source], "pix"),
            column("BOXCAR_UPPER", "D", box.upper[source], "pix"),
            column("FLUX_UNREJECTED", "D", result.flux_unrejected[source] * factor, text),
        ],
        name="OPTEXTRACT",
        ver=version,
    )
    header = hdu.header
    header["OXRESULT"] = (number, "EXTVER of the OXRECIPE that made this spectrum")
    header["OXSOURCE"] = (source, "index of the source in that result")
    header["OXSRCNAM"] = (source_name(result, source), "name of the source")
    for bit, flag in enumerate(Flag):
        header[f"OXBIT{bit}"] = (str(flag.name), f"meaning of FLAGS & {int(flag)}")
    for warning in result.quality.get("warnings", ()):
        history(header, f"warning: {warning}")
    return hdu


def recipe_hdu(text: str, number: int) -> fits.BinTableHDU:
    """A resolved recipe in full, a line a row."""
    lines = [line.encode("utf-8") for line in text.splitlines()]
    width = max(len(line) for line in lines)
    hdu = fits.BinTableHDU.from_columns(
        [fits.Column("YAML", f"{width}A", array=np.array(lines, dtype=f"S{width}"))], name="OXRECIPE", ver=number
    )
    hdu.header["OXDIGEST"] = (hashlib.sha256(text.encode()).hexdigest(), "SHA-256 of the resolved recipe")
    return hdu


def _primary(header: fits.Header, results: Sequence[Extraction], filename: str) -> None:
    """Identity of the observation and of the product in the primary header."""
    first = results[0]
    versions: Mapping[str, Any] = first.provenance.get("versions", {})
    identify(header, first.meta, versions, filename)
    for keyword, key, comment in (("OXINPUT", "file", "input"), ("OXSHA256", "sha256", "SHA-256 of the input")):
        if first.meta.get(key) is not None:
            header[keyword] = (first.meta[key], comment)
    for line in _EXPLAIN:
        history(header, line)
    if background_unit(first)[0] is None:
        history(header, "BACKGROUND is NaN: the unit of the frame's pixels is not known.")
    for note in dict.fromkeys(note for result in results for note in result.meta.get("notes", ())):
        history(header, f"reader: {note}")


def identify(header: fits.Header, meta: Mapping[str, Any], versions: Mapping[str, Any], filename: str) -> None:
    """Cards of the observation, and what made this product when."""
    cards: Mapping[str, Any] = meta.get("header", {})
    jwst = cards.get("TELESCOP") == "JWST"
    for keyword, value in cards.items():
        # cards of other telescopes keep their meaning under another name: this is a JWST layout
        if keyword not in _ELSEWHERE and keyword not in header and (jwst or keyword not in _CLASHING):
            header[keyword] = value
    if not jwst:
        for keyword in _CLASHING & cards.keys():
            header[_CLASHING_TO[keyword]] = (cards[keyword], f"{keyword} of the input")
    header["FILENAME"] = filename
    header["OXVERS"] = (str(versions.get("optextract", "unknown")), "optextract that made this product")
    header["OXDATE"] = (datetime.now(UTC).isoformat(timespec="seconds"), "UTC date of this product")
    for keyword, key, comment in (
        ("OXSRCTYP", "source_type", "SRCTYPE of the input"),
        ("OXAIR", "air_wavelength", "wavelengths are those in air"),
    ):
        if meta.get(key) is not None:
            header[keyword] = (meta[key], comment)
    for name, version in versions.items():
        history(header, f"made with {name} {version}")


_CLASHING = {"TELESCOP", "INSTRUME", "FILTER", "GRATING", "DETECTOR", "PUPIL", "RADESYS", "DATE-OBS", "TIME-OBS"}
_CLASHING_TO = {name: f"OX{name.replace('-', '')}"[:8] for name in _CLASHING}
_EXPLAIN = (
    "FLUX is the optimal flux, FLUX_VAR_* its components; NaN: not known.",
    "SURF_BRIGHT is the mean over the matched boxcar of NPIXELS pixels.",
    "BACKGROUND is the mean of the fitted background over that boxcar;",
    "BKGD_ERROR the mean of its error, an upper limit; BKGD_VAR_* not known.",
    "SRCTYPE is POINT because FLUX is the result; OXSRCTYP is the input's.",
    "DQ: DO_NOT_USE, OUTLIER, FLUX_ESTIMATED; all flags are in OPTEXTRACT.",
)


def history(header: fits.Header, text: str) -> None:
    """Add a sentence, broken between words into lines that FITS holds."""
    for line in textwrap.wrap(text.encode("ascii", "replace").decode("ascii"), 72):
        header["HISTORY"] = line
