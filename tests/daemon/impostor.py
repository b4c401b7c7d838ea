"""A process that answers ``hello`` as no sound microscope would: ``impostor.py version|nonsense|garbage``."""

from __future__ import annotations

import sys

import msgspec
import zmq

from scancontrol.capabilities import Capabilities
from scancontrol.wire.messages import PROTOCOL_VERSION, Limits, Welcome

with zmq.Context() as context, context.socket(zmq.ROUTER) as control, context.socket(zmq.ROUTER) as data:
    control.linger = data.linger = 0
    port = control.bind_to_random_port("tcp://127.0.0.1")
    data_port = data.bind_to_random_port("tcp://127.0.0.1")
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    while True:
        connection, *parts = control.recv_multipart()
        if msgspec.msgpack.decode(parts[0]).get("type") != "hello":
            continue
        if sys.argv[1] == "garbage":
            control.send_multipart([connection, b"\xc1 what?"])
            continue
        welcome = Welcome(
            protocol_version=PROTOCOL_VERSION,
            software="impostor 1",
            server_id="0" * 16,
            session="1" * 16,
            resumed=False,
            data_address=f"tcp://127.0.0.1:{data_port}",
            capabilities=Capabilities(name="impostor"),
            limits=Limits(),
        )
        content = msgspec.to_builtins(welcome)
        if sys.argv[1] == "version":
            content |= {"protocol_version": 99, "something_new": True}
            control.send_multipart([connection, msgspec.msgpack.encode(content)])
        else:
            content["capabilities"]["shortest_dwell_us"] = -3.0
            control.send_multipart([connection, msgspec.msgpack.encode(content)])
            # It joins the data connection too, so that only what it states is wrong with it.
            who, *attach = data.recv_multipart()
            data.send_multipart(
                [who, msgspec.msgpack.encode({"type": "attached", "server_id": "0" * 16, "next_sequence": 0})]
            )
