"""Makes a recording's file under a name of its own: whatever kills its maker, the final name is whole or absent.

The name says who makes it, so that what a killed process left is told from what another one is at.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import time
from pathlib import Path
from typing import Literal

from scancontrol.capabilities import Capabilities
from scancontrol.errors import RecordingError
from scancontrol.recording.layout import RESERVED, Header
from scancontrol.recording.regions import Region, check_room, disk_error, open_exclusively, reserve
from scancontrol.recording.tree import create_file

__all__ = ["clean_up", "give_name", "make_recording", "name_meanwhile", "refuse_existing"]

_NAME = re.compile(r"\..+\.hspy\.(?P<host>[\w-]+)\.(?P<process>\d+)\.(part|compact)")
_OLD_NAME = re.compile(r"\..+\.hspy\.compact")  # of version 1, which did not say who made it
_OLD_S = 3600.0


def make_recording(
    path: Path, header: Header, plan_text: str, capabilities: Capabilities, status: bytes
) -> tuple[dict[str, Region], int]:
    """Make the whole file with room for every raw sample reserved on the disk; ``status`` is its first state.

    Returns where each data set lies, and the descriptor by which this process alone writes it.

    Raises:
        RecordingError: the disk has no room, or there is such a file; none is left then.
    """
    check_room(path.parent, header.reserved_bytes, header.capacity.frames)
    refuse_existing(path)
    made, descriptor, doing = name_meanwhile(path, "part"), -1, "making"
    try:
        regions = create_file(made, header, plan_text, capabilities)
        descriptor = open_exclusively(made)
        doing = f"reserving {header.reserved_bytes / 1e6:.1f} MB for"
        for name in RESERVED:
            reserve(descriptor, regions[name])
        doing = "making"
        regions["status"].write(descriptor, 0, 0, status)
        give_name(made, path)
    except BaseException as error:
        if descriptor >= 0:
            os.close(descriptor)
        with contextlib.suppress(OSError):
            made.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise disk_error(path, doing, error) from error
        raise
    return regions, descriptor


def name_meanwhile(path: Path, purpose: Literal["part", "compact"]) -> Path:
    """Where the file ``path`` is made: hidden, in the same folder, this process's alone."""
    return path.with_name(f".{path.name}.{_host()}.{os.getpid()}.{purpose}")


def refuse_existing(path: Path) -> None:
    """Check that nothing is overwritten.

    Raises:
        RecordingError: ``path`` is there.
    """
    if os.path.lexists(path):
        raise RecordingError(f"{path} exists; a recording never overwrites: give another name")


def give_name(made: Path, path: Path) -> None:
    """Give the file ``made`` its final name, in one step that never overwrites.

    Raises:
        RecordingError: something of that name appeared meanwhile.
        OSError: the folder does not take it.
    """
    try:
        os.link(made, path)
    except FileExistsError:
        refuse_existing(path)
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        refuse_existing(
            path
        )  # a file system without links: two processes of one name in this instant are not told apart
        made.rename(path)
        return
    made.unlink()


def clean_up(folder: Path) -> list[Path]:
    """Remove what killed processes of this machine left half made in ``folder``; returns the files removed.

    What a process that runs is making, here or on another machine, is left alone.
    """
    removed = []
    for path in sorted(folder.glob(".*.hspy.*")):
        ours = _NAME.fullmatch(path.name)
        if ours is not None:
            left = ours["host"] == _host() and not _runs(int(ours["process"]))
        else:
            left = _OLD_NAME.fullmatch(path.name) is not None and _age_s(path) > _OLD_S
        if left:
            with contextlib.suppress(OSError):
                path.unlink()
                removed.append(path)
    return removed


def _host() -> str:
    return re.sub(r"[^\w-]", "-", socket.gethostname())[:40] or "host"


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
