"""Both real ends of the restorer's wire, a fake network, a restorer that only counts, and a clock of the test's."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from restore.process.conversation import BACKLOG, Conversations, Job
from scancontrol.errors import RecordingError
from scancontrol.restoration import Provenance
from scancontrol.restorer.conversation import Conversation, Event
from scancontrol.restorer.requests import MissedFrame, Requests, RestoredFrame
from scancontrol.wire import restoring as wire

SHAPE = (2, 3)
MS = 1_000_000


def path(number: int) -> wire.Register:
    """A path; the counting restorer never expands it."""
    return wire.Register(path_id=f"{number:032x}", recipe={"number": number})


def welcome(method: str) -> wire.Welcome:
    """As a restorer says it that uses this method."""
    return wire.Welcome(
        version=wire.VERSION, software="1", method=method, device="cpu", weights_hash="ab", backlog=BACKLOG
    )


class RestorerPair:
    """A daemon's end, a restorer's end, and what is between them.

    Attributes:
        restored, missed: complete frames as they came out. looked: unfinished ones.
        orders: frames in the order in which the restorer began them, unfinished ones as (stream, frame, False).
        bad_paths: path ids that the restorer cannot prepare. lost_files: frames that cannot be read again.
    """

    def __init__(self, waiting_bytes: int = 1 << 20) -> None:
        self.now_ns = 0
        self.requests = Requests(waiting_bytes)
        self.restored: list[RestoredFrame] = []
        self.missed: list[MissedFrame] = []
        self.looked: list[RestoredFrame] = []
        self.orders: list[tuple[str, int, bool]] = []
        self.bad_paths: set[str] = set()
        self.lost_files: set[int] = set()
        self.reads = 0
        self.connect()

    def connect(self) -> None:
        """A new restorer, and a new connection to it; whatever was in flight is gone."""
        self.server = Conversations(welcome("counting"))
        self.known: dict[str, None] = {}
        self.job: Job | None = None
        self.to_server: deque[list[Any]] = deque()
        self.to_client: deque[list[Any]] = deque()
        self.client = Conversation(self.requests, self.now_ns)

    def die(self) -> None:
        """The restorer dies, the supervisor notices and starts another one."""
        self.missed += self.requests.lost("died")
        self.connect()

    def hand_in(
        self, frame: int, *, stream: str = "s", keep: bool = False, complete: bool = True, along: int = 0
    ) -> None:
        """The acquisition hands a frame in; its samples are its number."""
        samples = np.full(4, frame, "<u2")

        def read_again() -> np.ndarray:
            self.reads += 1
            if frame in self.lost_files:
                raise RecordingError(f"frame {frame} is gone")
            return samples

        self.missed += self.requests.ask(
            stream,
            frame,
            path(along),
            samples,
            complete=complete,
            read_again=read_again if keep else None,
            now_ns=self.now_ns,
        )

    def client_sends(self) -> None:
        while True:
            self.to_server += self.client.data_to_send(self.now_ns)
            asked = self.client.to_read
            if asked is None or asked.read_again is None:
                return
            try:
                samples: np.ndarray | str = asked.read_again()
            except RecordingError as error:
                samples = str(error)
            self._hear(self.client.was_read(samples))

    def server_hears(self) -> None:
        """One message reaches the restorer."""
        if self.to_server:
            parts = [bytes(memoryview(part).cast("B")) for part in self.to_server.popleft()]
            self.server.receive(b"daemon", parts, self.now_ns)
        self.server_sends()

    def server_sends(self) -> None:
        self.to_client += [parts for _, parts in self.server.data_to_send()]

    def client_hears(self) -> None:
        """One message reaches the daemon."""
        if self.to_client:
            parts = [bytes(memoryview(part).cast("B")) for part in self.to_client.popleft()]
            self._hear(self.client.receive(parts, self.now_ns))

    def work(self) -> None:
        """The restorer ends the job that it is at, or begins the next one."""
        if self.job is None:
            self.job = self.server.next_job()
            if self.job is not None and isinstance(self.job.message, wire.Restore):
                message = self.job.message
                self.orders.append((message.stream, message.frame, message.complete))
            return
        job, self.job = self.job, None
        self.server.done(job, *self._answer(job))
        self.server_sends()

    def forget_paths(self) -> None:
        """The restorer lets its paths go, as it does for those of other clients."""
        self.known.clear()

    def settle(self, turns: int = 400) -> None:
        """Everything that is under way arrives, and everything that waits is done."""
        for _ in range(turns):
            self.client_sends()
            self.server_hears()
            self.work()
            self.client_hears()

    def _answer(self, job: Job) -> tuple[Any, ...]:
        message = job.message
        if isinstance(message, wire.Register):
            if message.path_id in self.bad_paths:
                return (wire.Refused(code="bad_path", text="too few samples", path_id=message.path_id),)
            self.known[message.path_id] = None
            rows, cols = SHAPE
            registered = wire.Registered(
                path_id=message.path_id, count=4, rows=rows, cols=cols, method="counting", restore_ms=1.0, beam_ms=1.0
            )
            return (registered,)
        if message.path_id not in self.known or job.samples is None:
            return (wire.Refused(code="unknown_path", text="not registered", request=message.request),)
        image = np.full(SHAPE, job.samples[0], "<f4")
        restored = wire.Restored(
            request=message.request,
            stream=message.stream,
            frame=message.frame,
            path_id=message.path_id,
            complete=message.complete,
            rows=SHAPE[0],
            cols=SHAPE[1],
            has_interval=False,
            made_by=Provenance(method="counting", face="classical", samples_used=len(job.samples)),
            compute_ms=1.0,
            waited_ms=0.0,
        )
        return restored, image

    def _hear(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case RestoredFrame():
                    assert (event.estimate == event.frame).all(), "samples of another frame"
                    (self.restored if event.complete else self.looked).append(event)
                case MissedFrame():
                    self.missed.append(event)

    @property
    def out(self) -> list[int]:
        """Numbers of all complete frames that have come out."""
        return [frame.frame for frame in (*self.restored, *self.missed)]
