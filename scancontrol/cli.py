"""The command line: ``scancontrol COMMAND``. Each command is a module of :mod:`scancontrol.commands`.

Every error that scancontrol raises on purpose becomes one message on standard error and exit code 2.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import pkgutil
import sys
from collections.abc import Sequence

from scancontrol import commands
from scancontrol.errors import ScanControlError

__all__ = ["build_parser", "main"]

def build_parser() -> argparse.ArgumentParser:
    """The parser with every command's own arguments."""
    parser = argparse.ArgumentParser(
        prog="scancontrol",
        description="Partial-scan electron microscopy: plan, drive, record and restore live.",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log what every part does")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in pkgutil.iter_modules(commands.__path__):
        importlib.import_module(f"{commands.__name__}.{module.name}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit code: 0, or 2 after one clear message."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    try:
        return int(arguments.run(arguments))
    except ScanControlError as error:
        print(f"scancontrol {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
