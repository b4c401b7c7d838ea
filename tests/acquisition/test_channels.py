"""A plan's detectors are obeyed: what it does not name is neither recorded nor shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from acquisition_tools import MemoryMicroscope, plan_of, values_of
from numpy.typing import NDArray

from scancontrol.acquisition import Acquisition, FrameEnd, FrameStart
from scancontrol.capabilities import Capabilities, DetectorChannel
from scancontrol.errors import InvalidInput
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import Recording, record_plan
from scancontrol.wire.assembly import Chunk

NAMES = ("HAADF", "ADF", "BF")
THREE = Capabilities(
    name="bench",
    detectors=tuple(DetectorChannel(name=name, adc_bits=bits) for name, bits in zip(NAMES, (16, 14, 12), strict=True)),
)


class ThreeChannels(MemoryMicroscope):
    """The same samples in three detectors, larger by 1 and by 2."""

    def receive(self, timeout_s: float = 0.0) -> Any:
        event = super().receive(timeout_s)
        return (
            replace(event, values=np.concatenate([event.values + k for k in range(3)]))
            if isinstance(event, Chunk)
            else event
        )


class Seen:
    def __init__(self) -> None:
        self.shapes: set[int] = set()

    def frame_started(self, start: FrameStart) -> None: ...

    def samples(self, frame: int, first_index: int, values: NDArray[Any]) -> None:
        self.shapes.add(len(values))

    def frame_ended(self, end: FrameEnd) -> None: ...


@pytest.mark.parametrize("wanted", [("BF",), ("BF", "HAADF"), ()], ids=["one", "two, in the plan's order", "all"])
def test_the_detectors_of_the_plan_are_recorded_in_its_order_and_no_others(
    tmp_path: Path, wanted: tuple[str, ...]
) -> None:
    planned = PlannedScan(msgspec.structs.replace(plan_of(2), detectors=wanted), THREE)
    recording = record_plan(tmp_path / "a.hspy", planned, series_id=1, series_unique_id="s")
    seen = Seen()
    status = Acquisition(ThreeChannels(), recording, map(planned.recipe, range(2)), [seen], detectors=NAMES).run()
    recording.close(status.finish_reason or "")
    assert status.finish_reason == "completed"
    names = wanted or NAMES
    with Recording.open(tmp_path / "a.hspy") as read:
        assert read.header.channels == names
        for frame in range(2):
            count = planned.path(frame).count
            sent = {name: values_of(frame, 0, count)[0] + k for k, name in enumerate(NAMES)}
            np.testing.assert_array_equal(read.samples(frame), [sent[name] for name in names])
    assert seen.shapes == {len(names)}


def test_the_first_detector_of_the_plan_is_the_one_that_is_shown() -> None:
    planned = PlannedScan(msgspec.structs.replace(plan_of(1), detectors=("BF", "ADF")), THREE)
    assert planned.channels == ("BF", "ADF")
    assert planned.figures.saturation_counts == 2**12 - 1


def test_a_detector_that_is_named_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="is named twice"):
        PlannedScan(msgspec.structs.replace(plan_of(1), detectors=("BF", "BF")), THREE)
