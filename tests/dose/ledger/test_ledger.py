"""The dose ledger: what it counts, what it refuses, and that no crash makes it forget."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scancontrol.dose.ledger import DoseLedger, Patch, check_specimen, patch_of, read_ledger
from scancontrol.dose.ledger.area import AreaMap
from scancontrol.dose.ledger.journal import LOCK, ROOM
from scancontrol.dose.ledger.ledger import JOURNAL, MAP
from scancontrol.dose.limits import DoseLimits
from scancontrol.errors import DoseLimitPassed, InvalidInput, LedgerInUse, StorageError
from scancontrol.paths import PathRecipe, Raster, ScanPath

CURRENT_PA = 10.0
HERE = (0.0, 0.0)


def raster(side: int = 64, fov_nm: float = 64.0, dwell_us: float = 1.0) -> ScanPath:
    return ScanPath(PathRecipe(pattern=Raster(), shape=(side, side), fov_nm=fov_nm, dwell_us=dwell_us))


def scan(ledger: DoseLedger, path: ScanPath, frame: int = 0, stage_nm: tuple[float, float] = HERE) -> None:
    number = ledger.ask("s", frame, path, 0, CURRENT_PA, stage_nm)
    ledger.spend(number, path.count, path.electrons(CURRENT_PA))


@pytest.mark.parametrize("open_scan", [False, True])
def test_a_folder_that_is_removed_in_use_is_noticed_within_a_second_and_put_back_with_every_dose(
    tmp_path: Path, open_scan: bool
) -> None:
    now = [0.0]
    ledger, path = DoseLedger(tmp_path, "gold", clock=lambda: now[0]), raster()
    assert not ledger.look()
    scan(ledger, path)
    if open_scan:
        ledger.ask("s", 1, path, 0, CURRENT_PA, HERE)
    shutil.rmtree(tmp_path / "gold")
    now[0] += 0.6
    before = ledger.totals
    assert ledger.look()
    assert not ledger.look(at_once=True)
    assert read_ledger(tmp_path / "gold").electrons == before.electrons == path.electrons(CURRENT_PA)
    with pytest.raises(LedgerInUse):
        DoseLedger(tmp_path, "gold")
    scan(ledger, path, 2)
    ledger.close()
    again = DoseLedger(tmp_path, "gold")
    assert again.totals.electrons == pytest.approx(2 * path.electrons(CURRENT_PA))
    assert again.totals.open_scans == int(open_scan)
    again.close()


def test_without_a_place_for_it_nothing_is_forgotten_and_what_stands_there_is_not_overwritten(tmp_path: Path) -> None:
    ledger, path = DoseLedger(tmp_path, "gold"), raster()
    scan(ledger, path)
    shutil.rmtree(tmp_path / "gold")
    (tmp_path / "gold").write_text("in the way")
    with pytest.raises(StorageError, match=r"dose ledger = .*journal\.jsonl cannot be written"):
        ledger.look(at_once=True)
    (tmp_path / "gold").unlink()
    other = DoseLedger(tmp_path, "gold")
    with pytest.raises(StorageError, match="was replaced by another while it was in use; move it away"):
        ledger.look(at_once=True)
    other.close()
    shutil.rmtree(tmp_path / "gold")
    assert ledger.look(at_once=True)
    ledger.close()
    assert read_ledger(tmp_path / "gold").electrons == path.electrons(CURRENT_PA)


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


@pytest.mark.parametrize("lost", [1, 7, 40])
def test_a_torn_end_of_the_journal_costs_the_unfinished_record_and_no_other(tmp_path: Path, lost: int) -> None:
    path = raster()
    ledger = DoseLedger(tmp_path, "grid")
    scan(ledger, path)
    known = (tmp_path / "grid" / LOCK).read_bytes()
    ledger.ask("s", 1, path, 0, CURRENT_PA, HERE)
    ledger._journal.close()
    (tmp_path / "grid" / LOCK).write_bytes(known)  # a record is known of after it is whole
    file = tmp_path / "grid" / JOURNAL
    file.write_bytes(file.read_bytes()[:-lost])
    ledger = DoseLedger(tmp_path, "grid")
    assert ledger.totals.frames == 1
    assert ledger.totals.open_scans == 0  # it was written before it was asked for, so it never was asked for
    scan(ledger, path, 1)
    ledger.close()
    assert read_ledger(tmp_path / "grid").electrons == pytest.approx(2 * path.electrons(CURRENT_PA))


def test_damage_inside_the_journal_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    ledger = DoseLedger(tmp_path, "grid")
    scan(ledger, raster())
    ledger._journal.close()
    file = tmp_path / "grid" / JOURNAL
    content = bytearray(file.read_bytes())
    content[content.index(b'"asked"') + 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match="is damaged at line"):
        DoseLedger(tmp_path, "grid")


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


VICTIM = """
import sys
from pathlib import Path
from scancontrol.dose.ledger import DoseLedger
from scancontrol.paths import PathRecipe, Raster, ScanPath
path = ScanPath(PathRecipe(pattern=Raster(), shape=(16, 16), fov_nm=64.0, dwell_us=1.0))
ledger = DoseLedger(Path(sys.argv[1]), "grid")
frame = ledger.totals.frames
while True:
    number = ledger.ask("s", frame, path, 0, 10.0, (0.0, 0.0))
    print(f"asked {frame}", flush=True)
    ledger.spend(number, path.count, path.electrons(10.0))
    frame += 1
    print(f"spent {frame}", flush=True)
    if frame % 50 == 0:
        ledger.close()
        ledger = DoseLedger(Path(sys.argv[1]), "grid")
