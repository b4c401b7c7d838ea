"""What a supervisor shows of the restorer, how it starts one, and what it needs of a process."""

from __future__ import annotations

import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

__all__ = ["Child", "RestorerStatus", "local_address", "restorer_arguments"]


class Child(Protocol):
    """What is needed of a process; :class:`~scancontrol.processes.parent.ChildProcess` is one."""

    @property
    def pid(self) -> int: ...
    def wait_ready(self, timeout_s: float) -> dict[str, Any]: ...
    def poll(self) -> int | None: ...
    def stop(self, timeout_s: float = 1.0) -> int: ...


@dataclass(frozen=True)
class RestorerStatus:
    """The restorer as its supervisor sees it. ``state`` is as the live page names it; counts are of complete frames."""

    state: Literal["off", "starting", "ready", "dead", "restarting"] = "off"
    restarts: int = 0
    queue: int = 0
    restored: int = 0
    dropped: int = 0
    missed: int = 0  # dropped ones included
    method: str | None = None
    device: str | None = None
    weights_hash: str = ""
    pid: int | None = None
    error: str | None = None  # why it is not ready


def restorer_arguments(
    *, method: str = "auto", weights: Path | str | None = None, device: str = "auto", threads: int | None = None
) -> list[str]:
    """The command line of the restorer's process."""
    arguments = ["--method", method, "--device", device]
    if weights is not None:
        arguments += ["--weights", str(weights)]
    if threads is not None:
        arguments += ["--threads", str(threads)]
    return arguments


def local_address() -> str:
    """Where a restorer of our own listens: on Linux a local socket without a file, faster than tcp for whole images."""
    return f"ipc://@scancontrol-restorer-{secrets.token_hex(16)}" if sys.platform == "linux" else "tcp://127.0.0.1:0"
