"""Why a run ended is one sentence, with the remedy, wherever the operator looks: a real daemon, a column that trips."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.chaos.processes import Browser, Process
from scancontrol.processes.parent import ChildProcess
from scancontrol.recording import RecordingReader

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PLAN = "name: p\nshape: [64, 64]\nfov_nm: 5.0\ndwell_us: 20.0\nframes: 3\npatterns: [{kind: raster}]\n"
QUICK = "specimen: {kind: crystal, size_nm: 2.0, thickness_nm: 2.0}\n"
FAULTS = "faults:\n  - {kind: beam_trip, frame: 1, sample: 500}\n"


def test_page_terminal_recording_and_log_say_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "simulator.yaml").write_text(QUICK)
    (tmp_path / "faults.yaml").write_text(FAULTS)
    out, log = tmp_path / "out", tmp_path / "log.jsonl"
    with ExitStack() as stack:
        microscope = ChildProcess(
            "microscope",
            "simulators",
            ["--config", str(tmp_path / "simulator.yaml"), "--faults", str(tmp_path / "faults.yaml")],
        )
        stack.callback(microscope.stop, 2.0)
        address = str(microscope.wait_ready(60)["address"])
        command = ["-m", "scancontrol", "--log-json", str(log), "daemon", "--microscope", address]
        command += ["--plan", str(tmp_path / "plan.yaml"), "--out", str(out), "--no-restorer", "--page-port", "0"]
        daemon = Process(command)
        stack.callback(daemon.end)
        daemon.wait_for(r"^links +", 60)
        browser = Browser((out / "page-links").read_text().split()[1])
        stack.callback(browser.close)
        deadline = time.monotonic() + 60
        while not browser.connected:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        browser.send(type="start", plan="p", number=browser.number)
        while browser.phase != "ended":
            assert time.monotonic() < deadline, browser.status.get("scan")
            time.sleep(0.02)
        on_the_page = browser.status["scan"]["explanation"]
        reason, remedy = on_the_page.split("; ", 1)
        assert "the high tension tripped" in reason
        assert remedy == "mend what failed (the microscope's log says more), then start again"
        daemon.wait_for("the high tension tripped", 10)
        in_the_terminal = [line for line in daemon.lines if "the high tension tripped" in line]
        assert any(on_the_page in line for line in in_the_terminal), in_the_terminal
    with RecordingReader(next(out.glob("*.hspy"))) as read:
        assert (read.reason, read.why_ended) == ("fault", on_the_page)
    in_the_log = [json.loads(line) for line in log.read_text().splitlines()]
    assert any(on_the_page in json.dumps(line, ensure_ascii=False) for line in in_the_log)
