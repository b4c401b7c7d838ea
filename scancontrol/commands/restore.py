"""``scancontrol restore``: restore the frames of a recording, offline.

The restorer runs as a process of its own, ``python -m restore.offline``, which reads the samples and puts the
restorations into the file; here is the choice of frames, the copy where one is needed, and the progress bar.
Its standard output is one JSON object a line: ``{"ready": "offline", "method": ...}``, then
``{"restored": n, "of": total, "frame": ..., "made_by": {...}}`` for each frame, the fields of a
``Provenance``; before that, ``{"damaged": ..., "frame": ...}`` for each chunk of it that the disk damaged, and
``{"notice": ...}`` for what is corrected in the readings.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scancontrol.errors import InvalidInput
from scancontrol.processes.parent import ChildProcess
from scancontrol.processes.progress import progress, say_beside
from scancontrol.recording import Recording, RecordingReader
from scancontrol.recording.compact import copy_recording
from scancontrol.recording.data_sets import picture_name
from scancontrol.recording.frame_lists import add_channels, add_frames, channel_names, frame_list, frame_numbers

__all__ = ["add_parser", "run"]

_FRAME_S = 600.0
"""Longer than the strongest fill takes for the largest frame that is recorded."""


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("restore", help="restore a recording offline", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="a recording; restorations are put into it")
    parser.add_argument("--out", type=Path, metavar="FILE", help="leave FILE as it is and restore into a copy")
    add_frames(parser)
    add_channels(parser, "the first that is recorded")
    parser.add_argument("--redo", action="store_true", help="also frames that have a restoration already")
    parser.add_argument("--method", default="auto", help="a classical fill, generator, or auto")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights of the generator")
    parser.add_argument(
        "--memory",
        type=int,
        default=1,
        metavar="K",
        help="make each picture from so many frames, older ones moved by the drift that is measured (default: 1)",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Restore, and say what became of it."""
    with Recording.open(args.file) as recording:
        with_samples = [frame.frame for frame in recording.frames if frame.received]
        if not with_samples:
            raise InvalidInput("frames", "none", f"of {args.file} has a sample", "restore one that was scanned into")
        known = recording.header.channels
        wanted = {
            name: frame_numbers(args.frames, with_samples) for name in channel_names(args.channel, known, known[:1])
        }
        if not args.redo and args.out is None:  # a copy is made to be restored into
            wanted = {name: _without_restoration(recording, frames, name) for name, frames in wanted.items()}
        wanted = {name: frames for name, frames in wanted.items() if frames}
        if not wanted:
            print(f"{args.file}: every frame has its restoration; --redo makes them anew, --out FILE in a copy")
            return 0
        target = _target(args, recording, wanted)
    if args.out is not None:
        copy_recording(args.file, args.out, restorations="room for all")
    for name, frames in wanted.items():
        method = _restore(args, target, frames, name)
        of = f", {name}" if len(known) > 1 else ""
        print(f"{len(frames)} frames of {target}{of} restored by {method}")
    return 0


def _without_restoration(recording: RecordingReader, frames: list[int], channel: str) -> list[int]:
    stored = recording.stored("restoration", channel)
    done = {frame.frame for frame, there in zip(recording.frames, stored, strict=True) if there}
    return [frame for frame in frames if frame not in done]


def _restore(args: argparse.Namespace, target: Path, frames: list[int], channel: str) -> str:
    """Restore one detector's frames in a process of their own; returns by what."""
    method = "?"
    with _restorer(args, target, frames, channel) as process, progress(len(frames), "frames") as bar:
        for line in process.reports():
            method = str(line.get("made_by", line).get("method", method))
            if "damaged" in line:
                say_beside(bar, f"{target}: {line['damaged']} differ from their checksum and are left out")
            if "notice" in line:
                say_beside(bar, f"{target}: {line['notice']}")
            if "restored" in line:
                bar.update(int(line["restored"]) - bar.n)
    return method


def _target(args: argparse.Namespace, recording: RecordingReader, wanted: dict[str, list[int]]) -> Path:
    """Where the restorations go: into the recording itself if it has places for them."""
    if args.out is not None:
        return Path(args.out)
    places = recording.regions()
    rows = {frame.frame: row for row, frame in enumerate(recording.frames)}
    homeless: list[int | str] = [
        frame for frames in wanted.values() for frame in frames if recording.header.restoration_row(rows[frame]) is None
    ]
    homeless += [name for name in wanted if picture_name(recording.header, "restorations", name) not in places]
    if homeless or recording.header.keep_restorations == "last":
        raise InvalidInput(
            "restorations",
            recording.header.keep_restorations,
            f"is what {args.file} has places for, not every frame",
            "give --out FILE to restore into a copy",
        )
    return recording.path


@contextmanager
def _restorer(args: argparse.Namespace, target: Path, frames: list[int], channel: str) -> Iterator[ChildProcess]:
    """The process that restores. It is given time to end: a frame that it has begun is put into the file whole."""
    command = [str(target), "--frames", frame_list(frames), f"--channel={channel}"]
    command += ["--method", args.method, "--device", args.device, "--memory", str(args.memory)]
    if args.weights is not None:
        command += ["--weights", str(args.weights)]
    process = ChildProcess("restore.offline", "restore.offline", command, reports=True)
    try:
        yield process
    finally:
        process.stop(_FRAME_S)
