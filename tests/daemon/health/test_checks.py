"""What `scancontrol doctor` finds of the specimen's dose ledger."""

from pathlib import Path

from scancontrol.daemon.health import checks
from scancontrol.dose.ledger import DoseLedger


def test_a_ledger_that_a_daemon_keeps_is_a_note_and_one_on_a_bad_disk_is_wrong(tmp_path: Path) -> None:
    def open_ledger() -> None:
        DoseLedger(tmp_path / "dose", "grid").close()

    assert checks.ledger(open_ledger).level == "ok"
    kept = DoseLedger(tmp_path / "dose", "grid")
    found = checks.ledger(open_ledger)
    assert (found.level, "in use by another process" in found.found) == ("note", True)
    kept.close()
    (tmp_path / "dose").rename(tmp_path / "away")
    (tmp_path / "dose").write_text("a file where the folder was")
    found = checks.ledger(open_ledger)
    assert (found.level, found.remedy) == ("wrong", "choose another folder")
