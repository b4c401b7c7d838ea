"""The simplest instrument, hosted on a real socket by a thread of the test."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from scancontrol.capabilities import Capabilities
from scancontrol.microscope.host import serve
from scancontrol.microscope.instrument import Block
from scancontrol.paths import ScanPath


class Ramp:
    """Sample i is i mod 2¹⁶, as fast as it is asked for; ``pace_s`` per read slows it down."""

    capabilities = Capabilities(name="ramp")

    def __init__(self, pace_s: float = 0.0) -> None:
        self.path: ScanPath | None = None
        self.next = self.exposed = 0
        self.pace_s = pace_s
        self.blanked_at = 0.0
        self.closed = False
        self.error: Exception | None = None

    def begin(self, path: ScanPath, first_index: int, frame: int) -> None:
        self.path, self.next = path, first_index

    def read(self, max_samples: int) -> Block | None:
        if self.error is not None:
            raise self.error
        path = self.path  # blank() comes from another thread
        if path is None or self.next == path.count:
            return None
        if self.pace_s:
            threading.Event().wait(self.pace_s)
        n = min(max_samples, path.count - self.next)
        values = (np.arange(self.next, self.next + n) % 65536).astype("<u2")[None]
        self.next += n
        self.exposed += n
        return Block(values, float(n), time.monotonic_ns())

    def blank(self) -> None:
        if self.path is not None:
            self.blanked_at = time.monotonic()
        self.path = None

    def close(self) -> None:
        self.closed = True


@contextmanager
def microscope(instrument: Ramp | None = None, address: str = "tcp://127.0.0.1:0", **options) -> Iterator[str]:
    ready: queue.Queue[str] = queue.Queue()
    stop = threading.Event()
    arguments = {"shutdown": stop.is_set, "on_ready": ready.put, **options}
    instrument = instrument or Ramp()
    thread = threading.Thread(target=serve, args=(instrument, address), kwargs=arguments)
    thread.start()
    try:
        yield ready.get(timeout=10)
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()
        assert instrument.closed
