"""Restoring many recordings: ``python -m restore.many FOLDER --workers 4``, or ``--scheduler ADDRESS``.

Each recording is a piece of work for :mod:`restore.process.cluster`. A piece begins where the recording is: frames that
have a restoration are left, so a piece whose worker died goes on elsewhere, and a second run does what the first could
not. Started by ``scancontrol restore``, for which it prints one JSON object a line: ``{"ready": ..., "recordings": n,
"frames": n}``, ``{"frames_done": n}`` over all recordings, and for each ``{"recording": ..., "frames": n}`` or
``{"recording": ..., "failed": why}``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from restore.engine import Engine
from restore.estimate.lattice.following import CrystalSearch
from restore.generator.resident import Precision
from restore.loading import add_restorer_options, load_offline, pick_device
from restore.offline import add_offline_options, restore_frames
from restore.process.cluster import add_crew_options, crew, tell
from restore.process.memory import keep_freed_memory
from scancontrol.errors import InvalidInput, ScanControlError
from scancontrol.processes import logs
from scancontrol.processes.child import Shutdown, add_follow_stdin, report
from scancontrol.recording import Recording
from scancontrol.recording.compact import copy_recording
from scancontrol.recording.frame_lists import add_channels, add_frames
from scancontrol.recording.unrestored import frames_to_restore, require_places

__all__ = ["Piece", "find_recordings", "main", "restore_piece"]

_FAILED = 1
_stop: Shutdown | None = None  # of the process that works alone; a worker is ended by its cluster


class Piece(msgspec.Struct, frozen=True):
    """One recording, and how it is to be restored.

    Attributes:
        source: the recording.
        target: where the restorations go: ``source``, or a copy, which is made if it is not there yet.
        frames: as a person lists them; None for all.
        channel: detectors by name, or ``all``; None for the first.
        redo: also frames that have a restoration.
        method, weights, memory, both_ways, device, precision, crystals: as of ``python -m restore.offline``.
    """

    source: Path
    target: Path
    frames: str | None = None
    channel: tuple[str, ...] | None = None
    redo: bool = False
    method: str = "auto"
    weights: Path | None = None
    memory: int = 1
    both_ways: bool = False
    device: str = "auto"
    precision: Precision = "auto"
    crystals: CrystalSearch = "first"


def find_recordings(paths: Sequence[Path]) -> list[Path]:
    """The recordings that are meant: files as they are named, and every ``.hspy`` in a folder, by name, each once.

    Raises:
        InvalidInput: a path is not there, or a folder holds none.
    """
    found: dict[Path, None] = {}
    for path in paths:
        inside = [path]
        if path.is_dir():
            inside = sorted(file for file in path.glob("*.hspy") if file.is_file() and not file.name.startswith("."))
        if not inside or not path.exists():
            raise InvalidInput("recordings", path, "holds none" if path.is_dir() else "is not there", "name another")
        found |= dict.fromkeys(file.resolve() for file in inside)
    return list(found)


def restore_piece(piece: Piece) -> int:
    """Restore what is not restored yet of one recording; returns how many frames. Tells each as it is done.

    Raises:
        ScanControlError: it is no recording, has no places, or cannot be restored as asked.
    """
    if piece.target != piece.source and not piece.target.exists():
        copy_recording(piece.source, piece.target, restorations="room for all")
    with Recording.open(piece.target) as recording:
        wanted = frames_to_restore(recording, piece.frames, piece.channel, redo=piece.redo)
        require_places(recording, wanted)
    if not wanted:
        return 0
    device = pick_device(piece.device)
    keep_freed_memory()
    restorer = load_offline(piece.method, piece.weights, device, piece.precision, piece.crystals)
    done, name = 0, str(piece.source)
    for channel, frames in wanted.items():
        engine = Engine(restorer, device, memory=piece.memory)
        say = partial(_tell_of, name, done)
        done += restore_frames(piece.target, frames, engine, _stop, channel, say, piece.both_ways)
    return done


def _tell_of(recording: str, before: int, **facts: Any) -> None:
    """What :func:`restore.offline.restore_frames` says of one detector, after ``before`` frames of others."""
    if "restored" in facts:
        facts["restored"] += before
    tell({"recording": recording, **facts})


def _pieces(options: argparse.Namespace) -> list[Piece]:
    sources = find_recordings(options.paths)
    targets = sources
    if options.out is not None:
        targets = [options.out.resolve() / source.name for source in sources]
        twice = {target for target in targets if targets.count(target) > 1}
        if twice:
            raise InvalidInput("out", options.out, f"would hold {twice.pop().name} twice", "restore one folder a time")
        options.out.mkdir(parents=True, exist_ok=True)
    weights = options.weights
    if weights is not None and weights.suffix:  # a name is one that ships
        weights = weights.resolve()
    channel = None if options.channel is None else tuple(options.channel)
    names = ("frames", "redo", "method", "memory", "both_ways", "device", "precision", "crystals")
    chosen = {name: getattr(options, name) for name in names}
    return [Piece(s, t, weights=weights, channel=channel, **chosen) for s, t in zip(sources, targets, strict=True)]


def _waiting(piece: Piece) -> int:
    """How many frames are to be restored; none of a file that will be refused when it is its turn."""
    try:
        with Recording.open(piece.target if piece.target.exists() else piece.source) as recording:
            return sum(map(len, frames_to_restore(recording, piece.frames, piece.channel, redo=piece.redo).values()))
    except ScanControlError:
        return 0


def run(options: argparse.Namespace, stop: Shutdown) -> int:
    """Restore everything; returns the exit code, 1 if a recording could not be.

    Raises:
        InvalidInput: there is no recording, or nobody to do the work.
    """
    pieces = _pieces(options)
    done: dict[str, int] = {}

    def hear(facts: dict[str, Any]) -> None:
        name = str(facts["recording"])
        if "restored" in facts:
            # Of a recording that another worker begins again the larger number is the truer one.
            done[name] = max(done.get(name, 0), int(facts["restored"]))
            report(frames_done=sum(done.values()))
        else:
            report(**facts)

    failed = 0
    with crew(options.workers, options.scheduler) as workers:
        report(ready="many", recordings=len(pieces), frames=sum(map(_waiting, pieces)))
        for index, outcome in workers.do(restore_piece, pieces, hear, stop.requested):
            name = str(pieces[index].source)
            if isinstance(outcome, Exception):
                failed += 1
                report(recording=name, failed=str(outcome))
            else:
                report(recording=name, frames=outcome)
    # A parent has heard which; it takes an exit code for the end of the work as a whole.
    return _FAILED if failed and not options.follow_stdin else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    global _stop
    parser = argparse.ArgumentParser(prog="python -m restore.many", description=__doc__)
    parser.add_argument("paths", type=Path, nargs="+", help="recordings, and folders of them")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="leave them as they are and restore into copies")
    parser.add_argument("--redo", action="store_true", help="also frames that have a restoration already")
    add_frames(parser)
    add_channels(parser, "the first that is recorded")
    add_restorer_options(parser)
    add_offline_options(parser)
    add_crew_options(parser)
    add_follow_stdin(parser)
    options = parser.parse_args(arguments)
    _stop = Shutdown(follow_stdin=options.follow_stdin)
    try:
        logs.configure("restore.many", verbose=False)
        return run(options, _stop)
    except ScanControlError as error:
        sys.stderr.write(f"restore.many: {error}\n")
        return 2


if __name__ == "__main__":
    # Workers import the pieces' work by the module's own name, not from a module that is __main__ here.
    from restore import many

    sys.exit(many.main())
