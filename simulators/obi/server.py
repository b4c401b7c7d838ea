"""The Open Beam Interface's server without the hardware: a raw TCP pipe to a simulated device.

``python -m simulators.obi.server --address tcp://127.0.0.1:2224 [--loopback] [--config FILE]``. As with the
hardware there is no framing, no authentication and one client: a second one takes the first one's place. Replies
leave in USB packets of 512 bytes; a shorter rest is held back until ``Flush``, ``Synchronize`` or ``Abort``.
"""

from __future__ import annotations

import argparse
import logging
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from scancontrol.errors import InvalidInput, LinkError, ScanControlError
from scancontrol.microscope.obi.commands import CommandParser
from scancontrol.processes.child import Shutdown, add_follow_stdin, announce
from simulators.column.detectors import DetectorConfig
from simulators.config import SimulatorConfig, load_simulator
from simulators.obi.column import MicroscopeColumn
from simulators.obi.device import Column, Loopback, ObiDevice, Step

__all__ = ["ObiServer", "main", "parse_address"]

DETECTOR = DetectorConfig(counts_per_electron=500.0, offset_counts=300.0, read_noise_counts=30.0, decay_us=0.1)
"""Without a configuration; codes of the 14-bit converter per electron in one cycle of 125 ns."""

_PACKET = 512
_OUT_LIMIT = 1 << 20  # the device's buffers: when the client does not read, the device waits
_IN_LIMIT = 1 << 16
log = logging.getLogger(__name__)


def parse_address(address: str) -> tuple[str, int]:
    """``tcp://HOST:PORT`` as host and port.

    Raises:
        InvalidInput: it is not of that form.
    """
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    if not address.startswith("tcp://") or not host or not port.isdigit() or int(port) > 65535:
        raise InvalidInput("address", address, "is not tcp://HOST:PORT", "give for example tcp://127.0.0.1:2224")
    return host.strip("[]"), int(port)


