"""Scans that a ledger of dose is told of."""

from __future__ import annotations

from scancontrol.dose.ledger import DoseLedger
from scancontrol.paths import PathRecipe, Raster, ScanPath

CURRENT_PA = 10.0

HERE = (0.0, 0.0)


def raster(side: int = 64, fov_nm: float = 64.0, dwell_us: float = 1.0) -> ScanPath:
    return ScanPath(PathRecipe(pattern=Raster(), shape=(side, side), fov_nm=fov_nm, dwell_us=dwell_us))


def scan(ledger: DoseLedger, path: ScanPath, frame: int = 0, stage_nm: tuple[float, float] = HERE) -> None:
    number = ledger.ask("s", frame, path, 0, CURRENT_PA, stage_nm)
    ledger.spend(number, path.count, path.electrons(CURRENT_PA))
