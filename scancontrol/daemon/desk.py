"""What is answered beside the beam: what a plan would come to, which plans there are, presets, recorded frames.

Nothing here changes what the beam does. A plan is planned here as it would be when it is armed, in whatever thread
asks, and never in the beam's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec

from scancontrol.capabilities import Capabilities
from scancontrol.daemon.dosing import DoseKeeper
from scancontrol.daemon.frame_answers import FrameAnswers
from scancontrol.daemon.page.messages import (
    Answer,
    CheckPlan,
    DeletePreset,
    Done,
    GetFrame,
    GetMicroscope,
    Inquiry,
    ListPlans,
    MicroscopeTold,
    OfferedPlan,
    PatternCost,
    PlanChecked,
    Plans,
    SavePreset,
    refusal_of,
)
from scancontrol.daemon.plans import PlanBook
from scancontrol.daemon.snapshot import disk_free_bytes
from scancontrol.errors import InvalidInput, LinkError, ScanControlError
from scancontrol.plan.figures import PathFigures
from scancontrol.plan.notes import notes
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording.need import RecordingNeed

__all__ = ["Desk"]

_MOST_PIXELS: Final = 1 << 26
"""A plan of more, 8192², is checked when it is armed: until then nobody waits for an answer so long."""


class Desk:
    """Answers inquiries, one at a time.

    Args:
        plans: what is offered.
        dose: the specimen's account.
        frames: reads recorded frames.
        capabilities: of the microscope that is there now; None where none has answered yet.
        folder: of the recordings.
        keep_restorations: which of them a recording has room for.
        paths_vary: whether each frame may be shifted, and so has a path of its own.
    """

    def __init__(
        self,
        plans: PlanBook,
        dose: DoseKeeper,
        frames: FrameAnswers,
        capabilities: Callable[[], Capabilities | None],
        *,
        folder: Path,
        keep_restorations: Literal["all", "last", "none"] = "all",
        paths_vary: bool = False,
    ) -> None:
        self._plans, self._dose, self._frames, self._capabilities = plans, dose, frames, capabilities
        self._folder, self._keep, self._paths_vary = folder, keep_restorations, paths_vary

    def ready(self, wanted: GetFrame) -> bool:
        """See :class:`scancontrol.daemon.page.hub.Desk`."""
        return self._frames.ready(wanted)

    def answer(self, inquiry: Inquiry) -> Answer | bytes:
        """What there is to say; a refusal says why not."""
        try:
            return self._answer(inquiry, inquiry.request or 0)
        except ScanControlError as error:
            return refusal_of(error, inquiry.request)

    def _answer(self, inquiry: Inquiry, request: int) -> Answer | bytes:
        match inquiry:
            case GetMicroscope():
                told = msgspec.to_builtins(self._microscope())
                finite = {name: value for name, value in told.items() if value not in (math.inf, -math.inf)}
                return MicroscopeTold(request=request, capabilities=finite)
            case GetFrame():
                return self._frames.read(inquiry)
            case CheckPlan(plan=asked):
                return self._checked(self._plans.find(asked), request)
            case ListPlans():
                offered = (
                    OfferedPlan(preset=preset, plan=msgspec.to_builtins(plan)) for plan, preset in self._plans.offered()
                )
                return Plans(request=request, plans=tuple(offered))
            case SavePreset(plan=asked, replace=replace):
                plan = self._plans.find(asked)
                self._planned(plan)
                self._plans.save(plan, replace=replace)
            case DeletePreset(name=name):
                self._plans.delete(name)
        return Done(request=request)

    def _microscope(self) -> Capabilities:
        capabilities = self._capabilities()
        if capabilities is None:
            raise LinkError("no microscope has answered yet: nothing can be planned on it")
        return capabilities

    def _planned(self, plan: ScanPlan) -> PlannedScan:
        capabilities = self._microscope()
        rows, cols = plan.shape
        if rows * cols > _MOST_PIXELS:
            limit = f"is above the {_MOST_PIXELS} pixels that are checked beforehand"
            raise InvalidInput("shape", f"{rows} x {cols}", limit, "see it with scancontrol plan FILE")
        return PlannedScan(plan, capabilities)

    def _checked(self, plan: ScanPlan, request: int) -> PlanChecked:
        began = time.monotonic()
        planned = self._planned(plan)
        self._dose.check(planned)
        need = RecordingNeed.of(planned, self._keep, paths_vary=self._paths_vary)
        need.check(self._folder)
        arming_s = time.monotonic() - began + need.making_s
        path = planned.path(0)
        return PlanChecked(
            request=request,
            name=plan.name,
            patterns=tuple(map(_cost, planned.patterns)),
            frames=plan.frames,
            total_time_s=planned.total_time_s,
            duration_s=planned.duration_s,
            worst_area_e_per_a2=planned.worst_area_e_per_a2,
            electrons=sum(n * one.dose.electrons for n, one in zip(plan.repeats(), planned.patterns, strict=False)),
            area_e_per_a2=self._dose.area_e_per_a2(path),
            area_limit_e_per_a2=self._dose.ledger.limits.area_e_per_a2,
            arming_s=arming_s,
            recording_bytes=need.samples_bytes,
            pictures_bytes=need.pictures_bytes,
            disk_free_bytes=disk_free_bytes(self._folder),
            notes=tuple(notes(planned)),
        )


def _cost(one: PathFigures) -> PatternCost:
    return PatternCost(
        title=one.title,
        samples=one.samples,
        coverage_nominal=one.coverage.nominal,
        coverage_touched=one.coverage.touched,
        coverage_dose=one.coverage.dose,
        dwell_us=one.dwell_per_pixel_us,
        frame_time_ms=one.duration_us / 1e3,
        blanked_share=one.overhead,
        worst_area_e_per_a2=one.dose.worst_area_e_per_a2,
    )
