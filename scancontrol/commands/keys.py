"""``scancontrol keys``: make the key pairs that a microscope and its clients know each other by."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scancontrol.transport.keys import make_keys

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "keys",
        help="make CURVE key files",
        description="Make a key pair for each NAME. Give a server's public .key file to its clients, and put each"
        " client's public .key file into the server's allow-list folder; a .key_secret file never leaves its machine.",
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="who the keys are for, such as microscope or daemon")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the key files go")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the key pairs and say where they are."""
    for name in args.names:
        public, secret = make_keys(args.out, name)
        print(f"{name}: public {public}, secret {secret} (mode 0600)")
    return 0