class ObiServer:
    """Serves one device to one client at a time.

    Args:
        device: what executes the commands.
        address: where to listen; port 0 chooses a free one (see :attr:`address`).
        realtime: keep to the device's own time, 125 ns a cycle; otherwise as fast as it goes.
        clock: seconds, monotonic.
    Raises:
        InvalidInput: the address is malformed. LinkError: it cannot be listened on.
    """

    def __init__(
        self,
        device: ObiDevice,
        address: str = "tcp://127.0.0.1:2224",
        *,
        realtime: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device = device
        self._realtime = realtime
        self._clock = clock
        host, port = parse_address(address)
        try:
            self._listener = socket.create_server((host, port), backlog=1)
        except OSError as error:
            raise LinkError(f"cannot listen on {address}: {error.strerror}; choose another port") from error
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._client: socket.socket | None = None
        self._due = self._clock()
        self._forget()

    @property
    def address(self) -> str:
        """The address that clients connect to."""
        host, port = self._listener.getsockname()[:2]
        return f"tcp://{host}:{port}"

    def serve(self, shutdown: Callable[[], bool]) -> None:
        """Serve until ``shutdown()`` is true."""
        try:
            while not shutdown():
                self._turn()
        finally:
            self._drop_client()
            self._listener.close()
            self._selector.close()

    def _forget(self) -> None:
        self._parser = CommandParser()
        self._input = bytearray()
        self._steps: Iterator[Step] = iter(())
        self._held = bytearray()
        self._out = bytearray()
        self._due = self._clock()

    def _turn(self) -> None:
        busy = self._work()
        wait_s = 0.0 if busy else min(0.02, max(0.0, self._due - self._clock()) if self._pending() else 0.02)
        if self._client is not None:
            wanted = selectors.EVENT_WRITE if self._out else 0
            if len(self._input) < _IN_LIMIT:
                wanted |= selectors.EVENT_READ
            if wanted:
                self._selector.modify(self._client, wanted)
            elif self._client in self._selector.get_map():
                self._selector.modify(self._client, selectors.EVENT_READ)
                time.sleep(min(wait_s, 0.001))
        for key, events in self._selector.select(wait_s):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._client:
                self._exchange(events)

    def _pending(self) -> bool:
        return bool(self._client) and self._realtime and self._due > self._clock()

    def _accept(self) -> None:
        client, peer = self._listener.accept()
        if self._client is not None:
            log.warning("OBI client %s:%s takes the place of the one before", *peer[:2])
        self._drop_client()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self._selector.register(client, selectors.EVENT_READ)
        log.info("OBI client %s:%s", *peer[:2])

    def _drop_client(self) -> None:
        if self._client is None:
            return
        self._selector.unregister(self._client)
        self._client.close()
        self._client = None
        self._device.reset_pipe()
        self._forget()
        if self._device.lit:
            log.warning("the OBI client left while the beam is on the specimen")

    def _exchange(self, events: int) -> None:
        client = self._client
        if client is None:
            return
        try:
            if events & selectors.EVENT_READ and len(self._input) < _IN_LIMIT:
                data = client.recv(_IN_LIMIT)
                if not data:
                    self._drop_client()
                    return
                self._input += data
            if events & selectors.EVENT_WRITE and self._out:
                del self._out[: client.send(self._out)]
        except BlockingIOError:
            return
        except OSError:
            self._drop_client()

    def _work(self) -> bool:
        """Execute for as long as the device's time, its buffers and its commands allow; True to be called again."""
        if self._client is None or self._device.stalled or len(self._out) > _OUT_LIMIT:
            return False
        now = self._clock()
        if self._realtime and self._due > now:
            return False
        step = self._next_step()
        if step is None:
            if self._realtime and now > self._due:
                self._device.idle((now - self._due) * 1e6)
                self._due = now
            return False
        self._due += step.duration_us * 1e-6
        self._held += step.reply
        ready = len(self._held) if step.flush else len(self._held) // _PACKET * _PACKET
        self._out += self._held[:ready]
        del self._held[:ready]
        return True

    def _next_step(self) -> Step | None:
        step = next(self._steps, None)
        while step is None and not self._device.stalled:
            command = next(self._parser.feed(self._take_input()), None)
            if command is None:
                return self._device.run_free() if self._device.free_running else None
            self._steps = self._device.execute(command)
            step = next(self._steps, None)
        return step

    def _take_input(self) -> bytes:
        data = bytes(self._input)
        self._input.clear()
        return data


def _column(args: argparse.Namespace) -> Column:
    config = load_simulator(args.config) if args.config else SimulatorConfig(detectors=(DETECTOR,))
    return MicroscopeColumn(config, args.field_nm)


def main(argv: list[str] | None = None) -> int:
    """Run the server until told to end; one line of JSON on standard output says where it listens."""
    parser = argparse.ArgumentParser(prog="python -m simulators.obi.server", description=__doc__)
    parser.add_argument("--address", default="tcp://127.0.0.1:2224", help="where to listen (%(default)s)")
    parser.add_argument("--loopback", action="store_true", help="return each pixel's x code instead of a signal")
    parser.add_argument("--config", type=Path, help="the simulated microscope behind the device (YAML)")
    parser.add_argument("--field-nm", type=float, default=20.0, help="width of the DACs' full range (%(default)s)")
    parser.add_argument("--relay-ms", type=float, default=0.0, help="time of the external control's relay")
    parser.add_argument("--fast", action="store_true", help="do not keep to the device's own time")
    add_follow_stdin(parser)
    args = parser.parse_args(argv)
    try:
        device = ObiDevice(Loopback() if args.loopback else _column(args), relay_ms=args.relay_ms)
        server = ObiServer(device, args.address, realtime=not args.fast)
        shutdown = Shutdown(follow_stdin=args.follow_stdin)
        announce("obi", address=server.address, loopback=args.loopback)
        server.serve(shutdown.requested)
    except ScanControlError as error:
        sys.stderr.write(f"obi server: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
