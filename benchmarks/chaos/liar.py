"""An instrument that lies, hosted in a process of its own: ``python -m benchmarks.chaos.liar LIE LOG``.

Its beam is honest: what it exposes goes by the clock, whoever reads, and every stretch is noted in ``LOG`` as it
happens, ``{"begin": FRAME, "first": INDEX}`` and ``{"exposed": SAMPLES, "frame": FRAME, "first": INDEX,
"worst_area_e_per_a2": DOSE SO FAR}``. What it tells is not.
"""

from __future__ import annotations

import argparse
import json
import math
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scancontrol.capabilities import Capabilities
from scancontrol.dose.cells import PathCells
from scancontrol.microscope.host import serve
from scancontrol.microscope.instrument import Block
from scancontrol.paths import ScanPath
from scancontrol.processes.child import Shutdown, add_follow_stdin, announce
from scancontrol.units import ELECTRONS_PER_PA_US

__all__ = ["INSTRUMENT_LIES", "Lie", "begun", "exposed", "exposed_twice", "worst_area_e_per_a2"]

CURRENT_PA = 10.0
_LOOK_S = 0.005


@dataclass(frozen=True)
class Lie:
    """What an instrument does instead of its duties. The defaults are the truth."""

    overcount: float = 1.0  # electrons it spends and counts, of those that it stated
    electrons: float | None = None  # what it says of each block instead
    dtype: str = "<u2"  # of its samples; it states <u2
    more: int = 0  # samples that it hands over beyond those asked for
    channels: int = 1  # it states one
    read_hangs_s: float = 0.0
    blank_fails: int = 0  # how often before it obeys
    blank_hangs_s: float = 0.0  # the first time
    begin_fails: bool = False  # with the beam on
    ends_never: bool = False  # samples after the path's last one


INSTRUMENT_LIES = {
    "the truth": Lie(),
    "counts five times what it stated": Lie(overcount=5.0),
    "counts electrons that are no number": Lie(electrons=math.nan),
    "hands over samples of another type": Lie(dtype="<f8"),
    "hands over more samples than were asked for": Lie(more=1000),
    "hands over more detectors than it stated": Lie(channels=2),
    "hands over samples without end": Lie(ends_never=True),
    "hears nothing while it reads": Lie(read_hangs_s=3.0),
    "fails to blank thirty times": Lie(blank_fails=30),
    "does not return from blanking for 2 s": Lie(blank_hangs_s=2.0),
    "fails to begin and leaves the beam on": Lie(begin_fails=True),
}


class Liar:
    """See the module. The beam goes by the clock, in a thread of its own."""

    def __init__(self, lie: Lie, log: Path) -> None:
        self.capabilities = Capabilities(name="liar", beam_current_pa=CURRENT_PA, longest_dwell_us=1e6)
        self._lie, self._log = lie, log.open("a", buffering=1)
        self._lock = threading.Lock()
        self._path: ScanPath | None = None
        self._cells: PathCells | None = None
        self._lit_since: float | None = None
        self._frame = self._first = self._done = self._read = 0  # the latter three are indices
        self._map = np.zeros(1)
        self._ending = threading.Event()
        self._blanked = 0
        self._thread = threading.Thread(target=self._expose, daemon=True)
        self._thread.start()

    def begin(self, path: ScanPath, first_index: int, frame: int) -> None:
        """Honest, or an error with the beam on."""
        cells = PathCells(path)
        with self._lock:
            self._look()  # a beam that was on until now has exposed what it has
            self._path, self._cells = path, cells
            self._frame, self._first = frame, first_index
            self._done = self._read = first_index
            self._log.write(json.dumps({"begin": frame, "first": first_index}) + "\n")
            self._lit_since = time.monotonic()
        if self._lie.begin_fails:
            raise RuntimeError("it did not work")

    def read(self, max_samples: int) -> Block | None:
        """Samples in the way of the lie."""
        if self._lie.read_hangs_s and self._lit_since is not None:
            time.sleep(self._lie.read_hangs_s)
        with self._lock:
            path = self._path
            count = min(self._done - self._read, max_samples)
            over = path is not None and self._done == path.count
            if self._lie.ends_never and over:
                count = max_samples
            elif count and self._lie.more:
                count += max_samples
            self._read += count
        if path is None or count == 0:
            return None
        spent = count * path.recipe.dwell_us * CURRENT_PA * ELECTRONS_PER_PA_US * self._lie.overcount
        told = spent if self._lie.electrons is None else self._lie.electrons
        return Block(np.zeros((self._lie.channels, count), self._lie.dtype), told, time.monotonic_ns())

    def blank(self) -> None:
        """Sooner or later."""
        if self._lit_since is not None:
            self._blanked += 1
            if self._blanked <= self._lie.blank_fails:
                raise OSError("the relay does not answer")
            if self._blanked == 1:
                time.sleep(self._lie.blank_hangs_s)
        with self._lock:
            self._look()
            self._lit_since = None

    def close(self) -> None:
        """Blanked, and for good."""
        self.blank()
        self._ending.set()
        self._thread.join()
        self._log.close()

    def _expose(self) -> None:
        while not self._ending.wait(_LOOK_S):
            with self._lock:
                self._look()

    def _look(self) -> None:
        path, cells = self._path, self._cells
        if self._lit_since is None or path is None or cells is None:
            return
        elapsed_us = (time.monotonic() - self._lit_since) * 1e6
        done = min(path.count, self._first + int(elapsed_us / path.recipe.dwell_us))
        if done > self._done:
            where, us = cells.exposure_us(self._done, done - self._done)
            if len(self._map) != cells.rows * 64:
                self._map = np.zeros(cells.rows * 64)
            self._map[where] += us * (CURRENT_PA * ELECTRONS_PER_PA_US * self._lie.overcount / cells.cell_a2)
            worst = float(self._map.max())
            line = {
                "exposed": done - self._done,
                "frame": self._frame,
                "first": self._done,
                "worst_area_e_per_a2": worst,
            }
            self._log.write(json.dumps(line) + "\n")
            self._done = done
        if done == path.count:
            self._lit_since = None


def _lines(log: Path, offset: int) -> list[dict[str, float]]:
    with log.open("rb") as file:
        file.seek(offset)
        return [json.loads(line) for line in file.read().split(b"\n")[:-1]]


def exposed(log: Path, offset: int = 0) -> int:
    """Samples noted as exposed after this place of the log."""
    return int(sum(line.get("exposed", 0) for line in _lines(log, offset)))


def worst_area_e_per_a2(log: Path) -> float:
    """What the most exposed place has had."""
    return max((line["worst_area_e_per_a2"] for line in _lines(log, 0) if "exposed" in line), default=0.0)


def begun(log: Path) -> bool:
    """Whether a frame was."""
    return any("begin" in line for line in _lines(log, 0))


def exposed_twice(log: Path) -> int:
    """Times that a sample of a frame was exposed, beyond the first."""
    times: Counter[tuple[float, float]] = Counter()
    for line in _lines(log, 0):
        if "exposed" in line:
            first = int(line["first"])
            times.update((line["frame"], index) for index in range(first, first + int(line["exposed"])))
    return times.total() - len(times)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lie", choices=INSTRUMENT_LIES)
    parser.add_argument("log", type=Path)
    add_follow_stdin(parser)
    arguments = parser.parse_args()
    shutdown = Shutdown(follow_stdin=arguments.follow_stdin)
    serve(
        Liar(INSTRUMENT_LIES[arguments.lie], arguments.log),
        shutdown=shutdown.requested,
        on_ready=lambda address: announce("microscope", address=address),
    )


if __name__ == "__main__":
    main()
