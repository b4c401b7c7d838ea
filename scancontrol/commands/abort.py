"""``scancontrol abort``: end whatever runs or waits on the daemon; what was recorded is kept."""

from __future__ import annotations

import argparse
import getpass
from typing import Any

from scancontrol.session.options import add_options, session_of

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("abort", help="end the running scan", description=__doc__)
    parser.add_argument("--reason", default="", metavar="TEXT", help="what the recording and the page say of it")
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Abort, and say so once the beam is off."""
    with session_of(arguments) as session:
        session.abort(arguments.reason or f"aborted by {getpass.getuser()} from a terminal")
        print(f"beam off: {session.status.scan.explanation or 'nothing was scanned'}", flush=True)
    return 0
