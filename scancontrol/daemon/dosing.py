"""The acquisition's accounts in the dose ledger: one specimen, one stage position, one series at a time."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

from scancontrol.daemon.config import SpecimenConfig
from scancontrol.daemon.snapshot import DoseSnapshot
from scancontrol.dose.ledger import DoseLedger
from scancontrol.dose.limits import DoseLimits
from scancontrol.dose.running import RunningDose, electrons_of
from scancontrol.link.link import MicroscopeLink
from scancontrol.paths import ScanPath
from scancontrol.plan.planned import PlannedScan
from scancontrol.wire.assembly import Chunk
from scancontrol.wire.messages import End

__all__ = ["DoseKeeper", "SeriesDose"]

log = logging.getLogger(__name__)

_STATUS_S = 1.0
_NM_PER_UM = 1e3


class DoseKeeper:
    """The ledger of the specimen that is under the beam, at its stage position. ``folder`` is that of all ledgers.

    ``notice`` takes a line for the operator and its level.
    """

    def __init__(
        self,
        config: SpecimenConfig,
        folder: Path,
        *,
        sync: bool = False,
        notice: Callable[[str, str], None] = lambda text, level: None,
    ) -> None:
        self.config, self._folder, self._sync, self._notice = config, folder, sync, notice
        self.ledger = DoseLedger(folder, config.id, config.limits, sync=sync)
        self._path: ScanPath | None = None

    @property
    def stage_nm(self) -> tuple[float, float]:
        """(y, x) of the centre of the field on the specimen."""
        return self.config.stage_um.y * _NM_PER_UM, self.config.stage_um.x * _NM_PER_UM

    def turn_to(self, config: SpecimenConfig) -> bool:
        """Count for this specimen and place from the next scan on; whether another ledger was opened. While none runs.

        Raises:
            StorageError: its ledger cannot be opened; the one before goes on.
        """
        if config == self.config:
            return False
        if config.id == self.config.id:
            self.config, self._path = config, None
            return False
        before, self.ledger = self.ledger, DoseLedger(self._folder, config.id, config.limits, sync=self._sync)
        self.config, self._path = config, None
        before.close()
        return True

    @property
    def area(self) -> str:
        """The name under which the microscope's own guard counts this place."""
        return f"{self.config.id} at y {self.config.stage_um.y:g}, x {self.config.stage_um.x:g} um"

    def check(self, planned: PlannedScan) -> None:
        """Hold the whole plan against the limits of the specimen.

        Frames that change their seed are taken to be like the first; each is looked at again before it is asked for.

        Raises:
            InvalidInput: it would pass one.
        """
        plan = planned.plan
        paths = [(planned.path(i), times) for i, times in enumerate(plan.repeats()) if times]
        self.ledger.check(paths, _current_pa(planned), self.stage_nm, limits=plan.dose_limits)

    def reconcile(self, link: MicroscopeLink) -> float:
        """Account for what earlier processes left open; the microscope must be exposing nothing."""
        deadline = time.monotonic() + _STATUS_S
        while (status := link.status) is None:
            if time.monotonic() > deadline:
                log.warning("the microscope tells no status; scans left open stay counted in full")
                return 0.0
            time.sleep(0.005)
        return self.ledger.reconcile(status.server_id, status.session_electrons)

    def series(self, series_unique_id: str, planned: PlannedScan) -> SeriesDose:
        """The account of one series."""
        limits = planned.plan.dose_limits
        total = self.ledger.limits.tightest(limits).total_e_per_a2
        headroom = math.inf if total is None else total / max(planned.worst_area_e_per_a2, 1e-300)
        return SeriesDose(self, series_unique_id, _current_pa(planned), limits, headroom)

    def under(self, path: ScanPath) -> None:
        """The area of which the dose is told from now on is the one under ``path``."""
        self._path = path

    def area_e_per_a2(self, path: ScanPath) -> float:
        """What the most exposed area that ``path`` would touch has had."""
        return self.ledger.area_e_per_a2(path, self.stage_nm)

    def look(self, *, at_once: bool = False) -> None:
        """Put the ledger back where its folder was removed under us. Cheap: looks twice a second, or ``at_once``.

        Raises:
            StorageError: there is no place for it: nothing may be exposed.
        """
        if self.ledger.look(at_once=at_once):
            folder = self.ledger.folder
            self._notice(f"{folder} was removed while it was in use; it is put back with every dose known", "warning")

    def snapshot(self) -> DoseSnapshot:
        """What the specimen has had, as of now. Waits where the ledger is being written."""
        totals, limits, path = self.ledger.totals, self.ledger.limits, self._path
        return DoseSnapshot(
            specimen=totals.specimen,
            session=totals.session,
            stage_um=(self.config.stage_um.y, self.config.stage_um.x),
            area_e_per_a2=None if path is None else self.area_e_per_a2(path),
            area_limit_e_per_a2=limits.area_e_per_a2,
            session_electrons=totals.session_electrons,
            session_limit_electrons=limits.session_electrons,
            total_electrons=totals.electrons,
            assumed_electrons=totals.assumed_electrons,
            promised_electrons=totals.promised_electrons,
        )

    def close(self) -> None:
        """Compact the ledger and let go of it."""
        self.ledger.close()


class SeriesDose:
    """Implements :class:`scancontrol.acquisition.DoseAccount`."""

    def __init__(
        self, keeper: DoseKeeper, series: str, beam_current_pa: float, limits: DoseLimits, headroom: float = math.inf
    ) -> None:
        self._keeper, self._series, self._current_pa, self._limits = keeper, series, beam_current_pa, limits
        self._of_all_frames = headroom
        self._open: dict[int, int] = {}  # frame → number in the ledger
        self._running: dict[int, RunningDose] = {}  # of the frames whose electrons are limited

    def ask(self, frame: int, path: ScanPath, first_index: int) -> float | None:
        """Write the scan down in full.

        Raises:
            InvalidInput: the ledger cannot be written.
        """
        self._keeper.look(at_once=True)
        ledger = self._keeper.ledger
        number = ledger.ask(
            self._series, frame, path, first_index, self._current_pa, self._keeper.stage_nm, self._limits
        )
        self._open[frame] = number
        expected = electrons_of(path, first_index, path.count - first_index, self._current_pa)
        most = min(ledger.most_electrons(number), expected * self._of_all_frames)
        if not math.isfinite(most):
            return None
        self._running[frame] = RunningDose(path, first_index, self._current_pa, most)
        return most

    def counted(self, chunk: Chunk) -> None:
        """Hold what the microscope counted against what the scan may spend.

        Raises:
            DoseLimitPassed: it is more.
            StorageError: the ledger's folder was removed, and there is no place to put it back to.
        """
        self._keeper.look()
        running = self._running.get(chunk.frame)
        if running is not None:
            running.add(chunk.first_index, chunk.count, chunk.electrons)

    def refused(self, frame: int) -> None:
        """Nothing of it was exposed."""
        self._running.pop(frame, None)
        number = self._open.pop(frame, None)
        if number is not None:
            self._keeper.ledger.withdraw(number)

    def ended(self, end: End) -> None:
        """Replace what was written down by what the microscope counted."""
        if end.utc_ns == 0:
            return  # the link made this end itself, the microscope is gone: what it spent nobody knows yet
        self._running.pop(end.frame, None)
        number = self._open.pop(end.frame, None)
        if number is not None:
            self._keeper.ledger.spend(number, end.next_index, end.electrons)


def _current_pa(planned: PlannedScan) -> float:
    """The higher of what the plan means and what the microscope states."""
    return max(planned.beam_current_pa, planned.capabilities.beam_current_pa)
