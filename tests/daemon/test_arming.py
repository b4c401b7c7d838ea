"""Everything that a Start needs is made before the beam moves; where it must not be, nothing is left of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from plan_tools import plan_with
from served_ramp import microscope

from scancontrol.acquisition.contracts import Unlimited
from scancontrol.daemon.arming import Arming, check_hold, still_wanted
from scancontrol.daemon.beam_settings import BeamSettings
from scancontrol.daemon.config import DaemonConfig, SpecimenConfig
from scancontrol.daemon.describing import Describing
from scancontrol.daemon.dosing import DoseKeeper
from scancontrol.daemon.hold_watch import HoldWatch
from scancontrol.daemon.orders import Orders
from scancontrol.dose.limits import DoseLimits
from scancontrol.errors import DoseLimitPassed, InvalidInput, OrderRefused
from scancontrol.link.blank import blank_now
from scancontrol.link.link import MicroscopeLink

PLAN = plan_with(frames=2)


class Beside:
    """A daemon's desk beside a real link: orders, ledger and recordings in ``folder``."""

    def __init__(self, folder: Path, link: MicroscopeLink, limits: DoseLimits) -> None:
        self.folder, self.link, self.orders = folder, link, Orders()
        self.notices: list[str] = []
        self.said: list[str] = []
        self.dose = DoseKeeper(SpecimenConfig(limits=limits), folder / "ledger")

        def note(text: str, level: str) -> None:
            self.notices.append(text)

        self.holds = HoldWatch(self.orders, note)
        self.arming = Arming(
            BeamSettings("", "ada", None, folder, "none", False, "end"),
            self.orders,
            lambda planned, recording: SimpleNamespace(sinks=()),  # type: ignore[arg-type,return-value]
            self.dose,
            Describing(DaemonConfig(microscope="m"), folder),
            self.holds,
            Unlimited(),
            note,
            says=self.said.append,
            on_turn=lambda link: None,
            clock=lambda: 0.0,
            begun=(),
        )

    @property
    def recordings(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*.hspy"))

    def until(self, held: bool) -> Any:
        """The microscope's status, once it says that."""
        while self.link.status is None or (self.link.status.blanker == "blank") is not held:
            self.link.receive(0.01)
        return self.link.status


@contextmanager
def beside(folder: Path, limits: DoseLimits | None = None) -> Iterator[Beside]:
    with microscope() as address, MicroscopeLink(address) as link:
        link.connect()
        found = Beside(folder, link, limits or DoseLimits())
        try:
            yield found
        finally:
            found.dose.close()


def test_a_start_becomes_a_run_with_its_own_recording_and_the_frames_of_its_plan(tmp_path: Path) -> None:
    with beside(tmp_path) as desk:
        order = desk.orders.start(PLAN, 0)
        run = desk.arming.new(desk.link, order)
        assert run.order is order
        assert desk.said, "what is being made is said before it is"
        assert not run.only_collects
        assert desk.recordings == [run.recording.path.name]
        assert run.acquisition.run().finish_reason == "completed"
        assert run.recording.counts["frames"] == 2
        run.recording.close()


def test_a_start_that_a_blank_came_after_is_not_begun_and_leaves_no_file(tmp_path: Path) -> None:
    with beside(tmp_path) as desk:
        order = desk.orders.start(PLAN, 0)
        desk.orders.blank("somebody wanted it off")
        with pytest.raises(OrderRefused, match="somebody wanted it off"):
            desk.arming.new(desk.link, order)
        with pytest.raises(OrderRefused):
            still_wanted(desk.orders, order)
        assert desk.recordings == []


def test_a_plan_above_the_specimens_limit_leaves_no_file(tmp_path: Path) -> None:
    with beside(tmp_path, DoseLimits(frame_e_per_a2=1e-6)) as desk:
        with pytest.raises(DoseLimitPassed):
            desk.arming.new(desk.link, desk.orders.start(PLAN, 0))
        assert desk.recordings == []


def test_a_plan_for_another_microscope_leaves_no_file(tmp_path: Path) -> None:
    with beside(tmp_path) as desk:
        order = desk.orders.start(plan_with(detectors=["EELS"]), 0)
        with pytest.raises(InvalidInput, match="EELS"):
            desk.arming.new(desk.link, order)
        assert desk.recordings == []


def test_a_beam_that_was_blanked_after_the_start_was_given_is_not_lit(tmp_path: Path) -> None:
    with beside(tmp_path) as desk:
        order = desk.orders.start(PLAN, 0)
        blank_now(desk.link.address, name="eve")
        desk.until(held=True)
        with pytest.raises(OrderRefused, match="blanked after that was asked for"):
            check_hold(desk.orders, desk.link, order)
        with pytest.raises(OrderRefused):
            desk.arming.new(desk.link, order)
        assert desk.recordings == []


def test_the_hold_that_the_operator_had_seen_is_lifted_and_told(tmp_path: Path) -> None:
    with beside(tmp_path) as desk:
        blank_now(desk.link.address, name="eve")
        status = desk.until(held=True)
        desk.holds.seen(status)
        order = desk.orders.start(PLAN, desk.orders.snapshot.number, lifts=(status.server_id, status.blanks))
        run = desk.arming.new(desk.link, order)
        assert desk.orders.snapshot.blank == "off"
        assert any("lifted by this start" in notice for notice in desk.notices)
        desk.until(held=False)
        run.recording.close()


def test_a_current_that_plan_and_microscope_do_not_agree_on_is_said(tmp_path: Path) -> None:
    with beside(tmp_path) as desk:
        run = desk.arming.new(desk.link, desk.orders.start(plan_with(beam_current_pa=77.0), 0))
        assert any("77 pA" in notice for notice in desk.notices)
        run.recording.close()
