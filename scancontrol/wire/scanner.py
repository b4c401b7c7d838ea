"""The beam's side of the microscope's end: which frame is open, whether the beam is on, what was exposed.

:class:`Scanner` walks the table ``MICROSCOPE`` and knows nothing of connections. It keeps four promises:

- the beam is on only while every sample of it can be sent at once and be kept (credit and room);
- every accepted scan gets exactly one ``end``, with the reason and the first sample that was not exposed;
- what cuts a frame off ends every scan behind it too, those that were on their way when it happened included;
- whatever was exposed before the beam was blanked is in the log before that ``end``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from scancontrol.dose.cells import PathCells
from scancontrol.dose.guard import DoseGuard
from scancontrol.errors import InvalidInput, LocalProtocolError
from scancontrol.paths import ScanPath
from scancontrol.wire.framing import MAX_PAYLOAD_BYTES
from scancontrol.wire.messages import ChunkHeader, End, EndReason, Limits, Scan, Start
from scancontrol.wire.registry import expand_recipe
from scancontrol.wire.retention import Retention
from scancontrol.wire.transitions import MICROSCOPE, Event, State

__all__ = ["Action", "BeginScan", "BlankBeam", "ExpandRecipe", "OpenScan", "Scanner"]

_LARGEST_ITEM_BYTES = 4
_KEPT_SAMPLES = 1 << 22
_ROUNDING = 1e-6
_UNASKED: tuple[EndReason, ...] = ("dose_limit", "overrun", "fault", "heartbeat_lost")


@dataclass(frozen=True, slots=True)
class BlankBeam:
    """Blank now, hand over what was exposed, then say ``blanked``."""


@dataclass(frozen=True, slots=True)
class BeginScan:
    """Unblank and expose ``path`` from ``first_index`` on."""

    path: ScanPath
    first_index: int
    frame: int
    series_unique_id: str


@dataclass(frozen=True, slots=True)
class ExpandRecipe:
    """Expand a recipe, work out its cells if wanted, then say ``expanded``.

    Takes time in proportion to the path and needs no state, so it may be done on another thread.
    """

    path_id: str
    recipe: dict[str, Any]
    samples_limit: int
    dwell_us: tuple[float, float]  # the shortest and the longest that the microscope states
    with_cells: bool

    def carry_out(self) -> tuple[ScanPath, PathCells | None]:
        """The path, and its cells. Raises as :func:`~scancontrol.wire.registry.expand_recipe` does."""
        path = expand_recipe(self.path_id, self.recipe, self.samples_limit)
        for dwell_us, bound, what in zip(path.dwell_range_us, self.dwell_us, ("below", "above"), strict=True):
            if (dwell_us < bound * (1 - _ROUNDING)) if what == "below" else (dwell_us > bound * (1 + _ROUNDING)):
                raise InvalidInput(
                    "dwell_us", f"{dwell_us:g}", f"is {what} what the microscope states, {bound:g}", "mend the plan"
                )
        if path.count <= _KEPT_SAMPLES:
            _ = path.positions  # expanded here and now, so that nobody waits for it when a frame begins
        return path, PathCells(path) if self.with_cells else None


Action = BlankBeam | BeginScan | ExpandRecipe


@dataclass(slots=True)
class OpenScan:
    """An accepted scan until its ``end``."""

    request: Scan
    path: ScanPath
    next_index: int
    expected_electrons: float
    electrons: float = 0.0

    @property
    def complete(self) -> bool:
        return self.next_index == self.path.count


class Scanner:
    """One beam, one open frame, a queue of a few more."""

    def __init__(
        self,
        limits: Limits,
        channels: tuple[str, ...],
        guard: DoseGuard,
        retention: Retention,
        sample_dtype: Literal["<u2", "<f4"] = "<u2",
    ) -> None:
        self.state = State.IDLE
        self.utc_offset_ns = 0  # UTC minus the monotonic clock
        self.scan: OpenScan | None = None
        self.queue: deque[OpenScan] = deque()
        self.starved = 0  # times that the beam waited for credit or room
        self.beam_on = False  # what the instrument was last told
        self.blanks = 0  # times that somebody had the beam blanked and held
        self.trouble = ""  # why the beam may be on although it was told to go off
        self.unheard = 0  # a scan must be asked for by one who has taken the data messages before this one
        self._limits = limits
        self._channels = channels
        self._guard = guard
        self._retention = retention
        self._sample_dtype = sample_dtype
        self._ending: tuple[EndReason, str] | None = None  # the end to send once the instrument is drained
        self._actions: list[Action] = [BlankBeam()]  # on power-up
        self._draining = True
        self._chunk_samples = min(
            limits.chunk_samples, MAX_PAYLOAD_BYTES // (_LARGEST_ITEM_BYTES * max(1, len(channels)))
        )

    @property
    def open_scans(self) -> list[OpenScan]:
        """Every accepted scan without an ``end`` yet, in order."""
        return [*([] if self.scan is None else [self.scan]), *self.queue]

    def actions(self) -> list[Action]:
        """What to do with the instrument now, in order."""
        actions, self._actions = self._actions, []
        return actions

    def allows(self, event: Event) -> bool:
        """Whether the table has this step."""
        return event in MICROSCOPE[self.state]

    def read_budget(self) -> int:
        """How many samples may be read from the instrument now."""
        if self.scan is None or not (self.beam_on or self._draining):
            return 0
        rest = min(self._chunk_samples, self.scan.path.count - self.scan.next_index)
        return rest if self._draining else self._guard.budget(rest)

    def step(self, event: Event, text: str, now_ns: int) -> None:
        """Take one step of the table.

        Raises:
            LocalProtocolError: the table has no such step; nothing has changed.
        """
        step = MICROSCOPE[self.state].get(event)
        if step is None:
            raise LocalProtocolError(f"cannot {event.value} while {self.state.value}")
        self.state = step.to
        self.blanks += event in (Event.HOLD, Event.COLUMN_BLANK)
        if step.beam == "blank":
            self._blank()
        if step.ends == "completed":
            self._end("completed", text, now_ns)
        elif step.ends is not None and self._draining:
            self._ending = self._ending or (step.ends, text)
        elif step.ends is not None:
            self._end(step.ends, text, now_ns)
        if step.beam == "begin":
            self._begin(now_ns)

    def advance(self, now_ns: int) -> None:
        """Take the steps that need no asking: blank without credit, go on with it."""
        if self._draining:
            return
        if self.state is State.SCANNING and not self._has_room():
            self.starved += 1
            self.step(Event.NO_CREDIT, "", now_ns)
        elif self.state is State.WAITING and not self.open_scans:
            self.step(Event.EMPTY, "", now_ns)
        elif self.state is State.WAITING and self._has_room():
            self.step(Event.GO, "", now_ns)

    def enqueue(self, request: Scan, path: ScanPath, now_ns: int) -> None:
        """Accept a scan.

        Raises:
            InvalidInput: nothing of it is left to expose, or it would pass a dose limit.
            LocalProtocolError: the table does not allow a scan now, or whoever asks has not heard that the one before
                it was cut off.
        """
        if self.trouble:
            raise LocalProtocolError(f"the beam may be on: {self.trouble}; see that it goes off")
        if request.heard < self.unheard:
            raise LocalProtocolError(
                f"frame {request.frame} was asked for before it was heard that a frame was cut off: take its end first"
            )
        if request.first_index >= path.count:
            raise InvalidInput(
                "first_index",
                request.first_index,
                f"is not below the path's {path.count} samples",
                "start a frame that is not complete",
            )
        promised = sum(max(0.0, scan.expected_electrons - scan.electrons) for scan in self.open_scans)
        expected = self._guard.check(path, request.first_index, request.area, promised, request.most_electrons)
        self.step(Event.SCAN, "", now_ns)
        self.queue.append(OpenScan(request, path, request.first_index, expected))
        self.advance(now_ns)

    def exposed(self, values: Any, electrons: float, monotonic_ns: int, now_ns: int) -> None:
        """Log samples, ``(channels, n)`` of ``<u2`` or ``<f4``. A block that cannot be right is a fault.

        Raises:
            LocalProtocolError: no frame is open.
        """
        scan = self.scan
        if scan is None or self.read_budget() == 0:
            raise LocalProtocolError("samples were exposed where no frame is open")
        wrong = self._wrong(values, electrons, monotonic_ns)
        if wrong:
            self.step(Event.FAULT, f"the instrument returned {wrong}", now_ns)
            return
        values, electrons, monotonic_ns = np.ascontiguousarray(values), float(electrons), int(monotonic_ns)
        count = values.shape[1]
        if count == 0:
            self._cut_off(scan, electrons, now_ns)
            return
        first, scan.next_index = scan.next_index, scan.next_index + count
        scan.electrons += electrons
        trip = self._guard.add(scan.path, first, count, electrons, scan.request.area)
        header = ChunkHeader(
            sequence=self._retention.next_sequence,
            series_id=scan.request.series_id,
            series_unique_id=scan.request.series_unique_id,
            frame=scan.request.frame,
            path_id=scan.request.path_id,
            first_index=first,
            count=count,
            channels=values.shape[0],
            dtype=self._sample_dtype,
            monotonic_ns=monotonic_ns,
            utc_ns=max(0, monotonic_ns + self.utc_offset_ns),
            electrons=electrons,
            frame_electrons=scan.electrons,
            session_electrons=self._guard.session_electrons,
        )
        self._retention.append(header, values.data.cast("B"))
        if trip and self._ending is None and not scan.complete:
            self.step(Event.DOSE_LIMIT, trip, now_ns)
        elif self.state is State.SCANNING and scan.complete:
            straight_on = bool(self.queue) and self._has_room()
            self.step(Event.NEXT if straight_on else Event.COMPLETED, "", now_ns)
        self.advance(now_ns)

    def _cut_off(self, scan: OpenScan, electrons: float, now_ns: int) -> None:
        """Electrons of a sample that was begun and never handed over: they count, at the place of that sample."""
        if electrons == 0:
            return
        scan.electrons += electrons
        trip = self._guard.add_cut_off(scan.path, scan.next_index, electrons, scan.request.area)
        if trip and self._ending is None:
            self.step(Event.DOSE_LIMIT, trip, now_ns)
        self.advance(now_ns)

    def blanked(self, now_ns: int) -> None:
        """The instrument is blanked, and has handed over everything that it had exposed."""
        self._draining = False
        if self._ending is not None:
            (reason, text), self._ending = self._ending, None
            self._end(reason, text, now_ns)
        elif self.scan is not None and self.scan.complete:
            self.step(Event.COMPLETED, "", now_ns)
        self.advance(now_ns)

    def _has_room(self) -> bool:
        channels = max(1, len(self._channels))
        return self._retention.has_room(self._chunk_samples * channels * _LARGEST_ITEM_BYTES)

    def _blank(self) -> None:
        self.beam_on = False
        if not self._draining:
            self._draining = True
            self._actions.append(BlankBeam())

    def _begin(self, now_ns: int) -> None:
        if self.scan is None:
            self.scan = self.queue.popleft()
            asked = self.scan.request
            self._guard.begin_frame(self.scan.path, self.scan.next_index, asked.area, asked.most_electrons)
            request = self.scan.request
            self._retention.append(
                Start(
                    sequence=self._retention.next_sequence,
                    series_id=request.series_id,
                    series_unique_id=request.series_unique_id,
                    frame=request.frame,
                    path_id=request.path_id,
                    first_index=request.first_index,
                    sample_count=self.scan.path.count,
                    channels=self._channels,
                    monotonic_ns=now_ns,
                    utc_ns=max(0, now_ns + self.utc_offset_ns),
                )
            )
        self.beam_on = True
        request = self.scan.request
        self._actions.append(BeginScan(self.scan.path, self.scan.next_index, request.frame, request.series_unique_id))

    def _end(self, reason: EndReason, text: str, now_ns: int) -> None:
        ending = self.open_scans if reason != "completed" else self.open_scans[:1]
        for scan in ending:
            request = scan.request
            self._retention.append(
                End(
                    sequence=self._retention.next_sequence,
                    series_id=request.series_id,
                    series_unique_id=request.series_unique_id,
                    frame=request.frame,
                    path_id=request.path_id,
                    reason="completed" if scan.complete else reason,
                    message=text[:4000],
                    first_index=request.first_index,
                    next_index=scan.next_index,
                    samples=scan.next_index - request.first_index,
                    electrons=scan.electrons,
                    monotonic_ns=now_ns,
                    utc_ns=max(0, now_ns + self.utc_offset_ns),
                )
            )
        self.scan = None
        if reason != "completed":
            self.queue.clear()
        if ending and reason in _UNASKED:
            self.unheard = self._retention.next_sequence

    def _wrong(self, values: Any, electrons: Any, monotonic_ns: Any) -> str:
        """What of a block cannot be, or nothing. An instrument is a driver, perhaps of somebody else's making."""
        if not isinstance(values, np.ndarray):
            return f"{type(values).__name__} where an array of samples belongs"
        if values.ndim != 2 or values.shape[0] != len(self._channels):
            return f"samples of shape {values.shape}, not ({len(self._channels)}, n)"
        if values.dtype != np.dtype(self._sample_dtype):
            return f"samples of type {values.dtype.str}, and states {self._sample_dtype}"
        if values.shape[1] > self.read_budget():
            return f"{values.shape[1]} samples where at most {self.read_budget()} were asked for"
        if not (isinstance(electrons, int | float | np.number) and np.isfinite(electrons) and electrons >= 0):
            return f"{electrons} electrons"
        if not (isinstance(monotonic_ns, int | np.integer) and 0 <= monotonic_ns < 1 << 63):
            return f"a time of {monotonic_ns} ns"
        return ""
