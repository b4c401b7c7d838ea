"""The heart on real sockets: it beats while its owner lives, whatever the owner waits for, and ends with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest
import zmq
from golden_messages import MESSAGES

from scancontrol.link.heart import Heart
from scancontrol.wire import messages as m
from scancontrol.wire.framing import CLIENT_CONTROL, encode

pytestmark = pytest.mark.slow

WELCOME = cast(m.Welcome, MESSAGES["welcome"])
STATUS = cast(m.Status, MESSAGES["status"])
INTERVAL_MS = WELCOME.limits.heartbeat_ms


class Microscope:
    """The other end: hears heartbeats, and answers those that it is told to."""

    def __init__(self, context: zmq.Context[Any]) -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.address = f"tcp://127.0.0.1:{self.socket.bind_to_random_port('tcp://127.0.0.1')}"

    def hear(self, within_ms: int = 10_000) -> tuple[bytes, m.Heartbeat] | None:
        if not self.socket.poll(within_ms):
            return None
        sender, *parts = self.socket.recv_multipart()
        message, _ = CLIENT_CONTROL.decode(parts)
        return sender, cast(m.Heartbeat, message)

    def answer(self, sender: bytes, heartbeat: m.Heartbeat) -> None:
        status = msgspec.structs.replace(STATUS, number=heartbeat.number, client_ns=heartbeat.client_ns)
        self.socket.send_multipart([sender, *encode(status)])


@pytest.fixture
def microscope() -> Iterator[tuple[Microscope, Heart]]:
    with zmq.Context() as context:  # whose end waits for every socket, the heart's among them
        microscope = Microscope(context)
        heart = Heart(context, microscope.address, None, WELCOME, patience_s=60.0)
        try:
            yield microscope, heart
        finally:
            heart.stop()
            microscope.socket.close()


def test_it_beats_by_itself_and_keeps_what_is_answered(microscope: tuple[Microscope, Heart]) -> None:
    other, heart = microscope
    numbers = []
    while heart.pulse.status is None:
        heard = other.hear()
        assert heard is not None, "no heartbeat came"
        other.answer(*heard)
        numbers.append(heard[1].number)
    assert heart.pulse.status.number in numbers
    assert numbers == list(range(1, len(numbers) + 1))
    assert heart.pulse.clock_offset_ns is not None


def test_it_stops_once_its_owner_has_shown_no_sign_of_life_and_beats_on_when_it_does(
    microscope: tuple[Microscope, Heart],
) -> None:
    other, heart = microscope
    assert other.hear() is not None
    heart.owner_alive_ns = time.monotonic_ns() - 61 * 10**9
    on_their_way = 0  # what had been sent, or was being
    while other.hear(5 * INTERVAL_MS) is not None:
        on_their_way += 1
    assert on_their_way <= 2
    heart.owner_alive_ns = time.monotonic_ns()
    assert other.hear() is not None


def test_a_session_that_the_microscope_does_not_know_is_told(microscope: tuple[Microscope, Heart]) -> None:
    other, heart = microscope
    while not heart.pulse.rejected:
        heard = other.hear()
        assert heard is not None, "no heartbeat came"
        refusal = m.Refused(request=None, code="no_session", message="who are you?")
        other.socket.send_multipart([heard[0], *encode(refusal)])
    assert heart.pulse.status is None


def test_it_ends_with_its_socket_when_told_to(microscope: tuple[Microscope, Heart]) -> None:
    other, heart = microscope
    assert other.hear() is not None
    heart.stop()
    assert not heart.is_alive()
