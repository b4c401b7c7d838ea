"""``scancontrol drive``: host a real instrument behind the wire, until Ctrl-C. The beam is blanked on every way out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scancontrol.microscope.configuration import load_drive, open_instrument
from scancontrol.microscope.host import serve
from scancontrol.processes.child import Shutdown, add_follow_stdin, announce

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("drive", help="host a real instrument", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="YAML, such as config/obi.yaml")
    parser.add_argument("--address", metavar="ADDRESS", help="where clients connect, instead of the configured one")
    add_follow_stdin(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Connect to the hardware, say where to reach it, and serve until asked to end."""
    config = load_drive(args.config)
    security = config.security(args.config.parent)
    shutdown = Shutdown(follow_stdin=args.follow_stdin)
    instrument = open_instrument(config)
    serve(
        instrument,
        args.address or config.address,
        shutdown=shutdown.requested,
        on_ready=lambda address: announce("microscope", address=address, name=instrument.capabilities.name),
        security=security,
    )
    return 0
