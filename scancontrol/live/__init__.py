"""The live page: what the microscopist sees while the beam moves, and the few things they may ask for.

Read :mod:`scancontrol.live.hub` first: the daemon publishes frozen views into it and takes commands out of
it. :mod:`scancontrol.live.server` serves the page and streams the views; :mod:`scancontrol.live.outbox`
decides what each browser gets next; :mod:`scancontrol.live.access` decides who may connect.
"""

from __future__ import annotations

from scancontrol.live.hub import LiveHub, PartialView, RestorationView
from scancontrol.live.protocol import (
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
from scancontrol.live.server import LiveServer

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
