"""Acquisition: any iterator of recipes becomes frames whose samples are safe. Start in :mod:`.runner`.

:class:`Acquisition` drives the link; :class:`AcquisitionStatus` says where it is; what wants samples is a
:class:`Sink`, slow ones behind a :class:`Background`.
"""

from __future__ import annotations

from scancontrol.acquisition.contracts import DoseAccount, FrameEnd, FrameStart, MicroscopeLike, Permit, Sink, Stop
from scancontrol.acquisition.phases import AcquisitionStatus, Event, Phase
from scancontrol.acquisition.runner import Acquisition
from scancontrol.acquisition.sinks import Background, Partial, PartialFrames

__all__ = [
    "Acquisition",
    "AcquisitionStatus",
    "Background",
    "DoseAccount",
    "Event",
    "FrameEnd",
    "FrameStart",
    "MicroscopeLike",
    "Partial",
    "PartialFrames",
    "Permit",
    "Phase",
    "Sink",
    "Stop",
]
