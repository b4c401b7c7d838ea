"""Reading a recording, whoever wrote it and however it ended.

Everything is checked before it is used: the header against its bounds, the shape and kind of every data
set against the header, every address against the file's size, every row against the tables it points into.
A file that is truncated, foreign or nonsense is a :class:`RecordingError` that names what is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput, RecordingError
from scancontrol.recording.frame_samples import DamagedChunk, FrameSamples, SampleChecks, Verification
from scancontrol.recording.head import TEXT_LIMIT_BYTES, hdf5_of, read_head, read_regions
from scancontrol.recording.layout import TABLES
from scancontrol.recording.pictures import StoredPictures, StoredRestoration
from scancontrol.recording.regions import Region

if TYPE_CHECKING:
    from scancontrol.paths import PathRecipe

__all__ = ["RecordedFrame", "RecordedPath", "RecordingReader", "StoredRestoration"]

_CHUNKS_NAMED = 8


class RecordedFrame(msgspec.Struct, frozen=True):
    """What the recording says of one frame. Samples 0 to ``received`` of ``count`` are on the disk."""

    frame: int
    path: int
    first: int
    count: int
    received: int
    exposed: int | None  # as the microscope said at the end; None if it never came
    electrons: float
    started_monotonic_ns: int
    started_utc_ns: int
    reason: str

    @property
    def complete(self) -> bool:
        """Whether every sample of the path is here."""
        return self.received == self.count


@dataclass(frozen=True)
class RecordedPath:
    """One distinct path; its positions are rows ``first`` to ``first + count`` of the position tables."""

    path_id: str
    first: int
    count: int
    recipe: bytes  # JSON
    positions: int  # 0 not stored, 1 nominal only, 2 nominal and achieved


class RecordingReader:
    """An open recording.

    ``frames`` and ``paths`` are in the order of acquisition; ``plan_text`` is the plan's YAML.

    Raises:
        RecordingError: the file cannot be read; from every method that reads it.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._descriptor = -1
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            with hdf5_of(self._descriptor) as file:
                self.header, self.plan_text, self.capabilities = read_head(file, self._descriptor)
                self._regions = read_regions(file, self.header)
            self._pictures = StoredPictures(
                self.header, frozenset(self._regions), lambda name, first, count: self._read(name, 0, first, count)
            )
            self._check_extent()
            self._read_tables()
        except FileNotFoundError:
            raise RecordingError(f"{self.path} does not exist") from None
        except RecordingError as error:
            self.close()
            raise RecordingError(f"{self.path}: {error}") from error
        except Exception as error:  # h5py answers a damaged file with whatever its depths throw
            self.close()
            raise RecordingError(f"{self.path} is not a readable recording: {error}") from error

    @property
    def closed(self) -> bool:
        """Whether the recording was ended cleanly; if not, its writer still runs or died."""
        return bool(self._rows["status"]["closed"][0])

    @property
    def reason(self) -> str:
        """Why the recording ended; ``recording`` if it has not."""
        return _text(self._rows["status"]["reason"][0])

    @property
    def why_ended(self) -> str:
        """One sentence on why the recording ended, as page and terminal said it; empty where it does not tell."""
        if "why_ended" not in self._regions:
            return ""
        return _text(self._read("why_ended", 0, 0, TABLES["why_ended"].itemsize).rstrip(b"\0"))

    @property
    def electrons(self) -> float:
        """Electrons spent, as the microscope last stated them."""
        return float(self._rows["status"]["electrons"][0])

    @property
    def images_not_stored(self) -> int:
        """Pictures that found no room on the disk."""
        return int(self._rows["status"]["images_not_stored"][0])

    def regions(self) -> dict[str, Region]:
        """Where every data set lies in the file."""
        return dict(self._regions)

    def rows(self, table: str) -> NDArray[Any]:
        """The filled rows of ``status``, ``frames``, ``chunks`` or ``paths`` (a copy)."""
        return self._rows[table].copy()

    def stored(self, kind: Literal["partial", "restoration"], channel: str | None = None) -> NDArray[np.bool_]:
        """For each of ``frames``, in their order, whether such a picture of a detector (the first) is stored."""
        return self._pictures.stored(kind, [frame.frame for frame in self.frames], channel)

    def recipe(self, frame: int) -> PathRecipe:
        """The recipe of the frame's path; ``scancontrol.paths.expand`` makes the path of it, exact to the last bit."""
        from scancontrol.paths import PathRecipe

        entry = self.paths[self.frame(frame).path]
        try:
            recipe = msgspec.json.decode(entry.recipe, type=PathRecipe)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidInput) as error:
            raise RecordingError(f"{self.path}: the recipe of frame {frame} is damaged: {error}") from error
        if recipe.path_id != entry.path_id:
            raise RecordingError(f"{self.path}: the recipe of frame {frame} is not that of path {entry.path_id}")
        return recipe

    def frame(self, frame: int) -> RecordedFrame:
        """The frame with number ``frame``."""
        if frame not in self._row_of:
            raise RecordingError(f"{self.path} has no frame {frame}; it has {len(self.frames)}")
        return self.frames[self._row_of[frame]]

    def read_samples(self, frame: int, first: int = 0, count: int | None = None) -> FrameSamples:
        """Samples of a frame from index ``first``, at most those received, and which of them the disk damaged."""
        entry = self.frame(frame)
        count = entry.received - first if count is None else min(count, entry.received - first)
        return self._checks.read(frame, self._row_of[frame], first, max(count, 0))

    def samples(self, frame: int, first: int = 0, count: int | None = None) -> NDArray[Any]:
        """Samples (channels, n) of a frame from index ``first``: at most those received.

        Raises:
            RecordingError: the disk damaged any of them; names the frame and the chunk; :meth:`read_samples`
                gives the others.
        """
        read = self.read_samples(frame, first, count)
        if read.damaged:
            raise RecordingError(self._told(read.damaged))
        return read.values

    def _told(self, damaged: Sequence[DamagedChunk]) -> str:
        which = ", ".join(map(str, damaged[:_CHUNKS_NAMED]))
        more = f" and {len(damaged) - _CHUNKS_NAMED} more" if len(damaged) > _CHUNKS_NAMED else ""
        return f"{self.path}: {which}{more} differ from their checksum: the disk damaged them"

    def _values(self, row: int, first: int, count: int) -> NDArray[Any]:
        """Samples (channels, n) of the frame in ``row`` of the frame table, as they are on the disk."""
        dtype = np.dtype(self.header.sample_dtype)
        values = np.empty((len(self.header.channels), count), dtype=dtype)
        for lane in range(len(values)):
            place = (self.frames[row].first + first) * dtype.itemsize
            self._read_into("raw samples", lane, place, memoryview(values[lane]).cast("B"))
        return values

    def positions(self, frame: int) -> tuple[NDArray[np.float32], NDArray[np.float32] | None] | None:
        """Nominal and achieved positions (n, 2) = (y, x) in fractions of the field, as far as stored."""
        entry = self.paths[self.frame(frame).path]
        if entry.positions == 0:
            return None
        achieved = self._vectors("achieved", entry) if entry.positions == 2 else None
        return self._vectors("nominal", entry), achieved

    def partial(self, frame: int, channel: str | None = None) -> NDArray[np.float32] | None:
        """The gridded samples (rows, cols) of a frame and a detector (the first by default), if stored."""
        self.frame(frame)
        return self._pictures.partial(self._row_of[frame], channel)

    def restoration(self, frame: int, channel: str | None = None) -> StoredRestoration | None:
        """What was shown as the restoration of a frame and a detector (the first by default), if stored."""
        self.frame(frame)
        try:
            return self._pictures.restoration(self._row_of[frame], frame, channel)
        except RecordingError as error:
            raise RecordingError(f"{self.path}: {error}") from error

    def asked_of(self, frame: int) -> str:
        """The microscope's server that was asked for this frame and has not said how far it came; empty for none."""
        self.frame(frame)
        if "asked_of" not in self._regions:
            return ""
        size = TABLES["asked_of"].itemsize
        return _text(self._read("asked_of", 0, self._row_of[frame] * size, size).rstrip(b"\0"))

    def next_unexposed(self, frame: int) -> int:
        """Where to go on with a frame: its first sample that is not here."""
        return self.frame(frame).received if frame in self._row_of else 0

    def examine(self, told: Callable[[int], None] = lambda frames: None) -> Verification:
        """Read every sample against the checksum of its chunk; ``told`` is called with the frames done so far."""
        chunks = unchecked = samples = 0
        damaged: list[DamagedChunk] = []
        for row, frame in enumerate(self.frames):
            damaged += self._checks.read(frame.frame, row, 0, frame.received).damaged
            with_checksum, without = self._checks.checked(row)
            chunks, unchecked, samples = chunks + with_checksum, unchecked + without, samples + frame.received
            told(row + 1)
        return Verification(samples, unchecked, chunks, tuple(damaged))

    def verify(self) -> int:
        """Read every sample against the checksum of its chunk; return how many chunks carried one.

        Raises:
            RecordingError: chunks do not match; names them.
        """
        found = self.examine()
        if found.damaged:
            raise RecordingError(self._told(found.damaged))
        return found.chunks

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _check_extent(self) -> None:
        size = os.fstat(self._descriptor).st_size
        for name, region in self._regions.items():
            if region.end > size or (region.offsets < 0).any():
                raise RecordingError(f"{name} reaches to byte {region.end} of a file of {size}: it is truncated")

    def _read_tables(self) -> None:
        self._rows = {"status": self._table("status", 1)}
        status = self._rows["status"][0]
        for name, field in (("paths", "path_rows"), ("frames", "frame_rows"), ("chunks", "chunk_rows")):
            self._rows[name] = self._table(name, int(status[field]))
        self.paths = tuple(self._path(row) for row in self._rows["paths"])
        received = self._received()
        frames = self._rows["frames"]
        frames["received"] = received
        self.frames = tuple(map(self._frame, frames.tolist()))
        self._row_of = {frame.frame: row for row, frame in enumerate(self.frames)}
        self._checks = SampleChecks(self._rows["chunks"], self._values)
        if len(self._row_of) != len(self.frames):
            raise RecordingError("two frames carry the same number: the frame table is damaged")

    def _received(self) -> NDArray[np.uint64]:
        """The chunk table alone vouches for samples: how far each frame came, without a gap."""
        counts, chunks = self._rows["frames"]["count"], self._rows["chunks"]
        received = np.zeros(len(counts), dtype=np.uint64)
        if len(chunks) == 0:
            return received
        if (chunks["frame_row"] >= len(received)).any() or (chunks["count"] > self.header.capacity.samples).any():
            raise RecordingError("the chunk table points outside the frame table: it is damaged")
        chunks = chunks[np.lexsort((chunks["first_index"], chunks["frame_row"]))]
        rows, first = chunks["frame_row"], chunks["first_index"]
        ends = first + chunks["count"]
        wanted = np.where(rows[1:] == rows[:-1], ends[:-1], 0)
        if first[0] != 0 or (first[1:] != wanted).any():
            raise RecordingError("the chunk table has gaps: it is damaged")
        received[rows] = ends  # the last one of each frame stays
        if (received > counts).any():
            raise RecordingError("the chunk table holds more samples than the paths: it is damaged")
        return received

    def _path(self, row: Any) -> RecordedPath:
        room = self.header.capacity
        first, count, start, length = (int(row[k]) for k in ("first", "count", "recipe_first", "recipe_bytes"))
        if first + count > room.path_samples or start + length > room.recipe_bytes or length > TEXT_LIMIT_BYTES * 16:
            raise RecordingError("the path table points outside the file's tables: it is damaged")
        recipe = self._read("recipes", 0, start, length)
        return RecordedPath(_text(row["path_id"]), first, count, recipe, int(row["positions_written"]))

    def _frame(self, row: tuple[Any, ...]) -> RecordedFrame:
        frame, path, first, count, received, exposed, electrons, monotonic_ns, utc_ns, _, ended, _, reason = row
        if path >= len(self.paths) or first + count > self.header.capacity.samples or count != self.paths[path].count:
            raise RecordingError("the frame table points outside the file's tables: it is damaged")
        return RecordedFrame(
            frame,
            path,
            first,
            count,
            received,
            exposed if ended else None,
            electrons,
            monotonic_ns,
            utc_ns,
            reason.decode("utf-8", "replace"),
        )

    def _table(self, name: str, count: int) -> NDArray[Any]:
        dtype = TABLES[name]
        return np.frombuffer(bytearray(self._read(name, 0, 0, count * dtype.itemsize)), dtype=dtype)

    def _vectors(self, name: str, entry: RecordedPath) -> NDArray[np.float32]:
        data = self._read(name, 0, entry.first * 8, entry.count * 8)
        return np.frombuffer(data, dtype="<f4").reshape(-1, 2)

    def _read(self, name: str, lane: int, first: int, count: int) -> bytes:
        if self._descriptor < 0:
            raise RecordingError(f"{self.path} is closed")
        try:
            return self._regions[name].read(self._descriptor, lane, first, count)
        except OSError as error:
            raise RecordingError(f"reading {name} of {self.path} failed: {error.strerror or error}") from error

    def _read_into(self, name: str, lane: int, first: int, target: memoryview) -> None:
        if self._descriptor < 0:
            raise RecordingError(f"{self.path} is closed")
        try:
            self._regions[name].read_into(self._descriptor, lane, first, target)
        except OSError as error:
            raise RecordingError(f"reading {name} of {self.path} failed: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _text(value: Any) -> str:
    return bytes(value).decode("utf-8", "replace")
