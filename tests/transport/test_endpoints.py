"""Addresses: what is this machine's alone, and what stands open to nobody."""

from __future__ import annotations

import pytest
import zmq

from scancontrol.errors import InvalidInput
from scancontrol.transport.endpoints import bind, check_address, is_local


@pytest.mark.parametrize(
    "address",
    ["tcp://127.0.0.1:0", "tcp://127.3.2.1:5", "tcp://localhost:*", "tcp://[::1]:5", "ipc:///x", "inproc://x"],
)
def test_these_addresses_are_this_machine_alone(address):
    assert is_local(address)
    check_address(address, None)


@pytest.mark.parametrize(
    "address",
    [
        "tcp://0.0.0.0:0",
        "tcp://192.168.1.2:5",
        "tcp://*:5",
        "tcp://[::]:5",
        "tcp://lab.example:5",
        "tcp://eth0:5",
        "tcp://127.0.0.1.evil.example:5",
    ],
)
def test_these_are_refused_without_keys(address):
    assert not is_local(address)
    with pytest.raises(InvalidInput, match=r"no keys are given; .*scancontrol keys"):
        check_address(address, None)


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:5", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "pgm://x;y"]
)
def test_what_is_no_endpoint_is_refused(address):
    with pytest.raises(InvalidInput, match="not an endpoint"):
        check_address(address, None)


def test_an_address_that_is_not_this_machines_cannot_be_bound(tmp_path):
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket, pytest.raises(InvalidInput, match="bound"):
        bind(socket, "tcp://192.0.2.1:5555")
