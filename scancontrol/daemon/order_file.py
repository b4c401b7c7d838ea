"""What was wanted last, on the disk: so that a daemon that was killed does not go on with what was blanked or aborted.

One small file in the recordings' folder, made when the daemon starts and written over in place, so that a full disk
still takes a Blank.
"""

from __future__ import annotations

import os
from pathlib import Path

from scancontrol.daemon.orders import Wanted
from scancontrol.errors import StorageError
from scancontrol.files import is_at

__all__ = ["ORDER_FILE", "OrderFile"]

ORDER_FILE = "order.txt"
_BYTES = 64
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


class OrderFile:
    """The file, open for this process. ``last`` is what the process before it had been told last.

    Raises:
        StorageError: it cannot be made or read.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ORDER_FILE
        try:
            self._descriptor = os.open(self._path, _FLAGS, 0o644)
            words = os.pread(self._descriptor, _BYTES, 0).decode("ascii", "replace").split()
            self.last: Wanted = _known(words[0] if words else "")
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
                gone, self._descriptor = self._descriptor, os.open(self._path, _FLAGS, 0o644)
                os.close(gone)
            os.pwrite(self._descriptor, f"{wanted} ".ljust(_BYTES - 1).encode() + b"\n", 0)
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _refused(self, error: OSError) -> StorageError:
        remedy = "make room, or choose another output folder"
        return StorageError("order file", self._path, f"cannot be written ({error.strerror})", remedy)


def _known(word: str) -> Wanted:
    for wanted in ("start", "blank", "abort"):
        if word == wanted:
            return wanted
    return ""
