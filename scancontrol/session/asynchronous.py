"""A session with a running daemon, for asyncio. Start reading here.

Whoever scans must be heard from: while a scan that this session started runs, it tells the daemon that it is alive.
Where it does not any more, because its process died, hangs or waits for nothing of the session's, the daemon aborts the
scan, which blanks the beam and closes the recording.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

import msgspec

from scancontrol.acquisition import AcquisitionStatus
from scancontrol.capabilities import Capabilities
from scancontrol.daemon.page.messages import (
    Abort,
    CheckPlan,
    Claim,
    Command,
    DeletePreset,
    Done,
    EmergencyBlank,
    GetFrame,
    GetMicroscope,
    Inquiry,
    ListPlans,
    MicroscopeTold,
    Notice,
    Pause,
    PlanChecked,
    Plans,
    Resume,
    SavePreset,
    Start,
)
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.errors import InvalidInput, LinkError, OrderRefused, RemoteProtocolError, ScanControlError, ScanEnded
from scancontrol.plan.plan import ScanPlan
from scancontrol.session import outcome
from scancontrol.session.building import PlanLike, plan_from
from scancontrol.session.connection import Connection
from scancontrol.session.finding import find_door
from scancontrol.session.frame import Frame, Picture

__all__ = ["AsyncSession", "connect_async"]

_BEATS: Final = 3  # in the time after which the daemon gives a silent script up
_CLOSE_S: Final = 5.0  # for the scan to end when the session does
_CONFIRM_S: Final = 5.0  # for the microscope to confirm a Blank

R = TypeVar("R")


async def connect_async(
    where: str | Path = "runs",
    *,
    token: str | None = None,
    role: Literal["operator", "observer"] = "operator",
    operator: str | None = None,
    certificate: Path | None = None,
    within_s: float = 5.0,
    patience_s: float = 60.0,
    timeout_s: float = 10.0,
) -> AsyncSession:
    """Connect to a running daemon: as :func:`scancontrol.connect`, with the same arguments.

    Raises:
        InvalidInput: ``where`` says of no daemon where it is.
        LinkError: no daemon answers there, or does not let us in.
    """
    door = find_door(where, token=token, role=role, certificate=certificate)
    connection = await Connection.open(door, timeout_s)
    return AsyncSession(connection, operator or getpass.getuser(), within_s=within_s, patience_s=patience_s)


class AsyncSession:
    """An open session; ``async with`` ends it, and the scan that it started with it. Made by :func:`connect_async`.

    Methods raise :class:`~scancontrol.errors.LinkError` once the connection is gone.
    """

    def __init__(self, connection: Connection, operator: str, *, within_s: float, patience_s: float) -> None:
        self._connection, self._operator = connection, operator
        self._within_s, self._patience_s = within_s, patience_s
        self._seen = connection.status.orders.number  # of the orders that a Start of ours comes after
        self._order: int | None = None  # of our last Start
        self._claimed = False
        self._calls = 0
        self._called_at = asyncio.get_running_loop().time()
        self._beating = asyncio.create_task(self._beat())

    # -- what the daemon says ------------------------------------------------------------------------------

    @property
    def status(self) -> Snapshot:
        """The daemon's newest snapshot, at most 0.1 s old: beam, orders, dose and its limits, restorer, disk."""
        return self._connection.status

    @property
    def role(self) -> str:
        """What this session may do: ``operator`` or ``observer``."""
        return self._connection.role

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What the daemon said last, oldest first, with its level and time."""
        return tuple(self._connection.notices)

    async def microscope(self) -> Capabilities:
        """What the microscope states about itself: detectors, dwell times, coils, limits."""
        return msgspec.convert((await self._ask(GetMicroscope(), MicroscopeTold)).capabilities, Capabilities)

    async def plans(self) -> dict[str, ScanPlan]:
        """The plans that the daemon offers, by name."""
        told = await self._ask(ListPlans(), Plans)
        return {str(offered.plan["name"]): msgspec.convert(offered.plan, ScanPlan) for offered in told.plans}

    async def check(self, plan: PlanLike, **settings: Any) -> PlanChecked:
        """What a plan comes to on this microscope: coverage, time, dose, what the specimen has had.

        Raises:
            InvalidInput: it may not run; says which quantity passes which limit, and the remedy.
        """
        return await self._ask(CheckPlan(plan=_sent(plan_from(plan, settings))), PlanChecked)

    async def save_preset(self, plan: PlanLike, *, replace: bool = False, **settings: Any) -> None:
        """Have the daemon offer a plan from now on, under its name.

        Raises:
            InvalidInput: it may not run, or its name is taken.
        """
        sent = _sent(plan_from(plan, settings))
        if isinstance(sent, str):
            raise InvalidInput("plan", sent, "is offered already", "give a plan")
        await self._ask(SavePreset(plan=sent, replace=replace), Done)

    async def delete_preset(self, name: str) -> None:
        """Have the daemon offer a preset no more.

        Raises:
            InvalidInput: there is none of that name.
        """
        await self._ask(DeletePreset(name=name), Done)

    # -- scans ---------------------------------------------------------------------------------------------

    async def start(self, plan: PlanLike, *, owned: bool = True, **settings: Any) -> int:
        """Begin a scan and return its number at once. An ``owned`` one ends with this session.

        Raises:
            InvalidInput: the plan is none, or may not run.
            OrderRefused: the beam is taken, or somebody blanked or aborted since this session last looked.
        """
        sent = _sent(plan_from(plan, settings))
        if owned:  # each time: a script that computed for long without a scan may have lost it
            await self._ask(Claim(operator=self._operator, within_s=self._within_s), Done)
            self._claimed = True
        try:
            done = await self._ask(Start(plan=sent, number=self._seen), Done)
        except OrderRefused:
            with contextlib.suppress(LinkError):  # so that whoever hears of it can see in the status what it was for
                await self._afterwards(lambda status: True)
            raise
        self._order = self._seen = done.number or 0
        return self._order

    async def begun(self, order: int | None = None) -> str:
        """Wait until the scan of that number, by default our last, is armed; returns the name of its recording.

        Raises:
            ScanEnded: it was refused, or taken back before it began.
            InvalidInput: there is none.
        """
        number = self._number(order)
        with self._called():
            status = await self._connection.until(
                lambda status: status.scan_order == number or outcome.over(status, number)
            )
        if status.scan_order != number or status.scan.recording is None:
            raise outcome.not_begun(status, number)
        return status.scan.recording

    async def wait(self, order: int | None = None) -> AcquisitionStatus:
        """Wait until the scan of that number, by default our last, is over.

        Raises:
            ScanEnded: it did not come to its end, or never began.
            InvalidInput: there is none.
        """
        number = self._number(order)
        with self._called():
            status = await self._connection.until(lambda status: outcome.over(status, number))
        return outcome.completed(status, number)

    async def scan(self, plan: PlanLike, **settings: Any) -> Frame:
        """Scan a plan and return its last frame, restored.

        Raises:
            InvalidInput, OrderRefused: as :meth:`start`.
            ScanEnded: it did not come to its end.
        """
        last: Frame | None = None
        async for frame in self.frames(plan, **settings):
            last = frame
        if last is None:
            raise ScanEnded("completed", "the plan has no frame")
        return last

    async def frames(self, plans: PlanLike | Iterable[PlanLike], **settings: Any) -> AsyncIterator[Frame]:
        """Every frame of one plan after another, each once it is restored.

        The next plan is asked for when the frames of the one before are through, so that ``plans`` may look at them.

        Raises:
            InvalidInput, OrderRefused, ScanEnded: as :meth:`scan`; the frames before it were given.
        """
        several = (plans,) if isinstance(plans, PlanLike) else plans
        for plan in several:
            async for frame in self._frames_of(plan, settings):
                yield frame

    async def _frames_of(self, plan: PlanLike, settings: dict[str, Any]) -> AsyncIterator[Frame]:
        number = await self.start(plan, **settings)
        recording = await self.begun(number)
        for frame in range(self.status.scan.frames_planned or 0):
            with self._called():
                status = await self._connection.until(lambda status, n=frame: outcome.has(status, number, n))  # type: ignore[misc]
                if status.scan_order != number or status.scan.frames_completed <= frame:
                    break
                found = await self.frame(frame, recording)
            yield found
        await self.wait(number)

    async def frame(self, frame: int, recording: str | None = None, *, wait_s: float = 60.0) -> Frame:
        """A recorded frame; of the scan that runs or ran last where no ``recording`` is named.

        A frame that was just scanned is waited for until it is restored, for ``wait_s`` at most.

        Raises:
            InvalidInput: there is no such recording.
            OrderRefused: it has no such frame.
        """
        if recording is None and self._order is not None:
            recording = await self.begun()
        name = recording or self.status.scan.recording
        if name is None:
            raise InvalidInput("recording", "none", "was begun yet", "name one")
        return await self._ask(GetFrame(recording=name, frame=frame, wait_s=wait_s), Frame)

    async def pictures(self) -> AsyncIterator[Picture]:
        """What the page shows, as it comes, the newest each time, until our own scan is over and restored."""
        number = self._order

        def done(status: Snapshot) -> bool:
            waits = status.restorer.queue or status.restorer.catching_up
            return number is not None and outcome.over(status, number) and not waits

        if number is not None:  # until then nothing says which pictures are of it, and none is asked for
            await self._until(lambda status: status.scan_order == number or outcome.over(status, number))
        while True:
            with self._called():
                picture = await self._connection.next_picture(done)
            if picture is None:
                return
            status = self.status
            if number is None or (status.scan_order == number and picture.series in (None, status.scan.series_id)):
                yield picture

    # -- the operator's orders -----------------------------------------------------------------------------

    async def pause(self) -> None:
        """Blank the beam within the frame, once one is scanned; it goes on with :meth:`resume`."""
        number = self.status.orders.standing if self._order is None else self._order
        if number is not None:
            await self._until(lambda status: outcome.over(status, number) or outcome.scans(status, number))
        await self._ask(Pause(), Done)
        await self._afterwards(lambda status: status.scan.phase.value != "scanning")

    async def resume(self) -> None:
        """Go on after :meth:`pause`."""
        await self._ask(Resume(number=self.status.orders.number), Done)
        await self._afterwards(lambda status: status.scan.phase.value != "paused")

    async def abort(self, reason: str = "") -> None:
        """End what runs, whoever started it; what was recorded is kept. Returns once the beam is off."""
        reason = reason or f"aborted by a script of {self._operator}"
        done = await self._ask(Abort(reason=reason[:200]), Done)
        seen = self._seen = done.number or self._seen
        await self._until(lambda status: status.orders.number >= seen and status.orders.standing is None)

    async def blank(self) -> None:
        """Blank the beam now and have it held until the next start.

        Raises:
            LinkError: the microscope does not confirm it in time; it is asked until it does.
        """
        done = await self._ask(EmergencyBlank(reason=f"blanked by a script of {self._operator}"[:200]), Done)
        seen = self._seen = done.number or self._seen
        await self._until(
            lambda status: status.orders.number >= seen and status.orders.blank == "confirmed", _CONFIRM_S
        )

    def acknowledge(self) -> None:
        """Take note of a Blank or an Abort that somebody else gave. Until then nothing is started after it."""
        self._seen = self.status.orders.number

    # -- the session itself --------------------------------------------------------------------------------

    async def close(self, reason: str = "") -> None:
        """End the session, and the scan that it started if that still runs. Idempotent."""
        self._beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._beating
        with contextlib.suppress(ScanControlError, TimeoutError):
            if self._claimed and self._order is not None and not outcome.over(self.status, self._order):
                async with asyncio.timeout(_CLOSE_S):
                    await self.abort(reason or f"the script of {self._operator} has ended")
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close("" if kind is None else self.failed_because(kind, error))

    def failed_because(self, kind: type[BaseException], error: BaseException | None) -> str:
        """What is said of a scan that an exception of its script ended."""
        return f"the script of {self._operator} failed: {kind.__name__}: {error}"

    def _number(self, order: int | None) -> int:
        number = self._order if order is None else order
        if number is None:
            raise InvalidInput("order", "none", "was given in this session", "start a scan first")
        return number

    async def _ask(self, message: Command | Inquiry, kind: type[R]) -> R:
        with self._called():
            answer = await self._connection.ask(message)
        if not isinstance(answer, kind):
            raise RemoteProtocolError(f"the daemon answered {type(message).__name__} with {type(answer).__name__}")
        return answer

    async def _afterwards(self, condition: Callable[[Snapshot], bool]) -> None:
        """Wait for a status from after the last answer: the first that follows it may have been on its way before."""
        first = self._connection.told + 2
        await self._until(lambda status: self._connection.told >= first and condition(status))

    async def _until(self, condition: Callable[[Snapshot], bool], timeout_s: float | None = None) -> None:
        with self._called():
            await self._connection.until(condition, timeout_s)

    @contextmanager
    def _called(self) -> Iterator[None]:
        """While something of the session's is waited for, the script does not hang."""
        loop = asyncio.get_running_loop()
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            self._called_at = loop.time()

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._within_s / _BEATS)
            hangs = self._calls == 0 and loop.time() - self._called_at > self._patience_s
            if self._claimed and not hangs:
                with contextlib.suppress(LinkError):
                    await self._connection.alive()


def _sent(plan: ScanPlan | str) -> dict[str, Any] | str:
    """As it travels: a name as it is, a plan as plain values, numbers of numpy among them."""
    return plan if isinstance(plan, str) else msgspec.to_builtins(plan, enc_hook=lambda number: number.item())
