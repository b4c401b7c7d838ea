"""An acquisition that a crash cut off: found again, and what is needed to go on with it or to end it.

The recording says everything: the plan, which samples are on the disk, and whose series they are. What the
microscope still keeps beyond that is asked for before anything is exposed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scancontrol.capabilities import Capabilities
from scancontrol.errors import InvalidInput, RecordingError
from scancontrol.plan.plan import parse_plan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import RecordingReader
from scancontrol.recording.making import clean_up

__all__ = ["Interrupted", "newest_unfinished"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Interrupted:
    """A recording that was not ended. ``have`` is what :class:`~scancontrol.link.link.MicroscopeLink` is told."""

    path: Path
    planned: PlannedScan  # on the microscope as it was when the recording was begun
    series_id: int
    channels: tuple[str, ...]
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
            have = {(header.series_unique_id, frame.frame): frame.received for frame in read.frames}
            have.setdefault((header.series_unique_id, 0), 0)  # the series is named even if it has no frame yet
            planned = PlannedScan(parse_plan(read.plan_text, f"the plan in {path}"), read.capabilities)
            return cls(path, planned, header.series_id, header.channels, have)

    def check(self, capabilities: Capabilities) -> None:
        """Raise :class:`InvalidInput` if this microscope's samples do not fit into the recording."""
        stated = tuple(detector.name for detector in capabilities.detectors)
        if stated != self.channels:
            raise InvalidInput(
                "detectors",
                ", ".join(stated),
                f"are not those of {self.path.name}, {', '.join(self.channels)}",
                "go on at the microscope that it was begun at",
            )


def newest_unfinished(folder: Path) -> Path | None:
    """The recording in ``folder`` that was written last, if it was not ended; None otherwise.

    Only the newest one can be what a crash cut off. Older ones were left open on purpose.
    """
    for left in clean_up(folder):
        log.info("%s, half made by a process that was killed, is removed", left)
    files = [(path.stat().st_mtime_ns, path) for path in folder.glob("*.hspy") if path.is_file()]
    if not files:
        return None
    newest = max(files)[1]
    try:
        with RecordingReader(newest) as read:
            return None if read.closed else newest
    except RecordingError:
        return None  # cut off while it was being made, before anything was exposed for it
