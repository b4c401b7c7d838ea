"""The simulator's own count of what it exposed: a side file that survives the death of every process.

One line of JSON for each stretch of samples, written to the system before they are handed over, so that a SIGKILL
loses none of it: ``{"frame": 0, "path": "...", "first": 128, "stop": 256, "electrons": 831.0}``. For tests and
benchmarks of what is lost; no part of the live path reads it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from scancontrol.errors import InvalidInput

__all__ = ["ExposureLog", "Stretch", "read_log", "tally"]


@dataclass(frozen=True)
class Stretch:
    """Samples ``first`` to ``stop`` of a frame were exposed."""

    frame: int
    path: str
    first: int
    stop: int
    electrons: float


class ExposureLog:
    """Appends to ``path``.

    Raises:
        InvalidInput: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise InvalidInput(
                "exposure log", path, f"cannot be written ({error.strerror})", "give a file in a writable folder"
            ) from error

    def exposed(self, frame: int, path_id: str, first: int, stop: int, electrons: float) -> None:
        """Note a stretch; what was not exposed (``stop <= first``) is not noted."""
        if stop > first:
            line = {"frame": frame, "path": path_id, "first": first, "stop": stop, "electrons": round(electrons, 3)}
            os.write(self._descriptor, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Let go of the file. Any number of times."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_log(path: Path, offset: int = 0) -> tuple[list[Stretch], int]:
    """The stretches noted from byte ``offset`` on, and the offset to go on from. A half-written line is left."""
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    return [Stretch(**json.loads(line)) for line in whole.splitlines()], offset + len(whole)


def tally(stretches: list[Stretch]) -> Counter[tuple[int, int]]:
    """How often each (frame, sample) was exposed."""
    counts: Counter[tuple[int, int]] = Counter()
    for stretch in stretches:
        counts.update((stretch.frame, sample) for sample in range(stretch.first, stretch.stop))
    return counts
