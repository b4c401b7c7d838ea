"""Scans from Python on a running dry run: exact frames, refusals that say why, one who scans and many who look."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from session_tools import until

from scancontrol import JitteredGrid, Spiral, connect, connect_async, scan_plan
from scancontrol.errors import InvalidInput, OrderRefused, ScanEnded
from scancontrol.files import to_yaml
from scancontrol.paths import expand
from scancontrol.plan.plan import ScanPlan
from scancontrol.recording import RecordingReader
from scancontrol.recording.arrays import frame_arrays
from scancontrol.session import Session

pytestmark = pytest.mark.slow

SMALL = {"fov_nm": 20.0, "dwell_us": 2.0, "shape": (64, 64)}
LONG = {"fov_nm": 20.0, "dwell_us": 200.0, "shape": (64, 64), "frames": 1_000}


def test_a_scan_is_one_call_and_its_frame_is_what_the_recording_holds(session: Session, dry_run: Path) -> None:
    frame = session.scan(Spiral(coverage=1 / 10), **SMALL)
    assert frame.complete
    assert frame.restored is not None
    assert (frame.restored.shape, frame.partial.shape) == ((64, 64), (64, 64))
    assert frame.positions.shape == (frame.samples.shape[1], 2)
    with RecordingReader(dry_run / frame.recording) as recording:
        stored = frame_arrays(recording, 0)
        assert recording.header.about.operator == "Ada"
        np.testing.assert_array_equal(frame.positions, expand(recording.recipe(0)).positions)
    np.testing.assert_array_equal(frame.samples, stored.samples)
    np.testing.assert_array_equal(frame.restored, stored.estimate)
    np.testing.assert_array_equal(frame.partial, stored.partial)
    assert frame.made_by == stored.made_by
    assert set(frame.to_xarray()) >= {"partial", "estimate"}


def test_a_plan_may_be_a_value_a_file_or_the_name_of_one_that_is_offered(session: Session, tmp_path: Path) -> None:
    plan = scan_plan(JitteredGrid(coverage=1 / 10), name="mine", **SMALL)  # type: ignore[arg-type]
    file = tmp_path / "mine.yaml"
    file.write_text(to_yaml(plan))
    assert session.scan(plan).plan == session.scan(file).plan == "mine"
    session.save_preset(plan)
    try:
        assert session.plans()["mine"] == plan
        assert session.scan("mine").plan == "mine"
    finally:
        session.delete_preset("mine")
    with pytest.raises(InvalidInput, match="is not offered"):
        session.check("mine")


def test_every_frame_comes_once_and_the_next_plan_may_look_at_the_last_frame(session: Session) -> None:
    seen: list[tuple[str, int]] = []

    def plans() -> Iterator[ScanPlan]:
        yield scan_plan(Spiral(coverage=1 / 10), name="survey", frames=3, **SMALL)  # type: ignore[arg-type]
        yield scan_plan(Spiral(coverage=1 / 4), name=f"after {len(seen)}", **SMALL)  # type: ignore[arg-type]

    for frame in session.frames(plans()):
        assert frame.restored is not None
        seen.append((frame.plan, frame.frame))
    assert seen == [("survey", 0), ("survey", 1), ("survey", 2), ("after 3", 0)]


def test_what_a_plan_costs_is_said_before_the_beam_is_on(session: Session) -> None:
    checked = session.check(Spiral(coverage=1 / 10), frames=3, **SMALL)
    (pattern,) = checked.patterns
    assert pattern.coverage_touched == pytest.approx(0.1, rel=0.1)
    assert checked.total_time_s == pytest.approx(3 * pattern.frame_time_ms / 1e3)
    microscope = session.microscope()
    with pytest.raises(InvalidInput) as refused:
        session.check(Spiral(coverage=1 / 10), fov_nm=20, dwell_us=microscope.shortest_dwell_us / 10)
    assert refused.value.quantity == "dwell_us"
    assert "raise dwell_us" in refused.value.remedy
    with pytest.raises(ScanEnded, match="raise dwell_us"):
        session.scan(Spiral(coverage=1 / 10), fov_nm=20, dwell_us=microscope.shortest_dwell_us / 10)


def test_pictures_come_while_the_beam_moves_and_end_with_the_scan(session: Session) -> None:
    session.start(Spiral(coverage=1 / 4), fov_nm=20, dwell_us=60, shape=(64, 64), frames=40)
    kinds = [(picture.kind, picture.frame, picture.image.shape) for picture in session.pictures()]
    assert {shape for kind, _, shape in kinds if kind != "truth"} == {(64, 64)}
    assert {"complete", "restoration"} <= {kind for kind, _, _ in kinds}
    assert session.wait().finish_reason == "completed"


def test_a_scan_is_paused_gone_on_with_and_aborted(session: Session) -> None:
    order = session.start(Spiral(coverage=1 / 4), **LONG)
    session.pause()
    assert session.status.scan.phase.value == "paused"
    session.resume()
    assert session.status.scan.phase.value == "scanning"
    session.abort("seen enough")
    with pytest.raises(ScanEnded, match="seen enough") as ended:
        session.wait(order)
    assert (ended.value.reason, ended.value.recording is not None) == ("aborted", True)
    session.scan(Spiral(coverage=1 / 10), **SMALL)  # its own abort is no news to it


def test_one_script_scans_while_others_look_and_blank(session: Session, observer: Session, dry_run: Path) -> None:
    order = session.start(Spiral(coverage=1 / 4), **LONG)
    with connect(dry_run, operator="Grace") as other, pytest.raises(OrderRefused, match="a script of Ada"):
        other.start(Spiral(coverage=1 / 10), **SMALL)
    assert observer.role == "observer"
    with pytest.raises(OrderRefused, match="watch and blank"):
        observer.abort()
    assert session.frame(0).restored is not None
    assert observer.frame(0, session.status.scan.recording).restored is not None
    assert next(observer.pictures()).image.size
    until(observer, lambda status: status.claimed_by == "Ada")
    observer.blank()
    with pytest.raises(ScanEnded) as ended:
        session.wait(order)
    assert ended.value.reason == "operator_blank"


def test_a_script_does_not_lift_a_blank_that_it_has_not_seen(session: Session, observer: Session) -> None:
    session.scan(Spiral(coverage=1 / 10), **SMALL)
    observer.blank()
    with pytest.raises(OrderRefused, match="blanked by a script"):
        session.scan(Spiral(coverage=1 / 10), **SMALL)
    assert observer.status.orders.blank == "confirmed"
    session.acknowledge()
    session.scan(Spiral(coverage=1 / 10), **SMALL)
    assert session.status.orders.blank == "off"


def test_the_same_in_asyncio_beside_others(dry_run: Path) -> None:
    async def scan() -> tuple[int, int]:
        async with await connect_async(dry_run) as session, await connect_async(dry_run, role="observer") as other:
            looking = asyncio.create_task(anext(other.pictures()))
            count = 0
            async for frame in session.frames(Spiral(coverage=1 / 10), frames=2, **SMALL):
                count += frame.restored is not None
            return count, (await looking).image.size

    assert asyncio.run(scan()) == (2, 64 * 64)
