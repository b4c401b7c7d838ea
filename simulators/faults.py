"""Faults on purpose: a schedule of what goes wrong, and when.

Each fault names its ``kind`` and begins when the scan reaches ``sample`` of ``frame`` (counted from 0 in each series of
begun frames). Faults of the instrument are asked for by :class:`~simulators.microscope.SimulatedMicroscope`; faults of
the link act on the messages of the data socket (:class:`LinkFaults`). What the daemon is expected to do about each is
written down in ``docs/explanation/simulator.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from scancontrol.errors import InvalidInput, within

__all__ = ["INSTRUMENT_FAULTS", "LINK_FAULTS", "PROCESS_FAULTS", "Fault", "FaultPlan", "LinkFaults"]

LINK_FAULTS = ("link_cut", "delay", "duplicate", "reorder", "drop")
INSTRUMENT_FAULTS = ("stall", "clock_skew", "stuck_detector", "nan_detector", "beam_trip", "operator_blank", "overrun")
PROCESS_FAULTS = ("crash", "version_mismatch")

_FOR_A_WHILE = ("link_cut", "delay", "stall")


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the schedule.

    ``duration_s`` is how long a cut, delay or stall lasts; ``count`` how many messages are dropped, duplicated or
    swapped, or for how many samples a detector sticks; ``skew_ppm`` how fast a clock runs wrong; ``restart_after_s``
    when a crashed server comes back (null: never).

    Raises:
        InvalidInput: an unknown fault, or one that cannot be.
    """

    kind: str
    frame: int = 0
    sample: int = 0
    duration_s: float = 0.5
    count: int = 1
    channel: int = 0
    skew_ppm: float = 1000.0
    skew_ns: int = 0
    restart_after_s: float | None = None

    def __post_init__(self) -> None:
        known = (*LINK_FAULTS, *INSTRUMENT_FAULTS, *PROCESS_FAULTS)
        if self.kind not in known:
            raise InvalidInput("faults.kind", self.kind, f"is not one of {', '.join(known)}", "name one of those")
        for quantity, low, high in (
            ("frame", 0, 1 << 40),
            ("sample", 0, 1 << 40),
            ("duration_s", 0, 3600),
            ("count", 1, 1 << 40),
            ("channel", 0, 7),
            ("skew_ppm", -1e6, 1e9),
            ("skew_ns", -(1 << 62), 1 << 62),
        ):
            within(f"faults.{quantity}", getattr(self, quantity), low, high, "mend the fault schedule")
        if self.restart_after_s is not None and not 0 <= self.restart_after_s <= 3600:
            raise InvalidInput(
                "faults.restart_after_s", self.restart_after_s, "is outside 0 to 3600", "mend the fault schedule"
            )


class FaultPlan:
    """Which faults have begun, as the scan goes on. Shared by the instrument and the link, in one thread."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._waiting = list(faults)
        self._begun: list[Fault] = []

    def inject(self, fault: Fault) -> None:
        """Add a fault while running."""
        self._waiting.append(fault)

    def reach(self, frame: int, sample: int) -> None:
        """The scan has got this far: faults up to here begin."""
        if not self._waiting:
            return
        due = [fault for fault in self._waiting if (fault.frame, fault.sample) <= (frame, sample)]
        for fault in due:
            self._waiting.remove(fault)
        self._begun += due

    def next_sample(self, frame: int, sample: int) -> int | None:
        """The sample of this frame at which the next fault after ``sample`` waits; None without one."""
        later = [fault.sample for fault in self._waiting if fault.frame == frame and fault.sample > sample]
        return min(later, default=None)

    def take(self, *kinds: str) -> list[Fault]:
        """Faults of these kinds that have begun, each handed out once."""
        taken = [fault for fault in self._begun if fault.kind in kinds]
        self._begun = [fault for fault in self._begun if fault.kind not in kinds]
        return taken


class LinkFaults:
    """Cut, delay, duplicate, reorder and drop messages of the data socket; a ``TransportFaults`` of the server."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan
        self._cut_until = -math.inf
        self._late_until = -math.inf
        self._late_by = 0.0
        self._drop = self._double = self._swap = 0
        self._held: list[Any] | None = None

    def filter(self, parts: list[Any], now: float) -> list[tuple[float, list[Any]]]:
        """What to send instead of this message: (delay in seconds, parts) each."""
        for fault in self._plan.take(*LINK_FAULTS):
            if fault.kind == "link_cut":
                self._cut_until = now + fault.duration_s
            elif fault.kind == "delay":
                self._late_until, self._late_by = now + fault.duration_s, fault.duration_s
            elif fault.kind == "drop":
                self._drop += fault.count
            elif fault.kind == "duplicate":
                self._double += fault.count
            else:
                self._swap += fault.count
        if now < self._cut_until:
            return []
        if self._drop:
            self._drop -= 1
            return []
        late = self._late_by if now < self._late_until else 0.0
        if self._held is not None:
            before, self._held = self._held, None
            return [(late, parts), (late, before)]
        if self._swap:
            self._swap -= 1
            self._held = parts
            return []
        if self._double:
            self._double -= 1
            return [(late, parts), (late, list(parts))]
        return [(late, parts)]


def stuck(values: np.ndarray, channel: int, last: int, value: int) -> np.ndarray:
    """A copy of ``values`` (channels, n) whose ``channel`` holds ``value`` up to the sample before ``last``."""
    changed = values.copy()
    changed[channel, :last] = value
    return changed


def blinded(values: np.ndarray, channel: int, last: int) -> np.ndarray:
    """A copy of ``values`` (channels, n) as ``<f4`` whose ``channel`` is NaN up to the sample before ``last``."""
    changed = values.astype("<f4")
    changed[channel, :last] = np.nan
    return changed
