"""A ledger that was killed, torn, moved or tampered with: no dose is forgotten, and damage is refused by name."""

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
from ledger_scans import CURRENT_PA, HERE, raster, scan

from scancontrol.dose.ledger import DoseLedger, read_ledger
from scancontrol.dose.ledger.journal import LOCK, ROOM
from scancontrol.dose.ledger.ledger import JOURNAL, MAP
from scancontrol.errors import InvalidInput, LedgerInUse, StorageError
from scancontrol.paths import PathRecipe, Raster, ScanPath


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
