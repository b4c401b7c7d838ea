"""The dose ledger: what a specimen has been given, kept through crashes of everything. Start with :mod:`.ledger`."""

from scancontrol.dose.ledger.area import AreaMap, Patch, patch_of
from scancontrol.dose.ledger.ledger import DoseLedger, LedgerTotals, check_specimen
from scancontrol.dose.ledger.reading import read_ledger

__all__ = ["AreaMap", "DoseLedger", "LedgerTotals", "Patch", "check_specimen", "patch_of", "read_ledger"]
