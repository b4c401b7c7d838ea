"""Where everything in a recording lies: the tree, the tables' rows, and the creation of the whole file.

The plan is known before the first electron, so the whole HDF5 file is made at arming: every group,
attribute and data set, at its final size, allocated early and never moved. After that no byte of HDF5's
own bookkeeping changes. Data goes in with ``pwrite`` at the addresses noted here, without the HDF5
library, which is why a process killed at any instant leaves a file that opens.

``/Experiments/*`` is HyperSpy's tree (file format 3.3); ``/recording/*`` is ours. Both are described in
``docs/reference/recording.md``.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import h5py
import msgspec
import numpy as np

from scancontrol.capabilities import Capabilities
from scancontrol.errors import RecordingError
from scancontrol.paths import ScanPath
from scancontrol.recording.about import About
from scancontrol.recording.regions import Region
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
    "create_file",
]

VERSION = 2
"""Of the format that is written; version 1, whose chunk table left most slow samples without a checksum, is read."""
SAMPLES_PER_BLOCK = 1 << 24
"""Samples of one channel that lie together; a block is also what HyperSpy loads at a time when lazy."""

PICTURE_BLOCKS = 1 << 14
"""Blocks that a stack of pictures is stored in, at most, as far as blocks stay below a gigabyte."""
_BLOCK_BYTES = 1 << 30

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
}
LATER = ("asked_of", "provenance")
"""What the first recordings did not have."""
RESERVED = ("raw samples", "chunks", "frames", "paths", "recipes", "status", "asked_of")
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
    def of(cls, paths: Iterable[ScanPath]) -> Capacity:
        """Room for one frame along each of ``paths``, repeats being stored once."""
        frames = samples = path_samples = recipe_bytes = chunks = 0
        seen: set[str] = set()
        for path in paths:
            frames += 1
            samples += path.count
            chunks += chunk_rows(path.count, path.duration_us)
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
    """What is known of a recording before its first sample. ``shape`` is (rows, cols)."""

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

    def check(self) -> None:
        """Raise :class:`RecordingError` naming the first quantity that no recording can have."""
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


def create_file(path: Path, header: Header, plan_text: str, capabilities: Capabilities) -> dict[str, Region]:
    """Make the whole file, close it, and return where each of its data sets lies.

    Nothing is allocated on the disk but the tree itself: the file is sparse until written or reserved.

    Raises:
        OSError: it cannot be made; none is left then.
    """
    try:
        with h5py.File(path, "w", libver=("earliest", "v110")) as file:
            return _build(file, header, plan_text, capabilities)
    except BaseException as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _plain(error) from error
        raise


def _plain(error: OSError) -> OSError:
    """HDF5's errors carry the system's own number and words somewhere inside."""
    number, words = re.search(r"errno = (\d+)", str(error)), re.search(r"error message = '([^']+)'", str(error))
    if number is None or words is None:
        return error
    return OSError(int(number[1]), words[1])


def _printable(text: str) -> str:
    """HDF5's texts end at the first zero byte, and nobody can read the other ones."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _build(file: h5py.File, header: Header, plan_text: str, capabilities: Capabilities) -> dict[str, Region]:
    file.attrs["file_format"] = "HyperSpy"
    file.attrs["file_format_version"] = "3.3"
    file.attrs["scancontrol_recording"] = np.uint32(header.version)
    ours = file.create_group("recording")
    for name, text in (
        ("header", msgspec.yaml.encode(header).decode()),
        ("plan", plan_text),
        ("capabilities", msgspec.yaml.encode(capabilities).decode()),
    ):
        ours.create_dataset(name, data=np.frombuffer(text.encode() or b"\n", dtype="u1"))
    data_sets: dict[str, h5py.Dataset] = {}
    for name, dtype in TABLES.items():
        shape = header.table_shape(name)
        if shape[0]:
            data_sets[name] = _data_set(ours, name, shape, dtype.base)
    for name in EXPERIMENTS:
        shape = header.experiment_shape(name)
        if shape[0]:
            data_sets[name] = _experiment(file, name, shape, header, capabilities)
    file.flush()
    return {name: Region.of(data_set) for name, data_set in data_sets.items()}


def _data_set(
    group: h5py.Group, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], block: tuple[int, ...] | None = None
) -> h5py.Dataset:
    """A data set allocated now and left unfilled: contiguous, or in blocks where HyperSpy may load lazily."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    if block is None:
        properties.set_layout(h5py.h5d.CONTIGUOUS)
    else:
        properties.set_chunk(block)
    kind = h5py.h5t.py_create(dtype, logical=True)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, properties))


def _pictures_in_block(shape: tuple[int, ...]) -> int:
    """One, so that HyperSpy loads one at a time; more where HDF5 would be busy for long with very many blocks."""
    frames, rows, cols = shape
    return min(-(-frames // PICTURE_BLOCKS), max(1, _BLOCK_BYTES // (4 * rows * cols)))


def _experiment(
    file: h5py.File, name: str, shape: tuple[int, ...], header: Header, capabilities: Capabilities
) -> h5py.Dataset:
    """One signal as HyperSpy reads it; lengths in nm, energies in keV, currents in nA, times in s."""
    group = file.create_group(f"Experiments/{name}")
    pixel_nm = header.pixel_size_nm
    if name == "raw samples":
        block: tuple[int, ...] = (1, min(shape[1], SAMPLES_PER_BLOCK))
        axes = [("detector", "", 1.0, True), ("dwell time", "µs", header.dwell_us, False)]
    else:
        block = (_pictures_in_block(shape), *header.shape)
        every = header.keep_restorations if name != "partial frames" and header.keep_restorations != "last" else 1
        axes = [("frame", "", float(every), True), ("y", "nm", pixel_nm, False), ("x", "nm", pixel_nm, False)]
    data_set = _data_set(group, "data", shape, header.experiment_dtype(name), block)
    for index, (axis, units, scale, navigate) in enumerate(axes):
        group.create_group(f"axis-{index}").attrs.update(
            {
                "_type": "UniformDataAxis",
                "name": axis,
                "units": units,
                "scale": scale,
                "offset": 0.0,
                "size": shape[index],
                "navigate": navigate,
                "is_binned": False,
            }
        )
    began = datetime.datetime.fromtimestamp(header.started_utc_ns // 1_000_000_000, datetime.UTC)
    metadata = group.create_group("metadata")
    metadata.create_group("General").attrs.update(
        {
            "title": _printable(f"{header.name}: {name}"),
            "date": began.date().isoformat(),
            "time": began.time().isoformat(),
            "time_zone": "UTC",
        }
    )
    metadata.create_group("Signal").attrs.update({"signal_type": "", "signal_origin": capabilities.origin})
    kind = "SEM" if capabilities.beam_energy_kev <= 40 else "TEM"
    column = metadata.create_group(f"Acquisition_instrument/{kind}")
    column.attrs.update(
        {
            "beam_energy": capabilities.beam_energy_kev,
            "beam_current": header.beam_current_pa / 1e3,
            "dwell_time": header.dwell_us / 1e6,
            "microscope": _printable(capabilities.name),
            "acquisition_mode": "STEM",
        }
    )
    if kind == "SEM":
        del column.attrs["acquisition_mode"]
    column.create_group("Detector").attrs["detector_type"] = _printable(", ".join(header.channels))
    group.create_group("original_metadata")
    group.create_group("learning_results")
    return data_set
