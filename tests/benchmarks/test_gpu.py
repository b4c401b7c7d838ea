"""The benchmark for a GPU, here on a processor: it runs, it goes on after a failure, and it says what failed."""

from __future__ import annotations

import pytest
import torch

from benchmarks import gpu

pytestmark = pytest.mark.slow


def test_its_checks_run_on_a_processor_and_agree_with_it() -> None:
    found = gpu.run(only=("engine", "at once", "training", "demo"))
    assert found["failed"] == []
    assert found["training"]["steps"] > 0
    assert 0 <= found["training"]["waiting_pct"] <= 100
    assert found["demo"]["report"]["samples_lost"] == 0
    assert found["engine"]["frames"] == 3
    assert len(found["at once"]["largest_difference"]) == 6


def test_frames_of_several_streams_are_timed_as_the_restorers_process_has_them_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu.speed, "_SECONDS_EACH", 0.0)
    monkeypatch.setattr(gpu.speed, "_LEAST", 2)
    rows = gpu.speed.together(torch.device("cpu"), (64,), (1, 2))["rows"]
    assert [(row["weights"], row["streams"]) for row in rows] == [("lite", 1), ("lite", 2), ("live", 1), ("live", 2)]
    assert all(row["at_once"] == 2 and row["frames_per_s"] > 0 and row["p50_ms"] > 0 for row in rows)


def test_a_check_that_fails_is_named_and_the_others_are_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> dict[str, object]:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(gpu.agreement, "fills", broken)
    monkeypatch.setattr(gpu.speed, "launches", lambda: {"lite": 1})
    found = gpu.run(only=("fills", "launches"))
    assert found["failed"] == ["fills: RuntimeError: no kernel image is available"]
    assert found["launches"]["lite"] == 1
    assert "FAILED" in capsys.readouterr().out


def test_a_check_for_which_no_time_is_left_says_so() -> None:
    assert gpu.run(only=("demo",), seconds=0.0)["failed"] == ["demo: no time was left"]
