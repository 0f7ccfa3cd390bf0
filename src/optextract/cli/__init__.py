"""The command ``optextract``: the only place that prints."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from optextract.errors import OptextractError

from .commands import COMMANDS
from .parser import build_parser

__all__ = ["main"]


def _configure_logging(args: argparse.Namespace) -> None:
    # the app tells where its page is
    talk = max(args.verbose, 1) if args.command in ("app", "review") else args.verbose
    level = logging.ERROR if args.quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(talk, 2)]
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr, force=True)
    logging.getLogger("optextract").setLevel(level)
    # what dependencies warn of is worth a line only where it was asked for
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.WARNING if args.verbose else logging.ERROR)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; absent: those of the process.

    Returns
    -------
    int
        0 all good, 1 some failed, 2 nothing could be done, 130 interrupted.
    """
    args = build_parser().parse_args(argv)
    _configure_logging(args)
    lines = COMMANDS[args.command](args)
    try:
        while True:
            line = next(lines)
            if not args.quiet:
                print(line, flush=True)
    except StopIteration as end:
        return int(end.value)
    except (OptextractError, OSError) as error:
        if args.verbose >= 2:
            raise
        print(f"optextract {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"optextract {args.command}: interrupted", file=sys.stderr)
        return 130
    finally:
        lines.close()
