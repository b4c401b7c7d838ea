"""Hosts any instrument behind the wire: the ZeroMQ shell around :class:`~scancontrol.wire.server.ServerProtocol`.

An instrument is a simulator, a recording, or a driver for real hardware; nothing above this module can tell which.
:func:`serve` is one loop in the calling thread: what arrives is received, then time is looked at, then the beam is
told what to do, then samples are read and sent. Two things are not for this loop: recipes are expanded on a second
thread, because a large path takes long, and the beam is put out on a third (:mod:`scancontrol.microscope.blanker`),
which nothing that happens here can delay.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import zmq

from scancontrol.dose.cells import PathCells
from scancontrol.dose.limits import DoseLimits
from scancontrol.errors import InvalidInput, LinkError, ScanControlError
from scancontrol.microscope.blanker import Blanker
from scancontrol.microscope.instrument import BeamOff, Instrument, Overrun, TransportFaults
from scancontrol.paths import ScanPath
from scancontrol.processes.logs import set_scan
from scancontrol.transport.doorman import Doorman
from scancontrol.transport.endpoints import bind, bind_again, check_address
from scancontrol.transport.inbox import Inbox
from scancontrol.transport.keys import Gatekeeper, KeyWatch, ServerSecurity, secure_server
from scancontrol.transport.sockets import HANDSHAKE_MS
from scancontrol.wire.framing import MAX_HEADER_BYTES, Part
from scancontrol.wire.messages import Limits, software
from scancontrol.wire.scanner import BeginScan, BlankBeam, ExpandRecipe
from scancontrol.wire.server import ServerProtocol

__all__ = ["serve"]

log = logging.getLogger(__name__)

_POLL_MS = 5  # how long the loop waits where the beam is off
_RECEIVE_NS = 10_000_000  # of receiving from one socket, before the beam is looked at again
_EXPOSE_NS = 1_000_000  # of reading blocks, before the sockets are looked at again
_ZERO_COPY_BYTES = 65536  # below this a copy is cheaper than keeping track of the buffer
_UTC_EVERY_NS = 1_000_000_000
_FLUSH_S = 0.3  # how long the last messages may take to leave
_BLANK_WAIT_S = 0.02  # of this loop for the blanker; it is asked after again at each turn
_DRAIN_S = 2.5  # within which a blanked instrument must have handed over what it had exposed
_FIRST_BLANK_S = 5.0  # at power-up and at the end
_HAND_OVER_S = 4.0  # how long samples are kept for an operator who did not say goodbye: a disk or a link may be slow


def serve(
    instrument: Instrument,
    address: str = "tcp://127.0.0.1:0",
    *,
    shutdown: Callable[[], bool],
    on_ready: Callable[[str], None] = lambda address: None,
    security: ServerSecurity | None = None,
    limits: Limits | None = None,
    dose_limits: DoseLimits | None = None,
    transport_faults: TransportFaults | None = None,
    context: zmq.Context[Any] | None = None,
) -> None:
    """Host ``instrument`` until ``shutdown`` is true. The beam is blanked on every way out.

    ``on_ready`` is told the address of the control socket, with the port that was found. The data socket takes any
    free port of the same interface.

    Raises:
        InvalidInput: the address cannot be bound, or is open to the network without keys, or the instrument states
            capabilities that cannot be.
        LinkError: the instrument cannot blank its beam.
    """
    limits = limits or Limits()
    blanker = Blanker(instrument.blank, limits.dead_man_ms * 1_000_000)
    blanker.start()
    server = None
    try:
        blanker.blank()  # on power-up, before anything can fail
        if not blanker.obeyed(_FIRST_BLANK_S):
            raise LinkError(f"the instrument {blanker.trouble or 'does not blank'}; blank the beam at the column")
        server = _Server(instrument, blanker, address, security, limits, dose_limits, transport_faults, context)
        on_ready(server.address)
        server.run(shutdown)
    finally:
        blanker.blank()
        if not blanker.obeyed(_FIRST_BLANK_S):
            log.critical("the beam may still be on (%s): blank it at the column", blanker.trouble)
        blanker.stop()
        try:
            instrument.close()
        finally:
            if server is not None:
                server.close()


class _Server:
    """The sockets, and the loop over them."""

    def __init__(
        self,
        instrument: Instrument,
        blanker: Blanker,
        address: str,
        security: ServerSecurity | None,
        limits: Limits,
        dose_limits: DoseLimits | None,
        faults: TransportFaults | None,
        context: zmq.Context[Any] | None,
    ) -> None:
        check_address(address, security)
        self._instrument = instrument
        self._blanker = blanker
        self._draining_since: float | None = None  # monotonic seconds; until what was exposed is handed over
        self._faults = faults
        self._delayed: list[tuple[float, bytes, list[Part]]] = []  # by injected faults: when to send, to whom, what
        self._own_context = context is None  # whether it ends with this server
        self._context: zmq.Context[Any] = zmq.Context() if context is None else context
        self._expander = ThreadPoolExecutor(1, "expand")  # paths are expanded beside the loop
        self._expansions: list[tuple[str, Future[tuple[ScanPath, PathCells | None]]]] = []
        self._sockets: list[zmq.Socket[bytes]] = []
        self._doormen: list[Doorman] = []
        self._security = security
        self._keys = None if security is None else KeyWatch(security)
        self._gate = ExitStack()
        try:
            if security is not None:
                self._gate.enter_context(Gatekeeper(self._context, security))
            self._control = self._socket(MAX_HEADER_BYTES, 4096)
            self.address = bind(self._control, address)
            self._data = self._socket(MAX_HEADER_BYTES, 4096)
            self._data_address = bind(self._data, _beside(address))
            self._protocol = ServerProtocol(
                instrument.capabilities,
                server_id=secrets.token_hex(16),
                new_token=lambda: secrets.token_hex(16),
                software=software(),
                data_address=self._data_address,
                limits=limits,
                dose_limits=dose_limits,
            )
        except BaseException:
            self.close()
            raise
        self._inboxes = [(Inbox(socket), self._watched(socket, address)) for socket in (self._control, self._data)]
        self._poller = zmq.Poller()
        for socket in (self._control, self._data):
            self._poller.register(socket, zmq.POLLIN)
        self._utc_at_ns = 0  # when UTC was last held against the monotonic clock

    def _socket(self, max_message_bytes: int, high_water: int) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._sockets.append(socket)
        socket.linger = 0
        socket.setsockopt(zmq.MAXMSGSIZE, max_message_bytes)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a peer that is gone is an error, not a silent drop
        socket.sndhwm = high_water  # credit bounds what is on its way long before this does
        socket.rcvhwm = high_water
        secure_server(socket, self._security)
        return socket

    def _watched(self, socket: zmq.Socket[bytes], address: str) -> Doorman | None:
        if not address.startswith("tcp://"):
            return None
        doorman = Doorman(socket)
        doorman.start()
        self._doormen.append(doorman)
        return doorman

    def run(self, shutdown: Callable[[], bool]) -> None:
        """The loop, until ``shutdown`` is true; then open scans get their ends, and what was exposed is handed over."""
        while not shutdown():
            self.turn(0 if self._protocol.beam_on else _POLL_MS)
        self._protocol.shut_down(time.monotonic_ns())
        self._act()
        began = time.monotonic()
        while not self._protocol.drained:
            if time.monotonic() - began > (_HAND_OVER_S if self._protocol.owes_samples else _FLUSH_S):
                break
            self.turn(_POLL_MS)
        if self._protocol.owes_samples:
            log.warning("ended with %d bytes of samples that nobody has taken", self._protocol.retained_bytes)

    def turn(self, wait_ms: int) -> None:
        """Receive, look at the time, act, read, send."""
        ready = dict(self._poller.poll(wait_ms))
        if self._control in ready:
            self._receive(*self._inboxes[0], self._protocol.receive_control)
        if self._data in ready:
            self._receive(*self._inboxes[1], self._protocol.receive_data)
        now_ns = time.monotonic_ns()
        if now_ns - self._utc_at_ns >= _UTC_EVERY_NS:
            self._utc_at_ns = now_ns
            self._protocol.set_utc_offset(time.time_ns() - time.monotonic_ns())
        if self._keys is not None and not self._protocol.beam_on and self._keys.changed(now_ns):
            self._use_new_key(self._keys.key)
        self._collect_expansions()
        self._watch(now_ns)
        self._protocol.tick(now_ns)
        self._act()
        self._drain(0.0)
        if self._blanker.obeyed():
            self._protocol.dark()
        self._expose(now_ns + _EXPOSE_NS)
        self._send()
        self._act()  # a peer that is gone was noticed only now

    def _watch(self, now_ns: int) -> None:
        """Tell the blanker who was heard, and the protocol what the blanker did."""
        self._blanker.heard(self._protocol.heard_ns)
        self._notice_trip(now_ns)
        self._protocol.beam_trouble(self._blanker.trouble, now_ns)

    def _notice_trip(self, now_ns: int) -> bool:
        """Tell the protocol if the dead man has acted; whether he has."""
        trip = self._blanker.take_trip()
        if trip:
            self._protocol.heartbeat_lost(trip, now_ns)
            self._blanker.blank()  # whatever this loop was held up by may have lit the beam
        return bool(trip)

    def _use_new_key(self, key: tuple[bytes, bytes]) -> None:
        """Doses, and samples that nobody has acknowledged, stay; every client has to connect again."""
        for socket, endpoint in ((self._control, self.address), (self._data, self._data_address)):
            bind_again(socket, endpoint, key)
        log.info("a new key is in use: clients need its public half, %s", key[0].decode())

    def _expose(self, until_ns: int) -> None:
        """Read and send what there is: fast hardware fills several blocks before the sockets need another look."""
        more = True
        while more and self._protocol.beam_on and time.monotonic_ns() < until_ns:
            more = self._read()
            self._act()
            self._send()

    @staticmethod
    def _receive(inbox: Inbox, doorman: Doorman | None, receive: Callable[[bytes, list[Part], int], None]) -> None:
        until_ns = time.monotonic_ns() + _RECEIVE_NS
        while time.monotonic_ns() < until_ns:
            try:
                connection, *parts = inbox.receive()
            except zmq.Again:
                return
            if doorman is not None:
                doorman.heard(inbox.source)
            receive(connection, list(parts), time.monotonic_ns())

    def _act(self) -> None:
        """Carry out what the protocol wants, until it wants nothing more."""
        while actions := self._protocol.actions():
            for action in actions:
                if isinstance(action, BlankBeam):
                    self._blank()
                elif isinstance(action, BeginScan):
                    self._begin(action)
                else:
                    self._expand(action)

    def _begin(self, action: BeginScan) -> None:
        set_scan(action.series_unique_id)
        log.info("frame %d from sample %d", action.frame, action.first_index)
        self._blanker.heard(self._protocol.heard_ns)
        if not self._blanker.light():
            now_ns = time.monotonic_ns()
            if not self._notice_trip(now_ns):
                self._protocol.failed("the beam is going off, nothing may begin now", now_ns)
            return
        self._guarded(self._instrument.begin, action.path, action.first_index, action.frame)

    def _blank(self) -> None:
        self._blanker.blank()
        self._draining_since = time.monotonic()
        self._drain(_BLANK_WAIT_S)

    def _drain(self, wait_s: float) -> None:
        """Take what a blanked instrument had exposed; when that is all, and it has obeyed, the protocol is told."""
        since = self._draining_since
        if since is None:
            return
        obeyed = self._blanker.obeyed(wait_s)
        until_ns = time.monotonic_ns() + _RECEIVE_NS
        while more := self._protocol.read_budget() > 0 and self._read():
            if time.monotonic_ns() > until_ns:
                break
        if more and time.monotonic() - since > _DRAIN_S:
            self._protocol.failed(f"samples are missing {_DRAIN_S:g} s after the blank", time.monotonic_ns())
        elif more or not obeyed:
            return
        self._draining_since = None
        self._protocol.blanked(time.monotonic_ns())

    def _read(self) -> bool:
        """Hand over one block, if there is one."""
        block = self._guarded(self._instrument.read, self._protocol.read_budget())
        if block is None:
            return False
        self._protocol.exposed(block.values, block.electrons, block.monotonic_ns, time.monotonic_ns())
        return True

    def _guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except Overrun as error:
            self._protocol.failed(str(error), time.monotonic_ns(), overrun=True)
        except BeamOff as error:
            self._protocol.failed(str(error), time.monotonic_ns(), by_operator=error.by_operator)
        except Exception as error:
            log.exception("the instrument failed")
            self._protocol.failed(f"{type(error).__name__}: {error}", time.monotonic_ns())
        return None

    def _expand(self, action: ExpandRecipe) -> None:
        self._expansions.append((action.path_id, self._expander.submit(action.carry_out)))

    def _collect_expansions(self) -> None:
        for path_id, future in [item for item in self._expansions if item[1].done()]:
            self._expansions.remove((path_id, future))
            error = future.exception()
            if error is None:
                self._protocol.expanded(path_id, *future.result(), None)
                continue
            if not isinstance(error, ScanControlError):
                log.error("a recipe could not be expanded", exc_info=error)
                error = InvalidInput(
                    "recipe", path_id, f"cannot be expanded ({type(error).__name__}: {error})", "mend the plan"
                )
            self._protocol.expanded(path_id, None, None, error)

    def _send(self) -> None:
        for connection, parts in self._protocol.control_to_send():
            self._transmit(self._control, connection, parts)
        if self._faults is None:
            for connection, parts in self._protocol.data_to_send():
                if not self._transmit(self._data, connection, parts):
                    self._protocol.undeliverable(connection, time.monotonic_ns())
            return
        now = time.monotonic()
        for connection, parts in self._protocol.data_to_send():
            for delay_s, changed in self._faults.filter(parts, now):
                self._delayed.append((now + delay_s, connection, changed))
        due = [item for item in self._delayed if item[0] <= now]
        self._delayed = [item for item in self._delayed if item[0] > now]
        for _, connection, parts in sorted(due, key=lambda item: item[0]):
            if not self._transmit(self._data, connection, parts):
                self._protocol.undeliverable(connection, time.monotonic_ns())

    @staticmethod
    def _transmit(socket: zmq.Socket[bytes], connection: bytes, parts: list[Part]) -> bool:
        """Whether the peer is still there."""
        large = any(isinstance(part, memoryview) and part.nbytes >= _ZERO_COPY_BYTES for part in parts)
        try:
            socket.send_multipart([connection, *parts], zmq.NOBLOCK, copy=not large)
        except zmq.Again:
            return True  # as good as lost on the way: the client will ask for it
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True

    def close(self) -> None:
        """Close the sockets, and the threads with them."""
        self._expander.shutdown(wait=True, cancel_futures=True)
        for doorman in self._doormen:
            doorman.stop()
        for socket in self._sockets:
            socket.close(200)
        self._gate.close()
        if self._own_context:
            self._context.term()


def _beside(address: str) -> str:
    """Where the data socket binds: the same interface, any free port."""
    if address.startswith("tcp://"):
        return address.rsplit(":", 1)[0] + ":0"
    return address + "-data"
