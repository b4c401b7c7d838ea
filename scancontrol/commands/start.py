"""``scancontrol start``: begin a scan on the running daemon, from another terminal.

The scan is the daemon's: it goes on when this command has ended, or its terminal.
"""

from __future__ import annotations

import argparse
from typing import Any

from scancontrol.session.options import add_options, session_of

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("start", help="begin a scan on the running daemon", description=__doc__)
    parser.add_argument("plan", metavar="PLAN", help="a plan's file (.yaml), or the name of one that the daemon offers")
    parser.add_argument("--check", action="store_true", help="only say what it would come to")
    parser.add_argument("--wait", action="store_true", help="until it has ended; a failure if it was not completed")
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check, start, and wait if asked to."""
    with session_of(arguments) as session:
        checked = session.check(arguments.plan)
        for pattern in checked.patterns:
            print(
                f"{checked.name}: {pattern.title}, {pattern.samples} samples, coverage nominal "
                f"{pattern.coverage_nominal:.2%}, touched {pattern.coverage_touched:.2%}, dose "
                f"{pattern.coverage_dose:.2%}, {pattern.frame_time_ms:.1f} ms a frame"
            )
        print(
            f"{checked.frames} frames: {checked.total_time_s:.3g} s of beam, {checked.worst_area_e_per_a2:.4g} e/Å² in "
            f"the worst area, which has had {checked.area_e_per_a2:.4g}",
            flush=True,
        )
        if arguments.check:
            return 0
        number = session.start(arguments.plan, owned=False)
        print(f"scanning into {session.begun(number)}", flush=True)
        if arguments.wait:
            ended = session.wait(number)
            print(f"ended: {ended.explanation}; {ended.frames_completed} frames in {ended.recording}", flush=True)
    return 0
