"""``scancontrol import``: a recording of samples that another program measured, from CSV, NPZ or HDF5."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scancontrol.errors import InvalidInput, within

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("import", help="make a recording of another program's samples", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="samples and where they were measured")
    parser.add_argument(
        "--shape", required=True, metavar="R,C", help="rows and columns of the picture, such as 512,512"
    )
    parser.add_argument("--fov-nm", required=True, type=float, metavar="NM", help="width of the field of view")
    parser.add_argument(
        "--dwell-us", type=float, metavar="US", help="of a sample, where FILE does not say (default: 1)"
    )
    parser.add_argument("--value", metavar="NAME,NAME", help="which columns of a CSV hold readings")
    parser.add_argument("--beam-current-pa", type=float, default=0.0, metavar="PA", help="for the dose; 0: not known")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the recording (default: FILE's name, .hspy)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the recording, and say how the file was understood."""
    from scancontrol.plan.positions import Field
    from scancontrol.recording.foreign import read_samples, record_samples

    within("beam_current_pa", args.beam_current_pa, 0, 1e9)
    within("fov_nm", args.fov_nm, 1e-3, 1e9)
    dwell_us = 1.0 if args.dwell_us is None else args.dwell_us
    within("dwell_us", dwell_us, 1e-3, 1e9)
    field = Field(_shape(args.shape), args.fov_nm, dwell_us)
    samples = read_samples(args.file, field, tuple(args.value.split(",")) if args.value else ())
    said = list(samples.said)
    if args.dwell_us is None and samples.points.shape[1] == 2:
        said.append("the dwell is not known: taken as 1 µs")
    out = args.out or args.file.with_suffix(".hspy")
    said += record_samples(out, samples, field, args.file.stem[:200], beam_current_pa=args.beam_current_pa)
    for sentence in said:
        print(sentence)
    print(f"{samples.values.shape[1]} samples of {', '.join(samples.channels)} in {out}")
    return 0


def _shape(text: str) -> tuple[int, int]:
    parts = text.replace("x", ",").split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise InvalidInput("shape", text, "is not rows,columns", "write it like 512,512")
    return int(parts[0]), int(parts[1])
