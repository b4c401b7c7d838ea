"""Soak: one long acquisition at 1 MSa/s beside consumers that do not read. ``python -m benchmarks.soak --minutes 30``.

A page and an observer that open the live stream and never read it, an observer on the microscope's own socket that
never reads its answers, and a restorer that is frozen (SIGSTOP) again and again, its successors too. Measured: how
often the beam had to wait for anybody, how late each frame began, and the resident memory of daemon and microscope.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from benchmarks.chaos.processes import ROOT, Browser, DaemonProcess, MicroscopeProcess, stalled_browser
from benchmarks.chaos.relay import Relay
from scancontrol.link.link import MicroscopeLink
from scancontrol.recording import RecordingReader
from scancontrol.wire.framing import encode
from scancontrol.wire.messages import PROTOCOL_VERSION, Hello

__all__ = ["run"]

PLAN = """
name: soak
shape: [512, 512]
fov_nm: 20.0
dwell_us: 1.0
frames: {frames}
patterns:
  - kind: serpentine
"""
SIMULATOR = """
name: soak
seed: 5
pace: real_time
specimen: {kind: particles, size_nm: 20.0}
stated: {dose_limit_e_per_a2: null}
"""
_FRAME_S = 0.27
_EVERY_S = 5.0
_SETTLED_S = 60.0  # what is allocated once is allocated by then


def _rss_mb(pid: int) -> float:
    with suppress(OSError, IndexError):
        text = Path(f"/proc/{pid}/status").read_text()
        return float(text.split("VmRSS:")[1].split()[0]) / 1024
    return float("nan")


def _mute_observer(address: str, stack: ExitStack) -> None:
    """Says hello to the microscope, many times over, and never reads an answer."""
    context = stack.enter_context(zmq.Context())
    socket = stack.enter_context(context.socket(zmq.DEALER))
    socket.linger = 0
    socket.rcvhwm = 1
    socket.connect(address)
    for _ in range(1000):
        hello = Hello(protocol_version=PROTOCOL_VERSION, software="soak", name="mute", role="observer")
        with suppress(zmq.Again):
            socket.send_multipart(encode(hello), zmq.NOBLOCK)


def _growth_pct(minutes: NDArray[Any], rss_mb: NDArray[Any]) -> float:
    """From the minute after settling to the last: the least of each, for a frozen restorer's frames wait a while."""
    settled = minutes * 60 >= min(_SETTLED_S, 20 * minutes[-1])
    minutes, rss_mb = minutes[settled], rss_mb[settled]
    early = np.nanmin(rss_mb[minutes <= minutes[0] + 1])
    late = np.nanmin(rss_mb[minutes >= minutes[-1] - 1])
    return float(100 * (late / early - 1))


def _lateness_ms(path: Path, frame_ms: float) -> NDArray[np.float64]:
    """How much later than the one before each frame began, beyond the time that the path takes."""
    with RecordingReader(path) as read:
        starts = np.array([f.started_monotonic_ns for f in read.frames if f.received], dtype=np.int64)
    return np.diff(starts) / 1e6 - frame_ms


