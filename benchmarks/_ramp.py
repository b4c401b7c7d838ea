"""The far end of ``benchmarks/link.py``, a process of its own: ramps through the wire, or through bare ZeroMQ."""

from __future__ import annotations

import argparse
import contextlib
import time

import numpy as np
import zmq

from scancontrol.capabilities import Capabilities
from scancontrol.microscope.host import serve
from scancontrol.microscope.instrument import Block
from scancontrol.paths import ScanPath
from scancontrol.processes.child import Shutdown, add_follow_stdin, announce
from scancontrol.transport.endpoints import bind
from scancontrol.transport.keys import Gatekeeper, ServerSecurity, secure_server
from scancontrol.transport.options import add_server_keys, server_security
from scancontrol.wire.messages import Limits

HEADER_BYTES = 400  # about that of a chunk's header


class RampInstrument:
    """Exposes as fast as it is read; every block is a fresh array, as a driver's would be."""

    def __init__(self, dose_limit_e_per_a2: float | None) -> None:
        self.capabilities = Capabilities(name="ramp", dose_limit_e_per_a2=dose_limit_e_per_a2)
        self._path: ScanPath | None = None
        self._next = 0

    @property
    def lit(self) -> bool:
        """Whether samples would come."""
        path = self._path
        return path is not None and self._next < path.count

    def begin(self, path: ScanPath, first_index: int, frame: int) -> None:
        self._path, self._next = path, first_index

    def read(self, max_samples: int) -> Block | None:
        path = self._path  # blank() comes from another thread
        if path is None or self._next == path.count:
            return None
        n = min(max_samples, path.count - self._next)
        values = np.arange(self._next % 65536, self._next % 65536 + n, dtype=np.uint16)[None]
        self._next += n
        return Block(values, 0.0, time.monotonic_ns())

    def blank(self) -> None:
        self._path = None

    def close(self) -> None:
        self.blank()


def bare(security: ServerSecurity | None, chunk_samples: int, shutdown: Shutdown) -> None:
    """A ROUTER that answers each request for N chunks with N two-part messages, as fast as they leave."""
    with contextlib.ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        if security is not None:
            stack.enter_context(Gatekeeper(context, security))
        socket = stack.enter_context(context.socket(zmq.ROUTER))
        socket.linger = 0
        socket.sndhwm = 64
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        secure_server(socket, security)
        announce("bare", address=bind(socket, "tcp://127.0.0.1:0"))
        header = bytes(HEADER_BYTES)
        while not shutdown.requested():
            if not socket.poll(20):
                continue
            connection, count = socket.recv_multipart()
            for _ in range(int(count)):
                values = np.arange(chunk_samples, dtype=np.uint16)
                socket.send_multipart([connection, header, values.data], copy=chunk_samples * 2 < 65536)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--chunk-samples", type=int, default=65536)
    parser.add_argument("--dose-limit", type=float)
    add_server_keys(parser)
    add_follow_stdin(parser)
    arguments = parser.parse_args()
    security = server_security(arguments.secret_key, arguments.clients)
    shutdown = Shutdown(follow_stdin=arguments.follow_stdin)
    if arguments.bare:
        bare(security, arguments.chunk_samples, shutdown)
    else:
        serve(
            RampInstrument(arguments.dose_limit),
            shutdown=shutdown.requested,
            security=security,
            limits=Limits(chunk_samples=arguments.chunk_samples),
            on_ready=lambda address: announce("ramp", address=address),
        )


if __name__ == "__main__":
    main()
