"""``scancontrol export``: pictures out of a recording, calibrated TIFF or PNG with a scale bar."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scancontrol.recording import Recording
from scancontrol.recording.frame_lists import add_frames, frame_numbers

__all__ = ["add_parser", "run"]

KINDS = ("partial", "restoration", "interval")


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("export", help="write pictures of a recording", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="a recording")
    format_ = parser.add_mutually_exclusive_group(required=True)
    format_.add_argument("--tiff", action="store_true", help="float32 in counts, pixel size in microns, for measuring")
    format_.add_argument("--png", action="store_true", help="8-bit with scale bar, marked where it is restored")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    add_frames(parser)
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
