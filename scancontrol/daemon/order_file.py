"""What was wanted last, on the disk: so that a daemon that was killed does not go on with what was blanked or aborted.

One small file for each microscope in the recordings' folder, made when the daemon starts and written over in place, so
that a full disk still takes a Blank. Daemons of several microscopes may share a folder; of one microscope one daemon at
a time keeps its orders here.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from scancontrol.daemon.orders import Wanted
from scancontrol.errors import StorageError
from scancontrol.files import is_at

__all__ = ["OrderFile", "order_file_name"]

_PATTERN = "order-*.txt"
_BYTES = 64
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


def order_file_name(microscope: str) -> str:
    """The file's name for the microscope at this address."""
    return _PATTERN.replace("*", re.sub(r"[^\w.-]+", "_", microscope.removeprefix("tcp://")))


class OrderFile:
    """The file of the microscope at an address, open for this process.

    ``last`` is what the process before it had been told last. Where that was at another address, a Blank or an Abort
    of any process that is gone counts: what was cut off is rather ended than gone on with.

    Raises:
        StorageError: it cannot be made or read, or another daemon of this microscope keeps it.
    """

    def __init__(self, folder: Path, microscope: str) -> None:
        self._path = folder / order_file_name(microscope)
        try:
            known = self._path.exists()
            self._descriptor = self._opened()
            self.last: Wanted = _word(self._descriptor) if known else _of_those_gone(self._path)
            self.keep(self.last)  # all of its bytes are there from now on
        except OSError as error:
            raise self._refused(error) from error

    def keep(self, wanted: Wanted) -> None:
        """Put ``wanted`` in place of what was there.

        Raises:
            StorageError: the disk does not take it.
        """
        try:
            if not is_at(self._descriptor, self._path):  # removed under us, with its folder perhaps
                self._path.parent.mkdir(parents=True, exist_ok=True)
                gone, self._descriptor = self._descriptor, self._opened()
                os.close(gone)
            os.pwrite(self._descriptor, f"{wanted} ".ljust(_BYTES - 1).encode() + b"\n", 0)
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _opened(self) -> int:
        descriptor = os.open(self._path, _FLAGS, 0o644)
        if not _locked(descriptor):
            os.close(descriptor)
            remedy = "end that daemon, or give this one another output folder"
            raise StorageError("order file", self._path, "is kept by another daemon of this microscope", remedy)
        return descriptor

    def _refused(self, error: OSError) -> StorageError:
        remedy = "make room, or choose another output folder"
        return StorageError("order file", self._path, f"cannot be written ({error.strerror})", remedy)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _of_those_gone(own: Path) -> Wanted:
    """The most careful word of all files beside ``own`` that no process keeps now."""
    words: set[Wanted] = set()
    for path in own.parent.glob(_PATTERN):
        if path != own:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _locked(descriptor):
                    words.add(_word(descriptor))
            finally:
                os.close(descriptor)
    careful: tuple[Wanted, ...] = ("blank", "abort", "start")
    return next((word for word in careful if word in words), "")


def _word(descriptor: int) -> Wanted:
    words = os.pread(descriptor, _BYTES, 0).decode("ascii", "replace").split()
    for wanted in ("start", "blank", "abort"):
        if words[:1] == [wanted]:
            return wanted
    return ""
