"""Where the daemon leaves what the page should show, and finds what the page asked for. Start reading here.

One slot per kind of view, newest wins: publishing replaces a reference under a lock and wakes nobody, so it
costs microseconds however many browsers watch and however slow they are; who serves looks here as often as a
screen can show. (Waking a thread would be a system call, in which the publisher gives the interpreter away and
may wait milliseconds to have it back.) Nothing here knows of sockets. Commands come out of
:attr:`LiveHub.commands`, an ordinary thread-safe queue.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from scancontrol.daemon.page.messages import (
    Abort,
    Answer,
    Command,
    Done,
    EmergencyBlank,
    GetFrame,
    Inquiry,
    Notice,
    refusal_of,
)
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.errors import InvalidInput, OrderRefused, ScanControlError
from scancontrol.restoration import Provenance

__all__ = [
    "Asked",
    "Client",
    "ClientWatch",
    "CommandQueue",
    "Desk",
    "LiveHub",
    "PartialView",
    "RestorationView",
    "Slot",
    "TruthView",
    "View",
]

Slot = Literal["partial", "complete", "restoration", "beside", "truth", "status"]
Image = npt.NDArray[np.float32]

KEPT_NOTICES = 64
MAX_WAITING_COMMANDS = 64


@dataclass(frozen=True, eq=False)
class PartialView:
    """The samples of one frame so far, on the pixel grid.

    ``image`` (rows, cols) is in sample units, NaN or anything where ``weight`` is 0; ``weight`` (rows, cols)
    is the dwell that reached each pixel, in any unit. Neither array may be written to after publishing.
    """

    series_id: int | str
    frame: int
    image: Image
    weight: npt.NDArray[Any]
    complete: bool
    samples: int
    path_id: str
    samples_planned: int | None = None
    fov_nm: float | None = None  # width of the field; the scale bar needs it
    channel: str = ""  # the detector whose samples these are


@dataclass(frozen=True, eq=False)
class RestorationView:
    """A restoration of one frame, in sample units, with the half-width of its 90 % interval if it has one."""

    series_id: int | str
    frame: int
    estimate: Image
    interval: Image | None
    made_by: Provenance
    latency_ms: float | None
    partial: bool = False  # made before the frame's last sample
    channel: str = ""  # the detector that was restored
    known: npt.NDArray[np.bool_] | None = None  # where samples tell of the specimen; None: everywhere
    outline: npt.NDArray[np.float64] | None = None  # corners (4, 2) of the scan's region in fractions; None: the field
    scanned_utc_ms: int | None = None  # when the newest sample in it came
    strain: Image | None = None  # (8, n, n), see scancontrol.wire.restoring; None: no lattice was found


@dataclass(frozen=True, eq=False)
class TruthView:
    """What the simulated specimen really is, in sample units; only dry runs have it."""

    image: Image | None
    channel: str = ""  # the detector that it is of
    of: tuple[int | str, int] | None = None  # series and frame; None: of any


View = PartialView | RestorationView | TruthView | Snapshot


class Client(Protocol):
    """Who asks: one connection."""

    def answer(self, message: Answer) -> None:
        """Send it to them, if they are still there. Called from any thread; returns at once."""


class Desk(Protocol):
    """What answers beside the beam."""

    def answer(self, inquiry: Inquiry) -> Answer | bytes:
        """May take as long as arming does; never called twice at once. Raises nothing of ours."""

    def ready(self, wanted: GetFrame) -> bool:
        """Whether a frame that may be restored yet has all that it will have. Cheap."""


class ClientWatch(Protocol):
    """Is told whether those who may own a scan are there. Called from the server's thread; returns at once."""

    def heard(self, client: object) -> None:
        """The client said that it is alive."""

    def left(self, client: object) -> None:
        """The client's connection is gone."""


@dataclass(frozen=True)
class Asked:
    """A command, and who is to have the answer if it carries a request."""

    command: Command
    client: Client | None = None

    def done(self, number: int | None = None) -> None:
        """Answer that it is taken."""
        if self.client is not None and self.command.request is not None:
            self.client.answer(Done(request=self.command.request, number=number))

    def refused(self, error: ScanControlError) -> bool:
        """Answer why it is not done; False where nobody waits for an answer."""
        if self.client is None or self.command.request is None:
            return False
        self.client.answer(refusal_of(error, self.command.request))
        return True


