"""The microscope side's own sum of what the specimen has been given, and the limits on it.

Independent of the daemon and of what it believes: electrons as the instrument counts them, spread over a coarse
map of the field where the path says the beam was. A scan that would pass a limit is refused before it begins. While it
runs, what is left of it is foreseen at the highest rate at which the instrument has counted so far, and it is tripped
as soon as that would pass a limit: at its first block where the instrument counts more than current and dwell say,
long before the limit itself. Where twice the electrons would not fit, blocks are kept short until the rate is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.capabilities import Capabilities
from scancontrol.dose.cells import CELLS, PathCells
from scancontrol.dose.limits import DoseLimits, frames_in_worst_area
from scancontrol.errors import DoseLimitPassed, InvalidInput
from scancontrol.paths import ScanPath
from scancontrol.units import ELECTRONS_PER_PA_US

__all__ = ["DoseGuard"]

_AREAS = 1024
_MARGIN = 2.0  # an instrument may count so many times what current and dwell say before anybody has seen it count
_SHORT_BLOCKS = 1024  # of a scan, where that would not fit
_ROUNDING = 1e-9
_STEP = 1 << 18


class DoseGuard:
    """Running sums, per session, per frame and per cell of each area, against :class:`DoseLimits`."""

    def __init__(self, limits: DoseLimits, capabilities: Capabilities) -> None:
        if limits.area_e_per_a2 is None:  # then what the microscope states of itself holds
            limits = msgspec.structs.replace(limits, area_e_per_a2=capabilities.dose_limit_e_per_a2)
        self.limits = limits
        self.session_electrons = 0.0
        self._beam_current_pa = capabilities.beam_current_pa
        self.needs_cells = limits.area_e_per_a2 is not None or limits.frame_e_per_a2 is not None
        self._cells: dict[str, PathCells] = {}
        self._areas: dict[str, dict[tuple[float, int], NDArray[np.float64]]] = {}
        self._background: tuple[str, tuple[float, int], NDArray[np.float64]] | None = None
        self._frame = np.zeros(1)  # dose of the running frame by cell
        self._ratio = capabilities.overcount  # electrons counted over expected: the highest of all blocks so far
        self._rest_us = np.zeros(1)  # of the running scan by cell (or in one sum), as it was checked
        self._scan_electrons = 0.0  # of the running scan
        self._most_electrons: float | None = None  # that it may spend, as whoever asked for it says
        self._short = 0  # samples of a block, where there is little room; 0 is no bound

    def prepare(self, cells: PathCells) -> None:
        """Take the cells of a path that will be scanned."""
        self._cells[cells.path.path_id] = cells

    def _cells_of(self, path: ScanPath) -> PathCells:
        if path.path_id not in self._cells:
            self.prepare(PathCells(path))
        return self._cells[path.path_id]

    def keep(self, known: Callable[[str], bool]) -> None:
        """Let the cells of paths go that are no longer known."""
        self._cells = {path_id: cells for path_id, cells in self._cells.items() if known(path_id)}

    def check(
        self,
        path: ScanPath,
        first_index: int,
        area: str,
        queued_electrons: float = 0.0,
        most_electrons: float | None = None,
    ) -> float:
        """Electrons that the rest of this path will spend, if no limit forbids it.

        ``queued_electrons`` were promised to scans that wait; they count against the session's limit.
        ``most_electrons`` is what whoever asks allows this one.

        Raises:
            DoseLimitPassed: the scan would pass a limit; says by how much and what would fit.
        """
        exposure_us = None
        if self.needs_cells:
            exposure_us = self._cells_of(path).exposure_from_us(first_index)
            expected = self._foreseen(float(exposure_us.sum()))
        else:
            expected = self._foreseen(self._sum_us(path, first_index, path.count - first_index))
        if most_electrons is not None and expected > most_electrons * (1 + _ROUNDING):
            self._refuse("scan dose (electrons)", 0.0, expected, most_electrons)
        limit = self.limits.session_electrons
        if limit is not None and self.session_electrons + queued_electrons + expected > limit:
            self._refuse("session dose (electrons)", self.session_electrons + queued_electrons, expected, limit)
        if exposure_us is not None:
            cells = self._cells_of(path)
            if area not in self._areas and len(self._areas) >= _AREAS:
                raise InvalidInput(
                    "areas",
                    len(self._areas) + 1,
                    f"is above {_AREAS}",
                    "start the microscope's server anew for a new specimen",
                )
            added = exposure_us * (self._foreseen(1.0) / cells.cell_a2)
            if self.limits.frame_e_per_a2 is not None and added.max() > self.limits.frame_e_per_a2:
                self._refuse(f"{frames_in_worst_area(1)} (e/Å²)", 0.0, float(added.max()), self.limits.frame_e_per_a2)
            if self.limits.area_e_per_a2 is not None:
                total = self._total(area, cells)
                worst = int(np.argmax(np.where(added > 0, total + added, -1.0)))  # of the cells that would get more
                spent, wanted = float(total[worst]), float(added[worst])
                if spent + wanted > self.limits.area_e_per_a2:
                    self._refuse("area dose (e/Å²)", spent, wanted, self.limits.area_e_per_a2)
        return expected

    def begin_frame(self, path: ScanPath, first_index: int, area: str, most_electrons: float | None = None) -> None:
        """A new frame: its own sum starts at 0, and what is left of it is all of it."""
        if self.needs_cells:
            self._rest_us = self._cells_of(path).exposure_from_us(first_index).copy()
            self._frame = np.zeros_like(self._rest_us)
        else:
            self._rest_us = np.array([self._sum_us(path, first_index, path.count - first_index)])
        self._scan_electrons, self._most_electrons = 0.0, most_electrons
        self._look_ahead(path, area)

    def budget(self, samples: int) -> int:
        """How many of ``samples`` may be read at once."""
        return min(samples, self._short) if self._short else samples

    def add(self, path: ScanPath, first_index: int, count: int, electrons: float, area: str) -> str | None:
        """Count a block that was exposed. The limit that the rest of the scan would pass, or None."""
        self.session_electrons += electrons
        self._scan_electrons += electrons
        if self.needs_cells:
            cells = self._cells_of(path)
            where, exposure_us = cells.exposure_us(first_index, count)
        else:
            where, exposure_us = slice(0, 1), np.array([self._sum_us(path, first_index, count)])
        exposed_us = max(float(exposure_us.sum()), np.finfo(np.float64).tiny)
        expected = self._electrons(exposed_us)
        if expected > 0 and math.isfinite(electrons / expected):
            self._ratio = max(self._ratio, electrons / expected)
        self._rest_us[where] = np.maximum(self._rest_us[where] - exposure_us, 0.0)
        if self.needs_cells:
            self._put(where, exposure_us * (electrons / cells.cell_a2 / exposed_us), area, cells)
        return self._look_ahead(path, area)

    def add_cut_off(self, path: ScanPath, index: int, electrons: float, area: str) -> str | None:
        """Count electrons without a sample, where sample ``index`` would have been; answers as :meth:`add`."""
        self.session_electrons += electrons
        self._scan_electrons += electrons
        if self.needs_cells:
            cells = self._cells_of(path)
            where, exposure_us = cells.exposure_us(min(index, path.count - 1), 1)
            self._put(where, exposure_us * (electrons / cells.cell_a2 / exposure_us.sum()), area, cells)
        return self._look_ahead(path, area)

    def _put(self, where: slice, dose: NDArray[np.float64], area: str, cells: PathCells) -> None:
        self._frame[where] += dose
        maps, key = self._areas.setdefault(area, {}), (cells.path.fov_nm, cells.rows)
        if key not in maps:
            maps[key] = np.zeros(cells.rows * CELLS)
        maps[key][where] += dose

    def _look_ahead(self, path: ScanPath, area: str) -> str | None:
        """What would be passed by the rest of the scan at the rate seen; short blocks where twice would not fit.

        Cell by cell only where the largest of each might, because this is asked after every block.
        """
        limits, rest_us = self.limits, self._rest_us
        self._short = 0
        trip = None
        if self._most_electrons is not None:
            spent, rest = np.array([self._scan_electrons]), np.array([self._foreseen(float(rest_us.sum()))])
            trip = self._bounded("scan", "electrons", spent, rest, self._most_electrons, path)
        if limits.session_electrons is not None:
            spent, rest = np.array([self.session_electrons]), np.array([self._foreseen(float(rest_us.sum()))])
            trip = self._bounded("session", "electrons", spent, rest, limits.session_electrons, path) or trip
        if self.needs_cells:
            cells = self._cells_of(path)
            scale = self._foreseen(1.0) / cells.cell_a2
            most = _MARGIN * scale * float(rest_us.max())
            limit = limits.frame_e_per_a2
            if limit is not None and float(self._frame.max()) + most > limit:
                trip = self._bounded("frame", "e/Å²", self._frame, rest_us * scale, limit, path) or trip
            limit = limits.area_e_per_a2
            if limit is not None and sum(float(part.max()) for part in self._parts(area, cells)) + most > limit:
                spent = self._total(area, cells)
                trip = self._bounded(f"area {area!r}", "e/Å²", spent, rest_us * scale, limit, path) or trip
        return trip

    def _bounded(
        self, what: str, unit: str, spent: NDArray[np.float64], rest: NDArray[np.float64], limit: float, path: ScanPath
    ) -> str | None:
        """One limit: what of it would be passed by ``rest``, of the places that would get more."""
        more = rest > 0
        if not more.any():
            return None
        if float((spent + _MARGIN * rest)[more].max()) > limit:
            self._short = max(1, path.count // _SHORT_BLOCKS)
        worst = int(np.argmax(np.where(more, spent + rest, -1.0)))
        foreseen = float(spent[worst] + rest[worst])
        if foreseen <= limit * (1 + _ROUNDING):
            return None
        return f"{what}: {spent[worst]:.4g} of {limit:.4g} {unit} spent, {foreseen:.4g} foreseen"

    @staticmethod
    def _sum_us(path: ScanPath, first_index: int, count: int) -> float:
        """Dwell of these samples; by their share, where each has the same or all are meant."""
        if count == path.count or not path.weighted:
            return path.exposure_us * count / path.count
        return sum(
            float(path.chunk(at, min(_STEP, first_index + count - at)).dwell_us.sum())
            for at in range(first_index, first_index + count, _STEP)
        )

    def _foreseen(self, exposure_us: float) -> float:
        """Electrons, at the highest rate that the instrument has counted at."""
        return self._ratio * self._electrons(exposure_us)

    def _electrons(self, exposure_us: float) -> float:
        return self._beam_current_pa * exposure_us * ELECTRONS_PER_PA_US

    def _refuse(self, quantity: str, spent: float, wanted: float, limit: float) -> None:
        fits = max(0.0, limit - spent) / wanted
        remedy = f"scale dwell or coverage by {fits:.3g} or less" if fits > 0.001 else "move to a fresh area"
        raise DoseLimitPassed(
            quantity,
            f"{spent + wanted:.4g}",
            f"({spent:.4g} spent, {wanted:.4g} asked for) would pass the microscope's limit, {limit:.4g}",
            remedy,
        )

    def _total(self, area: str, cells: PathCells) -> NDArray[np.float64]:
        """Dose of the area in this field's cells, from scans with this and with every other field of view."""
        background, *own = self._parts(area, cells)
        return background + own[0] if own else background

    def _parts(self, area: str, cells: PathCells) -> list[NDArray[np.float64]]:
        """What adds up to the total: scans with every other field of view, and with this one, if there were any.

        Fields are taken to share their centre. A cell takes the highest dose of all cells of the other map that
        it overlaps, so the sum is never below the truth of the coarse maps.
        """
        maps = self._areas.get(area, {})
        key = (cells.path.fov_nm, cells.rows)
        if self._background is None or self._background[:2] != (area, key):
            background = np.zeros(cells.rows * CELLS)
            for (fov_nm, rows), dose in maps.items():
                if (fov_nm, rows) != key:
                    background += _highest_under(dose.reshape(rows, CELLS), fov_nm, cells.rows, key[0])
            self._background = (area, key, background)
        return [self._background[2], *([maps[key]] if key in maps else [])]


def _highest_under(dose: NDArray[np.float64], fov_nm: float, rows: int, new_fov_nm: float) -> NDArray[np.float64]:
    """``dose`` (cells over ``fov_nm``) seen from the (rows, CELLS) cells of a concentric field of another size."""
    result = dose
    for axis, count in ((0, rows), (1, CELLS)):
        size, new_size = fov_nm / CELLS, new_fov_nm / CELLS
        edges = (np.arange(count + 1) - count / 2) * new_size / size + dose.shape[axis] / 2
        low = np.clip(np.floor(edges[:-1]), -1, dose.shape[axis]).astype(int)
        high = np.clip(np.ceil(edges[1:]), 0, dose.shape[axis]).astype(int)
        first = np.maximum(low, 0)
        bounds = np.stack([first, np.maximum(high, first)], axis=1).ravel()
        beyond = np.zeros([1 if i == axis else n for i, n in enumerate(result.shape)])  # for bounds at the end
        highest = np.maximum.reduceat(np.concatenate([result, beyond], axis=axis), bounds, axis=axis)
        result = highest.take(range(0, 2 * count, 2), axis=axis)
        np.moveaxis(result, axis, 0)[high <= first] = 0.0  # none of the other's cells lies there
    return result.ravel()
