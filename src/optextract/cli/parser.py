"""The command line's words and options."""

from __future__ import annotations

import argparse

from optextract import __version__

from . import calibrate

__all__ = ["build_parser"]

_FILES = "files, folders, patterns, @list (a text file with a path a line) or catalogues (.csv, .ecsv)"


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-v", "--verbose", action="count", default=0, help="say more; -vv also gives tracebacks")
    common.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    return common


def _output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", default="optextract", metavar="DIR", help="output folder (default: optextract)")


def _run(commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    run = commands.add_parser("run", parents=[common], help="extract spectra", description="Extract 1D spectra.")
    run.add_argument("files", nargs="*", metavar="FILE", help=f"{_FILES}; none with --resume: those of the earlier run")
    run.add_argument("-r", "--recipe", metavar="YAML", help="recipe (default: every setting automatic)")
    _output(run)
    run.add_argument("--slit", action="append", metavar="NAME", help="only this slit; may be repeated")
    run.add_argument("--overrides", metavar="TABLE", help="table (.csv, .ecsv) of changes: file, slit, recipe fields")
    run.add_argument("--compare", metavar="X1D", help="another spectrum of the same source, drawn and set in figures")
    choice = run.add_mutually_exclusive_group()
    choice.add_argument("--overwrite", action="store_true", help="replace products that exist")
    choice.add_argument("--resume", action="store_true", help="do only what is missing, changed or failed")
    run.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="processes (default: 1; 0: one a core)")
    run.add_argument("--dask", metavar="ADDRESS", help="run on a dask scheduler: tcp://host:port, or local")
    run.add_argument(
        "--figures",
        choices=("auto", "all", "none"),
        default="auto",
        help="PNG summary of each spectrum; auto: where there are at most 10 files",
    )
    run.add_argument("--report", action="store_true", help="write report.html and table.ecsv at the end")
    run.add_argument("--trust", action="store_true", help="let recipes name Python code (module:attr), and run it")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="optextract",
        description="Optimal extraction of 1D spectra from 2D spectra.",
        epilog="Exit codes: 0 all good, 1 some spectra failed (each is named), 2 nothing could be done.",
    )
    parser.add_argument("--version", action="version", version=f"optextract {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = _common()
    _run(commands, common)
    calibrate.add_parser(commands, common)

    app = commands.add_parser("app", parents=[common], help="open the panel in a browser window")
    app.add_argument("files", nargs="*", metavar="FILE", help="2D spectra to load (default: a simulated sample)")
    app.add_argument("--layout", choices=("jdaviz", "specviz2d"), help="jdaviz (the generalised app) or specviz2d")
    app.add_argument("--theme", choices=("light", "dark", "auto"), default="light")
    app.add_argument("--port", type=int, default=0, help="port of the server (default: a free one)")
    app.add_argument("--no-browser", action="store_true", help="only say where the page is")

    init = commands.add_parser("init", parents=[common], help="write a commented recipe")
    init.add_argument(
        "path", nargs="?", default="recipe.yaml", metavar="YAML", help="default: recipe.yaml; -: print it"
    )
    init.add_argument("--overwrite", action="store_true", help="replace an existing file")

    info = commands.add_parser("info", parents=[common], help="say what is understood of a file")
    info.add_argument("files", nargs="+", metavar="FILE")

    report = commands.add_parser("report", parents=[common], help="write the page and the table of a finished run")
    report.add_argument("folder", metavar="OUT", help="output folder of a run")
    report.add_argument("--page", metavar="HTML", help="file to write (default: report.html in the folder)")
    report.add_argument("--title", help="heading (default: the folder's name)")

    review = commands.add_parser(
        "review", parents=[common], help="look at the spectra of a run that need it, worst first"
    )
    review.add_argument("folder", metavar="OUT", help="output folder of a run")
    review.add_argument("--least", type=float, default=5.0, metavar="SCORE", help="from this score on (default: 5)")
    review.add_argument("--decided", action="store_true", help="show those again that are decided")
    review.add_argument("--list", action="store_true", help="only say which they are, and why")
    review.add_argument("--theme", choices=("light", "dark", "auto"), default="light")
    review.add_argument("--port", type=int, default=0, help="port of the server (default: a free one)")
    review.add_argument("--no-browser", action="store_true", help="only say where the page is")

    simulate = commands.add_parser("simulate", parents=[common], help="write a NIRSpec-like s2d file with known truth")
    simulate.add_argument("path", metavar="S2D", help="file to write; with --survey: a folder")
    simulate.add_argument(
        "--survey", type=int, nargs="?", const=79, metavar="N", help="write N files (79) as a batch has to cope with"
    )
    simulate.add_argument("--scene", action="append", metavar="NAME", help="default: emission; repeated: several slits")
    simulate.add_argument("--seed", type=int, default=0, help="seed of the noise (default: 0)")
    simulate.add_argument(
        "--wcsaxes", type=int, choices=(2, 3), help="give the SCI header a FITS WCS of that many axes"
    )
    simulate.add_argument("--truth", metavar="ECSV", help="also write the true spectrum")
    simulate.add_argument("--overwrite", action="store_true", help="replace an existing file")

    validate = commands.add_parser(
        "validate",
        parents=[common],
        help="inject sources of known flux and recover them",
        epilog="Exit codes: 0 errors are honest, 1 some are not (each is named), 2 nothing could be validated.",
    )
    validate.add_argument("target", nargs="+", metavar="FILE|OUT", help="files, or the output folder of a run")
    validate.add_argument("-r", "--recipe", metavar="YAML", help="recipe for files (a folder's spectra have their own)")
    validate.add_argument("--slit", metavar="NAME", help="slit of the files")
    validate.add_argument(
        "-o", "--out", metavar="DIR", help="where to write (default: optextract, or the folder itself)"
    )
    validate.add_argument("--levels", metavar="A,B,...", help="injected S/N per column (default: 1,3,10,30)")
    validate.add_argument("--places", type=int, metavar="N", help="positions a spectrum (default: 8 for files, 3)")
    validate.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="processes for a folder (default: 1)")
    validate.add_argument("--trust", action="store_true", help="let recipes name Python code (module:attr), and run it")
    return parser
