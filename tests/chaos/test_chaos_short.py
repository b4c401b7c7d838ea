"""The short chaos: a few scans under each sort of damage. The long one is ``make chaos``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from benchmarks.chaos.lies import run_lies
from benchmarks.chaos.orders import run_orders
from benchmarks.chaos.rig import Rig

ROOT = Path(__file__).parents[2]
KINDS = (
    "daemon killed",
    "link cut",
    "disk full",
    "microscope killed",
    "restorer killed",
    "disk read-only",
    "microscope restarted",
    "browser stalled",
)


HARDEST = (
    "blank unheard by a frozen microscope",
    "blank then the daemon is killed",
    "blank while arming",
    "blank from a terminal while the daemon is frozen",
    "two clicks on start and a blank",
)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_is_exposed_after_a_stop_and_one_start_is_one_acquisition(tmp_path: Path) -> None:
    with ExitStack() as stack:
        rig = Rig(tmp_path, np.random.default_rng(1), stack, restorer=False)
        rows = run_orders(rig, 1, HARDEST)
    for row in rows:
        assert row["problems"] == []
        assert (row["given"], row["not_confirmed"], row["exposed_after"], row["second_starts"]) == (1, 0, 0, 0), row


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_is_lost_and_nothing_exposed_twice_whatever_fails(tmp_path: Path) -> None:
    result = tmp_path / "chaos.json"
    command = [sys.executable, "-m", "benchmarks.chaos", "--seed", "5", "--kinds", ",".join(KINDS)]
    done = subprocess.run(
        [*command, "--json", str(result)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(result.read_text())["figures"]
    assert figures["scans"] == len(KINDS)
    assert sum(fault["injected"] for fault in figures["faults"].values()) == len(KINDS)
    assert figures["samples_exposed"] > 1000 * len(KINDS) // 2
    assert figures["samples_lost"] == figures["samples_exposed_twice"] == figures["samples_recorded_unexposed"] == 0
    lost_apart = figures["samples_lost_with_a_killed_microscope"]
    assert figures["samples_recorded"] == figures["samples_exposed"] - lost_apart


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_lying_instrument_gets_no_sample_exposed_after_a_confirmed_blank_and_passes_no_limit() -> None:
    rows = run_lies(
        ["an instrument does not return from blanking for 2 s", "an instrument counts five times what it stated"]
    )
    for row in rows:
        assert (row["told"], row["problems"]) == (1, []), row
        assert (row["exposed_after"], row["exposed_twice"], row["second_starts"], row["limits_passed"]) == (0, 0, 0, 0)
