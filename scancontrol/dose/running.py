"""One scan's electrons, as they are counted, against what it may spend."""

from __future__ import annotations

import math

from scancontrol.errors import DoseLimitPassed
from scancontrol.paths import ScanPath
from scancontrol.units import ELECTRONS_PER_PA_US

__all__ = ["RunningDose", "electrons_of"]

_STEP = 1 << 18
_NOISE = 6.0  # standard deviations by which an honest count may be above what was expected
_ROUNDING = 1e-9


def electrons_of(path: ScanPath, first_index: int, count: int, beam_current_pa: float) -> float:
    """Electrons that current and dwell make of these samples."""
    if count == path.count or not path.weighted:
        exposure_us = path.exposure_us * count / path.count
    else:
        stop = first_index + count
        exposure_us = sum(
            float(path.chunk(at, min(_STEP, stop - at)).dwell_us.sum()) for at in range(first_index, stop, _STEP)
        )
    return exposure_us * beam_current_pa * ELECTRONS_PER_PA_US


class RunningDose:
    """The electrons of one scan of ``path`` from ``first_index`` on, of which it may spend ``most_electrons``.

    What a limit allows in the most exposed place it allows the scan as a whole, in proportion. So a stretch of samples
    that is counted so many times higher than the whole may be ends it, wherever on the path that is.
    """

    def __init__(self, path: ScanPath, first_index: int, beam_current_pa: float, most_electrons: float) -> None:
        self._path, self._current_pa, self._most = path, beam_current_pa, most_electrons
        self._expected = electrons_of(path, first_index, path.count - first_index, beam_current_pa)
        self._allowed_ratio = most_electrons / self._expected if self._expected > 0 else math.inf
        self.electrons = 0.0

    def add(self, first_index: int, count: int, electrons: float) -> None:
        """Count a stretch of samples.

        Raises:
            DoseLimitPassed: the scan must not go on.
        """
        self.electrons += electrons
        expected = electrons_of(self._path, first_index, count, self._current_pa)
        most = self._allowed_ratio * expected
        if electrons > most * (1 + _ROUNDING) + _NOISE * math.sqrt(most):
            raise DoseLimitPassed(
                "electrons of a stretch of samples",
                f"{electrons:.4g}",
                f"are {electrons / max(expected, 1e-300):.3g} times what current and dwell say, and the limits leave "
                f"{self._allowed_ratio:.3g} times",
                "see what the microscope counts: beam current, blanker, overheads",
            )
        if self.electrons > self._most * (1 + _ROUNDING):
            raise DoseLimitPassed(
                "electrons of the running scan",
                f"{self.electrons:.4g}",
                f"are above the {self._most:.4g} that the limits leave for it",
                "move to a fresh area, or raise the limit if the specimen stands it",
            )
