"""``optextract calibrate``: the flux scale of a product from photometry, beside its flux."""

from __future__ import annotations

import argparse
from collections.abc import Generator
from pathlib import Path

from optextract.errors import OptextractError, bad_value

__all__ = ["add_parser", "run"]


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser = commands.add_parser(
        "calibrate",
        parents=[common],
        help="bring a product to its photometry, in columns of its own",
        description="Fit a low-order correction in log wavelength to photometry. FLUX is never changed.",
    )
    parser.add_argument("product", metavar="X1D", help="an x1d product of optextract")
    parser.add_argument("catalogue", metavar="TABLE", help="photometry: .csv, .ecsv or .fits")
    parser.add_argument(
        "-f", "--filter", action="append", required=True, metavar="CURVE",
        help="filter curve: NAME=FILE, FILE or an SVO identifier (JWST/NIRCam.F200W); repeated",
    )  # fmt: skip
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--row", type=int, metavar="N", help="row of the source in the table (0-based)")
    chosen.add_argument("--match", metavar="COLUMN=VALUE", help="the row where the column has that value")
    parser.add_argument("--unit", help="unit of the table's values where it has none (uJy, ABmag ...)")
    parser.add_argument("--degree", type=int, default=1, metavar="N", help="degree of the correction (default: 1)")
    parser.add_argument("--source", type=int, default=0, metavar="N", help="spectrum of the product (default: 0)")
    parser.add_argument("--error-scale", type=float, default=1.0, metavar="K", help="factor on the spectrum's errors")
    parser.add_argument("--skip", action="store_true", help="leave out bands that are not covered instead of refusing")
    parser.add_argument("-o", "--out", metavar="X1D", help="file to write (default: the product itself)")
    parser.add_argument("--plot", metavar="PNG", help="also draw spectrum, bands and correction")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier calibration, or the output file")


def run(args: argparse.Namespace) -> Generator[str, None, int]:
    """Calibrate one spectrum of a product."""
    from optextract.calibrate import (
        add_to_product,
        calibrate_spectrum,
        load_band,
        plot,
        read_catalogue,
        read_product,
    )

    bands = []
    for text in args.filter:
        name, found, curve = text.partition("=")
        bands.append(load_band(curve, name) if found else load_band(text))
    match = None
    if args.match is not None:
        column, found, value = args.match.partition("=")
        if not found:
            raise bad_value("match", "optextract calibrate", "COLUMN=VALUE", args.match)
        match = (column, value)
    photometry = read_catalogue(
        args.catalogue, [band.name for band in bands], row=args.row, match=match, unit=args.unit
    )
    if args.plot is not None and Path(args.plot).exists() and not args.overwrite:
        raise OptextractError(f"{args.plot} exists; --overwrite replaces it")
    wavelength, flux, uncertainty, unit = read_product(args.product, args.source)
    found_scale = calibrate_spectrum(
        wavelength, flux, uncertainty, unit, photometry, bands, degree=args.degree, error_scale=args.error_scale,
        uncovered="skip" if args.skip else "raise",
    )  # fmt: skip
    target = add_to_product(found_scale, args.product, source=args.source, out=args.out, overwrite=args.overwrite)
    yield from found_scale.words()
    yield f"{target}: FLUX_CAL beside FLUX, in the table OPTEXTRACT"
    if args.plot is not None:
        plot(found_scale).savefig(args.plot, dpi=150)
        yield f"{args.plot}: spectrum, bands and correction"
    return 0
