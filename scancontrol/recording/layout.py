"""Where everything in a recording lies: the tables' rows, and the shape of every data set (made in :mod:`.tree`).

The plan is known before the first electron, so the whole HDF5 file is made at arming: every group,
attribute and data set, at its final size, allocated early and never moved. After that no byte of HDF5's
own bookkeeping changes. Data goes in with ``pwrite`` at the addresses noted here, without the HDF5
library, which is why a process killed at any instant leaves a file that opens.

``/Experiments/*`` is HyperSpy's tree (file format 3.3); ``/recording/*`` is ours. Both are described in
``docs/reference/recording.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import numpy as np

from scancontrol.capabilities import check_detectors
from scancontrol.errors import InvalidInput, RecordingError
from scancontrol.paths import ScanPath
from scancontrol.recording.about import About
from scancontrol.restoration import Provenance

__all__ = [
    "CHUNK_ROW",
    "EXPERIMENTS",
    "FRAME_ROW",
    "LATER",
    "PATH_ROW",
    "RESERVED",
    "RESTORATION_ROW",
    "STATUS_ROW",
    "TABLES",
    "VERSION",
    "Capacity",
    "Header",
    "chunk_rows",
]

VERSION = 2
"""Of the format that is written; version 1, whose chunk table left most slow samples without a checksum, is read."""
STATUS_ROW = np.dtype(
    [
        ("closed", "<u4"),
        ("path_rows", "<u4"),
        ("frame_rows", "<u8"),
        ("chunk_rows", "<u8"),
        ("recipe_bytes", "<u8"),
        ("path_samples", "<u8"),
        ("samples", "<u8"),
        ("duplicate_samples", "<u8"),
        ("images_not_stored", "<u8"),
        ("electrons", "<f8"),
        ("ended_utc_ns", "<i8"),
        ("reason", "S24"),
    ]
)
FRAME_ROW = np.dtype(
    [
        ("frame", "<u8"),
        ("path", "<u8"),
        ("first", "<u8"),
        ("count", "<u8"),
        ("received", "<u8"),
        ("exposed", "<u8"),
        ("electrons", "<f8"),
        ("started_monotonic_ns", "<i8"),
        ("started_utc_ns", "<i8"),
        ("ended_utc_ns", "<i8"),
        ("ended", "<u4"),
        ("complete", "<u4"),
        ("reason", "S24"),
    ]
)
CHUNK_ROW = np.dtype(
    [
        ("frame_row", "<u8"),
        ("first_index", "<u8"),
        ("count", "<u8"),
        ("monotonic_ns", "<i8"),
        ("utc_ns", "<i8"),
        ("electrons", "<f8"),
        ("crc32", "<u4"),
        ("checked", "<u4"),
    ]
)
PATH_ROW = np.dtype(
    [
        ("path_id", "S32"),
        ("first", "<u8"),
        ("count", "<u8"),
        ("recipe_first", "<u8"),
        ("recipe_bytes", "<u8"),
        ("positions_written", "<u8"),
    ]
)
RESTORATION_ROW = np.dtype(
    [
        ("written", "<u4"),
        ("has_interval", "<u4"),
        ("frame", "<u8"),
        ("samples_used", "<u8"),
        ("withheld_rmse", "<f8"),
        ("utc_ns", "<i8"),
        ("method", "S64"),
        ("face", "S16"),
        ("weights_hash", "S64"),
    ]
)

TABLES = {
    "status": STATUS_ROW,
    "frames": FRAME_ROW,
    "chunks": CHUNK_ROW,
    "paths": PATH_ROW,
    "recipes": np.dtype("u1"),
    "nominal": np.dtype(("<f4", (2,))),
    "achieved": np.dtype(("<f4", (2,))),
    "dwell_us": np.dtype("<f4"),
    "partials_written": np.dtype("u1"),
    "asked_of": np.dtype("S64"),
    "restored": RESTORATION_ROW,
    "provenance": np.dtype(("S", Provenance.LIMIT_BYTES)),
    "why_ended": np.dtype("S1000"),
}
LATER = ("asked_of", "provenance", "why_ended")
"""What the first recordings did not have; nor had they pictures of any detector but the first."""
RESERVED = ("raw samples", "chunks", "frames", "paths", "recipes", "status", "asked_of", "why_ended")
"""What must not run out of room during a scan."""
EXPERIMENTS = ("raw samples", "partial frames", "restorations", "intervals")


def chunk_rows(samples: int, duration_us: float) -> int:
    """Rows of the chunk table for a frame: one each 1,024 samples and one each millisecond, whichever comes first.

    Chunks may be smaller still: neighbours share a row then, so a chunk is never refused for want of one.
    """
    return min(samples // 1024 + int(duration_us / 1000), samples) + 8


class Capacity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a recording has room for. ``samples`` is per channel; ``path_samples`` over distinct paths."""

    frames: int
    samples: int
    paths: int
    path_samples: int
    recipe_bytes: int
    chunks: int

    @classmethod
    def of(cls, paths: Iterable[ScanPath], durations_us: Iterable[float] | None = None) -> Capacity:
        """Room for one frame along each of ``paths``, repeats being stored once.

        ``durations_us`` are theirs, or longer; without them each path is expanded to know.
        """
        frames = samples = path_samples = recipe_bytes = chunks = 0
        seen: set[str] = set()
        known = None if durations_us is None else iter(durations_us)
        for path in paths:
            frames += 1
            samples += path.count
            chunks += chunk_rows(path.count, path.duration_us if known is None else next(known))
            if path.path_id not in seen:
                seen.add(path.path_id)
                path_samples += path.count
                recipe_bytes += len(msgspec.json.encode(path.recipe))
        return cls(
            frames=frames,
            samples=samples,
            paths=len(seen),
            path_samples=path_samples,
            recipe_bytes=recipe_bytes,
            chunks=chunks,
        )


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of a recording before its first sample. ``shape`` is (rows, cols).

    Raises:
        RecordingError: the first quantity that no recording can have.
    """

    version: int
    name: str
    shape: tuple[int, int]
    fov_nm: float
    dwell_us: float
    beam_current_pa: float
    channels: tuple[str, ...]
    sample_dtype: Literal["<u2", "<f4"]
    started_utc_ns: int
    series_id: int
    series_unique_id: str
    keep_restorations: int | Literal["last"]  # of every n-th frame, of none (0), or only the last one
    specimen: str | None
    stage_nm: tuple[float, float] | None  # (y, x) of the centre of the field on the specimen
    capacity: Capacity
    about: About = About()

    @property
    def pixel_size_nm(self) -> float:
        """Side of the square pixels."""
        return self.fov_nm / self.shape[1]

    @property
    def restorations(self) -> int:
        """How many restorations there is room for."""
        if self.keep_restorations == "last":
            return 1
        return -(-self.capacity.frames // self.keep_restorations) if self.keep_restorations else 0

    def restoration_row(self, frame_row: int) -> int | None:
        """Where the restoration of the frame in row ``frame_row`` is kept; None if it is not."""
        if self.keep_restorations == "last":
            return 0
        if not self.keep_restorations or frame_row % self.keep_restorations:
            return None
        return frame_row // self.keep_restorations

    def __post_init__(self) -> None:
        try:
            check_detectors(self.channels, "name each detector plainly")
        except InvalidInput as error:
            raise RecordingError(str(error)) from error
        rows, cols = self.shape
        bounds: tuple[tuple[str, float, float, float], ...] = (
            ("version", self.version, 1, VERSION),
            ("rows", rows, 1, 1 << 16),
            ("cols", cols, 1, 1 << 16),
            ("fov_nm", self.fov_nm, 1e-6, 1e9),
            ("dwell_us", self.dwell_us, 1e-6, 1e12),
            ("beam_current_pa", self.beam_current_pa, 0, 1e12),
            ("channels", len(self.channels), 1, 64),
            ("keep_restorations", 1 if self.keep_restorations == "last" else self.keep_restorations, 0, 1 << 32),
            ("capacity.frames", self.capacity.frames, 1, 1 << 24),
            ("capacity.samples", self.capacity.samples, 1, 1 << 44),
            ("capacity.paths", self.capacity.paths, 1, 1 << 24),
            ("capacity.path_samples", self.capacity.path_samples, 1, 1 << 44),
            ("capacity.recipe_bytes", self.capacity.recipe_bytes, 1, 1 << 40),
            ("capacity.chunks", self.capacity.chunks, self.capacity.frames, 1 << 36),
        )
        for quantity, value, low, high in bounds:
            if not low <= value <= high:
                raise RecordingError(f"{quantity} = {value} is outside {low:g} to {high:g}: no recording has that")

    def table_shape(self, name: str) -> tuple[int, ...]:
        """Shape of the table ``name`` of ``/recording``."""
        room = self.capacity
        return {
            "status": (1,),
            "frames": (room.frames,),
            "chunks": (room.chunks,),
            "paths": (room.paths,),
            "recipes": (room.recipe_bytes,),
            "nominal": (room.path_samples, 2),
            "achieved": (room.path_samples, 2),
            "dwell_us": (room.path_samples,),
            "partials_written": (room.frames,),
            "asked_of": (room.frames,),
            "restored": (self.restorations,),
            "provenance": (self.restorations,),
            "why_ended": (1,),
        }[name]

    def experiment_shape(self, name: str) -> tuple[int, ...]:
        """Shape of ``/Experiments/NAME/data``."""
        if name == "raw samples":
            return len(self.channels), self.capacity.samples
        return self.capacity.frames if name == "partial frames" else self.restorations, *self.shape

    @property
    def reserved_bytes(self) -> int:
        """What is allocated on the disk before the scan: raw samples and the tables that vouch for them."""
        samples = math.prod(self.experiment_shape("raw samples")) * self.experiment_dtype("raw samples").itemsize
        return samples + sum(
            math.prod(self.table_shape(name)[:1]) * TABLES[name].itemsize for name in RESERVED if name in TABLES
        )

    def experiment_dtype(self, name: str) -> np.dtype[Any]:
        """Kind of number in ``/Experiments/NAME/data``."""
        return np.dtype(self.sample_dtype if name == "raw samples" else "<f4")
