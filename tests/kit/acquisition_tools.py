"""A microscope in memory, which keeps the link's promises, and sinks that remember what they got."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.acquisition import FrameEnd, FrameStart
from scancontrol.capabilities import Capabilities, DetectorChannel
from scancontrol.paths import Archimedean, CoverageGoal, PathRecipe, ScanPath, Serpentine, expand
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.recording import Recording
from scancontrol.wire.assembly import Chunk
from scancontrol.wire.messages import End, Notice, Start

SHAPE = (16, 16)
MICROSCOPE = Capabilities(name="bench", detectors=(DetectorChannel(name="HAADF"),))


def plan_of(frames: int, coverage: float = 0.2, dwell_us: float = 1.0) -> ScanPlan:
    return ScanPlan(
        name="spirals",
        shape=SHAPE,
        fov_nm=16.0,
        dwell_us=dwell_us,
        frames=frames,
        patterns=(Archimedean(coverage=CoverageGoal(value=coverage)), Serpentine()),
    )


def recipes_of(plan: ScanPlan) -> list[PathRecipe]:
    return list(map(PlannedScan(plan, MICROSCOPE).recipe, range(plan.frames)))


def values_of(frame: int, first: int, count: int) -> NDArray[np.uint16]:
    """Each sample's value says where it belongs."""
    index = np.arange(first, first + count, dtype=np.uint64)
    return ((index * 40503 + frame * 9176 + 7) % 65536).astype("<u2")[None]


@dataclass
class MemoryMicroscope:
    """Exposes ``step`` samples per ``receive``; every accepted scan gets exactly one end.

    ``script`` is called with the microscope before each receive and may do what happens to microscopes.
    """

    step: int = 16
    script: Callable[[MemoryMicroscope], None] = lambda microscope: None
    server_id: str = "a" * 32
    lost_samples: int = 0
    exposed: dict[tuple[int, int], int] = field(default_factory=dict)  # (frame, sample) → how often
    acknowledged: dict[int, int] = field(default_factory=dict)
    on_acknowledge: Callable[[int, int], None] = lambda frame, next_index: None
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.paths: dict[str, ScanPath] = {}
        self.queue: deque[list[Any]] = deque()  # [frame, path, next index, first index, started]
        self.events: deque[Start | Chunk | End | Notice] = deque()
        self.paused = False
        self.held = False
        self.longest_queue = 0
        self.thread: threading.Thread | None = None

    @property
    def drained(self) -> bool:
        return not self.events and not self.queue

    def register(self, recipe: PathRecipe) -> str:
        self._same_thread()
        self.paths[recipe.path_id] = expand(recipe)
        return recipe.path_id

    def start(
        self,
        path_id: str,
        series_id: int,
        frame: int,
        first_index: int = 0,
        *,
        series_unique_id: str = "",
        area: str = "",
        most_electrons: float | None = None,
    ) -> None:
        self._same_thread()
        self.queue.append([frame, self.paths[path_id], first_index, first_index, False])
        self.longest_queue = max(self.longest_queue, len(self.queue))

    def pause(self) -> None:
        self.calls.append("pause")
        self.paused = True

    def resume(self) -> None:
        self.calls.append("resume")
        self.paused = False

    def abort(self, reason: str = "") -> None:
        self.calls.append("abort")
        self.end_all("aborted", reason)

    def end_all(self, reason: str, message: str = "") -> None:
        while self.queue:
            self._end(reason, message)

    def receive(self, timeout_s: float = 0.0) -> Start | Chunk | End | Notice | None:
        self._same_thread()
        self.script(self)
        if not self.events and self.queue and not self.paused:
            self._expose()
        if not self.events:
            time.sleep(0)  # a link that waits lets others run, such as who expands the next path
            return None
        return self.events.popleft()

    def acknowledge(self, series_id: int, frame: int, next_index: int) -> None:
        self.on_acknowledge(frame, next_index)
        self.acknowledged[frame] = next_index

    def _expose(self) -> None:
        scan = self.queue[0]
        frame, path, first = scan[0], scan[1], scan[2]
        if not scan[4]:
            scan[4] = True
            self.events.append(
                Start(
                    sequence=0,
                    series_id=1,
                    series_unique_id="s",
                    frame=frame,
                    path_id=path.path_id,
                    first_index=first,
                    sample_count=path.count,
                    channels=("HAADF",),
                    monotonic_ns=1,
                    utc_ns=1,
                )
            )
        count = min(self.step, path.count - first)
        for index in range(first, first + count):
            self.exposed[frame, index] = self.exposed.get((frame, index), 0) + 1
        self.events.append(
            Chunk(
                series_id=1,
                series_unique_id="s",
                frame=frame,
                path_id=path.path_id,
                first_index=first,
                count=count,
                values=values_of(frame, first, count),
                monotonic_ns=first,
                utc_ns=first,
                electrons=1.0,
                frame_electrons=float(first),
                session_electrons=float(len(self.exposed)),
            )
        )
        scan[2] += count
        if scan[2] == path.count:
            self._end("completed", "")

    def _end(self, reason: str, message: str) -> None:
        frame, path, following, first, _ = self.queue.popleft()
        self.events.append(
            End(
                sequence=0,
                series_id=1,
                series_unique_id="s",
                frame=frame,
                path_id=path.path_id,
                reason=reason,  # type: ignore[arg-type]
                message=message,
                first_index=first,
                next_index=following,
                samples=following - first,
                electrons=1.0,
                monotonic_ns=2,
                utc_ns=2,
            )
        )

    def _same_thread(self) -> None:
        self.thread = self.thread or threading.current_thread()
        assert self.thread is threading.current_thread(), "the link belongs to one thread"


class RememberingSink:
    """Keeps everything, in order."""

    def __init__(self) -> None:
        self.started: list[FrameStart] = []
        self.ended: list[FrameEnd] = []
        self.values: dict[int, list[NDArray[Any]]] = {}

    def frame_started(self, start: FrameStart) -> None:
        self.started.append(start)

    def samples(self, frame: int, first_index: int, values: NDArray[Any]) -> None:
        assert first_index == sum(part.shape[1] for part in self.values.get(frame, [])), "in order, once"
        self.values.setdefault(frame, []).append(values.copy())

    def frame_ended(self, end: FrameEnd) -> None:
        self.ended.append(end)


def check_recorded(path: Path, microscope: MemoryMicroscope) -> None:
    """Every sample was exposed once, and what was exposed is on the disk with its own value."""
    assert set(microscope.exposed.values()) <= {1}
    with Recording.open(path) as read:
        for frame in read.frames:
            exposed = sum(1 for number, _ in microscope.exposed if number == frame.frame)
            assert frame.received == exposed
            np.testing.assert_array_equal(read.samples(frame.frame), values_of(frame.frame, 0, exposed))


def when_exposed(count: int, do: Callable[[MemoryMicroscope], None]) -> Callable[[MemoryMicroscope], None]:
    """A script that does something once, when so many samples were exposed."""
    done: list[bool] = []

    def script(microscope: MemoryMicroscope) -> None:
        if len(microscope.exposed) >= count and not done:
            done.append(True)
            do(microscope)

    return script
