"""The link and the server over real sockets: threads and processes, faults, keys, the dead man."""

from __future__ import annotations

import threading

import msgspec
import pytest
import zmq
from link_tools import collect, recipe
from served_ramp import Ramp, microscope
from stalls import Stopwatch

from scancontrol.errors import InvalidInput, LeaseHeld, LinkError, RequestRefused, VersionMismatch
from scancontrol.link.link import Chunk, MicroscopeLink
from scancontrol.microscope.host import serve

pytestmark = pytest.mark.slow


def test_frames_come_whole_over_tcp():
    with microscope() as address, MicroscopeLink(address, operator="ada") as link:
        assert link.connect(5) == Ramp.capabilities
        path_id = link.register(recipe())
        for frame in range(3):
            link.start(path_id, 1, frame)
        samples, ended = collect(link, 3)
    assert [samples[frame] == list(range(65536)) for frame in range(3)] == [True] * 3
    assert [end.reason for end in ended] == ["completed"] * 3


def test_the_clock_offset_is_measured_within_its_bound():
    with microscope() as address, MicroscopeLink(address) as link:
        link.connect(5)
        while link.clock_offset_ns is None:
            link.receive(0.05)
        assert abs(link.clock_offset_ns) <= link.clock_error_ns  # one machine, one clock


def test_no_microscope_at_the_address_is_said_within_the_timeout():
    with MicroscopeLink("tcp://127.0.0.1:1") as link, Stopwatch() as watch:
        with pytest.raises(LinkError, match=r"no microscope answers at tcp://127.0.0.1:1 .*start one there"):
            link.connect(0.5)
        assert watch.s < 1.5


def test_a_port_in_use_is_invalid_input():
    with microscope() as address, pytest.raises(InvalidInput, match="in use"):
        serve(Ramp(), address, shutdown=lambda: True)


def test_a_microscope_of_another_version_is_named_with_both_versions():
    context = zmq.Context()
    with context, context.socket(zmq.ROUTER) as fake:
        fake.linger = 0
        port = fake.bind_to_random_port("tcp://127.0.0.1")
        answer = msgspec.msgpack.encode({"type": "welcome", "protocol_version": 7, "news": True})

        def respond() -> None:
            connection, *_ = fake.recv_multipart()
            fake.send_multipart([connection, answer])

        thread = threading.Thread(target=respond)
        thread.start()
        with MicroscopeLink(f"tcp://127.0.0.1:{port}") as link, pytest.raises(VersionMismatch, match=r"version 7 .*3"):
            link.connect(5)
        thread.join()


def test_a_second_operator_is_refused_by_name_and_an_observer_is_not():
    with microscope() as address, MicroscopeLink(address, operator="ada") as first:
        first.connect(5)
        with MicroscopeLink(address, operator="bob") as second, pytest.raises(LeaseHeld, match="ada") as caught:
            second.connect(20)
        assert caught.value.holder == "ada"
        with MicroscopeLink(address, operator="carl", observer=True) as observer:
            observer.connect(5)
            with pytest.raises(RequestRefused, match="looks on"):
                observer.abort()
            observer.blank()
        with pytest.raises(RequestRefused, match="held blanked"):
            first.start(first.register(recipe()), 1, 0)
        first.set_blanker("auto")
        first.start(first.register(recipe()), 1, 0)
        assert collect(first, 1)[1][0].reason == "completed"


def test_the_lease_is_free_once_the_operator_leaves():
    with microscope() as address:
        for name in ("ada", "bob"):
            with MicroscopeLink(address, operator=name) as link:
                link.connect(5)


def test_an_abort_blanks_within_a_chunk_and_says_so():
    instrument = Ramp(0.005)
    with microscope(instrument) as address, MicroscopeLink(address) as link:
        link.connect(5)
        link.start(link.register(recipe(4096)), 1, 0)
        while not isinstance(link.receive(1), Chunk):
            pass
        link.abort("enough")
        exposed = instrument.exposed
        assert instrument.path is None
        _, (end,) = collect(link, 1)
    assert (end.reason, end.message) == ("aborted", "enough")
    assert end.next_index == exposed == instrument.exposed
