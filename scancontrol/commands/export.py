"""``scancontrol export``: a recording for other programs: pictures (TIFF, PNG) or arrays (CSV, NPZ, HDF5).

With ``--strain`` the maps of the crystal's strain are written instead: displacement, εxx, εyy, εxy, rotation, and a
deviation of each. The lattice is looked for in the samples, in a process of its own, ``python -m restore.strain``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scancontrol.errors import InvalidInput
from scancontrol.processes.parent import ChildProcess
from scancontrol.processes.progress import progress, say_beside
from scancontrol.recording import Recording
from scancontrol.recording.array_files import ARRAY_FORMATS, write_arrays
from scancontrol.recording.arrays import frame_arrays
from scancontrol.recording.frame_lists import add_channels, add_frames, channel_names, frame_list, frame_numbers

__all__ = ["add_parser", "run"]

_FRAME_S = 60.0  # to find a lattice in the largest frame, and more

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
    parser.add_argument("--strain", action="store_true", help="maps of how the crystal is strained: tiff, npz or h5")
    parser.add_argument(
        "--region", metavar="TOP,LEFT,ROWS,COLS", help="of --strain: pixels of the reference (default: the whole frame)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the files and say how many there are."""
    from scancontrol.figures.recording import export

    if args.strain:
        return _export_strain(args)
    if args.region is not None:
        raise InvalidInput("region", args.region, "is the reference of a strain", "ask for --strain, or leave it out")
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


def _export_strain(args: argparse.Namespace) -> int:
    """Have the strain's maps written; says of which frames there are none."""
    format_ = next((name for name in ("tiff", "npz", "h5") if getattr(args, name)), None)
    if format_ is None or args.what:
        asked = "--what" if args.what else "--png" if args.png else "--csv"
        raise InvalidInput("strain", asked, "does not hold maps of strain", "ask for --tiff, --npz or --h5 alone")
    with Recording.open(args.file) as recording:
        frames = frame_numbers(args.frames, [frame.frame for frame in recording.frames])
        known = recording.header.channels
        channels = channel_names(args.channel, known, known[:1])
    if len(channels) > 1:
        raise InvalidInput("channel", ", ".join(channels), "are several", "name the one whose lattice is looked for")
    command = [str(args.file), "--out", str(args.out), "--format", format_, f"--channel={channels[0]}"]
    command += ["--frames", frame_list(frames), *([] if args.region is None else ["--region", args.region])]
    process = ChildProcess("restore.strain", "restore.strain", command, reports=True)
    written = 0
    try:
        with progress(len(frames), "frames") as bar:
            for line in process.reports():
                if "skipped" in line:
                    say_beside(bar, f"frame {line['frame']}: {line['skipped']}")
                written += "files" in line
                if "written" in line:
                    bar.update(int(line["written"]) - bar.n)
    finally:
        process.stop(_FRAME_S)
    print(f"strain of {written} of {len(frames)} frames in {args.out}")
    return 0
