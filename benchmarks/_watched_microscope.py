"""A simulated microscope that writes down when its beam goes on and off.

The record is the instrument's own, made after the blanker has acted, on the machine's monotonic clock; nothing of the
protocol can make it say otherwise.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from scancontrol.capabilities import Capabilities
from scancontrol.dose.limits import DoseLimits
from scancontrol.microscope.host import serve
from scancontrol.microscope.instrument import Block
from scancontrol.paths import ScanPath
from scancontrol.processes.child import Shutdown, add_follow_stdin, announce
from simulators.config import SimulatorConfig, Stated
from simulators.microscope import SimulatedMicroscope
from simulators.specimens.library import Crystal

__all__ = ["Watched", "beam_record"]

CONFIG = SimulatorConfig(
    specimen=Crystal(size_nm=2.0, thickness_nm=2.0),  # soon drawn; what is seen does not matter
    stated=Stated(longest_dwell_us=1e6),
)


class Watched:
    """Another instrument, its beam on record: ``on NS`` and ``off NS ELECTRONS``, electrons of the whole run."""

    def __init__(self, instrument: SimulatedMicroscope, log: Path) -> None:
        self.capabilities: Capabilities = instrument.capabilities
        self._instrument = instrument
        self._log = log.open("a", buffering=1)
        self._on = False
        self._left = 0
        self._electrons = 0.0

    def begin(self, path: ScanPath, first_index: int, frame: int) -> None:
        self._left = path.count - first_index
        if not self._on:
            self._on = True
            self._log.write(f"on {time.monotonic_ns()}\n")
        self._instrument.begin(path, first_index, frame)

    def read(self, max_samples: int) -> Block | None:
        block = self._instrument.read(max_samples)
        if block is not None:
            self._electrons += block.electrons
            self._left -= block.values.shape[1]
            if self._left == 0:
                self._off()
        return block

    def blank(self) -> None:
        self._instrument.blank()
        self._off()

    def close(self) -> None:
        self._instrument.close()
        self._off()
        self._log.write(f"closed {time.monotonic_ns()} {self._electrons!r}\n")

    def _off(self) -> None:
        if self._on:
            self._on = False
            self._log.write(f"off {time.monotonic_ns()} {self._electrons!r}\n")


def beam_record(log: Path) -> list[tuple[str, int]]:
    """What a :class:`Watched` wrote: ``("on" | "off", monotonic ns)`` in order; a line half written is left out."""
    lines = log.read_text().split("\n")[:-1]
    return [(words[0], int(words[1])) for words in map(str.split, lines)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("--session-electrons", type=float)
    parser.add_argument("--area", type=float, help="e/Å²")
    add_follow_stdin(parser)
    arguments = parser.parse_args()
    shutdown = Shutdown(follow_stdin=arguments.follow_stdin)
    serve(
        Watched(SimulatedMicroscope(CONFIG), arguments.log),
        shutdown=shutdown.requested,
        on_ready=lambda address: announce("microscope", address=address),
        dose_limits=DoseLimits(session_electrons=arguments.session_electrons, area_e_per_a2=arguments.area),
    )


if __name__ == "__main__":
    main()
