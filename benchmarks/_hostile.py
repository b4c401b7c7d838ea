"""Peers that mean no good, against a microscope's control socket: for ``benchmarks/dead_man.py``."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

import zmq

from scancontrol.wire.framing import encode
from scancontrol.wire.messages import PROTOCOL_VERSION, Blank, Hello

__all__ = ["ATTACKS", "OPENING", "blanked_by", "under"]

_GREETING = bytes([0xFF, *[0] * 8, 0x7F, 3, 1]) + b"NULL".ljust(20, b"\0") + bytes(32)
_READY = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
OPENING = _GREETING + bytes([4, len(_READY)]) + _READY
"""What a peer without keys says first, by ZMTP 3.1; its messages follow."""

_NESTED = b"\x81\xa4type" + b"\x91" * 60_000  # a map whose value is lists within lists
_WIDE = b"\x81\xa4type\xdc\xff\xff" + b"\x90" * 60_000  # and one of empty lists


def _nonsense(port: int, ending: threading.Event) -> None:
    """An observer that sends, as fast as it can, what is laborious to read."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.linger = 0
        peer.connect(f"tcp://127.0.0.1:{port}")
        hello = Hello(protocol_version=PROTOCOL_VERSION, software="x", name="eve", role="observer")
        peer.send_multipart(encode(hello))
        while not ending.is_set():
            for content in (_NESTED, _WIDE):
                with contextlib.suppress(zmq.Again):
                    peer.send(content, zmq.NOBLOCK)
            with contextlib.suppress(zmq.Again):
                peer.recv(zmq.NOBLOCK)


def _endless(port: int, ending: threading.Event) -> None:
    """Strangers whose message never ends; each is closed, and another one comes."""
    part = bytes([3]) + struct.pack(">Q", 60_000) + bytes(60_000)
    while not ending.is_set():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as peer:
            peer.sendall(OPENING)
            while not ending.is_set():
                peer.sendall(part)


def _idle(port: int, ending: threading.Event) -> None:
    """Hundreds of connections that say nothing."""
    while not ending.is_set():
        with contextlib.ExitStack() as stack:
            for _ in range(300):
                with contextlib.suppress(OSError):
                    stack.enter_context(socket.create_connection(("127.0.0.1", port), 2))
            ending.wait(0.5)


ATTACKS = {"laborious messages": _nonsense, "endless messages": _endless, "idle connections": _idle}


@contextlib.contextmanager
def under(attack: str, port: int) -> Iterator[None]:
    """Everything within happens while the peer at ``port`` is attacked."""
    ending = threading.Event()
    thread = threading.Thread(target=ATTACKS[attack], args=(port, ending), daemon=True)
    thread.start()
    time.sleep(0.3)
    try:
        yield
    finally:
        ending.set()
        thread.join(5)


def blanked_by(port: int, timeout_s: float = 10.0) -> int:
    """Send Blank as ``scancontrol blank`` does, until it is confirmed; monotonic ns at which it was first sent."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.linger = 0
        peer.connect(f"tcp://127.0.0.1:{port}")
        began_ns, deadline = time.monotonic_ns(), time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            peer.send_multipart(encode(Blank(request=1, name="benchmark")))
            if peer.poll(100):
                return began_ns
    raise AssertionError("nobody confirms the blank")
