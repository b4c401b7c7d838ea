"""What the daemon says on its terminal of where an acquisition is."""

from __future__ import annotations

import dataclasses

import msgspec

from scancontrol.acquisition import AcquisitionStatus
from scancontrol.acquisition.phases import Phase
from scancontrol.daemon.progress import line_of
from scancontrol.daemon.snapshot import Snapshot


def test_nothing_is_said_before_there_was_an_acquisition() -> None:
    assert line_of(Snapshot()) == ""


def test_an_acquisition_that_ended_before_its_first_frame_is_told_too() -> None:
    ended = dataclasses.replace(AcquisitionStatus(), phase=Phase.ENDED, explanation="the microscope failed")
    assert line_of(msgspec.structs.replace(Snapshot(), scan=ended)) == "ended       the microscope failed"
