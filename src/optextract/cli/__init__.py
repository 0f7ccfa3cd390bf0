"""The command ``optextract``: the only place that prints."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from optextract.errors import OptextractError

from .commands import COMMANDS
from .parser import build_parser

__all__ = ["main"]


@contextmanager
def _logging(args: argparse.Namespace) -> Iterator[None]:
    """What the library logs goes to stderr while a command runs; afterwards logging is as it was."""
    # the app tells where its page is
    talk = max(args.verbose, 1) if args.command in ("app", "review") else args.verbose
    level = logging.ERROR if args.quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(talk, 2)]
    # what dependencies warn of is worth a line only where it was asked for
    levels = {"optextract": level, "py.warnings": logging.WARNING if args.verbose else logging.ERROR}
    root = logging.getLogger()
    handlers, before = list(root.handlers), {name: logging.getLogger(name).level for name in levels}
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    root.handlers[:] = [handler]
    logging.captureWarnings(True)
    for name, wanted in levels.items():
        logging.getLogger(name).setLevel(wanted)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        logging.captureWarnings(False)
        for name, old in before.items():
            logging.getLogger(name).setLevel(old)


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
    with _logging(args):
        return _run(args)


def _run(args: argparse.Namespace) -> int:
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
