"""What the daemon says on its terminal. Losing the terminal loses the words, never the scan."""

from __future__ import annotations

import sys
import time

from scancontrol.daemon.snapshot import Snapshot
from scancontrol.processes.printable import printable
from scancontrol.processes.terminal import LossyText

__all__ = ["Progress", "print_line"]


class Progress:
    """One line on a terminal that is rewritten, or a line every few seconds elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stdout is not None and LossyText(sys.stdout).isatty()
        self._next = 0.0
        self._open = False
        self._last = ""

    def show(self, snapshot: Snapshot) -> None:
        """Say how far the acquisition is, if it is time to or it has come to another state."""
        now, line = time.monotonic(), line_of(snapshot)
        state = line.split(" ", 1)[0]
        if not line or line == self._last or (now < self._next and state == self._last.split(" ", 1)[0]):
            return
        self._next, self._last = now + (0.2 if self._terminal else 5.0), line
        if self._terminal:
            _write("\r\x1b[K" + line)
            self._open = True
        else:
            print_line(line)

    def end(self) -> None:
        """Leave the line as it is."""
        if self._open:
            _write("\n")
            self._open = False


def line_of(snapshot: Snapshot) -> str:
    """One line on where the acquisition is; empty before there was one."""
    scan, restorer, orders = snapshot.scan, snapshot.restorer, snapshot.orders
    if scan.frame is None and orders.start is None and scan.phase.value != "ended":
        return ""
    if scan.phase.value in ("idle", "ended"):
        if orders.start is not None:
            step = snapshot.microscope.arming
            return f"arming      {orders.start}" + (f": {step}" if step else "")
        left = f", {restorer.catching_up} frames left to restore" if restorer.catching_up else ""
        return f"ended       {scan.explanation}{left}"
    latency = "" if restorer.latency_p50_ms is None else f", latency {restorer.latency_p50_ms:.1f} ms"
    return (
        f"{scan.phase.value:<11} frame {(scan.frame or 0) + 1}/{scan.frames_planned}, "
        f"{scan.frame_rate_hz:.2f} frames/s, {scan.samples_received} samples, {scan.samples_lost} lost, "
        f"{restorer.restored} restored{latency}"
    )


def print_line(text: str, *, error: bool = False) -> None:
    """One line on the terminal, at once, where there is one."""
    _write(printable(text, lines=True) + "\n", error=error)


def _write(text: str, *, error: bool = False) -> None:
    stream = sys.stderr if error else sys.stdout
    if stream is not None:
        lossy = LossyText(stream)
        lossy.write(text)
        lossy.flush()
