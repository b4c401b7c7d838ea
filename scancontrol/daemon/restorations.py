"""What becomes of frames after they are safe: handed to the restorer, shown, stored, and caught up with at the end.

Which frame is restored next is :mod:`scancontrol.restorer.requests`'s to say. When the acquisition has ended, the
frames left are restored from the recording.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.capabilities import Capabilities
from scancontrol.daemon.config import RestorerConfig
from scancontrol.daemon.latency import LatencyWindow
from scancontrol.daemon.page.hub import LiveHub, RestorationView
from scancontrol.daemon.snapshot import RestorationsSnapshot
from scancontrol.daemon.to_restorer import RunSink
from scancontrol.errors import OrderRefused
from scancontrol.recording import RecordingWriter
from scancontrol.restoration import AS_KEPT, FreshNotices, Look, Provenance
from scancontrol.restorer import MissedFrame, RestoredFrame, RestorerProcess, RestorerStatus, restorer_arguments

__all__ = ["Restorations"]


class Restorations:
    """The daemon's dealings with the restorer, over all acquisitions.

    ``say`` takes a line and its level for the operator; ``announce`` is told once what restores, and where.
    """

    def __init__(
        self, config: RestorerConfig, hub: LiveHub, say: Callable[[str, str], None], announce: Callable[[str], None]
    ) -> None:
        self._enabled, self._hub, self._say, self._announce = config.enabled, hub, say, announce
        self.latency, self.compute, self.overhead = LatencyWindow(), LatencyWindow(), LatencyWindow()
        self.made_by: Provenance | None = None  # of the restoration that came last
        self.late_us = 0.0  # by which readings are taken to come later than the microscope states
        self.look = AS_KEPT  # in which the page shows the newest frame
        self.frames_restored = 0
        self.dropped = 0  # frames passed over because newer samples had come, over all runs
        self._lock = threading.Lock()
        self._sinks: dict[str, RunSink] = {}  # by stream, of runs that are not finished; replaced, not changed
        self._notices = FreshNotices()
        self._newest: RunSink | None = None  # of the run that has the beam, or had it last
        self._was: str = "off"
        self._ready_ns = 0
        threads = config.threads or max(1, (os.cpu_count() or 2) - 1)  # a core is left to the beam
        self._process = RestorerProcess(
            self._restored,
            self._missed,
            self._changed,
            arguments=restorer_arguments(
                method=config.method,
                weights=config.weights,
                device=config.device,
                threads=threads,
                memory=config.memory,
            ),
        )

    @property
    def enabled(self) -> bool:
        """Whether anything restores."""
        return self._enabled

    def start(self) -> None:
        """Start the process; returns at once."""
        if self._enabled:
            self._process.start()

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until it can restore.

        Raises:
            LinkError: it cannot; with its own words.
        """
        if self._enabled:
            self._process.wait_ready(timeout_s)

    def stop(self) -> None:
        """End the process."""
        self._process.stop(0.5)

    @property
    def restarts(self) -> int:
        """How often the restorer had to be started again."""
        return self._process.status.restarts

    def snapshot(self) -> RestorationsSnapshot:
        """The restorer and its work, as of now."""
        status, made_by = self._process.status, self.made_by
        percentiles = self.latency.percentiles() or {}
        return RestorationsSnapshot(
            state=status.state,
            restarts=status.restarts,
            queue=status.queue,
            catching_up=sum(sink.unfinished for sink in set(self._sinks.values()) if sink.scan_ended),
            restored=self.frames_restored,
            dropped=self.dropped,
            device=status.device,
            method=None if made_by is None else made_by.method,
            face=None if made_by is None else made_by.face,
            late_us=self.late_us,
            look=self.look,
            latency_p50_ms=percentiles.get("p50"),
            latency_p99_ms=percentiles.get("p99"),
        )

    def sink_for(
        self,
        recording: RecordingWriter,
        capabilities: Capabilities,
        shown: Callable[[], str],
        restored: Callable[[int, Provenance, NDArray[np.float32] | None], None],
        beside: Callable[[], str | None] = lambda: None,
    ) -> RunSink:
        """What one acquisition's samples go to, until :meth:`finish`.

        Args:
            shown: says which detector is restored.
            restored: is told of each whole frame of that one, and what made its restoration.
            beside: says which other one is restored with it, if any is.
        """
        sink = RunSink(
            self._process,
            recording,
            capabilities,
            self._enabled,
            shown,
            restored,
            lambda: self.late_us,
            beside,
            lambda: self.look,
        )
        with self._lock:
            self._sinks = {**self._sinks, **dict.fromkeys(sink.streams, sink)}
            self._newest, self._notices = sink, FreshNotices()
        return sink

    def is_settled(self, series_id: int, frame: int) -> bool:
        """Whether a frame of the run that has the beam, or had it last, has all the restorations that it will have."""
        sink = self._newest
        return sink is not None and sink.series_id == series_id and sink.is_settled(frame)

    def look_at(self, look: Look) -> None:
        """Show the newest frame, and those after it, in another way; what is stored stays as it is.

        Raises:
            OrderRefused: the restorer is off.
        """
        if not self._enabled:
            raise OrderRefused("another look: nothing is restored")
        self.look, sink = look, self._newest
        if sink is not None:
            sink.look_again()

    def correct_delay(self) -> float:
        """Place samples as late as the last restoration found them, from the next frame on; returns µs, of all so far.

        Raises:
            OrderRefused: it found no delay.
        """
        made_by, dwell_us = self.made_by, None if self._newest is None else self._newest.dwell_us
        if made_by is None or made_by.delay_samples is None or dwell_us is None:
            raise OrderRefused("correct the delay: the last restoration found none")
        self.late_us += made_by.delay_samples * dwell_us
        self.made_by = msgspec.structs.replace(made_by, delay_samples=None)  # the same delay is not corrected twice
        return self.late_us

    def finish(self, sink: RunSink, timeout_s: float, give_up: Callable[[], bool]) -> int:
        """Wait until every frame of an ended run that has a place is restored; returns how many are not."""
        sink.scan_ended = True
        deadline = time.monotonic() + timeout_s
        while sink.unfinished and time.monotonic() < deadline and not give_up():
            status = self._process.status
            if status.state == "off" or (status.state == "dead" and status.restarts >= 3):
                break
            sink.progress.wait(0.05)
            sink.progress.clear()
        left = sink.close()
        with self._lock:
            self._sinks = {stream: other for stream, other in self._sinks.items() if other is not sink}
        if left and timeout_s > 0:
            self._say(f"{left} frames are recorded and not restored; scancontrol restore does it afterwards", "warning")
        return left

    # -- on the client's thread -------------------------------------------------------------------------

    def _restored(self, result: RestoredFrame) -> None:
        sink = self._sinks.get(result.stream)
        if sink is None:
            return
        result, channel = sink.told(result), sink.channel_of(result.stream)
        beside = channel == sink.beside()
        if not beside and result.look is None:
            self.made_by = result.made_by
        shown = sink is self._newest  # frames of earlier runs are caught up with, and not shown any more
        newest = shown and result.complete and sink.is_newest(result.frame, result.stream)
        partial = not result.complete and result.look is None
        if (result.look or AS_KEPT) == self.look and shown and (newest or not result.complete):
            self._hub.publish_restoration(
                RestorationView(
                    series_id=sink.series_id,
                    frame=result.frame,
                    estimate=result.estimate,
                    interval=result.interval,
                    made_by=result.made_by,
                    latency_ms=result.turnaround_ms if result.complete else None,
                    partial=partial,
                    channel=channel,
                    **sink.reach_of(result),
                    scanned_utc_ms=round(time.time_ns() / 1e6 - result.turnaround_ms),
                    strain=result.strain,
                ),
                beside=beside,
            )
        if not result.complete:
            if partial:
                sink.partial_restored(result)
            return
        if not beside:
            sink.tell(result.frame, result.made_by, result.interval)
        if shown:
            for notice in self._notices.of(result.made_by.notices):
                self._say(f"frame {result.frame}: {notice}", "warning" if result.made_by.cause else "info")
        self.frames_restored += 1
        self.compute.add(result.compute_ms)
        # What was not shown may have waited long; what waited for the process to start tells nothing of its speed.
        if newest and not beside and time.monotonic_ns() - 1e6 * result.turnaround_ms >= self._ready_ns:
            self.latency.add(result.turnaround_ms)
            self.overhead.add(result.turnaround_ms - result.compute_ms)
        try:
            sink.store(result)
        finally:
            sink.settled(
                result.frame, result.stream
            )  # only now: whoever waits for the last frame closes the recording next

    def _missed(self, missed: MissedFrame) -> None:
        sink = self._sinks.get(missed.stream)
        if sink is None:
            return
        sink.settled(missed.frame, missed.stream)
        if missed.reason == "dropped":
            self.dropped += 1
        elif missed.reason != "stopped":
            self._say(f"frame {missed.frame} is not restored: {missed.reason}", "warning")

    def _changed(self, status: RestorerStatus) -> None:
        before, self._was = self._was, status.state
        if status.state == "dead" and before != "dead":
            self._say(f"the restorer died ({status.error}); acquisition goes on, partial scans are shown", "error")
        elif status.state == "ready" and status.restarts:
            self._say(f"the restorer is back, as process {status.pid}", "warning")
        elif status.state == "ready":
            self._announce(f"process {status.pid}, {status.method} on {status.device}")
            self._ready_ns = time.monotonic_ns()
