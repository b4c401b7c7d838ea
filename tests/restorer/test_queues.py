"""Who waits, who gives way and who is told: the two pure queues, one at each end of the restorer's wire."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore.process.backlog import Backlog, Job
from scancontrol.errors import RemoteProtocolError
from scancontrol.restorer.ledger import Ledger
from scancontrol.wire import restoring as wire

PATH = "0" * 32
SAMPLES = np.zeros(4, dtype="<u2")


def _job(frame: int, *, live: bool = True, complete: bool = True, stream: str = "a", client: bytes = b"x") -> Job:
    request = wire.Restore(
        request=frame, stream=stream, frame=frame, path_id=PATH, count=4, dtype="<u2", live=live, complete=complete
    )
    return Job(client, request, SAMPLES, 0)


def _frames(jobs: list[Job] | None) -> list[int]:
    assert jobs is not None
    return [job.request.frame for job in jobs]


def test_a_newer_live_frame_takes_the_place_of_an_older_one_of_its_stream() -> None:
    backlog = Backlog()
    assert _frames(backlog.put(_job(1))) == []
    assert _frames(backlog.put(_job(2, stream="b"))) == []
    assert _frames(backlog.put(_job(3))) == [1]
    taken = [backlog.take(), backlog.take()]
    assert [job.request.frame for job in taken if job] == [2, 3]
    assert backlog.take() is None


def test_an_unfinished_frame_never_displaces_a_complete_one_but_is_displaced_by_it() -> None:
    backlog = Backlog()
    backlog.put(_job(1))
    assert _frames(backlog.put(_job(2, complete=False))) == []
    assert _frames(backlog.put(_job(3, complete=False))) == [2]
    assert sorted(_frames(backlog.put(_job(4)))) == [1, 3]


def test_recorded_frames_are_never_dropped_keep_their_order_and_are_refused_when_full() -> None:
    backlog = Backlog(recorded_limit=2)
    assert _frames(backlog.put(_job(1, live=False))) == []
    assert _frames(backlog.put(_job(2, live=False))) == []
    assert backlog.put(_job(3, live=False)) is None
    backlog.put(_job(4))
    order = [job.request.frame for job in (backlog.take(), backlog.take(), backlog.take()) if job]
    assert order == [4, 1, 2]


def test_the_backlog_is_bounded_however_many_streams_ask() -> None:
    backlog = Backlog(streams_limit=4)
    for at in range(100):
        backlog.put(_job(at, stream=str(at)))
    assert len(backlog) == 8


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["live", "early", "recorded", "send", "answer", "die"]), st.integers(0, 1))))
def test_every_complete_frame_comes_out_exactly_once_whatever_happens(steps: list[tuple[str, int]]) -> None:
    ledger, taken_in, out, sent = Ledger(recorded_limit=3), [], [], []
    for number, (step, stream) in enumerate(steps):
        if step in ("live", "early", "recorded"):
            complete, live = step != "early", step != "recorded"
            missed = ledger.ask(str(stream), number, PATH, SAMPLES, live=live, complete=complete, now_ns=0)
            if missed is not None:
                out += [frame.frame for frame in missed]
                taken_in += [number] if complete else []
        elif step == "send":
            asked = ledger.next()
            sent += [asked] if asked else []
        elif step == "answer" and sent:
            asked = ledger.answered(sent.pop(0).request)
            out += [asked.frame] if asked and asked.complete else []
        elif step == "die":
            out += [frame.frame for frame in ledger.lost("died")]
            sent = []
    out += [frame.frame for frame in ledger.close("stopped")]
    assert sorted(out) == taken_in
    assert len(ledger) == 0


def test_recorded_frames_survive_the_restorers_death_in_their_order() -> None:
    ledger = Ledger(recorded_limit=4)
    for number in range(3):
        ledger.ask("s", number, PATH, SAMPLES, live=False, complete=True, now_ns=0)
    assert [ledger.next().frame, ledger.next().frame] == [0, 1]  # type: ignore[union-attr]
    assert ledger.lost("died") == []
    assert [ledger.next().frame for _ in range(3)] == [0, 1, 2]  # type: ignore[union-attr]


MESSAGES: list[tuple[object, list[bytes]]] = [
    (wire.Hello(version=1, software="x"), []),
    (wire.Register(path_id=PATH, recipe={"shape": [2, 2]}), []),
    (wire.Restore(request=1, stream="s", frame=2, path_id=PATH, count=3, dtype="<u2"), [b"123456"]),
    (wire.Ping(sequence=9), []),
]


@pytest.mark.parametrize(("message", "payload"), MESSAGES)
def test_what_the_daemon_says_arrives_as_it_was_said(message: wire.DaemonMessage, payload: list[bytes]) -> None:
    assert wire.FROM_DAEMON.decode(wire.encode(message, *payload)) == (message, payload)


def test_a_ping_is_these_bytes() -> None:
    assert wire.encode(wire.Ping(sequence=9)) == [b"\x82\xa4type\xa4ping\xa8sequence\x09"]


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b""],
        [b"\xff" * 10],
        [b"\x81\xa4type\xa4nope"],
        wire.encode(wire.Ping(sequence=1), b"extra"),
        wire.encode(wire.Restore(request=1, stream="s", frame=2, path_id=PATH, count=3, dtype="<u2"), b"12345"),
        wire.encode(wire.Restore(request=1, stream="s", frame=2, path_id=PATH, count=1 << 40, dtype="<f4"), b""),
        wire.encode(wire.Restore(request=1, stream="s", frame=2, path_id="no hash", count=0, dtype="<f4"), b""),
        [b"a", b"b", b"c", b"d"],
    ],
    ids=["nothing", "empty", "noise", "kind", "extra", "short", "huge", "hash", "parts"],
)
def test_what_cannot_be_read_is_a_typed_error_and_nothing_else(parts: list[bytes]) -> None:
    with pytest.raises(RemoteProtocolError):
        wire.FROM_DAEMON.decode(parts)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_no_bytes_whatever_do_worse_than_a_typed_error(parts: list[bytes]) -> None:
    for codec in (wire.FROM_DAEMON, wire.FROM_RESTORER):
        try:
            codec.decode(parts)
        except RemoteProtocolError:
            continue
