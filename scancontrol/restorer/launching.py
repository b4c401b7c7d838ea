"""How a restorer of our own is started: its command line, and where it listens."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

from scancontrol.processes.parent import ChildProcess

__all__ = ["Child", "launch_own", "restorer_arguments"]

RESTORE_MODULE = "restore.serve"


class Child(Protocol):
    """What is needed of a process; :class:`~scancontrol.processes.parent.ChildProcess` is one."""

    @property
    def pid(self) -> int: ...
    def wait_ready(self, timeout_s: float) -> dict[str, Any]: ...
    def poll(self) -> int | None: ...
    def stop(self, timeout_s: float = 1.0) -> int: ...


def restorer_arguments(
    *,
    method: str = "auto",
    weights: Path | str | None = None,
    device: str = "auto",
    threads: int | None = None,
    memory: int = 1,
) -> list[str]:
    """The command line of the restorer's process."""
    arguments = ["--method", method, "--device", device]
    if weights is not None:
        arguments += ["--weights", str(weights)]
    if threads is not None:
        arguments += ["--threads", str(threads)]
    if memory != 1:
        arguments += ["--memory", str(memory)]
    return arguments


def _local_address() -> str:
    """Where a restorer of our own listens: a socket in a folder of ours alone, faster than tcp for whole images."""
    if sys.platform != "linux":
        return "tcp://127.0.0.1:0"
    folder = tempfile.mkdtemp(prefix="scancontrol-")  # mode 0700: nobody else can connect
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return f"ipc://{folder}/restorer"


def launch_own(arguments: list[str]) -> Child:
    """Start a restorer of our own, with this command line, on this machine."""
    return ChildProcess("restorer", RESTORE_MODULE, ["--address", _local_address(), *arguments])
