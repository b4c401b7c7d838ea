"""The server around instruments that hold it up, fail to blank, or send what they did not state."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import numpy as np
import pytest
from stalls import Stopwatch

from scancontrol.capabilities import Capabilities
from scancontrol.errors import LinkError
from scancontrol.link.link import End, MicroscopeLink
from scancontrol.microscope.host import serve
from scancontrol.microscope.instrument import Block
from scancontrol.paths import PathRecipe, Raster, ScanPath
from scancontrol.wire.scanner import ExpandRecipe

pytestmark = pytest.mark.slow

RECIPE = PathRecipe(pattern=Raster(), shape=(256, 256), fov_nm=100.0, dwell_us=1.0)
SHORT = PathRecipe(pattern=Raster(), shape=(32, 32), fov_nm=100.0, dwell_us=1.0)  # over before anybody can be missed


class Steady:
    """100 samples a read, 2 ms each; its beam is on record. ``hold_s`` is what the next read takes."""

    def __init__(self, **stated) -> None:
        self.capabilities = Capabilities(name="steady", **stated)
        self.lit = threading.Event()
        self.off_at = 0.0
        self.path: ScanPath | None = None
        self.next = 0
        self.hold_s = 0.0
        self.failures = 0
        self.dtype = "<u2"

    def begin(self, path: ScanPath, first_index: int, frame: int) -> None:
        self.path, self.next = path, first_index
        self.lit.set()

    def read(self, max_samples: int) -> Block | None:
        path = self.path
        if path is None:
            return None
        hold_s, self.hold_s = self.hold_s, 0.0
        time.sleep(hold_s or 0.002)
        if not self.lit.is_set():
            self.path = None
            return None
        n = min(max_samples, path.count - self.next, 100)
        self.next += n
        if self.next == path.count:
            self.path = None
            self.lit.clear()
        return Block(np.zeros((1, n), self.dtype), float(n), time.monotonic_ns())

    def blank(self) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("the valve sticks")
        if self.lit.is_set():
            self.off_at = time.monotonic()
        self.lit.clear()

    def close(self) -> None:
        assert not self.lit.is_set()


@contextmanager
def hosted(instrument: Steady) -> Iterator[str]:
    ready: queue.Queue[str] = queue.Queue()
    stop = threading.Event()
    thread = threading.Thread(target=serve, args=(instrument,), kwargs={"shutdown": stop.is_set, "on_ready": ready.put})
    thread.start()
    try:
        yield ready.get(timeout=10)
    finally:
        stop.set()
        thread.join(15)
        assert not thread.is_alive()


def end_of(link: MicroscopeLink, timeout_s: float = 10.0) -> End:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        event = link.receive(0.1)
        if isinstance(event, End):
            return event
    raise AssertionError("no end")


def test_a_driver_that_holds_the_loop_cannot_hold_the_beam():
    instrument = Steady()
    with hosted(instrument) as address, MicroscopeLink(address) as link, Stopwatch() as watch:
        link.connect(10)
        link.start(link.register(RECIPE), 1, 0)
        assert instrument.lit.wait(5)
        time.sleep(0.05)
        instrument.hold_s, held = 1.5, time.monotonic()
        while instrument.lit.is_set():
            assert time.monotonic() - held < 1.4, "the beam was on as long as the driver liked"
            time.sleep(0.002)
        assert watch.between(held, instrument.off_at) < 0.3
        end = end_of(link)
        assert end.reason == "heartbeat_lost"
        assert "held up" in end.message


def test_a_frame_that_would_begin_after_the_dead_man_has_acted_is_interrupted_and_is_no_fault():
    class HeldAtTheEnd(Steady):
        def read(self, max_samples: int) -> Block | None:
            reading, block = self.path is not None, super().read(max_samples)
            if reading and self.path is None:
                time.sleep(0.8)  # with the frame's last samples in hand
            return block

    with hosted(HeldAtTheEnd()) as address, MicroscopeLink(address) as link:
        link.connect(10)
        path_id = link.register(SHORT)
        link.start(path_id, 1, 0)
        link.start(path_id, 1, 1)
        first, second = end_of(link), end_of(link)
        assert (first.frame, first.next_index) == (0, 32 * 32)
        assert (second.frame, second.reason) == (1, "heartbeat_lost"), "so that it goes on by itself"


def test_heartbeats_do_not_wait_for_a_path_that_is_long_in_expanding(monkeypatch):
    expand, may_end = ExpandRecipe.carry_out, threading.Event()

    def slow(action: ExpandRecipe):
        assert may_end.wait(20)
        return expand(action)

    monkeypatch.setattr(ExpandRecipe, "carry_out", slow)
    with hosted(Steady()) as address, MicroscopeLink(address) as link:
        link.connect(10)
        session = link._protocol.welcome.session
        threading.Timer(1.5 * link.limits.lease_ms / 1e3, may_end.set).start()
        path_id = link.register(SHORT)
        assert link._protocol.welcome.session == session, "the lease was lost meanwhile"
        link.start(path_id, 1, 0)
        assert end_of(link).reason == "completed"


def test_a_caller_that_was_away_for_longer_than_its_lease_registers_a_path_all_the_same():
    with (
        hosted(Steady()) as address,
        MicroscopeLink(address, patience_s=0.05) as link,
        MicroscopeLink(address, observer=True, operator="witness") as witness,
    ):
        link.connect(10)
        witness.connect(10)
        deadline = time.monotonic() + 20
        while witness.status is None or witness.status.operator is not None:
            assert time.monotonic() < deadline, "the lease did not expire"
            witness.receive(0.02)
        link.start(link.register(SHORT), 1, 0)
        assert end_of(link).reason == "completed"


def test_blanking_that_fails_is_repeated_shown_as_beam_on_and_nothing_is_accepted_meanwhile():
    instrument = Steady()
    with hosted(instrument) as address, MicroscopeLink(address) as link:
        link.connect(10)
        path_id = link.register(RECIPE)
        link.start(path_id, 1, 0)
        assert instrument.lit.wait(5)
        instrument.failures = 100
        link.abort("enough")
        deadline, events = time.monotonic() + 10, []
        while link.status is None or not link.status.beam_fault:
            assert time.monotonic() < deadline
            events.append(link.receive(0.01))
        assert link.status.beam_on
        assert "the valve sticks" in link.status.beam_fault
        with pytest.raises(LinkError, match="the beam may be on"):
            link.start(path_id, 1, 1)
        while link.status.beam_fault or not any(isinstance(event, End) for event in events):
            assert time.monotonic() < deadline
            events.append(link.receive(0.01))
        assert instrument.failures == 0
        assert not instrument.lit.is_set()
        assert [event.reason for event in events if isinstance(event, End)] == ["aborted"]
        link.start(path_id, 1, 2)
        assert end_of(link).reason == "completed"


def test_data_of_a_type_that_was_not_stated_end_the_frame_with_what_came():
    instrument = Steady()
    instrument.dtype = "<f4"
    with hosted(instrument) as address, MicroscopeLink(address) as link:
        link.connect(10)
        link.start(link.register(RECIPE), 1, 0)
        end = end_of(link)
        assert (end.reason, end.next_index) == ("fault", 0)
        assert "<f4, and states <u2" in end.message


def test_a_server_whose_instrument_cannot_blank_does_not_start(monkeypatch):
    monkeypatch.setattr("scancontrol.microscope.host._FIRST_BLANK_S", 0.1)
    instrument = Steady()
    instrument.failures = 1 << 30
    with pytest.raises(LinkError, match="cannot blank: OSError: the valve sticks; blank the beam at the column"):
        serve(instrument, shutdown=lambda: True)


def test_stated_values_travel():
    instrument = Steady(overcount=1.5)
    with hosted(instrument) as address, MicroscopeLink(address) as link:
        assert link.connect(10) == msgspec.structs.replace(Capabilities(name="steady"), overcount=1.5)
