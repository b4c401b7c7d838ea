"""``scancontrol export``: a recording for other programs: pictures (TIFF, PNG) or arrays (CSV, NPZ, HDF5)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scancontrol.errors import InvalidInput
from scancontrol.processes.progress import progress
from scancontrol.recording import Recording
from scancontrol.recording.array_files import ARRAY_FORMATS, write_arrays
from scancontrol.recording.arrays import frame_arrays
from scancontrol.recording.frame_lists import add_channels, add_frames, channel_names, frame_numbers

__all__ = ["add_parser", "run"]

KINDS = ("partial", "restoration", "interval")


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("export", help="write pictures or arrays of a recording", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="a recording")
    format_ = parser.add_mutually_exclusive_group(required=True)
    format_.add_argument("--tiff", action="store_true", help="float32 in counts, pixel size in microns, for measuring")
    format_.add_argument("--png", action="store_true", help="8-bit with scale bar, marked where it is restored")
    format_.add_argument("--csv", action="store_true", help="the samples: y_nm, x_nm, dwell_us and each detector")
    format_.add_argument("--npz", action="store_true", help="samples, positions, dwell and every picture, for NumPy")
    format_.add_argument("--h5", action="store_true", help="the same as HDF5")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    add_frames(parser)
    add_channels(parser, "the first in pictures, all in arrays")
    parser.add_argument("--what", choices=KINDS, action="append", help="which pictures; may be repeated (default: all)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the files and say how many there are."""
    from scancontrol.figures.recording import export

    arrays = next((ending for ending in ARRAY_FORMATS if getattr(args, ending)), None)
    with Recording.open(args.file) as recording:
        frames = frame_numbers(args.frames, [frame.frame for frame in recording.frames])
        known = recording.header.channels
        channels = channel_names(args.channel, known, known[:1] if arrays is None else known)
        if arrays is None:
            kinds = tuple(args.what or KINDS)
            with progress(len(frames), "frames") as bar:
                written = export(
                    recording, args.out, "tiff" if args.tiff else "png", frames, kinds, channels, bar.update
                )
            print(f"{len(written)} pictures of {len(frames)} frames in {args.out}")
            return 0
        if args.what:
            raise InvalidInput("what", ", ".join(args.what), f"chooses pictures, not {arrays}", "leave it out")
        try:
            args.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput("out", args.out, f"is no folder ({error.strerror})", "give one to write into") from error
        with progress(len(frames), "frames") as bar:
            for frame in frames:
                write_arrays(frame_arrays(recording, frame, channels), args.out / f"frame_{frame:06d}.{arrays}")
                bar.update()
    print(f"{len(frames)} frames in {args.out}, a .{arrays} each")
    return 0
