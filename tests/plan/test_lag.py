"""Coils slower than the whole scan are refused before the beam comes on."""

from __future__ import annotations

import pytest

from scancontrol.capabilities import Capabilities, CoilModel, DetectorChannel
from scancontrol.errors import InvalidInput
from scancontrol.paths import Raster
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan


def test_a_time_constant_longer_than_the_scan_is_refused_with_both_times():
    plan = ScanPlan(name="small", patterns=(Raster(),), shape=(16, 16), fov_nm=64.0, dwell_us=1.0)  # 256 us

    def slow(time_constant_us: float) -> Capabilities:
        channel = DetectorChannel(name="HAADF")
        coil = CoilModel(time_constant_us=time_constant_us)
        return Capabilities(name="slow", detectors=(channel,), beam_current_pa=1.0, coil=coil)

    PlannedScan(plan, slow(255.0))
    said = r"time_constant_us = 300 is longer than a raster of the frame, 256 us.*; mend"
    with pytest.raises(InvalidInput, match=said):
        PlannedScan(plan, slow(300.0))
