"""``scancontrol resume``: go on with the scan that was paused, from its next unexposed sample."""

from __future__ import annotations

import argparse
from typing import Any

from scancontrol.session.options import add_options, session_of

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("resume", help="go on with the paused scan", description=__doc__)
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Go on, and say that it does."""
    with session_of(arguments) as session:
        session.resume()
        print(session.status.scan.phase.value, flush=True)
    return 0
