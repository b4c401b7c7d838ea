"""``scancontrol blank``: blank the beam now and have it held, by a word to the microscope itself.

It shares nothing with the daemon: no process, no connection, no lease. The microscope holds the beam blanked until
somebody presses Start again; nothing that was ordered before lights it.
"""

from __future__ import annotations

import argparse
import getpass
import socket
from pathlib import Path
from typing import Any

from scancontrol.daemon import health
from scancontrol.daemon.config import DaemonConfig
from scancontrol.errors import InvalidInput
from scancontrol.files import load_yaml
from scancontrol.link.blank import blank_now
from scancontrol.transport.keys import ClientSecurity

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("blank", help="blank the beam now, and hold it", description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--microscope", metavar="ADDRESS", help="the microscope's control address")
    where.add_argument("--config", type=Path, metavar="FILE", help="a daemon's configuration: its address and keys")
    where.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="a daemon's recordings (default: runs)"
    )
    parser.add_argument("--timeout", type=float, default=5.0, metavar="S", help="how long to go on asking (default: 5)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Say it until the microscope confirms it; the error says so where it does not."""
    if not 0.05 <= arguments.timeout <= 3600:
        raise InvalidInput("--timeout", arguments.timeout, "is outside 0.05 to 3600", "give seconds")
    address, security = _microscope(arguments)
    name = f"{getpass.getuser()} at {socket.gethostname()}"
    blank_now(address, name=name, security=security, timeout_s=arguments.timeout)
    print(f"beam blanked and held: the microscope at {address} confirms it; Start lifts it", flush=True)
    return 0


def _microscope(arguments: argparse.Namespace) -> tuple[str, ClientSecurity | None]:
    """Its address, and the keys to reach it with."""
    if arguments.microscope is not None:
        return arguments.microscope, None
    if arguments.config is not None:
        config = load_yaml(arguments.config, DaemonConfig)
        return config.microscope, None if config.keys is None else config.keys.security(arguments.config.parent)
    known = health.find_daemon(arguments.runs)
    if known.secret_key is None or known.microscope_key is None:
        return known.microscope, None
    return known.microscope, ClientSecurity(Path(known.secret_key), Path(known.microscope_key))
