"""``scancontrol pause``: blank the beam within the frame that is scanned; ``scancontrol resume`` goes on with it."""

from __future__ import annotations

import argparse
from typing import Any

from scancontrol.session.options import add_options, session_of

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("pause", help="hold the running scan, beam blanked", description=__doc__)
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Pause, and say that it is."""
    with session_of(arguments) as session:
        session.pause()
        print(f"{session.status.scan.phase.value}; go on with scancontrol resume", flush=True)
    return 0
