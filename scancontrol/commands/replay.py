"""``scancontrol replay``: a recording as a microscope, until Ctrl-C."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from scancontrol.errors import InvalidInput, StorageError
from scancontrol.files import write_text
from scancontrol.microscope.drivers.recording import Replay
from scancontrol.microscope.host import serve
from scancontrol.processes.child import Shutdown, add_follow_stdin, announce
from scancontrol.transport.options import add_server_keys, server_security

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("replay", help="play a recording back as a microscope", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="a recording")
    parser.add_argument("--speed", default="1", help="times the beam's own pace, or max (default: 1)")
    parser.add_argument("--address", default="tcp://127.0.0.1:0", help="where to listen (default: a free local port)")
    parser.add_argument("--save-plan", type=Path, metavar="FILE", help="write the recorded plan here")
    add_server_keys(parser)
    add_follow_stdin(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve the recording until asked to end."""
    speed = _speed(args.speed)
    shutdown = Shutdown(follow_stdin=args.follow_stdin)
    instrument = Replay(args.file, speed=speed)
    if args.save_plan is not None:
        try:
            write_text(args.save_plan, instrument.plan_text)
        except StorageError:
            instrument.close()
            raise

    def ready(address: str) -> None:
        if args.follow_stdin:
            announce("microscope", address=address, name=instrument.capabilities.name)
        else:
            name = instrument.capabilities.name
            print(f"microscope  {address}  {name}, played back from {args.file}; Ctrl-C ends it", flush=True)

    serve(
        instrument,
        args.address,
        shutdown=shutdown.requested,
        on_ready=ready,
        security=server_security(args.secret_key, args.clients),
    )
    return 0


def _speed(text: str) -> float:
    if text == "max":
        return math.inf
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise InvalidInput("speed", text, "is not a pace", "give a number above 0, or max")
    return speed
