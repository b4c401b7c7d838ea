"""Reading a ledger that another process may be writing."""

from __future__ import annotations

from pathlib import Path

from scancontrol.dose.ledger.joining import joined
from scancontrol.dose.ledger.journal import read_records
from scancontrol.dose.ledger.ledger import JOURNAL, MAP
from scancontrol.dose.ledger.map_file import load_map
from scancontrol.dose.ledger.state import LedgerState
from scancontrol.errors import InvalidInput

__all__ = ["read_ledger"]


def read_ledger(folder: Path) -> LedgerState:
    """What the ledger in ``folder`` says, without opening it for writing.

    Raises:
        InvalidInput: there is none, or it is damaged.
    """
    if not (folder / JOURNAL).exists():
        raise InvalidInput("dose ledger", folder, "holds no ledger", f"give the folder with {JOURNAL} in it")
    for _ in range(8):
        before = _identity(folder / MAP)
        loaded = load_map(folder / MAP)
        records = read_records(folder / JOURNAL)[0]
        if _identity(folder / MAP) != before:
            continue  # the daemon compacted it between the two files
        return joined(folder, loaded, records)
    raise InvalidInput("dose ledger", folder, "changes faster than it can be read", "read it again")


def _identity(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError:
        return 0, 0
    return facts.st_ino, facts.st_mtime_ns
