"""The live page: what the microscopist sees while the beam moves, and the few things they may ask for.

Read :mod:`scancontrol.daemon.page.hub` first: the daemon publishes frozen views into it and takes commands out of
it. :mod:`scancontrol.daemon.page.server` serves the page and streams the views; :mod:`scancontrol.daemon.page.outbox`
decides what each browser gets next; :mod:`scancontrol.daemon.page.access` decides who may connect.
"""

from __future__ import annotations

from scancontrol.daemon.page.hub import LiveHub, PartialView, RestorationView
from scancontrol.daemon.page.messages import Abort, Command, EmergencyBlank, Notice, Pause, Record, Resume, Start
from scancontrol.daemon.page.server import LiveServer

__all__ = [
    "Abort",
    "Command",
    "EmergencyBlank",
    "LiveHub",
    "LiveServer",
    "Notice",
    "PartialView",
    "Pause",
    "Record",
    "RestorationView",
    "Resume",
    "Start",
]
