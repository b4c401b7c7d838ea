"""An append-only file of records that a crash cannot corrupt: one line each, checksum first.

``crc32 (8 hex digits) SPACE json NEWLINE``. A record is there when its line is whole; a line that a crash tore off at
the end of the file never was. A bad line with good ones after it is no crash but damage, and is refused: dose that
nobody knows any more must not be forgotten silently. For the same reason the number of the last record is kept in
the lock's file, too, and some room is kept on the disk so that what was exposed can be written down when it is full.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from scancontrol.errors import InvalidInput, LedgerInUse, StorageError
from scancontrol.files import is_at, writing

__all__ = ["Journal", "read_records"]

MAX_LINE_BYTES = 1 << 26
"""A path of a user's own points is written down with all its points."""

MAX_FILE_BYTES = 1 << 28

ROOM_BYTES = 1 << 20
"""Kept free for the journal alone; the accounts of a thousand scans."""

LOCK, ROOM = ".lock", ".room"

log = logging.getLogger(__name__)

Record = dict[str, Any]


def line_of(record: Record) -> bytes:
    """A record as its line."""
    text = msgspec.json.encode(record)
    return b"%08x " % zlib.crc32(text) + text + b"\n"


def read_records(path: Path) -> tuple[list[Record], int]:
    """All records of a file, and how many bytes of it they are. A torn end is left out.

    Raises:
        InvalidInput: the file is too large, or damaged before its end.
        StorageError: it cannot be read.
    """
    remedy = "restore it from a copy, or name a new specimen"
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InvalidInput("dose ledger", path, f"is above {MAX_FILE_BYTES} bytes", remedy)
        content = path.read_bytes()
    except OSError as error:
        raise StorageError("dose ledger", path, f"cannot be read ({error.strerror})", remedy) from error
    records: list[Record] = []
    good = 0
    lines = content.split(b"\n")
    for number, line in enumerate(lines):
        record = _record(line)
        if record is None:
            if any(_record(later) is not None for later in lines[number + 1 :]):
                raise InvalidInput("dose ledger", path, f"is damaged at line {number + 1}", remedy)
            break
        if number == len(lines) - 1:
            break  # whole, but its newline is lacking: it was never finished
        records.append(record)
        good += len(line) + 1
    return records, good


def _record(line: bytes) -> Record | None:
    if not 10 <= len(line) <= MAX_LINE_BYTES or line[8:9] != b" ":
        return None
    try:
        if int(line[:8], 16) != zlib.crc32(line[9:]):
            return None
        record = msgspec.json.decode(line[9:])
    except (ValueError, msgspec.DecodeError):
        return None
    return record if isinstance(record, dict) else None


