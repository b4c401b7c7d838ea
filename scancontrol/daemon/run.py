"""One acquisition of the daemon: complete before it begins."""

from __future__ import annotations

from dataclasses import dataclass

from scancontrol.acquisition import Acquisition
from scancontrol.daemon.orders import StartOrder
from scancontrol.daemon.outputs import RunOutputs
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import RecordingWriter

__all__ = ["Run"]


@dataclass(frozen=True)
class Run:
    """An order being carried out: a plan on this microscope, and what its samples go to."""

    order: StartOrder
    planned: PlannedScan
    recording: RecordingWriter
    outputs: RunOutputs
    acquisition: Acquisition
    only_collects: bool = False  # nothing is exposed: what was interrupted is ended
    others: tuple[
        RecordingWriter, ...
    ] = ()  # that wait to be ended after it, open for what the microscope kept of them
    taken_up: bool = False  # it was cut off before, by a crash, its disk or its link
