"""The command line: ``scancontrol COMMAND``. Each command is a module of :mod:`scancontrol.commands`.

Every error that scancontrol raises on purpose becomes one message on standard error and exit code 2.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

import shtab

from scancontrol import __version__, commands
from scancontrol.errors import ScanControlError
from scancontrol.processes import logs, terminal

__all__ = ["build_parser", "main"]

_ACQUIRING = ("daemon", "demo", "drive", "replay", "simulate")
"""Commands that are not there for their words: where these are lost, all is well."""


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser with every command's own arguments; with ``command``, the name of one, with only that one's.

    A daemon that a crash took down is back sooner for not loading what it does not need.
    """
    parser = argparse.ArgumentParser(
        prog="scancontrol", description="Partial-scan electron microscopy: plan, drive, record and restore live."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    shtab.add_argument_to(parser, "--print-completion", help="for this shell, to be sourced by it")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what every part does")
    parser.add_argument("--log-json", type=Path, metavar="FILE", help="append the log of every process as JSON lines")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # A command that is a word of Python's own, such as import, has an underscore behind its module's name.
    modules = {module.name.rstrip("_"): module.name for module in pkgutil.iter_modules(commands.__path__)}
    for name in [modules[command]] if command in modules else modules.values():
        importlib.import_module(f"{commands.__name__}.{name}").add_parser(subparsers)
    for one in (parser, *subparsers.choices.values()):
        _complete_paths(one)
    return parser


def _complete_paths(parser: argparse.ArgumentParser) -> None:
    """A shell completes the names of files wherever a path is expected, of folders where one is called DIR."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list of them, shtab reads the same one
        if action.type is Path:
            action.complete = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE  # type: ignore[attr-defined]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit code: 0, 2 after one clear message, or 1 where its words are lost."""
    terminal.guard()
    words = sys.argv[1:] if argv is None else argv
    arguments = build_parser(words[0] if words else None).parse_args(words)
    try:
        logs.configure(arguments.command, verbose=arguments.verbose, json_file=arguments.log_json)
        code = int(arguments.run(arguments))
        return code or int(terminal.lost_output() and arguments.command not in _ACQUIRING)
    except ScanControlError as error:
        print(f"scancontrol {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
