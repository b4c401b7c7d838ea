"""``scancontrol export``: pictures out of a recording, calibrated TIFF or PNG with a scale bar."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scancontrol.errors import InvalidInput
from scancontrol.recording import Recording

__all__ = ["add_parser", "frame_numbers", "run"]

KINDS = ("partial", "restoration", "interval")


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("export", help="write pictures of a recording", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="a recording")
    format_ = parser.add_mutually_exclusive_group(required=True)
    format_.add_argument("--tiff", action="store_true", help="float32 in counts, pixel size in microns, for measuring")
    format_.add_argument("--png", action="store_true", help="8-bit with scale bar, marked where it is restored")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    parser.add_argument("--frames", metavar="N,N-N", help="which frames, such as 0,4-7 (default: all)")
    parser.add_argument("--what", choices=KINDS, action="append", help="which pictures; may be repeated (default: all)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the pictures and say how many there are."""
    from scancontrol.figures.recording import export

    with Recording.open(args.file) as recording:
        frames = frame_numbers(args.frames, [frame.frame for frame in recording.frames])
        written = export(recording, args.out, "tiff" if args.tiff else "png", frames, tuple(args.what or KINDS))
    print(f"{len(written)} pictures of {len(frames)} frames in {args.out}")
    return 0


def frame_numbers(text: str | None, known: list[int]) -> list[int]:
    """The frames that ``text`` names (``0,4-7``), all of ``known`` for None.

    Raises:
        InvalidInput: it is anything else, or a frame that is not known.
    """
    if text is None:
        return known
    chosen: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InvalidInput("frames", text, "is not a list of frames", "write it like 0,4-7")
        low, high = int(first), int(last or first)
        wanted = [frame for frame in known if low <= frame <= high]
        if low not in known or high not in known or high < low:
            there = f"{known[0]} to {known[-1]}" if known else "none"
            raise InvalidInput("frames", part.strip(), "is not in the recording", f"choose of its frames: {there}")
        chosen += wanted
    return chosen
