"""The client's side of a microscope: what can be asked of it, and what comes. Start reading here.

What follows from what is said is :class:`~scancontrol.wire.client.ClientProtocol`'s to know; the sockets, the heart and
the clock are :class:`~scancontrol.link.shell.ClientShell`'s.

:class:`MicroscopeLink` belongs to one thread, which must call :meth:`MicroscopeLink.receive` often: samples, answers
and reconnections move only then. Losing the connection is not an error. The link connects anew by itself, says what
it has, and is sent the rest; ``receive`` yields every sample once and in order.

The heartbeat has a thread and a socket of its own, so that it goes on while the caller waits for a slow disk. It must
not outlive the acquisition, or the dead man would guard nothing. So it beats only while the caller has used the link
within ``patience_s``: a caller that hangs stops it after that time, SIGSTOP, SIGKILL and a lost network at once. A
hanging caller does not leave the beam on for so long: it gives no credit, so the beam blanks when ``window`` chunks
wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Literal

import msgspec
import zmq

from scancontrol.capabilities import Capabilities
from scancontrol.errors import LinkError, LocalProtocolError, RequestRefused
from scancontrol.link.shell import ClientShell
from scancontrol.paths import PathRecipe
from scancontrol.recent import Recent
from scancontrol.transport.endpoints import check_address
from scancontrol.transport.keys import ClientSecurity
from scancontrol.wire import messages as m
from scancontrol.wire.answers import error_of
from scancontrol.wire.client import Chunk, ClientProtocol
from scancontrol.wire.client import Event as LinkEvent
from scancontrol.wire.messages import End, Notice, Start, Status
from scancontrol.wire.transitions import ClientState

__all__ = ["Chunk", "End", "LinkEvent", "MicroscopeLink", "Notice", "Start", "Status"]

_POLL_MS = 20
_ALIVE_MS = 300  # a holder heard within this time is there
_KEPT_RECIPES = 64


class MicroscopeLink:
    """One client of one microscope.

    Args:
        address: of the microscope's control socket, such as ``tcp://127.0.0.1:5555``.
        operator: who scans; with ``observer=True``, who looks on.
        window: chunks that may wait at this end before the beam waits.
        patience_s: how long the caller may leave the link alone, see the module.
        have: after a restart: ``{(series_unique_id, frame): first sample lacking}`` of the series that go on. Samples
            of other series that the microscope still keeps are let go.
        may_light: asked before anything is sent, once and again, that may bring the beam on: a path, a scan, going
            on, releasing the blanker. What it says no to is refused with the code ``no_session``, as by a lost session.

    Raises:
        InvalidInput: the address is not one, or is on the network and no keys are given.
    """

    def __init__(
        self,
        address: str,
        *,
        security: ClientSecurity | None = None,
        operator: str = "operator",
        observer: bool = False,
        window: int = 16,
        patience_s: float = 3.0,
        have: Mapping[tuple[str, int], int] | None = None,
        context: zmq.Context[Any] | None = None,
        may_light: Callable[[], bool] = lambda: True,
    ) -> None:
        check_address(address, security)
        self.address = address
        self._own_context = context is None
        self._context: zmq.Context[Any] = zmq.Context() if context is None else context
        self._protocol = ClientProtocol(operator, "observer" if observer else "operator", window=window, have=have)
        self._shell = ClientShell(self._protocol, self._context, address, security, patience_s, may_light)
        self._name = operator
        self._recipes: Recent[str, PathRecipe] = Recent(_KEPT_RECIPES)
        self._closed = False

    # -- connection -----------------------------------------------------------------------------------

    def connect(self, timeout_s: float = 5.0) -> Capabilities:
        """Say hello and learn what the microscope can.

        Raises:
            LinkError: nobody answers at the address.
            VersionMismatch: the microscope speaks another version of the protocol.
            LeaseHeld: somebody else operates it (an abandoned lease is waited for, within the timeout).
            InvalidInput: it states capabilities that cannot be.
        """
        deadline = time.monotonic() + timeout_s
        first: m.Refused | None = None
        while self._protocol.state is not ClientState.READY:
            now = time.monotonic()
            refused = self._protocol.refused
            if self._protocol.state is ClientState.REFUSED and refused is not None:
                first = first or refused
                # One refusal may be on behalf of a holder who was killed a moment ago.
                alive = refused is not first and refused.holder_silent_ms < _ALIVE_MS
                if refused.code != "lease_held" or alive or now >= deadline:
                    self._shell.disconnect()
                    raise error_of(refused)
            if now >= deadline:
                self._shell.disconnect()
                raise LinkError(
                    f"no microscope answers at {self.address} within {timeout_s:g} s; start one there"
                    " ('scancontrol simulate'), or give its address (and its keys, if it has any)"
                )
            self._turn(min(_POLL_MS, 1 + int(1e3 * (deadline - now))))
        return self.capabilities

    @property
    def connected(self) -> bool:
        """Whether requests are answered and samples come now."""
        return self._protocol.state is ClientState.READY

    @property
    def capabilities(self) -> Capabilities:
        """What the microscope said that it can.

        Raises:
            LinkError: before :meth:`connect`.
        """
        return self._welcome().capabilities

    @property
    def limits(self) -> m.Limits:
        """The bounds that the microscope's server works within.

        Raises:
            LinkError: before :meth:`connect`.
        """
        return self._welcome().limits

    @property
    def status(self) -> Status | None:
        """The microscope's latest answer to a heartbeat: its state, beam, lease, dose and queues."""
        return None if self._shell.heart is None else self._shell.heart.pulse.status

    @property
    def server_id(self) -> str:
        """Whom requests go to now: differs after every restart of the microscope's server."""
        return self._welcome().server_id

    @property
    def drained(self) -> bool:
        """Whether the microscope exposes nothing, and everything that it had to say was received."""
        return self._protocol.nothing_left(self.status)

    @property
    def lost_samples(self) -> int:
        """Samples of what this client said it had not, that the microscope let go while another was connected."""
        return self._protocol.lost_samples

    @property
    def clock_offset_ns(self) -> int | None:
        """The microscope's monotonic clock minus this process's."""
        return None if self._shell.heart is None else self._shell.heart.pulse.clock_offset_ns

    @property
    def clock_error_ns(self) -> int | None:
        """The bound on the error of :attr:`clock_offset_ns`."""
        return None if self._shell.heart is None else self._shell.heart.pulse.clock_error_ns

    def close(self) -> None:
        """Give the lease back and let go of the sockets. The microscope ends what still scans. Any number of times."""
        if self._closed:
            return
        self._closed = True
        self._protocol.close()
        self._shell.send()
        self._shell.disconnect(linger_ms=300)
        if self._own_context:
            self._context.term()

    def __enter__(self) -> MicroscopeLink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- requests -------------------------------------------------------------------------------------

    def register(self, recipe: PathRecipe, timeout_s: float = 30.0) -> str:
        """Make a path known to the microscope; returns its id. Knows by itself what it has registered before.

        Raises:
            InvalidInput: a quantity of the recipe is outside what the microscope takes.
            LinkError: no answer in time.
        """
        path_id = recipe.path_id
        self._ask(m.Register, timeout_s, path_id=path_id, recipe=msgspec.to_builtins(recipe, builtin_types=(bytes,)))
        self._recipes[path_id] = recipe
        return path_id

    def start(
        self,
        path_id: str,
        series_id: int,
        frame: int,
        first_index: int = 0,
        *,
        series_unique_id: str = "",
        area: str = "",
        most_electrons: float | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        """Ask for one frame. A few may wait in the microscope's queue, so that the beam goes from one to the next.

        Exactly one :class:`End` will come for it. ``area`` names the area of the specimen for the dose limit;
        the microscope trips by itself before the scan has spent ``most_electrons``.

        Raises:
            RequestRefused: not now; ``code`` is one of ``queue_full``, ``beam_held``, ``not_now``, ``unknown_path``.
            InvalidInput: the scan would pass a dose limit, or ``first_index`` is not in the path.
            LinkError: no answer in time, or the session ended before the answer came.
        """
        fields = {
            "series_id": series_id,
            "frame": frame,
            "path_id": path_id,
            "first_index": first_index,
            "series_unique_id": series_unique_id or f"{self._name}-{series_id}",
            "area": area,
            "most_electrons": most_electrons,
        }
        try:
            self._ask(m.Scan, timeout_s, **fields)
        except RequestRefused as refused:
            if refused.code != "unknown_path" or path_id not in self._recipes:
                raise
            self.register(self._recipes[path_id])  # the microscope let it go, or is another one now
            self._ask(m.Scan, timeout_s, **fields)

    def pause(self, timeout_s: float = 5.0) -> None:
        """Blank, and keep the frame open."""
        self._ask(m.Pause, timeout_s)

    def resume(self, timeout_s: float = 5.0) -> None:
        """Go on at the next unexposed sample.

        Raises:
            RequestRefused: nothing is paused.
        """
        self._ask(m.Resume, timeout_s)

    def abort(self, reason: str = "", timeout_s: float = 5.0) -> None:
        """Blank, and end the running frame and the queued ones; their ends follow from :meth:`receive`."""
        self._ask(m.Abort, timeout_s, reason=reason[:4000])

    def blank(self, timeout_s: float = 5.0) -> None:
        """Emergency: blank, and hold the beam blanked until ``set_blanker("auto")``. Observers may, too."""
        self._ask(m.Blank, timeout_s, name=self._name)

    def set_blanker(
        self, state: Literal["blank", "unblank", "auto"], timeout_s: float = 5.0, *, hold: int | None = None
    ) -> None:
        """``auto`` lets scans unblank again after a blank, ``blank`` holds the beam blanked.

        With ``hold``, the count of blanks of a :class:`Status`, ``auto`` ends that hold and none that came after it.

        Raises:
            RequestRefused: ``unblank`` without a scan: the beam is never on while nothing is collected.
        """
        self._ask(m.SetBlanker, timeout_s, state=state, hold=hold)

    # -- samples --------------------------------------------------------------------------------------

    def receive(self, timeout_s: float = 0.0) -> LinkEvent | None:
        """The next start, chunk, end or notice; None if there is none within ``timeout_s``.

        Raises:
            RemoteProtocolError: the microscope sent something malformed; nothing has changed.
            VersionMismatch: it was replaced by one of another version.
        """
        deadline = time.monotonic() + timeout_s
        self._alive()
        while True:
            event = self._protocol.next_event()
            if event is not None:
                if self._protocol.news_is_urgent:
                    self._shell.send()
                return event
            left_s = deadline - time.monotonic()
            self._turn(max(0, min(_POLL_MS, int(1e3 * left_s + 0.999))))
            if left_s <= 0:
                return self._protocol.next_event()

    def acknowledge(self, series_id: int, frame: int, next_index: int) -> None:
        """All samples of this frame below ``next_index`` are on disk: the microscope may forget them.

        Raises:
            LocalProtocolError: they were not all received.
        """
        self._alive()
        self._protocol.acknowledge(series_id, frame, next_index)
        self._shell.send()

    # -- inside ---------------------------------------------------------------------------------------

    def _welcome(self) -> m.Welcome:
        if self._protocol.welcome is None:
            raise LinkError(f"not connected to {self.address}; call connect first")
        return self._protocol.welcome

    def _alive(self) -> None:
        if self._closed:
            raise LocalProtocolError("the link is closed")
        self._shell.alive()

    def _ask(self, kind: type[m.Message], timeout_s: float, **fields: Any) -> None:
        self._alive()
        self._welcome()
        number = self._protocol.request(kind, **fields)
        deadline = time.monotonic() + timeout_s
        while True:
            answer = self._protocol.answer(number)
            if isinstance(answer, m.Refused):
                raise error_of(answer)
            if answer is not None:
                return
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                self._protocol.forget(number)
                raise LinkError(
                    f"the microscope at {self.address} did not answer '{kind.__name__.lower()}' within"
                    f" {timeout_s:g} s; see whether it runs"
                )
            self._turn(max(1, min(_POLL_MS, int(1e3 * left_s))))

    def _turn(self, wait_ms: int) -> None:
        self._alive()
        self._shell.turn(wait_ms)
