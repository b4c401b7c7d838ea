"""What the recording's tests share: small real paths, and samples that say where they belong."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.capabilities import Capabilities, DetectorChannel
from scancontrol.paths import Archimedean, CoverageGoal, PathRecipe, ScanPath, Serpentine, expand
from scancontrol.recording import Capacity, Header, Recording, RecordingWriter
from scancontrol.recording.layout import VERSION

SHAPE = (24, 32)
MICROSCOPE = Capabilities(name="bench STEM", detectors=(DetectorChannel(name="HAADF"), DetectorChannel(name="BF")))


def spiral() -> ScanPath:
    recipe = PathRecipe(
        pattern=Archimedean(coverage=CoverageGoal(value=0.3)), shape=SHAPE, fov_nm=16.0, dwell_us=2.0, dac_bits=16
    )
    return expand(recipe)


def serpentine() -> ScanPath:
    return expand(PathRecipe(pattern=Serpentine(), shape=SHAPE, fov_nm=16.0, dwell_us=2.0))


def header_for(paths: list[ScanPath], **changes: Any) -> Header:
    facts: dict[str, Any] = {
        "version": VERSION,
        "name": "test scan",
        "shape": paths[0].shape,
        "fov_nm": paths[0].fov_nm,
        "dwell_us": 2.0,
        "beam_current_pa": 20.0,
        "channels": ("HAADF", "BF"),
        "sample_dtype": "<u2",
        "started_utc_ns": 1_700_000_000_000_000_000,
        "keep_restorations": 1,
        "series_id": 1,
        "series_unique_id": "test",
        "specimen": None,
        "stage_nm": None,
        "capacity": Capacity.of(paths),
    }
    return Header(**(facts | changes))


def new_recording(path: Path, paths: list[ScanPath], *, fsync: bool = False, **changes: Any) -> RecordingWriter:
    return RecordingWriter.create(path, header_for(paths, **changes), "name: test scan\n", MICROSCOPE, fsync=fsync)


def samples_of(frame: int, first: int, count: int, channels: int = 2) -> NDArray[np.uint16]:
    """Every sample's value is a function of its frame, index and channel, so that none can be mistaken."""
    index = np.arange(first, first + count, dtype=np.uint64)
    mixed = index[None] * 40503 + frame * 9176 + np.arange(channels, dtype=np.uint64)[:, None] * 30011 + 1
    return (mixed % 65536).astype("<u2")


def write_frame(
    recording: RecordingWriter, frame: int, path: ScanPath, *, upto: int | None = None, step: int = 37
) -> None:
    recording.begin_frame(frame, path)
    end = path.count if upto is None else upto
    for first in range(0, end, step):
        count = min(step, end - first)
        now = 1000 * first
        answer = recording.write_chunk(frame, first, samples_of(frame, first, count), now, time.time_ns(), float(first))
        assert answer == first + count


def flip(file: Path, frame: int, index: int, channel: int = 0) -> None:
    """Turn one bit of one sample on the disk."""
    with Recording.open(file) as read:
        region, first = read.regions()["raw samples"], read.frame(frame).first
        address = next(at for at, _ in region.pieces(channel, 2 * (first + index), 2))
    content = bytearray(file.read_bytes())
    content[address] ^= 4
    file.write_bytes(content)
