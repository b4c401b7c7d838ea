"""What the samples of one acquisition go to: gridded pictures, restorations, and a watch on the signal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scancontrol.acquisition import Background, Partial, PartialFrames, Sink
from scancontrol.daemon.drift_follower import DriftFollower
from scancontrol.daemon.page.hub import LiveHub, PartialView
from scancontrol.daemon.restorations import Restorations
from scancontrol.daemon.second_looks import SecondLooks
from scancontrol.daemon.shown_channel import ShownChannel
from scancontrol.daemon.signal_watch import SignalWatch
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import RecordingWriter
from scancontrol.restoration import Provenance

__all__ = ["RunOutputs"]


class RunOutputs:
    """Made when an acquisition is armed; finished or dropped once, after it has ended."""

    def __init__(
        self,
        planned: PlannedScan,
        recording: RecordingWriter,
        hub: LiveHub,
        restorations: Restorations,
        shown: ShownChannel,
        drift: DriftFollower,
        say: Callable[[str, str], None],
    ) -> None:
        capabilities, series = planned.capabilities, recording.header.series_id

        def show(partial: Partial) -> None:
            hub.publish_partial(
                PartialView(
                    series_id=series,
                    frame=partial.frame,
                    image=partial.mean,
                    weight=partial.weight,
                    complete=partial.complete,
                    samples=partial.samples,
                    path_id=partial.path.path_id,
                    samples_planned=partial.path.count,
                    fov_nm=planned.plan.fov_nm,
                    channel=partial.channel,
                )
            )

        channels = recording.header.channels

        def channel() -> str:
            return shown.among(channels)

        if shown.name and shown.name not in channels:
            say(f"{shown.name} is not recorded by {planned.plan.name}: {channels[0]} is shown and restored", "warning")

        def restored(frame: int, made_by: Provenance, interval: NDArray[np.float32] | None) -> None:
            drift.restored(frame, made_by)
            self.looks.restored(frame, interval)

        self.looks = SecondLooks(planned, restorations.enabled, say)
        self._restorations = restorations
        self._pictures = Background(PartialFrames(recording, capabilities.coil, show, shown=channel))
        self._restoring = restorations.sink_for(
            recording, capabilities, channel, restored, lambda: shown.beside_among(channels)
        )
        self.drift = drift
        watch = SignalWatch(channels, lambda text: say(text, "warning"))
        self.sinks: tuple[Sink, ...] = (self._pictures, self._restoring, watch)

    def finish(self, restore_s: float, draw_s: float, give_up: Callable[[], bool]) -> None:
        """Have every frame restored and every picture drawn, for so long at most or until ``give_up``."""
        self._restorations.finish(self._restoring, restore_s, give_up)
        self._pictures.drain(draw_s)
        self._pictures.close(0.2)
