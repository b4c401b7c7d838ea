"""Acquisitions that a crash cut off: found again, and what is needed to go on with them or to end them.

The recordings say everything: the plan, which samples are on the disk, and whose series they are. What the
microscope still keeps beyond that is asked for before anything is exposed. A folder may be shared by the daemons of
several microscopes: what is not ours is left alone, and said.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scancontrol.capabilities import Capabilities
from scancontrol.errors import InvalidInput, RecordingError, ScanControlError
from scancontrol.paths import PathRecipe
from scancontrol.plan.plan import parse_plan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import Header, RecordingReader, RecordingWriter
from scancontrol.recording.making import clean_up
from scancontrol.recording.state import RecordingState

__all__ = ["Interrupted", "Unfinished", "Waiting", "find_unfinished"]

log = logging.getLogger(__name__)

_HAVE, _HAVE_BESIDE = 300, 2  # frames that a microscope is told of; it keeps samples of the last ones alone
_BESIDE = 100  # recordings beside the one at hand


@dataclass(frozen=True)
class Interrupted:
    """A recording that was not ended. ``have`` is what :class:`~scancontrol.link.link.MicroscopeLink` is told."""

    path: Path
    planned: PlannedScan  # on the microscope as it was when the recording was begun
    header: Header
    have: Mapping[tuple[str, int], int]

    @classmethod
    def look_into(cls, path: Path) -> Interrupted:
        """Read what the recording says.

        Raises:
            RecordingError: it is no recording, is damaged, or ended cleanly.
            InvalidInput: its plan cannot be.
        """
        with RecordingReader(path) as read:
            if read.closed:
                raise RecordingError(f"{path} ended cleanly ({read.reason}); there is nothing to go on with")
            header = read.header
            # Of a frame that is not named all that is kept is sent, which is well: it is known by its index.
            newest = sorted(read.frames, key=lambda frame: (frame.complete, -frame.started_utc_ns))[:_HAVE]
            have = {(header.series_unique_id, frame.frame): frame.received for frame in newest}
            have.setdefault((header.series_unique_id, 0), 0)  # the series is named even if it has no frame yet
            planned = PlannedScan(parse_plan(read.plan_text, f"the plan in {path}"), read.capabilities)
            return cls(path, planned, header, have)

    @property
    def series_id(self) -> int:
        """The number under which the microscope knows the acquisition."""
        return self.header.series_id

    def recipes(self) -> dict[int, PathRecipe]:
        """Of the frames that were begun, by number.

        Raises:
            RecordingError: one of them is damaged.
        """
        with RecordingReader(self.path) as read:
            return {frame.frame: read.recipe(frame.frame) for frame in read.frames}

    def check(self, capabilities: Capabilities) -> None:
        """Compare a microscope with the one that the recording was begun at.

        Raises:
            InvalidInput: it is another one.
        """
        begun_at = self.planned.capabilities
        for quantity, ours, its in (
            ("microscope", capabilities.name, begun_at.name),
            ("detectors", _names(capabilities), _names(begun_at)),
        ):
            if ours != its:
                raise InvalidInput(
                    quantity,
                    ours,
                    f"is not that of {self.path.name}, {its}",
                    "go on at the microscope that it was begun at",
                )


def _names(capabilities: Capabilities) -> str:
    return ", ".join(detector.name for detector in capabilities.detectors)


class Waiting:
    """Recordings that wait for their turn to be ended, oldest first. Only the last may be gone on with.

    ``notice`` takes a line for the operator and its level.
    """

    def __init__(self, interrupted: Sequence[Interrupted], notice: Callable[[str, str], None]) -> None:
        self._queue, self._notice = list(interrupted), notice

    def __bool__(self) -> bool:
        return bool(self._queue)

    def next(self) -> Interrupted | None:
        """The one whose turn it is; None where none waits."""
        return self._queue.pop(0) if self._queue else None

    def have(self, at_hand: Interrupted) -> Mapping[tuple[str, int], int]:
        """What the microscope is told before anything else: it lets go of samples of every series that is not named."""
        beside = [frame for each in self._queue[-_BESIDE:] for frame in list(each.have.items())[:_HAVE_BESIDE]]
        return {**dict(beside), **at_hand.have}

    def open(self, *, fsync: bool) -> dict[int, RecordingWriter]:
        """Those that wait, by their series: what the microscope kept of them comes with that of the one at hand."""
        opened = {}
        for each in tuple(self._queue):
            try:
                opened[each.series_id] = RecordingWriter.resume(each.path, fsync=fsync)
            except RecordingError as error:
                self._queue.remove(each)
                self._notice(f"{each.path.name} is passed over: {error}", "warning")
        return opened


@dataclass(frozen=True)
class Unfinished:
    """What a folder holds that was not ended: our own, oldest first, and what was passed over, each with its reason."""

    ours: tuple[Interrupted, ...]
    passed_over: tuple[str, ...]


def find_unfinished(folder: Path, specimen: str) -> Unfinished:
    """Find every recording in ``folder`` that was not ended, by its own state; dates of files mean nothing.

    A recording that another process writes, or that was begun on another machine or with another specimen, is not ours.
    What a killed process left half made is removed.
    """
    for left in clean_up(folder):
        log.info("%s, half made by a process that was killed, is removed", left)
    ours: list[Interrupted] = []
    passed_over: list[str] = []
    for path in sorted(folder.glob("*.hspy")):
        try:
            state = RecordingState.of_unfinished(path)
            if state is None:
                continue
            whose = _not_ours(state, specimen)
            if whose:
                passed_over.append(f"{path.name} was not ended and is passed over: {whose}")
            else:
                ours.append(Interrupted.look_into(path))
        except ScanControlError as error:
            passed_over.append(f"{path.name} is passed over: {error}")
    ours.sort(key=lambda found: found.header.started_utc_ns)
    return Unfinished(tuple(ours), tuple(passed_over))


def _not_ours(state: RecordingState, specimen: str) -> str:
    """Why a recording is somebody else's; empty where it is ours. The first format says neither host nor specimen."""
    if state.being_written:
        return "another process is writing it"
    header = state.header
    remedy = "scancontrol daemon --resume takes it up"
    if header.about.host not in ("", socket.gethostname()):
        return f"it was begun on the machine {header.about.host}; {remedy}"
    if header.specimen not in (None, specimen):
        return f"it is of the specimen {header.specimen}, not of {specimen}; {remedy}"
    return ""
