"""A recording as an instrument: what was scanned once can be scanned again, without a specimen.

The client's plan must ask for paths that the recording holds (the recording carries its plan). The n-th frame
asked for along a path gets the samples of the recorded frame of that number, or, beyond the last one, the
recorded frames of that path over again. Samples that the disk damaged are played back as 0, and that is logged.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from scancontrol.errors import RecordingError
from scancontrol.microscope.instrument import Block
from scancontrol.paths import ScanPath
from scancontrol.recording import DamagedChunk, Recording
from scancontrol.units import ELECTRONS_PER_PA_US

__all__ = ["Replay"]

log = logging.getLogger(__name__)

_WAIT_S = 0.01
_STRETCH = 1 << 16


class Replay:
    """Plays ``path`` back at ``speed`` times the beam's own pace; infinity is as fast as it is read.

    Raises:
        RecordingError: the file is no recording, or holds no sample.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        speed: float = 1.0,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._recording = Recording.open(path)
        self.capabilities = self._recording.capabilities
        self.plan_text = self._recording.plan_text
        self._speed = speed
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._frames: dict[str, list[int]] = {}
        for frame in self._recording.frames:
            if frame.received:
                self._frames.setdefault(self._recording.paths[frame.path].path_id, []).append(frame.frame)
        if not self._frames:
            raise RecordingError(f"{path} holds no sample to play back")
        self._path: ScanPath | None = None
        self._frame = self._next = self._end = 0
        self._exposing = False
        self._told: set[DamagedChunk] = set()
        self._blanked_ns: int | None = None  # when the blanker was asked for; all that blank() changes
        self._blanks = 0

    @property
    def lit(self) -> bool:
        """Whether samples go by now, as if the beam were on."""
        return self._exposing and self._blanked_ns is None and self._next < self._end

    def begin(self, path: ScanPath, first_index: int, frame: int) -> None:
        """See :class:`~scancontrol.microscope.instrument.Instrument`.

        Raises:
            RecordingError: a path it lacks.
        """
        blanks = self._blanks
        recorded = self._frames.get(path.path_id)
        if recorded is None:
            raise RecordingError(
                f"path {path.path_id} is not in {self._recording.path}; scan with the plan that the recording carries"
            )
        self._frame = frame if frame in recorded else recorded[frame % len(recorded)]
        self._path, self._next = path, first_index
        self._began_ns = self._clock_ns()
        self._due_us = np.empty(0)  # when each sample of the stretch is complete, after the beginning
        self._stretch_first, self._stretch_us = first_index, 0.0
        self._end = path.count
        self._exposing, self._blanked_ns = True, None
        if self._blanks != blanks:  # asked to blank meanwhile: nothing is exposed
            self._blanked_ns = self._began_ns

    def read(self, max_samples: int) -> Block | None:
        """See :class:`scancontrol.microscope.instrument.Instrument`."""
        if self._blanked_ns is not None:
            self._stop()
        if self._path is None or self._next >= self._end:
            return None
        ready = self._ready(max_samples)
        if ready == 0 and self._exposing:
            self._sleep(min(_WAIT_S, self._seconds_until_next()))
            ready = self._ready(max_samples)
        if ready == 0:
            return None
        read = self._recording.read_samples(self._frame, self._next, ready)
        values = read.values
        if read.damaged:
            values[:, ~read.sound] = 0
            for damaged in set(read.damaged) - self._told:
                log.warning("%s: %s differ from their checksum and are played back as 0", self._recording.path, damaged)
            self._told.update(read.damaged)
        if values.shape[1] == 0:
            raise RecordingError(
                f"the recorded frame {self._frame} ends at sample {self._next} of {self._path.count}: it is incomplete"
            )
        count = values.shape[1]
        chunk = self._path.chunk(self._next, count)
        first_due_us = float(self._due_us[self._next - self._stretch_first]) if self._speed < math.inf else 0.0
        self._next += count
        electrons = float(chunk.dwell_us.sum()) * self._recording.header.beam_current_pa * ELECTRONS_PER_PA_US
        if self._speed < math.inf:
            return Block(values, electrons, self._began_ns + int(1e3 * first_due_us / self._speed))
        return Block(values, electrons, self._clock_ns())

    def blank(self) -> None:
        """See :class:`scancontrol.microscope.instrument.Instrument`."""
        if self._blanked_ns is None:
            self._blanked_ns = self._clock_ns()
        self._blanks += 1

    def _stop(self) -> None:
        """What blanking means: the samples that were over by then were exposed, and no others."""
        if self._exposing and self._path is not None:
            self._end = self._next + self._ready(self._path.count) if self._speed < math.inf else self._next
        self._exposing = False

    def close(self) -> None:
        """Let go of the file."""
        self.blank()
        self._stop()
        self._recording.close()

    def _ready(self, max_samples: int) -> int:
        """How many samples from the next one on are exposed by now, ``max_samples`` at most."""
        if self._path is None:
            return 0
        if self._speed == math.inf:
            return min(max_samples, self._end - self._next)
        now_ns = self._clock_ns() if self._blanked_ns is None else self._blanked_ns
        elapsed_us = (now_ns - self._began_ns) * 1e-3 * self._speed
        self._stretch_to(self._next)
        if len(self._due_us) == 0:
            return 0
        exposed = self._stretch_first + int(np.searchsorted(self._due_us, elapsed_us, side="right"))
        return max(0, min(max_samples, exposed - self._next, self._end - self._next))

    def _seconds_until_next(self) -> float:
        due_us = float(self._due_us[self._next - self._stretch_first])
        elapsed_us = (self._clock_ns() - self._began_ns) * 1e-3 * self._speed
        return max(0.0, (due_us - elapsed_us) * 1e-6 / self._speed)

    def _stretch_to(self, index: int) -> None:
        """Have the times of the stretch of samples that ``index`` lies in."""
        if self._path is None:
            return
        while index >= self._stretch_first + len(self._due_us) and self._stretch_first < self._path.count:
            first = self._stretch_first + len(self._due_us)
            if len(self._due_us):
                self._stretch_us = float(self._due_us[-1])
            count = min(_STRETCH, self._path.count - first)
            if count <= 0:
                return
            chunk = self._path.chunk(first, count)
            self._due_us = self._stretch_us + np.cumsum(chunk.dwell_us + chunk.move_us)
            self._stretch_first = first