def _draw(minutes: NDArray[Any], daemon: NDArray[Any], microscope: NDArray[Any], path: Path, title: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.2, 3.2), layout="constrained")
    for name, rss_mb, colour in (("daemon", daemon, "#1f6f8b"), ("microscope server", microscope, "#c4622d")):
        axes.plot(minutes, rss_mb, color=colour, lw=1.6)
        axes.annotate(
            name,
            (minutes[-1], rss_mb[-1]),
            xytext=(4, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            fontsize=9,
        )
    axes.set(xlabel="time (min)", ylabel="resident memory (MB)", ylim=(0, 1.25 * np.nanmax([daemon, microscope])))
    axes.set_xlim(0, minutes[-1] * 1.22)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=10, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def run(minutes: float = 1.5, *, figure: Path | None = None) -> dict[str, Any]:
    """Acquire for ``minutes`` beside consumers that hang; figures, and the picture if asked for."""
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    frames = int(minutes * 60 / _FRAME_S) + 1
    (folder / "plan.yaml").write_text(PLAN.format(frames=frames))
    (folder / "simulator.yaml").write_text(SIMULATOR)
    rows: list[tuple[float, float, float]] = []
    frozen: set[int] = set()
    try:
        with ExitStack() as stack:
            relay = Relay()
            stack.callback(relay.close)
            microscope = MicroscopeProcess(folder / "simulator.yaml", folder / "log.jsonl", relay)
            stack.callback(microscope.end)
            daemon = DaemonProcess(
                microscope.own_address,
                folder / "plan.yaml",
                folder / "out",
                folder / "disk",
                "--start",
                "--store",
                "none",
                "--method",
                "push_pull",
            )
            stack.callback(daemon.end)
            observers = daemon.wait_for(r"^observers +(\S+)").group(1)
            stalled = [stalled_browser(daemon.page), stalled_browser(observers)]
            stack.callback(lambda: [each.close() for each in stalled])
            _mute_observer(microscope.own_address, stack)
            page = Browser(daemon.page)
            stack.callback(page.close)
            watching = stack.enter_context(MicroscopeLink(microscope.own_address, operator="soak", observer=True))
            watching.connect(10)
            began = time.monotonic()
            status = watching.status
            while (elapsed_s := time.monotonic() - began) < minutes * 60:
                rows.append((elapsed_s / 60, _rss_mb(daemon.pid), _rss_mb(microscope.pid)))
                until = time.monotonic() + _EVERY_S
                while time.monotonic() < until:
                    watching.receive(0.1)
                    status = watching.status or status
                restorer = daemon.restorer_pid
                if restorer is not None and page.status.get("restorer", {}).get("state") == "ready":
                    frozen.add(restorer)
                    with suppress(ProcessLookupError):
                        os.kill(restorer, signal.SIGSTOP)
            seen = page.status
            page.send(type="abort")
            daemon.end(20)
            for pid in frozen:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            recording = next((folder / "out").glob("*.hspy"))
            late_ms = _lateness_ms(recording, float(seen["beam_frame_time_ms"]))
            with RecordingReader(recording) as read:
                reason, recorded = read.reason, sum(frame.received for frame in read.frames)
                starts = [frame.started_monotonic_ns for frame in read.frames if frame.received]
                span_s = (starts[-1] - starts[0]) / 1e9
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    t, daemon_mb, microscope_mb = np.array(rows).T
    result = {
        "minutes": round(minutes, 1),
        "samples_recorded": recorded,
        "msa_per_s": round(recorded / max(span_s, 1e-9) / 1e6, 3),
        "ended": reason,
        "samples_lost": seen["samples_lost"],
        "beam_waited_times": None if status is None else status.starved,
        "frames": len(late_ms) + 1,
        "frame_late_ms": {
            "p50": round(float(np.median(late_ms)), 3),
            "p99": round(float(np.percentile(late_ms, 99)), 3),
            "max": round(float(late_ms.max()), 3),
        },
        "restorers_frozen": len(frozen),
        "restorer_restarts": seen["restorer"]["restarts"],
        "daemon_rss_mb": round(float(daemon_mb[-1]), 1),
        "daemon_rss_growth_pct": round(_growth_pct(t, daemon_mb), 2),
        "microscope_rss_mb": round(float(microscope_mb[-1]), 1),
        "microscope_rss_growth_pct": round(_growth_pct(t, microscope_mb), 2),
        "load_average": round(os.getloadavg()[0], 1),
        "rss": [[round(float(x), 2) for x in row] for row in rows],
    }
    for key, value in result.items():
        if key != "rss":
            print(f"{key.replace('_', ' '):<30}{value}")
    if figure is not None:
        rate = f"{result['msa_per_s']:.2f} MSa/s for {minutes:.0f} min"
        title = f"{rate} beside two pages that never read and a frozen restorer"
        _draw(t, daemon_mb, microscope_mb, figure, title)
    return result


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/soak.json")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs/images/soak.png")
    given = parser.parse_args()
    result = run(given.minutes, figure=given.figure)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    given.json.write_text(json.dumps({"benchmark": "soak", "machine": machine, "figures": result}) + "\n")
    return int(bool(result["samples_lost"]) or result["beam_waited_times"] != 0)


if __name__ == "__main__":
    sys.exit(_main())
