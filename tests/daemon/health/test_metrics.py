"""What Prometheus reads is what the snapshot says: every figure with its help and type, none that nobody knows."""

from __future__ import annotations

import re
from typing import cast

import msgspec
import pytest
from golden_messages import MESSAGES

from scancontrol.acquisition import AcquisitionStatus, Phase
from scancontrol.daemon.health.metrics import exposition
from scancontrol.daemon.snapshot import BeamSnapshot, DoseSnapshot, RestorationsSnapshot, Snapshot
from scancontrol.wire.messages import Status

STATUS = msgspec.structs.replace(cast(Status, MESSAGES["status"]), beam_on=True, queued_scans=2)

SAMPLE = re.compile(r'([a-z_:][a-z0-9_:]*)((?:\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)*\})?) (\S+)')


def figures(snapshot: Snapshot) -> dict[str, float]:
    """Each sample by its name and labels. Raises where a line is not of the format, or a name is not introduced."""
    introduced: dict[str, set[str]] = {}
    found: dict[str, float] = {}
    text = exposition(snapshot)
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# "):
            _, what, name, rest = line.split(" ", 3)
            assert rest
            assert what not in introduced.setdefault(name, set()), f"{what} of {name} stands twice"
            introduced[name].add(what)
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        name, labels, value = match.groups()
        assert introduced[name] == {"HELP", "TYPE"}
        assert name + labels not in found
        found[name + labels] = float(value)
    return found


def test_what_nobody_knows_is_left_out_rather_than_said_to_be_nothing() -> None:
    found = figures(Snapshot())
    assert found["scancontrol_microscope_connected"] == 0
    for absent in ("beam_on", "clock_offset_seconds", "frame_rate_hertz", "resident_memory_bytes", "disk_free_bytes"):
        assert not [name for name in found if name.startswith(f"scancontrol_{absent}")]
    assert not [name for name in found if "restore_latency" in name or "dose_area" in name]


def test_figures_are_in_base_units_under_the_names_of_what_they_are() -> None:
    beam = BeamSnapshot(name="simulator", connected=True, status=STATUS, clock_offset_us=-12.5)
    found = figures(
        Snapshot(
            started_utc_ns=1_500_000_000,
            microscope=beam,
            scan=AcquisitionStatus(phase=Phase.SCANNING, samples_exposed=9, samples_lost=1),
            restorer=RestorationsSnapshot(state="ready", latency_p50_ms=60.0, latency_p99_ms=80.0, restored=7),
            warnings=("the disk is nearly full",),
        )
    )
    assert found["scancontrol_start_time_seconds"] == 1.5
    assert found["scancontrol_beam_on"] == 1
    assert found["scancontrol_clock_offset_seconds"] == pytest.approx(-12.5e-6)
    assert found['scancontrol_restore_latency_seconds{quantile="0.99"}'] == 0.08
    assert [found[f'scancontrol_samples{{what="{what}"}}'] for what in ("exposed", "lost")] == [9, 1]
    assert found["scancontrol_restorer_restored_total"] == 7
    assert found["scancontrol_warnings"] == 1
    phases = {name: value for name, value in found.items() if name.startswith("scancontrol_phase{")}
    assert len(phases) == len(Phase)
    assert [name for name, value in phases.items() if value] == ['scancontrol_phase{phase="scanning"}']


def test_a_specimens_name_may_hold_any_character() -> None:
    text = exposition(Snapshot(dose=DoseSnapshot(specimen='gold "5 nm"\non a\\b')))
    assert r'scancontrol_dose_electrons_total{specimen="gold \"5 nm\"\non a\\b"} 0.0' in text
    assert len(figures(Snapshot(dose=DoseSnapshot(specimen='gold "5 nm"\non a\\b')))) > 20
