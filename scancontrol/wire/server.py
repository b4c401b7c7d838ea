"""The microscope's end of the wire: messages and time in, messages and beam actions out.

Everything revolves around :class:`ServerProtocol`. It has no socket, clock, thread or instrument; the shell in
:mod:`scancontrol.microscope.host` tells it what arrives and what was exposed, and carries out what it says:

1. call ``receive_control``, ``receive_data``, ``exposed``, ``failed``, ``expanded``, ``undeliverable``, ``tick``;
2. then carry out :meth:`ServerProtocol.actions`, in order. After a ``BlankBeam``, hand over with ``exposed`` what
   the instrument still holds, then call ``blanked``: the ``end`` of the frame counts those samples too;
3. then send :meth:`ServerProtocol.control_to_send` and :meth:`ServerProtocol.data_to_send`;
4. while :meth:`ServerProtocol.read_budget` is above 0, read at most so many samples from the instrument.

Who may ask is decided here; whether the beam may do it, in :mod:`scancontrol.wire.scanner` by its table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from numpy.typing import NDArray

from scancontrol.capabilities import Capabilities
from scancontrol.dose.cells import PathCells
from scancontrol.dose.guard import DoseGuard
from scancontrol.dose.limits import DoseLimits
from scancontrol.errors import InvalidInput, LocalProtocolError, RemoteProtocolError, VersionMismatch
from scancontrol.paths import ScanPath
from scancontrol.processes.printable import printable
from scancontrol.wire import messages as m
from scancontrol.wire.answers import refusal, status_of
from scancontrol.wire.beam_requests import carry_out
from scancontrol.wire.framing import CLIENT_CONTROL, CLIENT_DATA, Part
from scancontrol.wire.identity import Identity
from scancontrol.wire.registering import Registrations
from scancontrol.wire.registry import PathRegistry
from scancontrol.wire.replies import Outgoing, Replies
from scancontrol.wire.retention import Retention
from scancontrol.wire.scanner import Action, Scanner
from scancontrol.wire.sessions import Session, Sessions
from scancontrol.wire.transitions import Event, State

__all__ = ["ServerProtocol"]


class ServerProtocol:
    """One microscope, one operator, any number of observers."""

    def __init__(
        self,
        capabilities: Capabilities,
        *,
        server_id: str,
        new_token: Callable[[], str],
        software: str,
        data_address: str,
        limits: m.Limits | None = None,
        dose_limits: DoseLimits | None = None,
    ) -> None:
        self.limits = limits or m.Limits()
        self._identity = Identity(server_id, software, data_address, capabilities, self.limits)
        self._sessions = Sessions(self.limits, new_token)
        self._paths = PathRegistry(self.limits.registered_paths)
        self._retention = Retention(self.limits.retained_bytes, self.limits.window_chunks)
        self._guard = DoseGuard(dose_limits or DoseLimits(), capabilities)
        self._registrations = Registrations(
            self._paths, capabilities, self.limits.registered_paths, self._guard.needs_cells
        )
        channels = tuple(detector.name for detector in capabilities.detectors)
        self._scanner = Scanner(self.limits, channels, self._guard, self._retention, capabilities.sample_dtype)
        self._farewell = False  # whether the last operator took leave
        self._replies = Replies()
        self._owed: dict[tuple[bytes, type[m.Message]], m.Done] = {}  # by connection, until the beam is seen to be off

    # -- what the shell reads -------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where the beam's side is in its table."""
        return self._scanner.state

    @property
    def beam_on(self) -> bool:
        """Whether the instrument was last told to expose."""
        return self._scanner.beam_on

    @property
    def drained(self) -> bool:
        """Whether every data message was acknowledged."""
        return self._retention.first_sequence == self._retention.next_sequence

    @property
    def owes_samples(self) -> bool:
        """Whether samples are kept for an operator who is there, or has fallen silent without a goodbye."""
        return self._retention.bytes > 0 and not self._farewell

    @property
    def retained_bytes(self) -> int:
        """Of samples that nobody has said are safe."""
        return self._retention.bytes

    @property
    def heard_ns(self) -> int:
        """When the operator was last heard; 0 without one."""
        operator = self._sessions.operator
        return 0 if operator is None else operator.heard_ns

    def actions(self) -> list[Action]:
        """What to do now, in order; the beam comes first."""
        return [*self._scanner.actions(), *self._registrations.expansions()]

    def control_to_send(self) -> list[Outgoing]:
        """(connection, parts) for the control socket."""
        return self._replies.take_control()

    def data_to_send(self) -> Iterator[Outgoing]:
        """(connection, parts) for the data socket, as far as credit goes."""
        yield from self._replies.take_data()
        operator = self._sessions.operator
        if operator is not None and operator.data is not None:
            connection = operator.data
            for parts in self._retention.to_send():
                yield connection, parts

    def read_budget(self) -> int:
        """How many samples may be read from the instrument now; 0: do not read."""
        return self._scanner.read_budget()

    # -- what the shell says --------------------------------------------------------------------------

    def set_utc_offset(self, offset_ns: int) -> None:
        """UTC minus the monotonic clock whose times are given to the other methods."""
        self._scanner.utc_offset_ns = offset_ns

    def receive_control(self, connection: bytes, parts: Sequence[Part], now_ns: int) -> None:
        """One multipart message from the control socket."""
        try:
            message, _ = CLIENT_CONTROL.decode(parts)
        except VersionMismatch as error:
            self._replies.refuse(connection, None, "version", str(error))
            return
        except RemoteProtocolError as error:
            self._replies.refuse(connection, None, "malformed", str(error))
            self._distrust(self._sessions.at(connection), error, now_ns)
            return
        if isinstance(message, m.Hello):
            self._greet(connection, message, now_ns)
        elif isinstance(message, m.Blank):
            self._emergency(connection, message, now_ns)
        elif isinstance(message, m.Heartbeat | m.Goodbye):
            session = self._sessions.find(message.session)
            if session is None:
                self._replies.refuse(connection, None, "no_session", "say hello first")
            elif isinstance(message, m.Goodbye):
                self._farewell |= session.operator
                self._leave(session, f"{session.name} left", now_ns)
            else:
                self._sessions.hear(session, now_ns)
                operator = self._sessions.operator
                status = status_of(
                    self._scanner,
                    self._retention,
                    self._guard,
                    message,
                    self._identity.server_id,
                    now_ns,
                    None if operator is None else operator.name,
                    going_off=bool(self._owed),
                )
                self._replies.send(connection, status)
        elif isinstance(message, m.Piece):
            self._take_piece(connection, message, now_ns)
        else:
            session = self._sessions.at(connection)
            if session is None:
                self._replies.refuse(connection, message.request, "no_session", "say hello first")
            else:
                self._sessions.hear(session, now_ns)
                self._request(session, message, now_ns)

    def receive_data(self, connection: bytes, parts: Sequence[Part], now_ns: int) -> None:
        """One multipart message from the data socket."""
        operator = self._sessions.operator
        try:
            message, _ = CLIENT_DATA.decode(parts)
        except (RemoteProtocolError, VersionMismatch) as error:
            known = operator is not None and operator.data == connection
            self._distrust(operator if known else None, error, now_ns)
            return
        if operator is None or message.session != operator.token:
            self._replies.turn_away(connection, "no_session", "data go to the operator; say hello first")
            return
        self._sessions.hear(operator, now_ns)
        try:
            if isinstance(message, m.Attach):
                self._attach(operator, connection, message)
            elif operator.data != connection:
                self._replies.turn_away(connection, "not_attached", "attach this connection first")
            elif isinstance(message, m.Acknowledge):
                self._retention.acknowledge(message.next_sequence, message.credit_limit)
            else:
                self._retention.rewind(message.next_sequence)
        except RemoteProtocolError as error:
            self._distrust(operator, error, now_ns)
        self._scanner.advance(now_ns)

    def undeliverable(self, connection: bytes, now_ns: int) -> None:
        """A data connection is gone; what it should have carried is kept until the client attaches again."""
        operator = self._sessions.operator
        if operator is not None and operator.data == connection:
            operator.data = None
            self._retention.detach()
            self._scanner.advance(now_ns)

    def exposed(self, values: NDArray[Any], electrons: float, monotonic_ns: int, now_ns: int) -> None:
        """Samples that the instrument exposed, see :meth:`Scanner.exposed`."""
        self._scanner.exposed(values, electrons, monotonic_ns, now_ns)

    def blanked(self, now_ns: int) -> None:
        """The instrument is blanked, and has handed over everything that it had exposed."""
        self._scanner.blanked(now_ns)

    def dark(self) -> None:
        """The blanker has obeyed since the last action was carried out: Blanks that were taken are confirmed now."""
        for (connection, _), done in self._owed.items():
            self._replies.send(connection, done)
        self._owed.clear()

    def failed(self, error: str, now_ns: int, *, overrun: bool = False, by_operator: bool = False) -> None:
        """The instrument raised an exception, (``overrun``) lost samples, or was blanked at the column."""
        event = Event.OVERRUN if overrun else Event.COLUMN_BLANK if by_operator else Event.FAULT
        self._happen(event, error, now_ns)

    def heartbeat_lost(self, text: str, now_ns: int) -> None:
        """The blanker's own dead man has put the beam out: it did not hear of the operator, or of this end, in time."""
        self._happen(Event.HEARTBEAT_LOST, text, now_ns)

    def beam_trouble(self, text: str, now_ns: int) -> None:
        """Why the beam may be on although it was to go off; empty where all is well. To be told at every turn."""
        if text and not self._scanner.trouble:
            self._happen(Event.FAULT, text, now_ns)
        self._scanner.trouble = text

    def expanded(self, path_id: str, path: ScanPath | None, cells: PathCells | None, error: Exception | None) -> None:
        """The answer to :class:`ExpandRecipe`: the path (and its cells, if they were asked for), or why not."""
        if path is not None:
            if cells is not None:
                self._guard.prepare(cells)
            self._paths.add(path, frozenset(scan.request.path_id for scan in self._scanner.open_scans))
            self._guard.keep(self._paths.__contains__)
        for connection, request in self._registrations.expanded(path_id):
            session = self._sessions.at(connection)
            if session is not None:
                answer = m.Done(request=request) if path is not None else refusal(request, error, "path_mismatch")
                self._replies.answer(session, answer)

    def tick(self, now_ns: int) -> None:
        """Time passed. To be called after what arrived was received, at least every 20 ms."""
        dead = self._sessions.newly_dead(now_ns)
        if dead is not None and (self._scanner.open_scans or self.state is State.PAUSED):
            silence_ms = (now_ns - dead.heard_ns) / 1e6
            self._happen(Event.HEARTBEAT_LOST, f"nothing heard from {dead.name} for {silence_ms:.0f} ms", now_ns)
        for session in self._sessions.expired(now_ns):
            self._replies.send(session.control, m.Notice(kind="lease_expired", message="silent for too long"))
            self._leave(session, f"the lease of {session.name} expired", now_ns)
        self._scanner.advance(now_ns)

    def shut_down(self, now_ns: int, message: str = "the microscope's server ends") -> None:
        """Blank for good; every open scan gets its ``end``."""
        self._happen(Event.SHUTDOWN, message, now_ns)

    # -- requests -------------------------------------------------------------------------------------

    def _request(self, session: Session, message: Any, now_ns: int) -> None:
        if message.request in session.answers:  # asked again after a lost connection: answered, not done, again
            self._replies.send(session.control, session.answers[message.request])
            return
        if message.request in session.answered:  # so long ago that its answer is not kept: a replay
            self._replies.refuse(
                session.control, message.request, "not_now", f"request {message.request} was answered before"
            )
            return
        if not session.operator:
            self._replies.answer(
                session,
                m.Refused(
                    request=message.request,
                    code="not_operator",
                    message=f"{session.name} looks on",
                    remedy="connect as operator",
                ),
            )
            return
        if isinstance(message, m.Register):
            registered = self._registrations.register(session.control, message)
            if registered is not None:
                self._replies.answer(session, registered)
            return
        try:
            answer = carry_out(message, session.name, self._scanner, self._paths, self.limits.queued_scans, now_ns)
        except InvalidInput as error:
            answer = refusal(message.request, error, "invalid")
        except LocalProtocolError as error:
            answer = m.Refused(request=message.request, code="not_now", message=str(error))
        if answer is None and isinstance(message, m.SetBlanker) and message.state == "blank":
            self._owed[session.control, m.SetBlanker] = m.Done(request=message.request)
        else:
            self._replies.answer(session, answer or m.Done(request=message.request))
        self._scanner.advance(now_ns)

    def _take_piece(self, connection: bytes, piece: m.Piece, now_ns: int) -> None:
        session = self._sessions.at(connection)
        if session is None or not session.operator or not self._registrations.uploading:
            return  # nobody else's is looked at
        self._sessions.hear(session, now_ns)
        answer = self._registrations.take_piece(connection, piece)
        if answer is not None:
            self._replies.answer(session, answer)

    def _emergency(self, connection: bytes, message: m.Blank, now_ns: int) -> None:
        """Nobody is asked who they are."""
        name = printable(message.name) or "somebody"
        self._happen(Event.HOLD, f"emergency blank by {name}", now_ns)
        self._owed[connection, m.Blank] = m.Done(request=message.request)  # of many, the last answers for all
        operator = self._sessions.operator
        if operator is not None and operator.control != connection:
            self._replies.send(operator.control, m.Notice(kind="blanked", message=f"{name} blanked the beam"))

    # -- sessions -------------------------------------------------------------------------------------

    def _greet(self, connection: bytes, hello: m.Hello, now_ns: int) -> None:
        problem = self._identity.misunderstands(hello)
        if problem:
            self._replies.refuse(connection, None, "version", problem)
            return
        hello = msgspec.structs.replace(hello, name=printable(hello.name))
        greeted = self._sessions.greet(hello, connection, now_ns)
        if isinstance(greeted, m.Refused):
            self._replies.send(connection, greeted)
            return
        session, resumed = greeted
        self._farewell &= not session.operator
        self._sessions.hear(session, now_ns)
        self._replies.send(connection, self._identity.welcome(session, resumed=resumed))

    def _attach(self, session: Session, connection: bytes, message: m.Attach) -> None:
        first, discarded, lost = message.next_sequence, 0, 0
        if first is None and session.data == connection:
            first = session.attached_at  # the same message again, because the answer was slow
        elif first is None:
            have = {(item.series_unique_id, item.frame): item.next_index for item in message.have or ()}
            discarded, lost = self._retention.keep_only(have)
            first = self._retention.first_sequence
            self._scanner.unheard = 0  # a client that has just come asks for nothing that went before
        first = self._retention.attach(first, message.credit)
        session.data, session.attached_at = connection, first
        attached = m.Attached(
            server_id=self._identity.server_id, next_sequence=first, discarded_samples=discarded, lost_samples=lost
        )
        self._replies.send_data(connection, attached)

    def _leave(self, session: Session, text: str, now_ns: int) -> None:
        if session.operator:
            self._registrations.forget_upload()
            self._happen(Event.ABORT, text, now_ns)
            self._retention.detach()
        self._sessions.drop(session)

    def _distrust(self, session: Session | None, error: Exception, now_ns: int) -> None:
        """A stranger's nonsense changes nothing; an operator who talks nonsense is not collecting: blank."""
        if session is not None and session.operator and self._scanner.open_scans:
            self._happen(Event.FAULT, f"protocol error of {session.name}: {error}", now_ns)

    def _happen(self, event: Event, text: str, now_ns: int) -> None:
        """A step that nobody can refuse; after the end there is none left to take."""
        if self._scanner.allows(event):
            self._scanner.step(event, text, now_ns)
            self._scanner.advance(now_ns)
