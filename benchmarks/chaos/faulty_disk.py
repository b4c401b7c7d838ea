"""``python -m benchmarks.chaos.faulty_disk CONTROL ARGUMENTS``: scancontrol on a disk that can be slow or read-only.

The file CONTROL says how every write of a recording fares from now on: ``slow 0.05`` waits so many seconds first,
``read_only`` is refused as a file system mounted read-only refuses it, anything else (or no file) is left alone. A full
disk needs no stand-in: the harness sets the process's own file size limit, and the kernel refuses.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path

from scancontrol.cli import main


def _install(control: Path) -> None:
    real = os.pwrite

    def pwrite(descriptor: int, data: memoryview, address: int) -> int:
        try:
            kind, _, amount = control.read_text().partition(" ")
        except OSError:
            kind, amount = "", ""
        if kind == "slow":
            time.sleep(float(amount))
        elif kind == "read_only":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(descriptor, data, address)

    os.pwrite = pwrite  # type: ignore[assignment]


if __name__ == "__main__":
    _install(Path(sys.argv[1]))
    sys.argv[1:] = sys.argv[2:]
    sys.exit(main())
