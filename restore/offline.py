"""Restoring a recording after the fact: ``python -m restore.offline FILE --frames 0-9``.

Reads each frame's samples from the recording and puts the restoration into the place that it has for one; chunks that
the disk damaged are left out and said. Started
by ``scancontrol restore``, which shows the progress that is printed here, one JSON object a line. There is no beam
to keep up with, so ``auto`` without weights is the strongest classical method, however long it takes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from restore.engine import Engine
from restore.gridding import MIN_SAMPLES
from restore.loading import add_restorer_options, generator_ships, load_restorer, pick_device
from restore.process.memory import keep_freed_memory
from scancontrol.capabilities import CoilModel
from scancontrol.errors import ScanControlError
from scancontrol.paths import expand
from scancontrol.processes.child import Shutdown, add_follow_stdin
from scancontrol.recording import Recording
from scancontrol.recording.annotate import Annotator
from scancontrol.recording.data_sets import channel_of
from scancontrol.recording.frame_lists import add_frames, frame_numbers
from scancontrol.recording.reader import RecordingReader

__all__ = ["main", "restore_frames"]

_LOOKED_AT = 8  # frames of a path, for a delay of the readings
_STRONGEST_FILL = "spectral"


def restore_frames(
    file: Path, frames: Sequence[int], engine: Engine, shutdown: Shutdown | None = None, channel: str | None = None
) -> int:
    """Restore ``frames`` of the recording and store them; returns how many. Says each on standard output.

    ``channel`` names the detector; the first that is recorded by default.

    Raises:
        RecordingError: the file is no recording, is being written, or has no place for a restoration.
        InvalidInput: a frame or the detector is not in it.
    """
    done = 0
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
                _say(damaged=str(chunk), frame=frame)
            if used < MIN_SAMPLES:
                _say(restored=number, of=len(frames), frame=frame, skipped=f"{used} samples are too few")
                continue
            recipe = recording.recipe(frame)
            if recipe.path_id not in engine:
                coil = _with_delay(recording, recipe.path_id, frames, engine, coil, row)
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
            _say(restored=number, of=len(frames), frame=frame, made_by=msgspec.to_builtins(provenance))
    return done


def _with_delay(
    recording: RecordingReader, path_id: str, frames: Sequence[int], engine: Engine, coil: CoilModel, row: int
) -> CoilModel:
    """The coils' model, with the delay that the frames of a path show beyond it."""
    alike = [frame for frame in frames if recording.recipe(frame).path_id == path_id][:_LOOKED_AT]
    path = expand(recording.recipe(alike[0]))
    delay = engine.delay_of(path, coil, [recording.read_samples(frame).values[row] for frame in alike])
    if delay is None:
        return coil
    delay_us = delay.samples * float(path.dwell_us.mean())
    _say(notice=f"readings come {delay.samples:.1f} ± {delay.sd_samples:.1f} samples after the beam: corrected")
    return msgspec.structs.replace(coil, delay_us=coil.delay_us + delay_us)


def _say(**facts: Any) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m restore.offline", description=__doc__)
    parser.add_argument("file", type=Path, help="a recording with places for restorations")
    parser.add_argument("--channel", metavar="NAME", help="which detector (default: the first that is recorded)")
    add_frames(parser)
    add_restorer_options(parser)
    parser.add_argument(
        "--crystals",
        choices=("first", "each", "off"),
        default="first",
        help="when the generator looks for a lattice: before the first frame, in each frame by itself, or not",
    )
    add_follow_stdin(parser)
    options = parser.parse_args(arguments)
    shutdown = Shutdown(follow_stdin=options.follow_stdin)
    try:
        device = pick_device(options.device)
        keep_freed_memory()
        method = options.method
        if method == "auto" and options.weights is None and not generator_ships():
            method = _STRONGEST_FILL
        restorer = load_restorer(method, options.weights, device, options.precision, options.crystals)
        engine = Engine(restorer, device, memory=options.memory)
        _say(ready="offline", method=engine.restorer.name, device=str(device), threads=torch.get_num_threads())
        with Recording.open(options.file) as recording:
            frames = frame_numbers(options.frames, [frame.frame for frame in recording.frames])
        restore_frames(options.file, frames, engine, shutdown, options.channel)
    except ScanControlError as error:
        sys.stderr.write(f"restore.offline: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
