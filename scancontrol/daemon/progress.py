"""What the daemon says on its terminal."""

from __future__ import annotations

import sys
import time

from scancontrol.acquisition import AcquisitionStatus
from scancontrol.daemon.restorations import Restorations

__all__ = ["Progress", "print_line"]


class Progress:
    """One line on a terminal that is rewritten, or a line every few seconds elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._next = 0.0
        self._open = False

    def show(self, status: AcquisitionStatus | None, restored: Restorations) -> None:
        """Say how far the acquisition is, if it is time to."""
        now = time.monotonic()
        if status is None or status.frame is None or now < self._next:
            return
        self._next = now + (0.2 if self._terminal else 5.0)
        latency = restored.latency.percentiles()
        line = (
            f"scanning    frame {status.frame + 1}/{status.frames_planned}, {status.frame_rate_hz:.2f} frames/s, "
            f"{status.samples_received} samples, {status.samples_lost} lost, {restored.frames_restored} restored"
            + (f", latency {latency['p50']:.1f} ms" if latency else "")
        )
        if self._terminal:
            sys.stdout.write("\r\x1b[K" + line)
            sys.stdout.flush()
            self._open = True
        else:
            print_line(line)

    def end(self) -> None:
        """Leave the line as it is."""
        if self._open:
            sys.stdout.write("\n")
            self._open = False


def print_line(text: str, *, error: bool = False) -> None:
    """One line on the terminal, at once."""
    stream = sys.stderr if error else sys.stdout
    stream.write(text + "\n")
    stream.flush()
