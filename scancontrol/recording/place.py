"""Where a recording's file is while it is written: still there, moved, or deleted under its writer.

A deleted file lives as long as its writer holds it open, with every sample in it: it can be put back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

from scancontrol.errors import RecordingError
from scancontrol.files import is_at
from scancontrol.recording.making import give_name, name_meanwhile

__all__ = ["FilePlace", "put_back"]

_LOOK_S = 0.5
_STEP_BYTES = 1 << 24


class FilePlace:
    """Looks now and then whether the file that ``path`` was is still there; ``path`` is where it is."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path, self._clock = path, clock
        self._descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)  # follows the name, takes no part in locks
        self._next = clock() + _LOOK_S

    def look(self, *, at_once: bool = False) -> Path | None:
        """The path it was moved to since the last look, if it was. Cheap: looks twice a second at most, or ``at_once``.

        Raises:
            RecordingError: the file was deleted, or its folder is gone.
        """
        now = self._clock()
        if self._descriptor < 0 or (now < self._next and not at_once):
            return None
        self._next = now + _LOOK_S
        if is_at(self._descriptor, self.path):
            return None
        with contextlib.suppress(OSError):
            there = Path(f"/proc/self/fd/{self._descriptor}").readlink()
            if is_at(self._descriptor, there):
                self.path = there
                return there
        self._next = now
        raise RecordingError(
            f"{self.path} was deleted, or its folder is gone, while it was written; it is put back as soon as there is "
            "a place for it"
        )

    def close(self) -> None:
        """Look no more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def put_back(descriptor: int, path: Path) -> bool:
    """Make sure that ``path`` is the open file or has its content; True if it had to be written again.

    Raises:
        RecordingError: there is no place to write it to.
    """
    if is_at(descriptor, path):
        return False
    made = name_meanwhile(path, "part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with made.open("wb", buffering=0) as target:
            _copy_sparse(descriptor, target.fileno())
            os.fsync(target.fileno())
        give_name(made, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            made.unlink(missing_ok=True)
        raise RecordingError(
            f"{path} cannot be put back ({error.strerror or error}); make its folder writable, with room in it"
        ) from error
    return True


def _copy_sparse(source: int, target: int) -> None:
    """Copy what is written and leave holes as holes."""
    size, at = os.fstat(source).st_size, 0
    os.ftruncate(target, size)
    while at < size:
        try:
            first = os.lseek(source, at, os.SEEK_DATA)
            at = os.lseek(source, first, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # nothing but holes from here on
            raise
        for start in range(first, at, _STEP_BYTES):
            os.pwrite(target, os.pread(source, min(_STEP_BYTES, at - start), start), start)
