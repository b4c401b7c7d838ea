"""The damage that chaos does. Each function does it to a rig, mends what is to be mended, and returns what it took to
recover, in seconds; None where the scan was over by itself.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from benchmarks.chaos.processes import DaemonProcess, MicroscopeProcess, stalled_browser
from benchmarks.chaos.rig import Rig

__all__ = ["FAULTS"]

_DEAD_MAN_S = 0.3  # the beam may still be on for so long after the daemon was killed


def kill_daemon(rig: Rig) -> float | None:
    """SIGKILL, and a new one at once."""
    began = time.monotonic()
    rig.daemon.kill()
    rig.browser.close()
    rig.start_daemon()
    time.sleep(max(0.0, began + _DEAD_MAN_S - time.monotonic()))
    return rig.exposes_again(began)


def freeze_daemon(rig: Rig) -> float | None:
    """SIGSTOP for a while."""
    return _frozen(rig, rig.daemon, rig.seconds(0.3, 2.0))


def kill_microscope(rig: Rig) -> float | None:
    """SIGKILL to its server, and a new one at the same address."""
    began = time.monotonic()
    rig.microscope.kill()
    return _another_microscope(rig, began)


def restart_microscope(rig: Rig) -> float | None:
    """SIGTERM to its server, and a new one at the same address."""
    rig.microscope.end()
    began = time.monotonic()
    _another_microscope(rig, began)
    return rig.exposes_again(began)


def _another_microscope(rig: Rig, began: float) -> float:
    rig.start_microscope(rig.microscope.own_address)
    while time.monotonic() < began + 30:
        status = rig.browser.status
        if status.get("microscope", {}).get("connected"):
            break
        time.sleep(0.01)
    return time.monotonic() - began


def freeze_microscope(rig: Rig) -> float | None:
    """SIGSTOP for a while."""
    return _frozen(rig, rig.microscope, rig.seconds(0.1, 1.5))


def _frozen(rig: Rig, process: DaemonProcess | MicroscopeProcess, duration_s: float) -> float | None:
    process.signal(signal.SIGSTOP)
    time.sleep(duration_s)
    process.signal(signal.SIGCONT)
    return rig.exposes_again(time.monotonic())


def kill_restorer(rig: Rig) -> float | None:
    """SIGKILL; the daemon starts another."""
    return _signal_restorer(rig, signal.SIGKILL)


def freeze_restorer(rig: Rig) -> float | None:
    """SIGSTOP for a while."""
    pid = rig.daemon.restorer_pid
    passed = _signal_restorer(rig, signal.SIGSTOP)
    time.sleep(rig.seconds(0.2, 1.0))
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    return passed


def _signal_restorer(rig: Rig, number: signal.Signals) -> float | None:
    pid = rig.daemon.restorer_pid
    began = time.monotonic()
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    return rig.exposes_again(began)


def cut_link(rig: Rig) -> float | None:
    """Every connection is closed, and none is accepted for a while."""
    rig.relay.cut()
    return _mended(rig, 0.05, 2.0)


def stall_link(rig: Rig) -> float | None:
    """Nothing passes for a while."""
    rig.relay.stall()
    return _mended(rig, 0.05, 1.5)


def delay_link(rig: Rig) -> float | None:
    """Everything is late for a while."""
    rig.relay.delay(rig.seconds(0.01, 0.15))
    return _mended(rig, 0.3, 1.0)


def _mended(rig: Rig, low_s: float, high_s: float) -> float | None:
    time.sleep(rig.seconds(low_s, high_s))
    rig.relay.mend()
    return rig.exposes_again(time.monotonic())


def fill_disk(rig: Rig) -> float | None:
    """ENOSPC for a while."""
    return _spoil_disk(rig, "full")


def write_protect_disk(rig: Rig) -> float | None:
    """EROFS for a while."""
    return _spoil_disk(rig, "read_only")


def slow_disk(rig: Rig) -> float | None:
    """Every write takes long for a while."""
    return _spoil_disk(rig, f"slow {rig.seconds(0.005, 0.1):.4f}")


def _spoil_disk(rig: Rig, state: str) -> float | None:
    rig.daemon.disk(state)
    time.sleep(rig.seconds(0.2, 1.5))
    rig.daemon.disk("well")
    return rig.exposes_again(time.monotonic())


def stall_browser(rig: Rig) -> float | None:
    """One more browser that reads nothing."""
    began = time.monotonic()
    with suppress(OSError):
        rig.stalled = [*rig.stalled[-3:], stalled_browser(rig.daemon.page)]
    return rig.exposes_again(began)


def lose_browser(rig: Rig) -> float | None:
    """A browser that is gone at once."""
    began = time.monotonic()
    with suppress(OSError):
        stream: socket.socket = stalled_browser(rig.daemon.page)
        stream.close()
    return rig.exposes_again(began)


FAULTS: dict[str, Callable[[Rig], float | None]] = {
    "daemon killed": kill_daemon,
    "daemon frozen": freeze_daemon,
    "microscope killed": kill_microscope,
    "microscope restarted": restart_microscope,
    "microscope frozen": freeze_microscope,
    "restorer killed": kill_restorer,
    "restorer frozen": freeze_restorer,
    "link cut": cut_link,
    "link stalled": stall_link,
    "link delayed": delay_link,
    "disk full": fill_disk,
    "disk read-only": write_protect_disk,
    "disk slow": slow_disk,
    "browser stalled": stall_browser,
    "browser lost": lose_browser,
}
