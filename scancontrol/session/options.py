"""How a command line says which daemon it means."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal

from scancontrol.session.synchronous import Session, connect

__all__ = ["add_options", "session_of"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let a command be told which daemon it speaks to."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--link", metavar="URL", help="the link that the daemon printed, token included")
    where.add_argument(
        "--runs", default="runs", metavar="DIR", help="the daemon's recordings, or a folder that these are in (runs)"
    )
    parser.add_argument("--certificate", type=Path, metavar="PEM", help="of a daemon that has one of its own")


def session_of(arguments: argparse.Namespace, role: Literal["operator", "observer"] = "operator") -> Session:
    """The session with the daemon that was named.

    Raises:
        InvalidInput: nothing says where it is.
        LinkError: it does not answer, or does not let us in.
    """
    where = arguments.link or arguments.runs
    return connect(where, role=role, operator=None, certificate=arguments.certificate)
