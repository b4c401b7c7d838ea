"""bluesky's own engine drives a dry run: each trigger is a scan, and what is moved is scanned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky import plans as bp
from ophyd_async.core import init_devices

from scancontrol import Session, Spiral, scan_plan
from scancontrol.recording import RecordingReader
from scancontrol.session.bluesky import ScanDetector

pytestmark = pytest.mark.slow


def test_a_plan_of_bluesky_moves_the_dwell_and_reads_a_frame_at_each_point(dry_run: Path, observer: Session) -> None:
    documents: list[tuple[str, dict]] = []
    engine = RunEngine()
    plan = scan_plan(Spiral(coverage=1 / 10), name="bluesky", fov_nm=20, dwell_us=4, shape=(64, 64))
    with init_devices():
        microscope = ScanDetector(plan, dry_run, operator="Ada")
    engine(
        bp.scan([microscope], microscope.dwell_us, 2, 4, 2), lambda name, document: documents.append((name, document))
    )
    events = [document["data"] for name, document in documents if name == "event"]
    assert [event["microscope-dwell_us"] for event in events] == [2.0, 4.0]
    for event in events:
        with RecordingReader(dry_run / event["microscope-recording"]) as recording:
            stored, samples = recording.restoration(0), recording.samples(0)
            assert recording.header.dwell_us == event["microscope-dwell_us"]
        assert stored is not None
        np.testing.assert_array_equal(event["microscope-restored"], stored.estimate)
        assert event["microscope-mean"] == pytest.approx(samples[0].mean())
    (stop,) = [document for name, document in documents if name == "stop"]
    assert stop["exit_status"] == "success"
    engine.loop.call_soon_threadsafe(engine.loop.stop)
