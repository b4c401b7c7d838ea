"""From a second terminal: start, pause, resume, abort and watch, on the daemon that runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from plan_tools import GOOD

from scancontrol.cli import main
from scancontrol.files import to_yaml
from scancontrol.session import Session

pytestmark = pytest.mark.slow


@pytest.fixture
def plan(tmp_path: Path) -> str:
    file = tmp_path / "long.yaml"
    file.write_text(to_yaml({**GOOD, "name": "long", "shape": [64, 64], "dwell_us": 100.0, "frames": 5_000}))
    return str(file)


def test_a_scan_is_started_held_gone_on_with_and_ended_by_commands_of_their_own(
    dry_run: Path, observer: Session, plan: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def say(*words: str) -> str:
        assert main([*words, "--runs", str(dry_run)]) == 0
        return capsys.readouterr().out

    assert "coverage nominal" in say("start", plan, "--check")
    assert "scanning into long-" in say("start", plan)  # and the command has ended
    assert "paused" in say("pause")
    assert say("resume") == "scanning\n"
    assert "no more today" in say("abort", "--reason", "no more today")
    assert "aborted from" not in (told := say("watch", "--until-end"))
    assert "ended       ended by the operator: no more today" in told
    assert main(["pause", "--runs", str(dry_run)]) == 2
    assert "nothing is scanned now" in capsys.readouterr().err
    assert observer.status.orders.standing is None


def test_a_short_scan_is_waited_for(dry_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "short.yaml"
    file.write_text(to_yaml({**GOOD, "shape": [64, 64]}))
    assert main(["start", str(file), "--wait", "--runs", str(dry_run)]) == 0
    assert "4 frames in good-" in capsys.readouterr().out