"""


@pytest.mark.slow
def test_what_was_spent_is_never_less_after_sigkill_than_what_the_dead_process_said(tmp_path: Path) -> None:
    one = ScanPath(PathRecipe(pattern=Raster(), shape=(16, 16), fov_nm=64.0, dwell_us=1.0)).electrons(10.0)
    rng = np.random.default_rng(3)
    for _ in range(3):
        victim = subprocess.Popen([sys.executable, "-c", VICTIM, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert victim.stdout is not None
        for _ in range(int(rng.integers(20, 300))):
            victim.stdout.readline()
        os.kill(victim.pid, signal.SIGKILL)
        said = victim.stdout.read().split("\n")[:-1]
        victim.wait()
        victim.stdout.close()
        state = read_ledger(tmp_path / "grid")
        spent = [int(line.split()[1]) for line in said if line.startswith("spent")]
        assert state.frames >= max(spent, default=0)
        assert state.electrons == pytest.approx(state.frames * one)
        assert len(state.asked) <= 1
        ledger = DoseLedger(tmp_path, "grid")
        for number in list(ledger._state.asked):
            ledger.withdraw(number)
        ledger.close()


def two_frames(folder: Path, *, compacted: int) -> dict[str, bytes]:
    """A ledger of ``compacted`` frames in its map and one in its journal; all its files."""
    path = raster()
    ledger = DoseLedger(folder, "grid")
    for frame in range(compacted):
        scan(ledger, path, frame)
    if compacted:
        ledger.close()
        ledger = DoseLedger(folder, "grid")
    scan(ledger, path, compacted)
    ledger._journal.close()
    return {
        name: (folder / "grid" / name).read_bytes()
        for name in (JOURNAL, MAP, LOCK)
        if (folder / "grid" / name).exists()
    }


@pytest.mark.parametrize("missing", [MAP, JOURNAL])
def test_a_missing_file_is_refused_by_name_and_never_read_as_0(tmp_path: Path, missing: str) -> None:
    two_frames(tmp_path, compacted=1)
    (tmp_path / "grid" / missing).unlink()
    with pytest.raises(InvalidInput, match=r"(map|journal).*(restore|name a new specimen)"):
        DoseLedger(tmp_path, "grid")


@pytest.mark.parametrize("older", [MAP, JOURNAL])
def test_an_older_copy_of_one_file_is_refused(tmp_path: Path, older: str) -> None:
    before = two_frames(tmp_path, compacted=1)
    ledger = DoseLedger(tmp_path, "grid")
    scan(ledger, raster(), 2)
    ledger.close()
    DoseLedger(tmp_path, "grid").close()
    (tmp_path / "grid" / older).write_bytes(before[older])
    with pytest.raises(InvalidInput, match=r"do not belong together|older map|ends at record|a journal from"):
        DoseLedger(tmp_path, "grid")


def test_a_journal_that_lacks_a_record_is_refused_with_its_number(tmp_path: Path) -> None:
    two_frames(tmp_path, compacted=0)
    file = tmp_path / "grid" / JOURNAL
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    with pytest.raises(InvalidInput, match=r"lacks record 3: 4 comes instead; restore both files"):
        DoseLedger(tmp_path, "grid")
    with pytest.raises(InvalidInput, match="lacks record 3"):
        read_ledger(tmp_path / "grid")


def test_the_last_records_cannot_be_cut_off_unnoticed(tmp_path: Path) -> None:
    two_frames(tmp_path, compacted=0)
    file = tmp_path / "grid" / JOURNAL
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(InvalidInput, match=r"ends at record 3, and 4 were written; .*remove \.lock beside it"):
        DoseLedger(tmp_path, "grid")
    (tmp_path / "grid" / LOCK).unlink()
    ledger = DoseLedger(tmp_path, "grid")
    assert ledger.totals.open_scans == 1  # and what was cut off counts in full
    ledger.close()


def test_a_process_killed_between_map_and_journal_loses_and_doubles_nothing(tmp_path: Path) -> None:
    path = raster()
    ledger = DoseLedger(tmp_path, "grid")
    scan(ledger, path)
    before = (tmp_path / "grid" / JOURNAL).read_bytes()
    ledger.close()
    (tmp_path / "grid" / JOURNAL).write_bytes(before)  # the map is there, the journal is not yet replaced
    ledger = DoseLedger(tmp_path, "grid")
    assert ledger.totals.frames == 1
    scan(ledger, path, 1)
    ledger.close()
    assert read_ledger(tmp_path / "grid").electrons == pytest.approx(2 * path.electrons(CURRENT_PA))


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


def test_a_full_disk_still_takes_the_account_of_what_was_exposed_and_no_new_scan(tmp_path: Path, monkeypatch) -> None:
    path = raster()
    ledger = DoseLedger(tmp_path, "grid")
    number = ledger.ask("s", 0, path, 0, CURRENT_PA, HERE)
    write, allocate = os.write, os.posix_fallocate

    def full() -> bool:
        return (tmp_path / "grid" / ROOM).exists() or False

    def limited_write(descriptor: int, content: bytes) -> int:
        if full():
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content)

    def no_room(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", limited_write)
    monkeypatch.setattr(os, "posix_fallocate", no_room)
    ledger.spend(number, path.count, path.electrons(CURRENT_PA))
    assert ledger.totals.open_scans == 0
    with pytest.raises(StorageError, match="no room left"):
        ledger.ask("s", 1, path, 0, CURRENT_PA, HERE)
    monkeypatch.setattr(os, "posix_fallocate", allocate)
    monkeypatch.setattr(os, "write", write)
    ledger.ask("s", 1, path, 0, CURRENT_PA, HERE)
    ledger._journal.close()


@pytest.mark.parametrize("place", [40, 120, 200, 300])
def test_a_damaged_map_is_refused_by_name_wherever_the_damage_is(tmp_path: Path, place: int) -> None:
    two_frames(tmp_path, compacted=1)
    file = tmp_path / "grid" / MAP
    content = bytearray(file.read_bytes())
    content[place % len(content) : place % len(content) + 8] = b"\xff" * 8
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match="dose ledger"):
        DoseLedger(tmp_path, "grid")
