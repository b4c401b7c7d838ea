"""The live page: what the microscopist sees while the beam moves, and the few things they may ask for.

Read :mod:`scancontrol.daemon.page.hub` first: the daemon publishes frozen views into it and takes commands out of
it. :mod:`scancontrol.daemon.page.server` serves the page and streams the views; :mod:`scancontrol.daemon.page.outbox`
decides what each browser gets next; :mod:`scancontrol.daemon.page.access` decides who may connect.
"""

from __future__ import annotations

from scancontrol.daemon.page.hub import LiveHub, PartialView, RestorationView
from scancontrol.daemon.page.messages import (
    Abort,
    Command,
    EmergencyBlank,
    MicroscopeState,
    Notice,
    Pause,
    Record,
    RestorerState,
    Resume,
    Start,
    StatusView,
)
from scancontrol.daemon.page.server import LiveServer

__all__ = [
    "Abort",
    "Command",
    "EmergencyBlank",
    "LiveHub",
    "LiveServer",
    "MicroscopeState",
    "Notice",
    "PartialView",
    "Pause",
    "Record",
    "RestorationView",
    "RestorerState",
    "Resume",
    "Start",
    "StatusView",
]
