"""The microscope side's own sum of what the specimen has been given, and the limits on it.

Independent of the daemon and of what it believes: electrons as the instrument counts them, spread over a coarse
map of the field where the path says the beam was. A scan that would pass a limit is refused before it begins; one
that is about to pass it on the running sum is tripped one block early, because the block that is being exposed
while the trip acts has its dose too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scancontrol.capabilities import Capabilities
from scancontrol.errors import InvalidInput
from scancontrol.paths import ScanPath
from scancontrol.wire.dose_cells import CELLS, PathCells

__all__ = ["DoseGuard", "DoseLimits"]

_AREAS = 1024
_ELECTRONS_PER_PA_US = 1e-18 / 1.602176634e-19


@dataclass(frozen=True, kw_only=True)
class DoseLimits:
    """Limits of one microscope server; None is no limit. Densities are means over a cell of the map.

    Without an area limit here the one that the microscope states in its capabilities holds.
    """

    area_e_per_a2: float | None = None
    frame_e_per_a2: float | None = None
    session_electrons: float | None = None

    def check(self) -> None:
        """Raise :class:`InvalidInput` for a limit that is not above 0."""
        for name in ("area_e_per_a2", "frame_e_per_a2", "session_electrons"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidInput(f"dose limit {name}", value, "is not above 0", "give a positive limit, or none")


class DoseGuard:
    """Running sums, per session, per frame and per cell of each area, against :class:`DoseLimits`."""

    def __init__(self, limits: DoseLimits, capabilities: Capabilities) -> None:
        if limits.area_e_per_a2 is None:
            limits = replace(limits, area_e_per_a2=capabilities.dose_limit_e_per_a2)
        limits.check()
        self.limits = limits
        self.session_electrons = 0.0
        self._beam_current_pa = capabilities.beam_current_pa
        self.needs_cells = limits.area_e_per_a2 is not None or limits.frame_e_per_a2 is not None
        self._cells: dict[str, PathCells] = {}
        self._areas: dict[str, dict[tuple[float, int], NDArray[np.float64]]] = {}
        self._background: tuple[str, tuple[float, int], NDArray[np.float64]] | None = None
        self._frame: NDArray[np.float64] | None = None

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

    def check(self, path: ScanPath, first_index: int, area: str, queued_electrons: float = 0.0) -> float:
        """Electrons that the rest of this path will spend, if no limit forbids it.

        ``queued_electrons`` were promised to scans that wait; they count against the session's limit.

        :raises InvalidInput: the scan would pass a limit; says by how much and what would fit
        """
        exposure_us = None
        if self.needs_cells:
            exposure_us = self._cells_of(path).exposure_from_us(first_index)
            expected = self._electrons(float(exposure_us.sum()))
        else:
            expected = self._electrons(path.exposure_us * (path.count - first_index) / path.count)
        limit = self.limits.session_electrons
        if limit is not None and self.session_electrons + queued_electrons + expected > limit:
            self._refuse("session dose (electrons)", self.session_electrons + queued_electrons, expected, limit)
        if exposure_us is not None:
            cells = self._cells_of(path)
            if area not in self._areas and len(self._areas) >= _AREAS:
                raise InvalidInput("areas", len(self._areas) + 1, f"is above {_AREAS}",
                                   "start the microscope's server anew for a new specimen")  # fmt: skip
            added = exposure_us * (self._electrons(1.0) / cells.cell_a2)
            if self.limits.frame_e_per_a2 is not None and added.max() > self.limits.frame_e_per_a2:
                self._refuse("frame dose (e/Å²)", 0.0, float(added.max()), self.limits.frame_e_per_a2)
            if self.limits.area_e_per_a2 is not None:
                total = self._total(area, cells)
                worst = int(np.argmax(total + added))
                spent, wanted = float(total[worst]), float(added[worst])
                if spent + wanted > self.limits.area_e_per_a2:
                    self._refuse("area dose (e/Å²)", spent, wanted, self.limits.area_e_per_a2)
        return expected

    def begin_frame(self) -> None:
        """A new frame: its own sum starts at 0."""
        self._frame = None

    def add(self, path: ScanPath, first_index: int, count: int, electrons: float, area: str) -> str | None:
        """Count a block that was exposed. The limit that the next such block would pass, or None."""
        self.session_electrons += electrons
        limits = self.limits
        if limits.session_electrons is not None and self.session_electrons + electrons > limits.session_electrons:
            return f"session: {self.session_electrons:.4g} of {limits.session_electrons:.4g} electrons"
        if not self.needs_cells:
            return None
        cells = self._cells_of(path)
        added = cells.exposure_us(first_index, count)
        added *= electrons / cells.cell_a2 / max(float(added.sum()), np.finfo(np.float64).tiny)
        step = added.max()
        trip = None
        if limits.frame_e_per_a2 is not None:
            self._frame = added if self._frame is None else self._frame + added
            if self._frame.max() + step > limits.frame_e_per_a2:
                trip = f"frame: {self._frame.max():.4g} of {limits.frame_e_per_a2:.4g} e/Å²"
        key = (path.fov_nm, cells.rows)
        own = self._areas.setdefault(area, {}).setdefault(key, np.zeros(cells.rows * CELLS))
        own += added
        if limits.area_e_per_a2 is not None:
            worst = float(self._total(area, cells).max())
            if worst + step > limits.area_e_per_a2:
                trip = f"area {area!r}: {worst:.4g} of {limits.area_e_per_a2:.4g} e/Å²"
        return trip

    def _electrons(self, exposure_us: float) -> float:
        return self._beam_current_pa * exposure_us * _ELECTRONS_PER_PA_US

    def _refuse(self, quantity: str, spent: float, wanted: float, limit: float) -> None:
        fits = max(0.0, limit - spent) / wanted
        remedy = f"scale dwell or coverage by {fits:.3g} or less" if fits > 0.001 else "move to a fresh area"
        raise InvalidInput(
            quantity, f"{spent + wanted:.4g}",
            f"({spent:.4g} spent, {wanted:.4g} asked for) would pass the microscope's limit, {limit:.4g}", remedy,
        )  # fmt: skip

    def _total(self, area: str, cells: PathCells) -> NDArray[np.float64]:
        """Dose of the area in this field's cells, from scans with this and with every other field of view.

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
        own = maps.get(key)
        return self._background[2] if own is None else self._background[2] + own


def _highest_under(dose: NDArray[np.float64], fov_nm: float, rows: int, new_fov_nm: float) -> NDArray[np.float64]:
    """``dose`` (cells over ``fov_nm``) seen from the (rows, CELLS) cells of a concentric field of another size."""
    result = dose
    for axis, count in ((0, rows), (1, CELLS)):
        size, new_size = fov_nm / CELLS, new_fov_nm / CELLS
        edges = (np.arange(count + 1) - count / 2) * new_size / size + dose.shape[axis] / 2
        low = np.clip(np.floor(edges[:-1]), -1, dose.shape[axis]).astype(int)
        high = np.clip(np.ceil(edges[1:]), 0, dose.shape[axis]).astype(int)
        slices = []
        for first, stop in zip(np.maximum(low, 0), high, strict=True):
            part = result.take(range(first, stop), axis=axis)
            slices.append(part.max(axis=axis) if stop > first else np.zeros(np.delete(result.shape, axis)))
        result = np.stack(slices, axis=axis)
    return result.ravel()
