"""The client's end of the wire: messages and time in, messages and events out.

Everything revolves around :class:`ClientProtocol`; the shell around it is :mod:`scancontrol.link.link`. Its promise:
the caller gets every ``start``, sample and ``end`` once and in order, whatever the connection does between. Data
messages carry a running number; what comes twice is dropped, what is missing is asked for again from the gap on
(go-back-N), also when it was the last message and only a heartbeat's answer tells that it exists.

Which step may follow which is the table ``CLIENT`` in :mod:`scancontrol.wire.transitions`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any

from scancontrol.errors import LocalProtocolError, RemoteProtocolError
from scancontrol.wire import messages as m
from scancontrol.wire.assembly import Assembly, Chunk
from scancontrol.wire.framing import SERVER_CONTROL, SERVER_DATA, Part, encode
from scancontrol.wire.transitions import CLIENT, ClientEvent, ClientState
from scancontrol.wire.uploads import without_positions

__all__ = ["Chunk", "ClientProtocol", "Event", "leads_to_light"]

Event = m.Start | Chunk | m.End | m.Notice

_SILENCE_NS = 1_000_000_000  # without any message the connection is given up, and made anew
_REPEAT_NS = 200_000_000  # between two attempts at what has had no answer
_RESEND_NS = 50_000_000  # between two requests for what is missing
_ACKNOWLEDGE_NS = 20_000_000  # news for the microscope waits at most so long


def leads_to_light(message: m.Message) -> bool:
    """Whether the beam may come on because a microscope was sent this."""
    return isinstance(message, m.Register | m.Scan | m.Resume) or (
        isinstance(message, m.SetBlanker) and message.state != "blank"
    )


class ClientProtocol:
    """One client: an operator, who scans, or an observer, who looks on and may blank in an emergency."""

    def __init__(
        self, name: str, role: str = "operator", *, window: int = 16, have: Mapping[tuple[str, int], int] | None = None
    ) -> None:
        """``have`` maps (series_unique_id, frame) to the first sample that is lacking, after a restart."""
        self.state = ClientState.OFFLINE
        self.welcome: m.Welcome | None = None  # of the session that stands, or stood last
        self.refused: m.Refused | None = None  # why hello was refused
        self.lost_samples = 0  # of what the caller did not have, let go by the microscope before we came
        self._name = name
        self._role: Any = role
        self._have = None if have is None else dict(have)
        self._assembly = Assembly(window, have or {})  # of the data that come
        self._next_request = 1
        self._unanswered: OrderedDict[int, m.Message] = OrderedDict()
        self._asked_ns = 0  # when they were last sent
        self._answers: dict[int, m.Done | m.Refused] = {}  # by request, until the caller takes them
        self._notices: deque[m.Notice] = deque()  # for the caller, in order
        self._control_out: list[list[Part]] = []
        self._requests_out: list[int] = []  # numbers of unanswered requests to send
        self._data_out: list[list[Part]] = []
        self._heard_ns = 0  # when anything was last heard
        self._attach_ns = 0  # when an attachment was last asked for
        self._ready_ns = 0  # when the data connection was last made
        self._resend_ns = 0  # when lost data were last asked for again
        self._acknowledge_ns = 0  # when data were last acknowledged
        self._positions: dict[str, bytes] = {}  # of the paths that are being registered, where they are many
        self._was_ready = False  # so that a loss is told, and that it is over
        self._lost = False  # a notice said so, and none that it is well again

    # -- what the caller asks for ---------------------------------------------------------------------

    def connect(self, now_ns: int) -> None:
        """The shell made new connections: say hello, and go on where we were."""
        self._step(ClientEvent.CONNECT)
        self._heard_ns = now_ns
        self._control_out.clear()
        self._requests_out.clear()
        self._data_out.clear()
        self._hello()

    def request(self, kind: type[m.Message], **fields: Any) -> int:
        """Ask for something; the answer will be at :meth:`answer` under the number returned."""
        if self.state in (ClientState.CLOSED, ClientState.OFFLINE) and self.welcome is None:
            raise LocalProtocolError(f"cannot ask while {self.state.value}: connect first")
        number = self._next_request
        self._next_request += 1
        if kind is m.Scan:
            fields.setdefault("heard", self._assembly.heard)
        if kind is m.Register:
            fields["recipe"], data = without_positions(fields["recipe"])
            fields["data_bytes"] = len(data)
            if data:
                self._positions = {**self._positions, fields["path_id"]: data}
        message = kind(request=number, **fields)
        if isinstance(message, m.Scan):
            self._assembly.expect(message)
        self._unanswered[number] = message
        if self.state is ClientState.READY:
            self._requests_out.append(number)
        return number

    def answer(self, number: int) -> m.Done | m.Refused | None:
        """The answer to a request, once; None while there is none yet."""
        return self._answers.pop(number, None)

    def withdraw_lights(self) -> None:
        """Nothing may light the beam any more: what was asked to that end is sent no more, and counts as unanswered.

        The microscope may have had it: what came of a scan its ``end`` will tell, or that there is none.
        """
        for number, message in list(self._unanswered.items()):
            if leads_to_light(message):
                del self._unanswered[number]
                self._answers[number] = m.Refused(
                    request=number, code="no_session", message="it was taken back before the answer came"
                )

    def forget(self, number: int) -> None:
        """The caller gave up on a request."""
        self._unanswered.pop(number, None)

    def next_event(self) -> Event | None:
        """The next thing that happened, in order; taking it gives the microscope credit for another."""
        if self._notices:
            return self._notices.popleft()
        return self._assembly.take()

    def nothing_left(self, status: m.Status | None) -> bool:
        """Whether the microscope exposes nothing, and all that it had to say was taken; ``status`` is its latest."""
        if status is None or self.welcome is None or self.state is not ClientState.READY:
            return False
        of_now = status.server_id == self.welcome.server_id and status.client_ns >= self._ready_ns
        idle = status.frame is None and not status.queued_scans
        return of_now and idle and self._assembly.all_taken(status.next_sequence)

    def acknowledge(self, series_id: int, frame: int, next_index: int) -> None:
        """All samples of this frame below ``next_index`` are safe; the microscope may forget them.

        Raises:
            LocalProtocolError: they were not all taken with :meth:`next_event`.
        """
        self._assembly.acknowledge(series_id, frame, next_index)

    def close(self) -> None:
        """Give the lease back and say nothing more."""
        if self.welcome is not None and self.state in (ClientState.READY, ClientState.ATTACHING):
            self._control_out.append(encode(m.Goodbye(session=self.welcome.session)))
        if self.state is not ClientState.CLOSED:
            self._step(ClientEvent.CLOSE)

    @property
    def news_is_urgent(self) -> bool:
        """Whether the microscope may be waiting to hear what was taken, or is safe."""
        return self._assembly.news_is_urgent

    # -- what the shell says and carries --------------------------------------------------------------

    def control_to_send(self) -> list[list[Part]]:
        """Parts for the control connection."""
        out, self._control_out = self._control_out, []
        numbers, self._requests_out = self._requests_out, []
        return out + [encode(self._unanswered[number]) for number in numbers if number in self._unanswered]

    def data_to_send(self, now_ns: int) -> list[list[Part]]:
        """Parts for the data connection; acknowledgement and credit are gathered into few messages."""
        out, self._data_out = self._data_out, []
        if self.state is ClientState.READY and self.welcome is not None and self._role == "operator":
            urgent = self._assembly.news_is_urgent
            waited_ns = now_ns - self._acknowledge_ns
            if urgent or waited_ns >= (_ACKNOWLEDGE_NS if self._assembly.has_news else _REPEAT_NS):
                self._acknowledge_ns = now_ns
                next_sequence, credit_limit = self._assembly.tell()
                out.append(
                    encode(
                        m.Acknowledge(
                            session=self.welcome.session, next_sequence=next_sequence, credit_limit=credit_limit
                        )
                    )
                )
        return out

    def receive_control(self, parts: Sequence[Part], now_ns: int) -> None:
        """One multipart message from the control connection.

        Raises:
            RemoteProtocolError: malformed; nothing has changed.
            VersionMismatch: the microscope speaks another version of the protocol.
        """
        message, _ = SERVER_CONTROL.decode(parts)
        self._heard_ns = now_ns
        if isinstance(message, m.Welcome):
            self._welcomed(message, now_ns)
        elif isinstance(message, m.Notice):
            self._notices.append(message)
        elif isinstance(message, m.Wanted):
            self._send_positions(message)
        elif isinstance(message, m.Refused) and message.code == "no_session":
            self.session_unknown()
        elif isinstance(message, m.Refused) and message.request is None:
            if self.state is ClientState.GREETING:
                self.refused = message
                self._step(ClientEvent.REFUSAL)
                self._say_lost(message.message)
            else:
                raise RemoteProtocolError(f"the microscope could not read a message of ours: {message.message}")
        elif isinstance(message, m.Done | m.Refused) and message.request is not None:
            asked = self._unanswered.pop(message.request, None)
            if isinstance(message, m.Refused) and isinstance(asked, m.Scan):
                self._assembly.expect_no_more(asked)
            if isinstance(asked, m.Register):
                self._positions = {key: data for key, data in self._positions.items() if key != asked.path_id}
            if asked is not None:
                self._answers[message.request] = message

    def receive_data(self, parts: Sequence[Part], now_ns: int) -> None:
        """One multipart message from the data connection.

        Raises:
            RemoteProtocolError: malformed, or samples that do not follow on those before.
        """
        message, payload = SERVER_DATA.decode(parts)
        self._heard_ns = now_ns
        if isinstance(message, m.Refused):
            if message.code == "not_attached" and self.state is ClientState.READY:
                self._step(ClientEvent.DETACHED)
                self._attach(now_ns)
            elif message.code == "no_session":
                self.session_unknown()
        elif isinstance(message, m.Attached):
            if self.state is ClientState.ATTACHING:
                self._attached(message, now_ns)
        elif self.state is ClientState.READY and not self._assembly.put(message, payload[0] if payload else None):
            self._ask_again(now_ns)

    def heard(self, status: m.Status, now_ns: int) -> None:
        """A heartbeat was answered, on whatever connection, at ``now_ns``."""
        self._heard_ns = max(self._heard_ns, now_ns)
        welcome = self.welcome
        if self.state is ClientState.READY and welcome is not None and status.server_id == welcome.server_id:
            self._assembly.exists_before(status.next_sequence, now_ns)

    def session_unknown(self) -> None:
        """The microscope does not know our session (any more): say hello again."""
        if ClientEvent.NO_SESSION in CLIENT[self.state]:
            self._step(ClientEvent.NO_SESSION)
            self._hello()

    def tick(self, now_ns: int) -> None:
        """Time passed. To be called at least every 50 ms; the state may be ``OFFLINE`` after it."""
        if ClientEvent.SILENCE in CLIENT[self.state] and now_ns - self._heard_ns > _SILENCE_NS:
            self._say_lost("the microscope is silent; connecting anew")
            self._step(ClientEvent.SILENCE)
        elif self.state is ClientState.ATTACHING and now_ns - self._attach_ns > _REPEAT_NS:
            self._attach(now_ns)
        elif self.state is ClientState.READY:
            if self._assembly.missing_since(now_ns) > _RESEND_NS:
                self._ask_again(now_ns)
            if not self._unanswered:
                self._asked_ns = now_ns
            elif now_ns - self._asked_ns > _REPEAT_NS:  # the microscope knows a request that it has had
                self._asked_ns = now_ns
                self._requests_out = list(self._unanswered)

    def _send_positions(self, wanted: m.Wanted) -> None:
        data = self._positions.get(wanted.path_id, b"")
        stop = min(len(data), wanted.offset + m.PIECES_AT_ONCE * m.PIECE_BYTES)
        for offset in range(wanted.offset, stop, m.PIECE_BYTES):
            piece = data[offset : min(offset + m.PIECE_BYTES, stop)]
            self._control_out.append(encode(m.Piece(path_id=wanted.path_id, offset=offset, data=piece)))

    # -- the steps ------------------------------------------------------------------------------------

    def _step(self, event: ClientEvent) -> None:
        to = CLIENT[self.state].get(event)
        if to is None:
            raise LocalProtocolError(f"cannot {event.value} while {self.state.value}")
        self.state = to

    def _hello(self) -> None:
        session = None if self.welcome is None else self.welcome.session
        self._control_out.append(
            encode(
                m.Hello(
                    protocol_version=m.PROTOCOL_VERSION,
                    software=m.software(),
                    name=self._name,
                    role=self._role,
                    session=session,
                )
            )
        )

    def _welcomed(self, welcome: m.Welcome, now_ns: int) -> None:
        if self.state is not ClientState.GREETING:
            return  # an answer to a hello that was sent twice
        before, self.welcome = self.welcome, welcome
        if before is not None and before.server_id != welcome.server_id:
            text = "the microscope's server restarted; samples that it had not sent are lost, and may have been exposed"
            self._assembly.start_over(text, now_ns)
            self._notices.append(m.Notice(kind="restarted", message=text))
        if not welcome.resumed:
            for number, asked in list(self._unanswered.items()):
                if isinstance(asked, m.Register):
                    continue  # asked again: a path is the same path in any session, and moves nothing
                if isinstance(asked, m.Scan):
                    self._assembly.expect_no_more(asked)
                del self._unanswered[number]
                self._answers[number] = m.Refused(
                    request=number, code="no_session", message="the session ended before the answer came"
                )
        if self._role == "operator":
            self._step(ClientEvent.WELCOME)
            self._attach(now_ns)
        else:
            self._step(ClientEvent.WELCOME_OBSERVER)
            self._ready()

    def _attach(self, now_ns: int) -> None:
        self._attach_ns = now_ns
        if self.welcome is None:
            return
        expected = self._assembly.expected
        have = None
        if expected is None and self._have is not None:
            have = tuple(
                m.Have(series_unique_id=series, frame=frame, next_index=next_index)
                for (series, frame), next_index in self._have.items()
            )
        self._data_out.append(
            encode(
                m.Attach(session=self.welcome.session, next_sequence=expected, have=have, credit=self._assembly.window)
            )
        )

    def _attached(self, message: m.Attached, now_ns: int) -> None:
        self._assembly.begin_at(message.next_sequence, now_ns)
        if message.discarded_samples:
            text = f"{message.discarded_samples} samples of another client's series were let go"
            self._notices.append(m.Notice(kind="discarded", message=text))
        self.lost_samples = max(self.lost_samples, message.lost_samples)
        self._ready_ns = now_ns
        self._step(ClientEvent.ATTACHED)
        self._ready()

    def _ready(self) -> None:
        if self._lost:
            self._lost = False
            self._notices.append(m.Notice(kind="link_restored", message="connected to the microscope again"))
        self._was_ready = True
        self._requests_out = list(self._unanswered)

    def _say_lost(self, why: str) -> None:
        if self._was_ready:
            self._was_ready, self._lost = False, True
            self._notices.append(m.Notice(kind="link_lost", message=why))

    def _ask_again(self, now_ns: int) -> None:
        expected = self._assembly.expected
        if self.welcome is None or expected is None or now_ns - self._resend_ns < _RESEND_NS:
            return
        self._resend_ns = now_ns
        self._data_out.append(encode(m.Resend(session=self.welcome.session, next_sequence=expected)))
