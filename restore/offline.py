"""Restoring a recording after the fact: ``python -m restore.offline FILE --frames 0-9``.

Reads each frame's samples from the recording and puts the restoration into the place that it has for one; chunks that
the disk damaged are left out and said. Started by ``scancontrol restore``, which shows the progress that is printed
here, one JSON object a line.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import torch

from restore.engine import Engine
from restore.gridding import MIN_SAMPLES
from restore.loading import add_restorer_options, load_offline, pick_device
from restore.process.memory import keep_freed_memory
from scancontrol.capabilities import CoilModel
from scancontrol.errors import ScanControlError
from scancontrol.paths import expand
from scancontrol.processes import logs
from scancontrol.processes.child import Shutdown, add_follow_stdin, report
from scancontrol.recording import Recording
from scancontrol.recording.annotate import Annotator
from scancontrol.recording.data_sets import channel_of
from scancontrol.recording.frame_lists import add_frames, frame_numbers
from scancontrol.recording.reader import RecordingReader
from scancontrol.restoration import FreshNotices

__all__ = ["add_crystals", "main", "restore_frames"]

_LOOKED_AT = 8  # frames of a path, for a delay of the readings


def restore_frames(
    file: Path,
    frames: Sequence[int],
    engine: Engine,
    shutdown: Shutdown | None = None,
    channel: str | None = None,
    say: Callable[..., None] | None = None,
) -> int:
    """Restore ``frames`` of the recording and store them; returns how many.

    Each is told to ``say``, by default as a line of JSON on standard output.

    ``channel`` names the detector; the first that is recorded by default.

    Raises:
        RecordingError: the file is no recording, is being written, or has no place for a restoration.
        InvalidInput: a frame or the detector is not in it.
    """
    done, say, fresh = 0, say or report, FreshNotices()
    with Recording.open(file) as recording, Annotator(file) as target:
        coil = recording.capabilities.coil
        name = channel_of(recording.header, channel)
        row, detector = recording.header.channels.index(name), recording.capabilities.detector(name)
        for number, frame in enumerate(frames, 1):
            if shutdown is not None and shutdown.requested():
                break
            read = recording.read_samples(frame)
            samples, sound = read.values[row], read.sound
            used = int(sound.sum())
            for chunk in read.damaged:
                say(damaged=str(chunk), frame=frame)
            if used < MIN_SAMPLES:
                say(restored=number, of=len(frames), frame=frame, skipped=f"{used} samples are too few")
                continue
            recipe = recording.recipe(frame)
            if recipe.path_id not in engine:
                coil = _with_delay(recording, recipe.path_id, frames, engine, coil, row, say)
                engine.register(expand(recipe), coil, detector)
            result = engine.restore(samples, recipe.path_id, sound, stream=str(file), frame=frame)
            provenance = msgspec.structs.replace(result.made_by, samples_used=used)
            target.write_restoration(
                frame,
                result.estimate.float().numpy(),
                None if result.interval is None else result.interval.float().numpy(),
                provenance,
                channel=name,
            )
            done += 1
            for notice in fresh.of(provenance.notices):
                say(notice=f"frame {frame}: {notice}")
            say(restored=number, of=len(frames), frame=frame, made_by=msgspec.to_builtins(provenance))
    return done


def _with_delay(
    recording: RecordingReader,
    path_id: str,
    frames: Sequence[int],
    engine: Engine,
    coil: CoilModel,
    row: int,
    say: Callable[..., None],
) -> CoilModel:
    """The coils' model, with the delay that the frames of a path show beyond it."""
    alike = [frame for frame in frames if recording.recipe(frame).path_id == path_id][:_LOOKED_AT]
    path = expand(recording.recipe(alike[0]))
    delay = engine.delay_of(path, coil, [recording.read_samples(frame).values[row] for frame in alike])
    if delay is None:
        return coil
    delay_us = delay.samples * float(path.dwell_us.mean())
    say(notice=f"{delay.late}: corrected")
    return msgspec.structs.replace(coil, delay_us=coil.delay_us + delay_us)


def add_crystals(parser: argparse.ArgumentParser) -> None:
    """Add ``--crystals``, of :func:`restore.loading.load_offline`."""
    parser.add_argument(
        "--crystals",
        choices=("first", "each", "off"),
        default="first",
        help="when the generator looks for a lattice: before the first frame, in each frame by itself, or not",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m restore.offline", description=__doc__)
    parser.add_argument("file", type=Path, help="a recording with places for restorations")
    parser.add_argument("--channel", metavar="NAME", help="which detector (default: the first that is recorded)")
    add_frames(parser)
    add_restorer_options(parser)
    add_crystals(parser)
    add_follow_stdin(parser)
    options = parser.parse_args(arguments)
    shutdown = Shutdown(follow_stdin=options.follow_stdin)
    try:
        logs.configure("restore.offline", verbose=False)
        device = pick_device(options.device)
        keep_freed_memory()
        restorer = load_offline(options.method, options.weights, device, options.precision, options.crystals)
        engine = Engine(restorer, device, memory=options.memory)
        report(ready="offline", method=engine.restorer.name, device=str(device), threads=torch.get_num_threads())
        with Recording.open(options.file) as recording:
            frames = frame_numbers(options.frames, [frame.frame for frame in recording.frames])
        restore_frames(options.file, frames, engine, shutdown, options.channel)
    except ScanControlError as error:
        sys.stderr.write(f"restore.offline: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
