"""What can be wrong before a scan, looked at one by one; each finding says what to do.

Nothing here moves the beam: the microscope is asked as an observer.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scancontrol.errors import (
    InvalidInput,
    LeaseHeld,
    LedgerInUse,
    LinkError,
    RequestRefused,
    ScanControlError,
    StorageError,
    VersionMismatch,
)
from scancontrol.link.link import MicroscopeLink
from scancontrol.processes.parent import ChildFailed, ChildProcess
from scancontrol.transport.endpoints import check_address
from scancontrol.transport.keys import ClientSecurity

__all__ = ["Finding", "clock", "disk", "keys", "ledger", "microscope", "port", "restorer"]

Level = Literal["ok", "note", "wrong"]

_PROBE_BYTES = 64 << 20
_SLOW_MB_S = 32.0  # 16 bit at 8 MSa/s, twice over
_LOW_BYTES = 5 << 30
_LARGE_OFFSET_S = 1.0


@dataclass(frozen=True)
class Finding:
    """One check: what was found, and what to do about it where it is wrong."""

    check: str
    level: Level
    found: str
    remedy: str = ""


def port(name: str, number: int, host: str = "127.0.0.1") -> Finding:
    """Whether a TCP port can be bound; 0 always can."""
    if number == 0:
        return Finding(name, "ok", "any free port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as error:
            return Finding(
                name,
                "wrong",
                f"{host}:{number} cannot be bound ({error.strerror})",
                "end the process that has it, or choose another port (0 is any free one)",
            )
    return Finding(name, "ok", f"{host}:{number} is free")


def keys(address: str, security: ClientSecurity | None) -> Finding:
    """Whether the microscope's address may be used with these keys."""
    try:
        check_address(address, security)
    except InvalidInput as error:
        return Finding("keys", "wrong", f"{error.quantity} = {error.value} {error.limit}", error.remedy)
    if security is None:
        return Finding("keys", "ok", "none needed: the microscope is on this machine")
    return Finding("keys", "ok", f"{security.secret_key_file} is its owner's alone")


