"""Recordings: one HDF5 file a scan, valid from its first moment, that HyperSpy opens.

Read :mod:`scancontrol.recording.layout` first: it says what lies where. ``Recording.create`` gives a
:class:`~scancontrol.recording.writer.RecordingWriter`, ``Recording.open`` a
:class:`~scancontrol.recording.reader.RecordingReader`, ``Recording.resume`` goes on after a crash.
"""

from __future__ import annotations

from scancontrol.recording.about import About
from scancontrol.recording.frame_samples import DamagedChunk, FrameSamples, Verification
from scancontrol.recording.layout import Capacity, Header
from scancontrol.recording.planned import file_name, record_plan
from scancontrol.recording.reader import RecordedFrame, RecordingReader, StoredRestoration
from scancontrol.recording.writer import RecordingWriter

__all__ = [
    "About",
    "Capacity",
    "DamagedChunk",
    "FrameSamples",
    "Header",
    "RecordedFrame",
    "Recording",
    "RecordingReader",
    "RecordingWriter",
    "StoredRestoration",
    "Verification",
    "file_name",
    "record_plan",
]


class Recording:
    """The three ways to get at a recording."""

    create = staticmethod(RecordingWriter.create)
    resume = staticmethod(RecordingWriter.resume)
    open = staticmethod(RecordingReader)
