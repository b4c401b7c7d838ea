"""Strangers at a server's door: how many there may be, and how much they may send."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import ExitStack

import pytest
import zmq

from scancontrol.transport import doorman as doors
from scancontrol.transport.doorman import Doorman
from scancontrol.transport.endpoints import bind
from scancontrol.transport.inbox import MOST_PARTS, Inbox

GREETING = bytes([0xFF, *[0] * 8, 0x7F, 3, 1]) + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"


def stranger(port: int) -> socket.socket:
    """A ZMTP 3.1 peer by hand, ready to send whatever it likes."""
    peer = socket.create_connection(("127.0.0.1", port), 5)
    peer.settimeout(5)
    peer.sendall(GREETING + bytes([4, len(READY)]) + READY)
    received = b""
    while len(received) < 64 + 2:
        received += peer.recv(4096)
    return peer


def part(size: int, *, more: bool) -> bytes:
    return bytes([2 | more]) + struct.pack(">Q", size) + bytes(size)


@pytest.fixture
def door():
    """A bound ROUTER, its inbox and its doorman."""
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        router = stack.enter_context(context.socket(zmq.ROUTER))
        router.linger = 0
        router.setsockopt(zmq.MAXMSGSIZE, 64 << 10)
        port = int(bind(router, "tcp://127.0.0.1:0").rsplit(":", 1)[1])
        doorman = Doorman(router)
        doorman.start()
        stack.callback(doorman.stop)
        yield port, Inbox(router), doorman, context


def message(inbox: Inbox, doorman: Doorman, timeout_s: float = 5.0) -> list[bytes]:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            parts = inbox.receive()
        except zmq.Again:
            time.sleep(0.001)
            continue
        doorman.heard(inbox.source)
        return parts
    raise AssertionError("nothing came")


def is_closed(peer: socket.socket, timeout_s: float = 5.0) -> bool:
    peer.settimeout(timeout_s)
    try:
        while peer.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.slow
def test_a_message_without_end_is_ended_before_it_fills_the_memory(door):
    port, _, _, _ = door
    with stranger(port) as peer:
        sent, closed = 0, False
        while sent < 1 << 30 and not closed:
            try:
                peer.sendall(part(60_000, more=True))
                sent += 60_000
            except OSError:
                closed = True
    assert closed
    assert sent < 64 << 20  # what the kernel's buffers hold counts too


def test_a_part_that_is_too_long_is_not_taken(door):
    port, _, _, _ = door
    with stranger(port) as peer:
        peer.sendall(part(10, more=True)[:1] + struct.pack(">Q", 30 << 20))
        assert is_closed(peer)


def test_a_message_of_many_parts_is_let_go_of_and_the_next_one_comes(door):
    port, inbox, doorman, context = door
    with context.socket(zmq.DEALER) as peer:
        peer.linger = 0
        peer.connect(f"tcp://127.0.0.1:{port}")
        peer.send_multipart([b"x"] * 5000)
        peer.send(b"well")
        assert message(inbox, doorman)[1:] == [b"well"]
        peer.send_multipart([b"a"] * (MOST_PARTS - 1))
        assert message(inbox, doorman)[1:] == [b"a"] * (MOST_PARTS - 1)


def test_silent_connections_are_few_and_whoever_speaks_stays(door):
    port, inbox, doorman, context = door
    with context.socket(zmq.DEALER) as peer, ExitStack() as stack:
        peer.linger = 0
        peer.connect(f"tcp://127.0.0.1:{port}")
        peer.send(b"hello")
        message(inbox, doorman)
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 5)) for _ in range(120)]
        deadline = time.monotonic() + 10
        while doorman.connections > doors.MOST_SILENT + 1 or not is_closed(idle[0], 0.01):
            assert time.monotonic() < deadline, doorman.connections
        peer.send(b"still here")
        assert message(inbox, doorman)[1:] == [b"still here"]


def test_a_connection_that_says_nothing_is_closed(door, monkeypatch):
    monkeypatch.setattr(doors, "_SILENT_S", 0.1)
    port, _, _, _ = door
    with stranger(port) as peer:
        assert is_closed(peer)
