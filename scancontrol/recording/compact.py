"""Giving back the room of what was planned but never scanned."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from scancontrol.errors import RecordingError
from scancontrol.recording.data_sets import data_sets
from scancontrol.recording.layout import TABLES, Header
from scancontrol.recording.making import give_name, name_meanwhile, refuse_existing
from scancontrol.recording.reader import RecordingReader
from scancontrol.recording.regions import Region, disk_error
from scancontrol.recording.tree import create_file

__all__ = ["compact", "copy_recording"]

_STEP_BYTES = 1 << 24


def compact(path: Path) -> bool:
    """Rewrite the recording at ``path`` without unused room and put it in the old one's place.

    The old file stays until the new one is whole on the disk. False if there was nothing to give back, or
    no room for the copy: the recording is then as good as before, only larger.
    """
    fresh = name_meanwhile(path, "compact")
    try:
        _copy_into(fresh, path, "as they are")
        fresh.replace(path)
    except (OSError, RecordingError):
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        return False
    return True


def copy_recording(
    source: Path, target: Path, *, restorations: Literal["as they are", "room for all"] = "as they are"
) -> None:
    """Copy a recording without its unused room; with ``room for all``, restorations of every frame have a place.

    Raises:
        RecordingError: ``target`` exists or cannot be written; no file is left then.
    """
    refuse_existing(target)
    fresh = name_meanwhile(target, "part")
    try:
        _copy_into(fresh, source, restorations)
        give_name(fresh, target)
    except OSError as error:
        raise disk_error(target, "copying into", error) from error
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)


def _copy_into(target: Path, source: Path, restorations: Literal["as they are", "room for all"]) -> None:
    with RecordingReader(source) as reader:
        frames, status = max(1, len(reader.frames)), reader.rows("status")[0]
        capacity = msgspec.structs.replace(
            reader.header.capacity,
            frames=frames,
            samples=max(1, int(status["samples"])),
            paths=max(1, len(reader.paths)),
            path_samples=max(1, int(status["path_samples"])),
            recipe_bytes=max(1, int(status["recipe_bytes"])),
            chunks=max(int(status["chunk_rows"]), frames),
        )
        header = msgspec.structs.replace(reader.header, capacity=capacity)
        if restorations == "room for all":
            header = msgspec.structs.replace(header, keep_restorations=1)
        regions = create_file(target, header, reader.plan_text, reader.capabilities)
        with target.open("r+b", buffering=0) as file:
            _copy(reader, header, regions, file.fileno())
            os.fsync(file.fileno())


def _copy(reader: RecordingReader, header: Header, regions: dict[str, Region], target: int) -> None:
    same_places = header.keep_restorations == reader.header.keep_restorations
    descriptor = os.open(reader.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sources = reader.regions()
        rows = {name: len(reader.rows(name)) for name in ("status", "frames", "chunks", "paths")}
        for wanted in data_sets(header):
            name, kind = wanted.name, wanted.kind
            if name not in regions or name not in sources:
                continue
            region = regions[name]
            spans = [(0, region.lane_bytes)]
            if name in rows:
                spans = [(0, rows[name] * TABLES[name].itemsize)]
            elif kind == "partial frames":
                spans = _written(reader, "partial", wanted.channel)
            elif kind in ("restorations", "intervals", "restored", "provenance") and not same_places:
                spans = []
            elif kind in ("restorations", "intervals"):
                spans = _written(reader, "restoration", wanted.channel)
            elif name in ("nominal", "achieved", "dwell_us") and not any(p.positions for p in reader.paths):
                spans = []
            for lane in range(region.offsets.shape[0]):
                for first, count in spans:
                    for start in range(first, first + count, _STEP_BYTES):
                        length = min(_STEP_BYTES, first + count - start)
                        region.write(target, lane, start, sources[name].read(descriptor, lane, start, length))
    finally:
        os.close(descriptor)


def _written(reader: RecordingReader, kind: Literal["partial", "restoration"], channel: str) -> list[tuple[int, int]]:
    """The byte spans of the pictures that exist: the others stay holes."""
    size = reader.header.shape[0] * reader.header.shape[1] * 4
    rows = np.flatnonzero(reader.stored(kind, channel))
    places = [int(row) if kind == "partial" else reader.header.restoration_row(int(row)) for row in rows]
    return [(place * size, size) for place in places if place is not None]
