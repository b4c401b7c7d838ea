"""Plain reading and writing at fixed addresses of a file, with errors that say what to do."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import RecordingError, RecordingInUse

__all__ = [
    "Region",
    "check_room",
    "disk_error",
    "is_being_written",
    "open_exclusively",
    "pread_all",
    "pwrite_all",
    "reserve",
]

log = logging.getLogger(__name__)

_FLOCK = "hhqqi4x"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)
"""What a file system without locks answers."""


@dataclass(frozen=True)
class Region:
    """Where one data set lies: ``lanes`` of consecutive bytes, each cut into equal blocks.

    A table is one lane of one block; a stack of images one lane with a block per image; raw samples one
    lane per detector. ``offsets`` (lanes, blocks) are addresses in the file, ``lane_bytes`` is a lane's size.
    """

    offsets: NDArray[np.int64]
    block_bytes: int
    lane_bytes: int

    @classmethod
    def of(cls, data_set: h5py.Dataset) -> Region:
        """Note where an allocated, unfiltered data set lies.

        Raises:
            RecordingError: it is not allocated, or not stored plainly.
        """
        lanes = data_set.shape[0] if data_set.chunks and data_set.ndim == 2 else 1
        itemsize = data_set.dtype.itemsize
        lane_bytes = data_set.size * itemsize // lanes
        plain = not data_set.is_virtual and not data_set.external and data_set.compression is None
        if data_set.chunks is None:
            address = data_set.id.get_offset() if plain else None
            if address is None:
                raise RecordingError(f"data set {data_set.name} is not stored plainly: not a recording of ours")
            return cls(np.array([[address]], dtype=np.int64), lane_bytes, lane_bytes)
        block_bytes = int(np.prod(data_set.chunks)) * itemsize
        offsets = np.full((lanes, -(-lane_bytes // block_bytes)), -1, dtype=np.int64)
        axis = 1 if data_set.ndim == 2 else 0
        length = data_set.chunks[axis]

        def note(block: h5py.h5d.StoreInfo) -> None:
            lane = block.chunk_offset[0] if axis else 0
            if block.filter_mask == 0 and block.size == block_bytes:
                offsets[lane, block.chunk_offset[axis] // length] = block.byte_offset

        if plain:
            data_set.id.chunk_iter(note)
        if (offsets < 0).any():
            raise RecordingError(f"data set {data_set.name} is not stored plainly: not a recording of ours")
        return cls(offsets, block_bytes, lane_bytes)

    @property
    def end(self) -> int:
        """Address after the last byte."""
        tail = self.lane_bytes - (self.offsets.shape[1] - 1) * self.block_bytes
        return int(max(self.offsets[:, :-1].max(initial=0) + self.block_bytes, self.offsets[:, -1].max() + tail))

    def pieces(self, lane: int, first: int, count: int) -> Iterator[tuple[int, int]]:
        """Addresses and lengths of ``count`` bytes from byte ``first`` of ``lane``."""
        if first < 0 or count < 0 or first + count > self.lane_bytes:
            raise RecordingError(f"bytes {first} to {first + count} lie outside a region of {self.lane_bytes}")
        while count:
            block, inside = divmod(first, self.block_bytes)
            length = min(count, self.block_bytes - inside)
            yield int(self.offsets[lane, block]) + inside, length
            first += length
            count -= length

    def write(self, descriptor: int, lane: int, first: int, data: memoryview | bytes) -> None:
        """Put ``data`` (bytes) at byte ``first`` of ``lane``.

        Raises:
            OSError: the disk fails.
        """
        view = memoryview(data).cast("B")
        block, inside = divmod(first, self.block_bytes)
        if first >= 0 and inside + len(view) <= self.block_bytes and first + len(view) <= self.lane_bytes:
            if len(view):  # nearly always: a chunk, a row of a table
                pwrite_all(descriptor, view, int(self.offsets[lane, block]) + inside)
            return
        done = 0
        for address, length in self.pieces(lane, first, len(view)):
            pwrite_all(descriptor, view[done : done + length], address)
            done += length

    def read(self, descriptor: int, lane: int, first: int, count: int) -> bytes:
        """Get ``count`` bytes from byte ``first`` of ``lane``.

        Raises:
            OSError: the disk fails.
        """
        return b"".join(pread_all(descriptor, length, at) for at, length in self.pieces(lane, first, count))

    def read_into(self, descriptor: int, lane: int, first: int, target: memoryview) -> None:
        """Fill ``target`` (bytes) from byte ``first`` of ``lane``, without a copy.

        Raises:
            OSError: the disk fails.
        """
        done = 0
        for address, length in self.pieces(lane, first, len(target)):
            end = done + length
            while done < end:
                read = os.preadv(descriptor, [target[done:end]], address)
                if not read:
                    raise OSError(errno.EIO, "the file ends too early")
                done, address = done + read, address + read


def pwrite_all(descriptor: int, data: memoryview, address: int) -> None:
    """Write all of ``data`` at ``address``; a disk that takes only part of it is asked again."""
    while data:
        written = os.pwrite(descriptor, data, address)
        data = data[written:]
        address += written


def pread_all(descriptor: int, count: int, address: int) -> bytes:
    """Read ``count`` bytes at ``address``; the end of the file before that is an :class:`OSError`."""
    parts: list[bytes] = []
    while count:
        part = os.pread(descriptor, min(count, 1 << 26), address)
        if not part:
            raise OSError(errno.EIO, "the file ends too early")
        parts.append(part)
        count -= len(part)
        address += len(part)
    return b"".join(parts)


def reserve(descriptor: int, region: Region) -> None:
    """Allocate ``region`` on the disk now, so that it cannot run out later.

    Raises:
        OSError: the disk fails.
    """
    for lane in range(region.offsets.shape[0]):
        run_first, run_count = -1, 0
        for address, length in region.pieces(lane, 0, region.lane_bytes):
            if address == run_first + run_count and run_count:
                run_count += length
                continue
            if run_count:
                os.posix_fallocate(descriptor, run_first, run_count)
            run_first, run_count = address, length
        if run_count:
            os.posix_fallocate(descriptor, run_first, run_count)


def disk_error(path: Path, doing: str, error: OSError) -> RecordingError:
    """What the system said about ``path``, in words that say what to do about it."""
    remedy = {
        errno.ENOSPC: "free some space or record to another disk",
        errno.EDQUOT: "raise the quota or record to another disk",
        errno.EFBIG: "record to a file system without that limit, or record fewer frames",
        errno.EROFS: "mount it writable or record to another disk",
        errno.EACCES: "mend the permissions or record elsewhere",
        errno.ENOENT: "make the folder first",
        errno.EIO: "the disk is failing: record to another one",
    }.get(error.errno or 0, "see that its folder has room and can be written to, or record to another disk")
    return RecordingError(f"{doing} {path} failed: {error.strerror or error}; {remedy}")


def check_room(folder: Path, needed_bytes: int, frames: int) -> None:
    """Check that the disk can hold the samples of so many frames, all alike; a folder that is not there is found later.

    Raises:
        RecordingError: it cannot; says how many would fit.
    """
    try:
        disk = os.statvfs(folder)
    except OSError:
        return
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < needed_bytes:
        raise RecordingError(
            f"raw samples = {needed_bytes / 1e6:.1f} MB do not fit on the disk of {folder}, where "
            f"{free_bytes / 1e6:.1f} MB are free: room for about {frames * free_bytes // needed_bytes} of {frames} "
            "frames; free some space, record to another disk or plan fewer frames"
        )


def open_exclusively(path: Path) -> int:
    """Open for writing, one writer a file: an open-file lock, because HDF5's readers refuse a flock'ed file.

    What the name stands for when this returns is what is locked: read where its data sets lie only afterwards.

    Raises:
        RecordingError: it cannot be opened, or another process writes it.
    """
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise disk_error(path, "opening", error) from error
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _lock(fcntl.F_WRLCK))
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in NO_LOCKS:
                log.warning("the file system of %s has no locks: see that no other process writes it", path)
                return descriptor
            os.close(descriptor)
            raise RecordingInUse(f"{path} is being written by another process; end that one first") from error
        os.close(descriptor)  # its compact copy took its place before the lock was ours


def is_being_written(path: Path) -> bool:
    """Whether a process holds the file open for writing, here or, where the file system tells, on another machine."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _lock(fcntl.F_RDLCK))
        return int(struct.unpack(_FLOCK, found)[0]) != fcntl.F_UNLCK
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _lock(kind: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 0, 0)
