"""What chaos runs on: the microscope, the daemon and its restorer, a relay between the two, a browser, in processes."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.chaos.processes import Browser, DaemonProcess, MicroscopeProcess
from benchmarks.chaos.relay import Relay
from scancontrol.errors import RecordingError
from scancontrol.recording import RecordingReader

__all__ = ["LIMIT_S", "Rig", "closed"]

LIMIT_S = 120.0
"""For one scan, damage included, on a machine that does other work."""

PLAN = """
name: chaos
shape: [96, 96]
fov_nm: 10.0
dwell_us: 400.0
frames: 4
patterns:
  - kind: archimedean
    coverage: {value: 0.07, by: touched}
  - kind: jittered_grid
    coverage: {value: 0.07, by: touched}
"""
SIMULATOR = """
name: chaos
seed: 3
pace: real_time
specimen: {{kind: micrograph, file: "{specimen}"}}  # quick to start again with
stated: {{dose_limit_e_per_a2: null}}
"""


class Rig:
    """All processes. What is random comes from ``random``."""

    def __init__(self, folder: Path, random: np.random.Generator, stack: ExitStack, *, restorer: bool = True) -> None:
        self.folder, self.random = folder, random
        self.log, self.out = folder / "exposed.jsonl", folder / "recordings"
        self._plan, self._config = folder / "plan.yaml", folder / "simulator.yaml"
        self._plan.write_text(PLAN)
        specimen = folder / "specimen.npy"
        np.save(specimen, random.integers(0, 255, (64, 64)).astype(np.uint8))
        self._config.write_text(SIMULATOR.format(specimen=specimen.resolve()))
        self.log.touch()
        self._arguments = ["--on-interrupted", "resume", "--store", "last", "--operator", "chaos"]
        self._arguments += ["--method", "push_pull"] if restorer else ["--no-restorer"]
        self.stalled: list[socket.socket] = []  # browsers that read nothing, kept alive
        self.relay = Relay()
        stack.callback(self.relay.close)
        self.microscope = MicroscopeProcess(self._config, self.log, self.relay)
        stack.callback(lambda: self.microscope.end())
        self.start_daemon()
        stack.callback(lambda: self.daemon.end())
        stack.callback(lambda: self.browser.close())
        if restorer:
            self.daemon.wait_for(r"^restorer +process")

    def start_daemon(self) -> None:
        """A new daemon, and a browser on its page."""
        self.daemon = DaemonProcess(
            self.microscope.address, self._plan, self.out, self.folder / "disk", *self._arguments
        )
        self.browser = Browser(self.daemon.page)

    def start_microscope(self, address: str | None = None) -> None:
        """A new microscope's server, at the address of the last one if it is given."""
        self.microscope = MicroscopeProcess(self._config, self.log, self.relay, *([] if address is None else [address]))

    def begin_anew(self) -> None:
        """End everything as it is, and start it again with nothing recorded."""
        self.relay.mend()
        self.daemon.kill()
        self.browser.close()
        self.microscope.kill()
        self.start_microscope()
        for path in self.out.glob("*.hspy"):
            path.unlink()
        self.start_daemon()

    def begin(self, before: set[Path]) -> None:
        """Press Start until a recording appears and the beam is on."""
        size = self.log.stat().st_size
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            told = len(self.browser.notices)
            self.browser.send(type="start", plan="chaos", number=self.browser.number)
            again = time.monotonic() + 30
            while time.monotonic() < again:
                if self.log.stat().st_size > size:
                    return
                if any("start" in notice.lower() for notice in self.browser.notices[told:]):
                    time.sleep(0.2)  # it was refused, and said why: press again
                    break
                time.sleep(0.005)
            if set(self.out.glob("*.hspy")) - before:
                return
        said = self.browser.notices[-3:] + self.daemon.lines[-5:]
        raise RuntimeError(f"no scan begins: {said}")

    def exposes_again(self, since: float, timeout_s: float = 30.0) -> float | None:
        """Seconds from ``since`` until the next sample is exposed; None if the scan was over by itself."""
        size = self.log.stat().st_size
        while time.monotonic() < since + timeout_s:
            if self.log.stat().st_size > size:
                return time.monotonic() - since
            if self.browser.phase in ("ended", "idle"):
                newest = max(self.out.glob("*.hspy"), key=lambda path: path.stat().st_mtime_ns, default=None)
                if newest is None or closed(newest):
                    return None
            time.sleep(0.002)
        return timeout_s

    def seconds(self, low_s: float, high_s: float) -> float:
        """A random time."""
        return float(self.random.uniform(low_s, high_s))


def closed(path: Path) -> bool:
    """Whether a recording can be read and was closed."""
    try:
        with RecordingReader(path) as read:
            return read.closed
    except RecordingError:
        return False
