"""Waiting for what a daemon tells a session."""

from __future__ import annotations

from collections.abc import Callable

from scancontrol.daemon.snapshot import Snapshot
from scancontrol.session import Session

__all__ = ["until"]

LONG_S = 60.0  # a busy machine may take


def until(session: Session, condition: Callable[[Snapshot], bool]) -> Snapshot:
    """The first status that meets ``condition``."""
    return session._thread.call(session._session._connection.until(condition, LONG_S))
