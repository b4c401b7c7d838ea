"""A stranger's endless message: the microscope's server stays small, and goes on hearing everybody else."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from pathlib import Path

import pytest

from benchmarks._hostile import OPENING
from scancontrol.link.blank import blank_now
from scancontrol.processes.parent import ChildProcess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory of another process is read from /proc"),
]

MESSAGE_BYTES = 80 * 30_000_000
MORE_FOLLOWS = 3  # flags of a ZMTP frame: it is long, and not the last of its message
ROUNDS = 20  # connections, each with a new message
MOST_GROWTH_BYTES = 48 << 20


def highest_bytes(pid: int) -> int:
    """The most memory that a process ever held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def send_message(address: str, part_bytes: int) -> int:
    """One message of parts of this size, until it is whole or the connection is closed; the bytes that were taken."""
    host, port = address.removeprefix("tcp://").rsplit(":", 1)
    sent, piece = 0, bytes(min(part_bytes, 1 << 16))
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 5) as peer:
        peer.sendall(OPENING)
        while sent < MESSAGE_BYTES:
            peer.sendall(bytes([MORE_FOLLOWS]) + struct.pack(">Q", part_bytes))
            left = part_bytes
            while left:
                left -= peer.send(piece[:left])
                sent += len(piece)
    return sent


@pytest.mark.parametrize("part_bytes", [30_000_000, 60_000])
def test_a_message_of_gigabytes_costs_the_microscope_little_memory_and_it_goes_on_hearing(part_bytes: int) -> None:
    process = ChildProcess("microscope", "benchmarks._ramp", [])
    try:
        address = str(process.wait_ready(60)["address"])
        blank_now(address, name="before", timeout_s=20.0)
        before = highest_bytes(process.pid)
        for _ in range(ROUNDS):
            assert send_message(address, part_bytes) < MESSAGE_BYTES / 10, "it was not cut off"
        blank_now(address, name="after", timeout_s=20.0)
        assert highest_bytes(process.pid) - before < MOST_GROWTH_BYTES
    finally:
        process.stop(5.0)
