"""``scancontrol restore``: restore the frames of recordings, offline.

Of one recording the restorer runs as a process of its own, ``python -m restore.offline``, which reads the samples and
puts the restorations into the file; here is the choice of frames, the copy where one is needed, and the progress bar.
Its standard output is one JSON object a line: ``{"ready": "offline", "method": ...}``, then
``{"restored": n, "of": total, "frame": ..., "made_by": {...}}`` for each frame, the fields of a
``Provenance``; before that, ``{"damaged": ..., "frame": ...}`` for each chunk of it that the disk damaged, and
``{"notice": ...}`` for what is corrected in the readings. Several recordings, and folders of them, are restored by
``python -m restore.many``, in one process or by the workers of a Dask cluster.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scancontrol.processes.parent import ChildProcess
from scancontrol.processes.progress import progress, say_beside
from scancontrol.recording import Recording
from scancontrol.recording.compact import copy_recording
from scancontrol.recording.frame_lists import add_channels, add_frames, frame_list
from scancontrol.recording.unrestored import frames_to_restore, require_places

__all__ = ["add_parser", "run"]

_FRAME_S = 600.0
"""Longer than the strongest fill takes for the largest frame that is recorded."""


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("restore", help="restore recordings offline", description=__doc__)
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="a recording, or a folder of them; restored in place"
    )
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="leave FILE as it is and restore into a copy; of several, a folder"
    )
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
    parser.add_argument(
        "--both-ways", action="store_true", help="with --memory: make each picture from as many later frames, too"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto")
    parser.add_argument("--workers", type=int, metavar="N", help="share recordings among N processes of this machine")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="share them among the workers of this Dask scheduler, tcp://HOST:8786"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Restore, and say what became of it."""
    alone = len(args.files) == 1 and not args.files[0].is_dir()
    return _restore_one(args) if alone and args.workers is args.scheduler is None else _restore_many(args)


def _restore_one(args: argparse.Namespace) -> int:
    (file,) = args.files
    with Recording.open(file) as recording:
        # A copy is made to be restored into, whatever is in it.
        wanted = frames_to_restore(recording, args.frames, args.channel, redo=args.redo or args.out is not None)
        if not wanted:
            print(f"{file}: every frame has its restoration; --redo makes them anew, --out FILE in a copy")
            return 0
        if args.out is None:
            require_places(recording, wanted)
        several = len(recording.header.channels) > 1
        target = recording.path if args.out is None else Path(args.out)
    if args.out is not None:
        copy_recording(file, args.out, restorations="room for all")
    for name, frames in wanted.items():
        method = _restore(args, target, frames, name)
        print(f"{len(frames)} frames of {target}{f', {name}' if several else ''} restored by {method}")
    return 0


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


def _restore_many(args: argparse.Namespace) -> int:
    """Say each recording as it is done; 1 if one of them could not be restored."""
    command = [*map(str, args.files), *_options(args), *(f"--channel={name}" for name in args.channel or ())]
    if args.frames is not None:
        command += ["--frames", args.frames]
    if args.redo:
        command += ["--redo"]
    for name in ("out", "workers", "scheduler"):
        if (value := getattr(args, name)) is not None:
            command += [f"--{name}", str(value)]
    restored = failed = 0
    with _child("restore.many", command) as process, progress(0, "frames") as bar:
        for line in process.reports():
            name = str(line.get("recording", ""))
            for word in ("damaged", "notice"):
                if word in line:
                    say_beside(bar, f"{name}: {line[word]}")
            if "failed" in line:  # it names the file by itself
                say_beside(bar, str(line["failed"]))
                failed += 1
            restored += "recording" in line and "frames" in line
            if "ready" in line:
                bar.total = int(line["frames"])
            if "frames_done" in line:
                bar.update(int(line["frames_done"]) - bar.n)
    print(f"{restored} recordings restored, {failed} could not be")
    return 1 if failed else 0


@contextmanager
def _restorer(args: argparse.Namespace, target: Path, frames: list[int], channel: str) -> Iterator[ChildProcess]:
    told = [str(target), "--frames", frame_list(frames), f"--channel={channel}", *_options(args)]
    with _child("restore.offline", told) as process:
        yield process


def _options(args: argparse.Namespace) -> list[str]:
    """What both processes are told of how to restore."""
    told = ["--method", args.method, "--device", args.device, "--memory", str(args.memory)]
    told += ["--both-ways"] if args.both_ways else []
    return told if args.weights is None else [*told, "--weights", str(args.weights)]


@contextmanager
def _child(module: str, command: list[str]) -> Iterator[ChildProcess]:
    """The process that restores. It is given time to end: a frame that it has begun is put into the file whole."""
    process = ChildProcess(module, module, command, reports=True)
    try:
        yield process
    finally:
        process.stop(_FRAME_S)