class Journal:
    """The file, open for appending by one process at a time.

    Raises:
        LedgerInUse: another process has it.
        StorageError: the disk does not take a record.
    """

    def __init__(self, path: Path, *, sync: bool = False) -> None:
        self.path, self._sync = path, sync
        try:
            self._lock = os.open(path.with_name(LOCK), os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._refused(error) from error
        self._take_lock(self._lock)
        self._descriptor = -1
        self.bytes = 0
        self.has_room = False  # whether the room that is kept is there

    @property
    def in_place(self) -> bool:
        """Whether journal and lock still have their names: their folder may be removed under us."""
        return is_at(self._descriptor, self.path) and is_at(self._lock, self.path.with_name(LOCK))

    def take_place(self) -> None:
        """Make the folder again and lock it; what the journal held is to be written anew, with :meth:`replace`.

        Raises:
            LedgerInUse: another process has made one there meanwhile.
            StorageError: the folder cannot be made, or holds another journal.
        """
        remedy = "move it away, or put back the one that was there"
        if self.path.exists() and not is_at(self._descriptor, self.path):
            raise StorageError("dose ledger", self.path, "was replaced by another while it was in use", remedy)
        lock = self.path.with_name(LOCK)
        if is_at(self._lock, lock):
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._refused(error) from error
        self._take_lock(fresh)
        os.close(self._lock)
        self._lock, self.has_room = fresh, False

    def open(self) -> list[Record]:
        """The records that are there; what a crash tore is cut off, and appending goes on after it.

        Raises:
            InvalidInput: there were more once.
        """
        records, good = read_records(self.path) if self.path.exists() else ([], 0)
        known = self.last_known
        if known and (not records or int(records[-1].get("n", 0)) < known):
            have = f"ends at record {records[-1].get('n')}" if records else "is missing or empty"
            raise InvalidInput(
                "dose ledger",
                self.path,
                f"{have}, and {known} were written",
                f"restore it from a copy, name a new specimen, or remove {LOCK} beside it to go on without them",
            )
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            os.ftruncate(self._descriptor, good)
            os.lseek(self._descriptor, good, os.SEEK_SET)
        except OSError as error:
            raise self._refused(error) from error
        self.bytes = good
        self.keep_room()
        return records

    def _take_lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                problem = f"cannot be locked ({error.strerror})"
                remedy = "keep the ledgers on a disk of this machine: ledger in the daemon's file"
                raise StorageError("dose ledger", self.path.parent, problem, remedy) from error
            remedy = "end that daemon, or name another specimen"
            raise LedgerInUse("dose ledger", self.path.parent, "is in use by another process", remedy) from None

    @property
    def last_known(self) -> int:
        """The number of the last record, as the lock's file has it; 0 where nothing was ever written."""
        text = os.pread(self._lock, 32, 0).strip()
        return int(text) if text.isdigit() else 0

    def keep_room(self) -> bool:
        """Set the room aside again, where it was used; whether it is there."""
        if not self.has_room:
            try:
                descriptor = os.open(self.path.with_name(ROOM), os.O_RDWR | os.O_CREAT, 0o644)
                try:
                    os.posix_fallocate(descriptor, 0, ROOM_BYTES)
                finally:
                    os.close(descriptor)
                self.has_room = True
            except OSError:
                self._use_room()
        return self.has_room

    def _use_room(self) -> None:
        self.has_room = False
        self.path.with_name(ROOM).unlink(missing_ok=True)

    def append(self, *records: Record) -> None:
        """Write records, all or (after a failure) none. They are with the operating system when this returns."""
        lines = [line_of(record) for record in records]
        longest = max(map(len, lines))
        if longest > MAX_LINE_BYTES:
            raise InvalidInput(
                "dose ledger", f"record of {longest} bytes", f"is above {MAX_LINE_BYTES}", "give the path fewer points"
            )
        content = b"".join(lines)
        try:
            self._write(content)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self.has_room:
                raise self._refused(error) from error
            log.warning("the disk is full: the ledger uses the room that was kept for it")
            self._use_room()
            try:
                self._write(content)
            except OSError as again:
                raise self._refused(again) from again
        self.bytes += len(content)
        self._note(int(records[-1].get("n", 0)))

    def _write(self, content: bytes) -> None:
        try:
            written = os.write(self._descriptor, content)
            if written < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._sync:
                os.fdatasync(self._descriptor)
        except OSError:
            # What is half written is cut off again, so that the next record starts on a line of its own.
            os.ftruncate(self._descriptor, self.bytes)
            os.lseek(self._descriptor, self.bytes, os.SEEK_SET)
            raise

    def _note(self, number: int) -> None:
        """The number reaches the lock's file after its record: that file never knows of more than there is.

        A disk that refuses just that loses nothing: the record is written, and a lower number asks for less.
        """
        if not number:
            return
        try:
            os.pwrite(self._lock, b"%-31d\n" % number, 0)
        except OSError as error:
            log.warning("the ledger's last number, %d, could not be noted (%s); its record is written", number, error)

    def replace(self, records: Sequence[Record]) -> None:
        """Put these in place of all there are: the new file whole, or the old one."""
        content = b"".join(map(line_of, records))
        with writing(self.path, "dose ledger") as part:
            part.write_bytes(content)
            descriptor = os.open(part, os.O_RDWR)  # before it has its name: what is appended goes into the new file
        os.lseek(descriptor, 0, os.SEEK_END)
        os.close(self._descriptor)
        self._descriptor, self.bytes = descriptor, len(content)
        self._note(int(records[-1].get("n", 0)) if records else 0)

    def close(self) -> None:
        """Let the file and its lock go."""
        for descriptor in (self._descriptor, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._lock = -1

    def _refused(self, error: OSError) -> StorageError:
        return StorageError(
            "dose ledger",
            self.path,
            f"cannot be written ({error.strerror})",
            "make room: nothing is exposed that cannot be accounted for",
        )
