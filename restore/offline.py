"""Restoring a recording after the fact: ``python -m restore.offline FILE --frames 0-9``.

Reads each frame's samples from the recording and puts the restoration into the place that it has for one; chunks that
the disk damaged are left out and said. Started by ``scancontrol restore``, which shows the progress that is printed
here, one JSON object a line.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from restore.both_ways import Later
from restore.engine import Engine
from restore.estimate.disagreement import Delay
from restore.estimate.late_frames import delay_of, delay_over, knowing
from restore.estimate.stream import Recalled
from restore.gridding import MIN_SAMPLES
from restore.loading import add_restorer_options, load_offline, pick_device
from restore.process.memory import keep_freed_memory
from scancontrol.capabilities import CoilModel, DetectorChannel
from scancontrol.errors import InvalidInput, ScanControlError
from scancontrol.paths import ScanPath, expand
from scancontrol.processes import logs
from scancontrol.processes.child import Shutdown, add_follow_stdin, report
from scancontrol.recording import Recording
from scancontrol.recording.annotate import Annotator
from scancontrol.recording.data_sets import channel_of
from scancontrol.recording.frame_lists import add_frames, frame_numbers
from scancontrol.recording.reader import RecordingReader
from scancontrol.restoration import FreshNotices

__all__ = ["add_offline_options", "main", "restore_frames"]

_LOOKED_AT = 8  # frames of a path, for a delay of the readings


def restore_frames(
    file: Path,
    frames: Sequence[int],
    engine: Engine,
    shutdown: Shutdown | None = None,
    channel: str | None = None,
    say: Callable[..., None] | None = None,
    both_ways: bool = False,
) -> int:
    """Restore ``frames`` of the recording and store them; returns how many.

    Each is told to ``say``, by default as a line of JSON on standard output.

    ``channel`` names the detector; the first that is recorded by default. With ``both_ways`` a picture is made from
    frames after it, too, as many as the engine remembers of those before it.

    Raises:
        RecordingError: the file is no recording, is being written, or has no place for a restoration.
        InvalidInput: a frame or the detector is not in it; both ways without a memory.
    """
    if both_ways and engine.memory == 1:
        raise InvalidInput("both ways", "memory 1", "is of single frames", "give --memory K")
    done, say, fresh = 0, say or report, FreshNotices()
    with Recording.open(file) as recording, Annotator(file) as target:
        coil = recording.capabilities.coil
        name = channel_of(recording.header, channel)
        row, detector = recording.header.channels.index(name), recording.capabilities.detector(name)
        kept = _Readings(recording, frames, engine, row, detector, coil, say)

        def in_reverse(frame: int, place: int, block: int) -> Recalled | None:
            stopped = shutdown is not None and shutdown.requested()
            return None if stopped else kept.recalled(frame, place, f"{file}, in reverse, {block}")

        later = Later(frames, engine.memory, in_reverse) if both_ways else None
        for number, frame in enumerate(frames, 1):
            reverse = None if later is None else later.of(number - 1)
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
            result = engine.restore(
                samples, kept.registered(frame), sound, stream=str(file), frame=frame, reverse=reverse
            )
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


@dataclass
class _Readings:
    """One detector's readings of a recording's frames, whose paths an engine is told as they are needed."""

    recording: RecordingReader
    frames: Sequence[int]
    engine: Engine
    row: int
    detector: DetectorChannel | None  # with the afterglow that the frames have shown
    coil: CoilModel  # with their delays
    say: Callable[..., None]
    looked: bool = False  # at the first frames together, for a delay

    def registered(self, frame: int) -> str:
        """The frame's path, known to the engine."""
        recipe = self.recording.recipe(frame)
        if not self.looked:
            self.looked = True
            self._find_delay_over_frames()
        if recipe.path_id not in self.engine:
            self._find_delay(recipe.path_id)
            self.engine.register(expand(recipe), self.coil, self.detector)
        return recipe.path_id

    def recalled(self, frame: int, place: int, stream: str) -> Recalled | None:
        """What is remembered beside a frame that has this place in a stream; None of one of too few samples."""
        read = self.recording.read_samples(frame)
        if int(read.sound.sum()) < MIN_SAMPLES:
            return None
        path_id = self.registered(frame)
        self.engine.restore(read.values[self.row], path_id, read.sound, stream=stream, frame=place)
        return self.engine.recalled(stream, path_id)

    def _find_delay(self, path_id: str) -> None:
        """Add the delay that the frames of a path show beyond what the coils' model has."""
        alike = [frame for frame in self.frames if self.recording.recipe(frame).path_id == path_id][:_LOOKED_AT]
        path = expand(self.recording.recipe(alike[0]))
        values = [self.recording.read_samples(frame).values[self.row] for frame in alike]
        self._correct(delay_of(path, self.coil, values, self.detector), path)

    def _find_delay_over_frames(self) -> None:
        """Add the delay that the first frames show together, where each has a path of its own."""
        frames = self.frames[:_LOOKED_AT]
        recipes = [self.recording.recipe(frame) for frame in frames]
        if len({recipe.path_id for recipe in recipes}) == 1:
            return
        paths = [expand(recipe) for recipe in recipes]
        values = [self.recording.read_samples(frame).values[self.row] for frame in frames]
        self._correct(delay_over(paths, self.coil, values, self.detector), paths[0])

    def _correct(self, delay: Delay | None, path: ScanPath) -> None:
        if delay is not None:
            self.say(notice=f"{delay.late}: corrected")
            self.coil, self.detector = knowing(delay, self.coil, self.detector, float(path.dwell_us.mean()))


def add_offline_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--crystals``, of :func:`restore.loading.load_offline`, and ``--both-ways``."""
    parser.add_argument("--both-ways", action="store_true", help="make pictures from as many later frames, too")
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
    add_offline_options(parser)
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
        restore_frames(options.file, frames, engine, shutdown, options.channel, both_ways=options.both_ways)
    except ScanControlError as error:
        sys.stderr.write(f"restore.offline: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
