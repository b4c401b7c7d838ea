"""The blanker's thread: it acts by itself, it asks again, and it lets nothing be lit meanwhile."""

from __future__ import annotations

import threading
import time

import pytest

from scancontrol.microscope.blanker import Blanker

DEAD_MAN_NS = 60_000_000


class Beam:
    """Counts its blanks; fails ``failures`` times first."""

    def __init__(self) -> None:
        self.failures = 0
        self.blanked = threading.Event()
        self.blanks = 0

    def blank(self) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("stuck")
        self.blanks += 1
        self.blanked.set()


@pytest.fixture
def beam():
    return Beam()


@pytest.fixture
def blanker(beam):
    made = Blanker(beam.blank, DEAD_MAN_NS)
    made.start()
    yield made
    made.stop()


def test_it_blanks_when_asked_and_says_that_it_was_obeyed(beam, blanker):
    blanker.blank()
    assert blanker.obeyed(5.0)
    assert beam.blanks == 1


def test_it_blanks_by_itself_when_nobody_was_heard_and_says_why_once(beam, blanker):
    blanker.heard(time.monotonic_ns())
    assert blanker.light()
    assert beam.blanked.wait(5.0)
    assert "nothing heard" in blanker.take_trip()
    assert blanker.take_trip() == ""


def test_signs_of_life_keep_the_beam_on(beam):
    now_ns = [0]
    blanker = Blanker(beam.blank, DEAD_MAN_NS, clock_ns=lambda: now_ns[0])
    blanker.start()
    try:
        blanker.heard(0)
        assert blanker.light()
        for now_ns[0] in range(0, 4 * DEAD_MAN_NS, DEAD_MAN_NS // 30):
            blanker.heard(now_ns[0])
            time.sleep(0.002)  # for its thread to look
        assert beam.blanks == 0
        assert blanker.take_trip() == ""
    finally:
        blanker.stop()


def test_until_the_loop_has_noticed_a_trip_it_goes_on_blanking_and_lets_nothing_be_lit(beam, blanker):
    assert blanker.light()  # heard of nobody, ever
    assert beam.blanked.wait(5.0)
    beam.blanked.clear()
    assert not blanker.light()
    assert beam.blanked.wait(5.0), "whatever the loop was doing may have lit the beam"
    assert blanker.take_trip()
    blanker.blank()
    assert blanker.obeyed(5.0)
    blanker.heard(time.monotonic_ns())
    assert blanker.light()


def test_a_blanker_that_fails_is_asked_again_until_it_obeys(beam, blanker, caplog):
    beam.failures = 10
    blanker.blank()
    while not blanker.trouble:
        time.sleep(0.001)
    assert "OSError: stuck" in blanker.trouble
    assert not blanker.light()
    assert blanker.obeyed(5.0)
    assert blanker.trouble == ""
    assert "at last" in caplog.text
    assert blanker.light()


def test_a_blanker_that_never_returns_is_trouble_too():
    hung = threading.Event()
    made = Blanker(lambda: hung.wait(10) and None, DEAD_MAN_NS)
    made.start()
    try:
        made.blank()
        deadline = time.monotonic() + 5
        while not made.trouble:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert "has been blanking for" in made.trouble
        assert not made.obeyed()
    finally:
        hung.set()
        made.stop()


def test_a_blank_asked_for_while_the_instrument_is_blanking_is_carried_out_too():
    begun, may_return, calls = threading.Semaphore(0), threading.Semaphore(0), []

    def blank() -> None:
        calls.append(len(calls))
        begun.release()
        assert may_return.acquire(timeout=5.0)

    blanker = Blanker(blank, DEAD_MAN_NS)
    blanker.start()
    try:
        blanker.blank()
        assert begun.acquire(timeout=5.0)
        blanker.blank()  # the loop had lit the beam after the instrument put it out, before its call returned
        may_return.release()
        assert begun.acquire(timeout=5.0), "the call under way cannot have obeyed an order that came after it"
        assert not blanker.obeyed()
        assert not blanker.light()
        may_return.release()
        assert blanker.obeyed(5.0)
        assert calls == [0, 1]
    finally:
        for _ in range(4):
            may_return.release()
        blanker.stop()