class CommandQueue(queue.Queue[Asked]):
    """A bounded queue that a Blank or an Abort empties, and into which these two always fit."""

    def _init(self, maxsize: int) -> None:
        self.queue: deque[Asked] = deque()

    def offer(self, asked: Asked) -> bool:
        """Queue a command without waiting; False if there is no room for it."""
        emptied: list[Asked] = []
        with self.mutex:
            if isinstance(asked.command, EmergencyBlank | Abort):
                emptied.extend(self.queue)
                self.queue.clear()  # nothing that was asked for before outlives it
            elif len(self.queue) >= MAX_WAITING_COMMANDS:
                return False
            self._put(asked)
            self.unfinished_tasks += 1
            self.not_empty.notify()
        for outlived in emptied:
            outlived.refused(
                OrderRefused("a Blank or an Abort came after this was asked for; ask again if it is wanted")
            )
        return True


class LiveHub:
    """Latest-wins state between the daemon and any number of browsers. Every method is thread-safe."""

    def __init__(self, *, utc_ns: Callable[[], int] = time.time_ns) -> None:
        self._utc_ns = utc_ns
        self.on_stop: Callable[[Abort | EmergencyBlank], None] = lambda command: None  # see :meth:`take`
        self.desk: Desk = _NoDesk()
        self.clients: ClientWatch = _NoClientWatch()
        self.commands = CommandQueue()  # what the pages ask for; the daemon takes and answers with notices
        self._lock = threading.Lock()
        self._seq = 0
        self._slots: dict[Slot, tuple[int, View]] = {}
        self._notices: deque[tuple[int, Notice]] = deque(maxlen=KEPT_NOTICES)

    def publish_partial(self, view: PartialView) -> None:
        """Show the samples of a frame so far; a complete frame is also what differences are taken against.

        Raises:
            InvalidInput: image and weight are not 2-D and alike.
        """
        _check_images(image=view.image, weight=view.weight)
        if view.complete:
            self._put("complete", view)
        else:
            self._put("partial", view)

    def publish_restoration(self, view: RestorationView, *, beside: bool = False) -> None:
        """Show a restoration, or one of another detector beside it.

        Raises:
            InvalidInput: its images are not alike.
        """
        if view.interval is None:
            _check_images(estimate=view.estimate)
        else:
            _check_images(estimate=view.estimate, interval=view.interval)
        if view.known is not None:
            _check_images(estimate=view.estimate, known=view.known)
        self._put("beside" if beside else "restoration", view)

    def publish_truth(self, image: Image | None, channel: str = "", *, of: tuple[int | str, int] | None = None) -> None:
        """Let the page compare with ``image`` (rows, cols) what ``channel`` gives, or with None forget it.

        ``of`` says of which series and frame it is; without, the specimen is taken to stand still.
        """
        if image is not None:
            _check_images(truth=image)
        self._put("truth", TruthView(image, channel, of))

    def take(self, command: Command, client: Client | None = None) -> bool:
        """A page asks for something; False if there is no room for it.

        A Blank or an Abort reaches ``on_stop`` here, in the caller's thread, before it waits for anybody.
        """
        if isinstance(command, EmergencyBlank | Abort):
            self.on_stop(command)
        return self.commands.offer(Asked(command, client))

    def publish_status(self, status: Snapshot) -> None:
        """Replace the snapshot that the page's figures come from."""
        self._put("status", status)

    def publish_notice(self, notice: Notice) -> None:
        """Show one line on every page; the last few are kept for pages that come later."""
        if notice.utc_ms is None:
            notice = msgspec.structs.replace(notice, utc_ms=self._utc_ns() // 1_000_000)
        with self._lock:
            self._seq += 1
            self._notices.append((self._seq, notice))

    def newest(self, slot: Slot) -> tuple[int, View] | None:
        """The newest view in ``slot`` and its sequence number, or None if there was none yet."""
        with self._lock:
            return self._slots.get(slot)

    def notices_after(self, seq: int) -> list[tuple[int, Notice]]:
        """The kept notices that came after sequence number ``seq``, oldest first."""
        with self._lock:
            return [(number, notice) for number, notice in self._notices if number > seq]

    def _put(self, slot: Slot, view: View) -> None:
        with self._lock:
            self._seq += 1
            self._slots[slot] = (self._seq, view)


class _NoDesk:
    """Where nothing but pictures is to be had."""

    def answer(self, inquiry: Inquiry) -> Answer:
        return refusal_of(OrderRefused("nobody answers that here"), inquiry.request)

    def ready(self, wanted: GetFrame) -> bool:
        return True


class _NoClientWatch:
    """Where scans belong to nobody."""

    def heard(self, client: object) -> None:
        pass

    def left(self, client: object) -> None:
        pass


def _check_images(**images: npt.NDArray[Any]) -> None:
    first_name, first = next(iter(images.items()))
    if first.ndim != 2 or 0 in first.shape:
        raise InvalidInput(f"{first_name}.shape", first.shape, "is not (rows, cols)", "publish a 2-D image")
    for name, image in images.items():
        if image.shape != first.shape:
            raise InvalidInput(
                f"{name}.shape", image.shape, f"differs from {first_name}'s, {first.shape}", "publish images alike"
            )
