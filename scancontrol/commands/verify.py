"""``scancontrol verify``: read every sample of recordings against its checksum, and say what the disk damaged.

Exit code 0: every sample is as it was measured. 1: some are damaged, or a file cannot be read. Samples without a
checksum, which only recordings of format version 1 have, are counted and change nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from scancontrol.errors import RecordingError
from scancontrol.recording import Recording

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("verify", help="check the samples of recordings", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="a recording")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Verify each file; one line a file, and one for each damaged chunk."""
    sound = True
    for file in args.files:
        try:
            sound &= _verify(file)
        except RecordingError as error:
            sound = False
            print(f"unreadable  {error}", file=sys.stderr)
    return 0 if sound else 1


def _verify(file: Path) -> bool:
    with Recording.open(file) as recording:
        found = recording.examine()
        version, frames = recording.header.version, len(recording.frames)
        state = recording.reason if recording.closed else "not ended"
    about = f"{file}: format {version}, {state}, {frames} frames, {found.samples} samples of each channel"
    unchecked = f", {found.unchecked_samples} without a checksum" if found.unchecked_samples else ""
    damaged = sum(chunk.end - chunk.first_index for chunk in found.damaged)
    if not damaged:
        print(f"sound       {about}{unchecked}")
        return True
    print(f"damaged     {about}, {damaged} of them in damaged chunks{unchecked}")
    for chunk in found.damaged:
        print(f"            {chunk} differ from their checksum")
    return False
