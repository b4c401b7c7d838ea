"""The dose ledger: what it counts, what it refuses, and that no crash makes it forget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_scans import CURRENT_PA, HERE, raster, scan

from scancontrol.dose.ledger import DoseLedger, Patch, check_specimen, patch_of
from scancontrol.dose.ledger.area import AreaMap
from scancontrol.dose.limits import DoseLimits
from scancontrol.errors import DoseLimitPassed, InvalidInput, LedgerInUse
from scancontrol.paths import PathRecipe, Raster, ScanPath


def test_a_raster_gives_its_electrons_over_its_area_to_every_cell(tmp_path: Path) -> None:
    path = raster(256)
    with_dose = patch_of(path, HERE).dose_e_per_a2(path.electrons(CURRENT_PA))
    inner = with_dose[1:-1, 1:-1]
    np.testing.assert_allclose(inner, path.electrons(CURRENT_PA) / 640.0**2, rtol=1e-6)


@given(
    fov_nm=st.floats(0.5, 5e4),
    rows=st.integers(2, 40),
    cols=st.integers(2, 40),
    y=st.floats(-1e6, 1e6),
    x=st.floats(-1e6, 1e6),
)
@settings(max_examples=60, deadline=None)
def test_no_electron_is_lost_on_the_map_wherever_the_stage_is(fov_nm, rows, cols, y, x) -> None:
    path = ScanPath(PathRecipe(pattern=Raster(), shape=(rows, cols), fov_nm=fov_nm, dwell_us=1.0))
    patch = patch_of(path, (y, x))
    area = AreaMap()
    area.add(patch, 1e6)
    on_map = sum(float(tile.sum()) for tile in area.tiles.values()) * patch.side_nm**2 * 100.0
    assert on_map == pytest.approx(1e6, rel=1e-9)
    assert fov_nm / 128 <= patch.side_nm <= fov_nm / 64


@given(fine=st.integers(-6, 6), coarse=st.integers(-6, 6), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_map_seen_from_cells_of_another_size_is_never_below_what_lies_under_them(fine, coarse, seed) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(-200, 200, 2)
    held = Patch(fine, int(corner[0]), int(corner[1]), rng.random((23, 31)))
    area = AreaMap()
    area.add(held, 1000.0)
    dose = held.dose_e_per_a2(1000.0)
    side, seen_side = 2.0**fine, 2.0**coarse
    row, col = (int(np.floor(at * side / seen_side)) for at in corner)
    seen = area.under(Patch(coarse, row, col, np.zeros((60, 60))))
    for i, j in rng.integers(0, (23, 31), (20, 2)):
        y, x = (corner[0] + i + 0.5) * side, (corner[1] + j + 0.5) * side
        at = int(np.floor(y / seen_side)) - row, int(np.floor(x / seen_side)) - col
        if at[0] < 60 and at[1] < 60:
            assert seen[at] >= dose[i, j] * (1 - 1e-12)


def test_a_plan_that_would_pass_the_areas_limit_is_refused_with_what_would_fit(tmp_path: Path) -> None:
    path = raster(256)
    each = path.electrons(CURRENT_PA) / 640.0**2  # 9.99 e/Å²
    ledger = DoseLedger(tmp_path, "grid", DoseLimits(area_e_per_a2=3.5 * each))
    scan(ledger, path)
    with pytest.raises(DoseLimitPassed, match=r"area dose .*passes the specimen's limit .* by .*; lower dwell_us"):
        ledger.check([(path, 3)], CURRENT_PA, HERE)
    with pytest.raises(DoseLimitPassed) as refusal:
        ledger.check([(path, 5)], CURRENT_PA, HERE)
    assert "take 2 frames instead of 5" in refusal.value.remedy
    dwell_us = float(refusal.value.remedy.split(" to ")[1].split(",")[0])
    ledger.check([(raster(256, dwell_us=dwell_us), 5)], CURRENT_PA, HERE)  # what it says fits does fit
    ledger.check([(path, 3)], CURRENT_PA, (0.0, 200.0))  # and a fresh area takes all
    ledger.close()


def test_overlapping_fields_at_other_stage_positions_add_up(tmp_path: Path) -> None:
    path = raster(256)
    each = path.electrons(CURRENT_PA) / 640.0**2
    ledger = DoseLedger(tmp_path, "grid", DoseLimits(area_e_per_a2=1.5 * each))
    scan(ledger, path, 0, HERE)
    with pytest.raises(DoseLimitPassed, match="area dose"):
        ledger.check([(path, 1)], CURRENT_PA, (32.0, 32.0))  # a quarter of it was scanned
    ledger.check([(path, 1)], CURRENT_PA, (0.0, 65.0))
    ledger.close()


def test_the_sessions_limit_counts_what_waits_and_a_new_session_starts_at_0(tmp_path: Path) -> None:
    path = raster()
    ledger = DoseLedger(tmp_path, "grid", DoseLimits(session_electrons=2.5 * path.electrons(CURRENT_PA)))
    for frame in range(2):
        ledger.ask("s", frame, path, 0, CURRENT_PA, HERE)
    with pytest.raises(DoseLimitPassed, match="session dose"):
        ledger.ask("s", 2, path, 0, CURRENT_PA, HERE)
    for number in list(ledger._state.asked):
        ledger.spend(number, path.count, path.electrons(CURRENT_PA))
    ledger.new_session()
    scan(ledger, path, 2)
    assert ledger.totals.session_electrons == pytest.approx(path.electrons(CURRENT_PA))
    assert ledger.totals.electrons == pytest.approx(3 * path.electrons(CURRENT_PA))
    ledger.close()


def test_a_scan_that_nobody_accounted_for_counts_in_full_until_the_microscope_says_what_it_was(tmp_path: Path) -> None:
    path = raster()
    whole = path.electrons(CURRENT_PA)
    ledger = DoseLedger(tmp_path, "grid")
    assert ledger.reconcile("server", 1000.0) == 0.0
    scan(ledger, path)
    ledger.ask("s", 1, path, 0, CURRENT_PA, HERE)
    ledger._journal.close()  # as SIGKILL does: nothing is said, nothing compacted
    ledger = DoseLedger(tmp_path, "grid")
    assert ledger.totals.promised_electrons == pytest.approx(whole)
    found = ledger.reconcile("server", 1000.0 + 1.25 * whole)
    assert found == pytest.approx(0.25 * whole)
    assert ledger.totals.electrons == pytest.approx(1.25 * whole)
    assert ledger.totals.assumed_electrons == 0.0
    ledger.ask("s", 2, path, 0, CURRENT_PA, HERE)
    assert ledger.reconcile("another server", 0.0) == pytest.approx(whole)  # nobody can say: all of it
    assert ledger.totals.assumed_electrons == pytest.approx(whole)
    ledger.close()


def test_compacting_changes_nothing_that_the_ledger_says(tmp_path: Path) -> None:
    ledger = DoseLedger(tmp_path, "grid")
    for frame, fov_nm in enumerate((64.0, 20.0, 700.0)):
        scan(ledger, raster(fov_nm=fov_nm), frame, (10.0 * frame, 0.0))
    ledger.ask("s", 9, raster(), 0, CURRENT_PA, HERE)
    before, worst = ledger.totals, ledger.area_e_per_a2(raster(), HERE)
    ledger.close()
    again = DoseLedger(tmp_path, "grid")
    assert again.totals == before
    assert again.area_e_per_a2(raster(), HERE) == worst
    again.close()


def test_two_daemons_cannot_keep_one_ledger(tmp_path: Path) -> None:
    ledger = DoseLedger(tmp_path, "grid")
    with pytest.raises(LedgerInUse, match="in use by another process"):
        DoseLedger(tmp_path, "grid")
    ledger.close()
    DoseLedger(tmp_path, "grid").close()


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".", "..", "a..b", "x" * 65, "nul\0", "grid 1"])
def test_a_specimen_that_is_no_plain_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="specimen"):
        check_specimen(name)


def test_an_overcount_is_remembered_by_the_next_process_without_a_cap(tmp_path: Path) -> None:
    path = raster()
    ledger = DoseLedger(tmp_path, "grid")
    number = ledger.ask("s", 0, path, 0, CURRENT_PA, HERE)
    ledger.spend(number, path.count // 4, 25.0 * path.electrons(CURRENT_PA) / 4)  # cut off by a limit
    ledger._journal.close()
    for _ in range(2):  # from the journal, then from the map
        ledger = DoseLedger(tmp_path, "grid", DoseLimits(session_electrons=40 * path.electrons(CURRENT_PA)))
        ledger.check([(path, 1)], CURRENT_PA, HERE)
        with pytest.raises(DoseLimitPassed, match="session dose"):
            ledger.check([(path, 2)], CURRENT_PA, HERE)
        ledger.close()


def test_a_scan_may_spend_what_the_tightest_limit_leaves(tmp_path: Path) -> None:
    path = raster(256)
    each = path.electrons(CURRENT_PA) / 640.0**2
    ledger = DoseLedger(tmp_path, "grid", DoseLimits(area_e_per_a2=3.0 * each))
    first = ledger.ask("s", 0, path, 0, CURRENT_PA, HERE)
    assert ledger.most_electrons(first) == pytest.approx(3.0 * path.electrons(CURRENT_PA), rel=0.01)
    second = ledger.ask("s", 1, path, 0, CURRENT_PA, HERE, DoseLimits(frame_e_per_a2=1.5 * each))
    assert ledger.most_electrons(second) == pytest.approx(1.5 * path.electrons(CURRENT_PA), rel=0.01)
    ledger.close()
