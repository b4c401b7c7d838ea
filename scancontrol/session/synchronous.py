"""A session for scripts and notebooks without asyncio: each call of :mod:`.asynchronous`, waited for.

The connection lives on a thread of its own, so that the daemon hears of this process while the script computes.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from scancontrol.acquisition import AcquisitionStatus
from scancontrol.capabilities import Capabilities
from scancontrol.daemon.page.messages import Notice, PlanChecked
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.errors import LinkError
from scancontrol.plan.plan import ScanPlan
from scancontrol.session.asynchronous import AsyncSession, connect_async
from scancontrol.session.building import PlanLike
from scancontrol.session.frame import Frame, Picture

__all__ = ["Session", "connect"]

T = TypeVar("T")


def connect(
    where: str | Path = "runs",
    *,
    token: str | None = None,
    role: Literal["operator", "observer"] = "operator",
    operator: str | None = None,
    certificate: Path | None = None,
    within_s: float = 5.0,
    patience_s: float = 60.0,
    timeout_s: float = 10.0,
) -> Session:
    """Connect to a running daemon; ``with connect() as session`` ends the session, and the scan that it started.

    Args:
        where: the daemon's folder of recordings, or one that this is in, as for ``scancontrol status``; the link that
            the daemon printed; or ``host:port`` with ``token``.
        token: of the link, where ``where`` does not hold it.
        role: which of a folder's links to take; an observer can watch, read frames and blank.
        operator: the name in the recordings and in what others are told; by default that of the user.
        certificate: PEM file that a daemon with a certificate of its own is checked against.
        within_s: a script that is silent for so long is given up by the daemon.
        patience_s: a script that calls nothing of the session's for so long while its scan runs counts as hung.
        timeout_s: for the connection.

    Raises:
        InvalidInput: ``where`` says of no daemon where it is.
        LinkError: no daemon answers there, or does not let us in.
    """
    thread = _LoopThread()
    opening = connect_async(
        where,
        token=token,
        role=role,
        operator=operator,
        certificate=certificate,
        within_s=within_s,
        patience_s=patience_s,
        timeout_s=timeout_s,
    )
    try:
        return Session(thread.call(opening), thread)
    except BaseException:
        thread.stop()
        raise


class _LoopThread:
    """An event loop on a thread that does not keep the process alive."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="session", daemon=True)
        self._thread.start()

    def call(self, call: Coroutine[Any, Any, T]) -> T:
        """Wait for ``call``; an interrupt (Ctrl-C) ends it.

        Raises:
            LinkError: the thread was ended.
        """
        if self._loop.is_closed():
            call.close()
            raise LinkError("this session is closed; connect again")
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the thread. Idempotent."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
            self._loop.close()


class Session:
    """An open session. Made by :func:`connect`; every method does what that of :class:`.AsyncSession` does, and waits.

    Methods raise :class:`~scancontrol.errors.LinkError` once the connection is gone.
    """

    def __init__(self, session: AsyncSession, thread: _LoopThread) -> None:
        self._session, self._thread = session, thread

    @property
    def status(self) -> Snapshot:
        """The daemon's newest snapshot, at most 0.1 s old: beam, orders, dose and its limits, restorer, disk."""
        return self._session.status

    @property
    def role(self) -> str:
        """What this session may do: ``operator`` or ``observer``."""
        return self._session.role

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What the daemon said last, oldest first, with its level and time."""
        return self._session.notices

    def microscope(self) -> Capabilities:
        """See :meth:`.AsyncSession.microscope`."""
        return self._thread.call(self._session.microscope())

    def plans(self) -> dict[str, ScanPlan]:
        """See :meth:`.AsyncSession.plans`."""
        return self._thread.call(self._session.plans())

    def check(self, plan: PlanLike, **settings: Any) -> PlanChecked:
        """See :meth:`.AsyncSession.check`."""
        return self._thread.call(self._session.check(plan, **settings))

    def save_preset(self, plan: PlanLike, *, replace: bool = False, **settings: Any) -> None:
        """See :meth:`.AsyncSession.save_preset`."""
        self._thread.call(self._session.save_preset(plan, replace=replace, **settings))

    def delete_preset(self, name: str) -> None:
        """See :meth:`.AsyncSession.delete_preset`."""
        self._thread.call(self._session.delete_preset(name))

    def start(self, plan: PlanLike, *, owned: bool = True, **settings: Any) -> int:
        """See :meth:`.AsyncSession.start`."""
        return self._thread.call(self._session.start(plan, owned=owned, **settings))

    def begun(self, order: int | None = None) -> str:
        """See :meth:`.AsyncSession.begun`."""
        return self._thread.call(self._session.begun(order))

    def wait(self, order: int | None = None) -> AcquisitionStatus:
        """See :meth:`.AsyncSession.wait`."""
        return self._thread.call(self._session.wait(order))

    def scan(self, plan: PlanLike, **settings: Any) -> Frame:
        """See :meth:`.AsyncSession.scan`."""
        return self._thread.call(self._session.scan(plan, **settings))

    def frames(self, plans: PlanLike | Iterable[PlanLike], **settings: Any) -> Iterator[Frame]:
        """See :meth:`.AsyncSession.frames`. ``plans`` is gone through on the caller's thread."""
        several = (plans,) if isinstance(plans, PlanLike) else plans
        for plan in several:
            yield from self._each(self._session.frames(plan, **settings))

    def frame(self, frame: int, recording: str | None = None, *, wait_s: float = 60.0) -> Frame:
        """See :meth:`.AsyncSession.frame`."""
        return self._thread.call(self._session.frame(frame, recording, wait_s=wait_s))

    def pictures(self) -> Iterator[Picture]:
        """See :meth:`.AsyncSession.pictures`."""
        return self._each(self._session.pictures())

    def pause(self) -> None:
        """See :meth:`.AsyncSession.pause`."""
        self._thread.call(self._session.pause())

    def resume(self) -> None:
        """See :meth:`.AsyncSession.resume`."""
        self._thread.call(self._session.resume())

    def abort(self, reason: str = "") -> None:
        """See :meth:`.AsyncSession.abort`."""
        self._thread.call(self._session.abort(reason))

    def blank(self) -> None:
        """See :meth:`.AsyncSession.blank`."""
        self._thread.call(self._session.blank())

    def acknowledge(self) -> None:
        """See :meth:`.AsyncSession.acknowledge`."""
        self._session.acknowledge()

    def close(self, reason: str = "") -> None:
        """See :meth:`.AsyncSession.close`."""
        with contextlib.suppress(LinkError):  # it was closed before
            self._thread.call(self._session.close(reason))
        self._thread.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close("" if kind is None else self._session.failed_because(kind, error))

    def _each(self, found: AsyncIterator[T]) -> Iterator[T]:
        end = object()

        async def following() -> T | object:
            return await anext(found, end)

        while (item := self._thread.call(following())) is not end:
            yield item  # type: ignore[misc]
