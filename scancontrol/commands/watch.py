"""``scancontrol watch``: what the running daemon does and says, a line at a time, until Ctrl-C."""

from __future__ import annotations

import argparse
from typing import Any

from scancontrol.daemon.page.messages import Notice
from scancontrol.daemon.progress import Progress, print_line
from scancontrol.processes.child import Shutdown
from scancontrol.session.options import add_options, session_of

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("watch", help="follow what the running daemon does", description=__doc__)
    parser.add_argument("--until-end", action="store_true", help="end with the scan that runs")
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Follow until Ctrl-C, or until nothing runs any more."""
    shutdown, progress = Shutdown(ends_with_terminal=True), Progress()
    with session_of(arguments, "observer") as session:
        said: tuple[Notice, ...] = ()
        while not shutdown.wait(0.2):
            status, notices = session.status, session.notices
            for notice in notices:
                if notice not in said:
                    progress.end()
                    print_line(f"{notice.level:<11} {notice.text}")
            said = notices
            progress.show(status)
            if arguments.until_end and status.orders.standing is None:
                break
        progress.end()
    return 0