def disk(folder: Path, clock_s: Callable[[], float] = time.perf_counter) -> Iterator[Finding]:
    """Room, and how fast samples reach the disk itself."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        probe = folder / f".doctor-{os.getpid()}"
        size = min(_PROBE_BYTES, free // 4)
        content = os.urandom(1 << 20)
        began = clock_s()
        try:
            with probe.open("wb") as file:
                for _ in range(max(1, size >> 20)):
                    file.write(content)
                file.flush()
                os.fsync(file.fileno())
            speed = max(1, size >> 20) * 1.048576 / max(clock_s() - began, 1e-9)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        yield Finding("disk", "wrong", f"{folder} cannot be written ({error.strerror})", "choose another output folder")
        return
    room = Finding("disk room", "ok", f"{free / 1e9:.1f} GB free in {folder}")
    if free < _LOW_BYTES:
        room = Finding("disk room", "wrong", room.found, "make room: a recording reserves all of its samples at once")
    yield room
    if speed < _SLOW_MB_S:
        yield Finding(
            "disk speed",
            "wrong",
            f"{speed:.0f} MB/s to the disk itself, {_SLOW_MB_S:g} are wanted",
            "record to a local disk: the beam waits for one that is slow",
        )
    else:
        yield Finding("disk speed", "ok", f"{speed:.0f} MB/s to the disk itself")


def clock() -> Finding:
    """Whether the clocks that stamp samples are worth it."""
    monotonic, utc = time.get_clock_info("monotonic"), time.get_clock_info("time")
    if not monotonic.monotonic or monotonic.resolution > 1e-6:
        return Finding(
            "clock",
            "wrong",
            f"the monotonic clock steps by {monotonic.resolution:g} s",
            "use a machine with a clock of at least microseconds",
        )
    if time.time() < 1_700_000_000:
        return Finding("clock", "wrong", f"it is {time.strftime('%Y-%m-%d', time.gmtime())} here", "set it (NTP)")
    return Finding("clock", "ok", f"monotonic {monotonic.resolution * 1e9:g} ns, UTC {utc.resolution * 1e9:g} ns")


def microscope(address: str, security: ClientSecurity | None, timeout_s: float = 3.0) -> Iterator[Finding]:
    """What the microscope answers to an observer."""
    try:
        with MicroscopeLink(address, security=security, operator="doctor", observer=True) as link:
            known = link.connect(timeout_s)
            deadline = time.monotonic() + timeout_s
            while (status := link.status) is None and time.monotonic() < deadline:
                link.receive(0.05)
            offset, bound = link.clock_offset_ns, link.clock_error_ns
    except VersionMismatch as error:
        yield Finding("microscope", "wrong", str(error), "install the same release of scancontrol on both machines")
        return
    except (LeaseHeld, RequestRefused) as error:
        yield Finding("microscope", "wrong", str(error), "see who operates it, or raise its bound on observers")
        return
    except ScanControlError as error:
        remedy = "start its server; see that address, firewall and, off loopback, both ends' keys are right"
        yield Finding("microscope", "wrong", str(error), remedy)
        return
    limit = "states no dose limit" if known.dose_limit_e_per_a2 is None else f"limit {known.dose_limit_e_per_a2:g} e/Å²"
    yield Finding("microscope", "ok", f"{known.name}, {known.origin}: {known.beam_current_pa:g} pA, {limit}")
    if status is None:
        yield Finding("heartbeat", "wrong", "it answers hello and no heartbeat", "see its server's log")
        return
    lease = "nobody operates it" if status.operator is None else f"operated by {status.operator}"
    yield Finding("heartbeat", "ok", f"{status.state}, beam {'ON' if status.beam_on else 'blanked'}, {lease}")
    if offset is not None and bound is not None:
        apart_s = abs(status.utc_ns - time.time_ns()) / 1e9
        found = f"UTC {apart_s * 1e3:.1f} ms apart, monotonic known to {bound * 1e-3:.0f} µs"
        wrong = apart_s > _LARGE_OFFSET_S
        yield Finding("clocks", "wrong" if wrong else "ok", found, "set both machines' clocks (NTP)" if wrong else "")


def ledger(open_: Callable[[], None]) -> Finding:
    """Whether the specimen's dose ledger can be opened and written."""
    try:
        open_()
    except LedgerInUse as error:
        return Finding("dose ledger", "note", f"{error.value} {error.limit}", error.remedy)
    except (InvalidInput, StorageError) as error:
        return Finding("dose ledger", "wrong", f"{error.value} {error.limit}", error.remedy)
    return Finding("dose ledger", "ok", "whole, and can be written")


def restorer(arguments: list[str], timeout_s: float = 60.0) -> Iterator[Finding]:
    """Start the restorer for real: torch, the device and the weights answer for themselves, or say what is wrong."""
    began = time.monotonic()
    try:
        child = ChildProcess("restorer", "restore.serve", arguments)
    except OSError as error:
        yield Finding("restorer", "wrong", f"cannot be started ({error.strerror})", "reinstall scancontrol")
        return
    try:
        facts = child.wait_ready(timeout_s)
    except (ChildFailed, LinkError) as error:
        yield Finding("restorer", "wrong", str(error), "acquisition works without it; mend what it says, or reinstall")
        return
    finally:
        child.stop(2.0)
    took_s = time.monotonic() - began
    yield Finding("restorer", "ok", f"{facts.get('method')} is ready after {took_s:.1f} s")
    device = str(facts.get("device"))
    if device.startswith("cuda"):
        yield Finding("GPU", "ok", device)
    else:
        yield Finding("GPU", "note", f"none used: restoring on {device}", "with one, install a CUDA build of torch")
    weights = str(facts.get("weights_hash") or "")
    if weights:
        yield Finding("weights", "ok", f"whole, hash {weights}")
    else:
        yield Finding("weights", "note", "none: a classical fill restores", "name a generator's weights to use one")
