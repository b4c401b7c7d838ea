"""What the restorer says to its clients, without a socket: first come, first served, and nobody overruns it."""

from __future__ import annotations

import numpy as np
from restorer_pair import welcome

from restore.process.conversation import BACKLOG, Conversations
from scancontrol.wire import restoring as wire
from scancontrol.wire.codec import encode

PATH = "0" * 32


def conversations() -> Conversations:
    return Conversations(welcome("m"))


def ask(request: int) -> list[bytes]:
    header = wire.Restore(request=request, stream="s", frame=request, path_id=PATH, count=2, dtype="<u2")
    return encode(header, np.full(2, request, "<u2").tobytes())


def said(server: Conversations) -> list[tuple[bytes, wire.RestorerMessage]]:
    return [(client, wire.FROM_RESTORER.decode(parts)[0]) for client, parts in server.data_to_send()]


def test_a_client_is_welcomed_with_what_restores_and_how_much_may_wait() -> None:
    server = conversations()
    server.receive(b"a", encode(wire.Hello(version=wire.VERSION, software="x")), 0)
    assert said(server) == [(b"a", welcome("m"))]


def test_jobs_are_done_in_the_order_in_which_they_came_whoever_asked() -> None:
    server = conversations()
    for at, client in enumerate((b"a", b"b", b"a")):
        server.receive(client, ask(at), 10 + at)
    jobs = [server.next_job() for _ in range(4)]
    assert [None if job is None else (job.client, job.message.request, job.received_ns) for job in jobs] == [  # type: ignore[union-attr]
        (b"a", 0, 10),
        (b"b", 1, 11),
        (b"a", 2, 12),
        None,
    ]


def test_a_client_who_sends_more_than_may_wait_is_not_heard_until_its_next_hello_and_others_are() -> None:
    server = conversations()
    server.receive(b"b", ask(100), 0)
    for request in range(BACKLOG + 3):
        server.receive(b"a", ask(request), 0)
    answers = said(server)
    assert [(client, message.code) for client, message in answers] == [(b"a", "overrun")]  # type: ignore[union-attr]
    server.receive(b"a", encode(wire.Ping(sequence=1)), 0)
    assert said(server) == []
    job = server.next_job()
    assert job is not None
    assert job.client == b"b"
    assert server.next_job() is None, "what it asked is not done either"
    server.receive(b"a", encode(wire.Hello(version=wire.VERSION, software="x")), 0)
    server.receive(b"a", ask(7), 0)
    job = server.next_job()
    assert job is not None
    assert job.client == b"a"


def test_the_jobs_of_all_clients_together_are_bounded() -> None:
    server = conversations()
    for number in range(500):
        server.receive(str(number).encode(), ask(number), 0)
    count = 0
    while server.next_job() is not None:
        count += 1
    assert count == 64
    assert len(server._closed) <= 1024


def test_a_ping_is_answered_at_once_with_what_waits_and_what_was_done() -> None:
    server = conversations()
    server.receive(b"a", ask(0), 0)
    server.receive(b"a", ask(1), 0)
    assert server.next_job() is not None
    server.receive(b"a", encode(wire.Ping(sequence=5)), 0)
    assert said(server) == [(b"a", wire.Pong(sequence=5, waiting=1, restored=0))]


def test_nonsense_and_another_version_get_a_typed_answer() -> None:
    server = conversations()
    server.receive(b"a", [b"\xff\xfe"], 0)
    server.receive(b"a", encode(wire.Hello(version=99, software="x")), 0)
    assert [message.code for _, message in said(server)] == ["malformed", "version"]  # type: ignore[union-attr]
