"""How long the beam stays on when the daemon is killed, frozen or cut off: real processes, the instrument's own record.

A simulated microscope in its own process, and a real daemon in another, scanning without end. The daemon gets SIGKILL,
SIGSTOP, or its network cut (a relay between the two stops passing bytes and closes nothing, as a pulled cable does).
The latency is from just before that to the instant at which the instrument's blanker has acted. After a freeze and a
cut the beam has to stay off until they are over. The same, and a Blank from a terminal, while peers that mean no good
(:mod:`benchmarks._hostile`) are at the microscope's door. Bar: no blank later than 250 ms.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import zmq

from benchmarks._hostile import ATTACKS, blanked_by, under
from benchmarks._watched_microscope import beam_record
from benchmarks.chaos.relay import RELAY_HOST, Relay
from scancontrol.processes.parent import ChildProcess
from scancontrol.wire.framing import SERVER_CONTROL, encode
from scancontrol.wire.messages import PROTOCOL_VERSION, Goodbye, Hello, Welcome

__all__ = ["data_port", "run"]

BAR_MS = 250.0
KINDS = {
    "SIGKILL": 12,
    "SIGSTOP": 20,
    "network cut": 20,
    **{f"{what} under {attack}": 4 for what in ("SIGKILL", "Blank") for attack in ATTACKS},
}
DWELLS_US = {"short": 16.0, "long": 40000.0}
"""Samples of 16 µs use the credit up within tens of milliseconds, and the beam goes off for want of it; one sample of
40 ms a chunk leaves credit for longer than the dead man waits, so that it is the heartbeat that counts."""

PLAN = """
name: dead man
shape: [512, 512]
fov_nm: 200.0
dwell_us: {dwell_us}
frames: 8
patterns: [{{kind: raster}}]
"""


def run(kinds: dict[str, int] | None = None, seed: int = 1) -> dict[str, Any]:
    """Measure, print the table, and return the figures."""
    wanted = kinds or KINDS
    random_ = random.Random(seed)
    latencies: dict[str, list[float]] = {}
    relit = 0
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for dwell, dwell_us in DWELLS_US.items():
            (folder / f"{dwell}.yaml").write_text(PLAN.format(dwell_us=dwell_us))
        log = folder / "beam.log"
        microscope = ChildProcess("microscope", "benchmarks._watched_microscope", [str(log)])
        stack.callback(microscope.stop, 2.0)
        address = str(microscope.wait_ready(60)["address"])
        port = int(address.rsplit(":", 1)[1])
        relay = stack.enter_context(closing(Relay()))
        relay.listen({port, data_port(address)})
        dwell = "long"
        daemon = _daemon(folder, f"tcp://{RELAY_HOST}:{port}", dwell)
        stack.callback(lambda: daemon.stop(3.0))
        todo = [kind for kind, count in wanted.items() for _ in range(count)]
        random_.shuffle(todo)
        for kind in todo:
            _until_lit(log, daemon)
            time.sleep(random_.uniform(0.02, 0.12))  # any phase of the heartbeat
            attack = stack.enter_context(ExitStack())
            if " under " in kind:
                attack.enter_context(under(kind.split(" under ")[1], port))
                _until_lit(log, daemon)  # an attack may have had it blank and begin again
            at_ns = time.monotonic_ns()
            if kind.startswith("Blank"):
                at_ns = blanked_by(port)
            elif kind.startswith("SIGKILL"):
                os.kill(daemon.pid, signal.SIGKILL)
            elif kind == "SIGSTOP":
                os.kill(daemon.pid, signal.SIGSTOP)
            else:
                relay.stall()
            off_ns = _next_off(log, at_ns)
            latencies.setdefault(f"{kind}, {dwell} dwell", []).append((off_ns - at_ns) * 1e-6)
            time.sleep(0.15)
            relit += _lit(log)
            attack.close()
            if kind.startswith(("SIGKILL", "Blank")):
                daemon.stop(1.0)
                dwell = "short" if dwell == "long" else "long"
                daemon = _daemon(folder, f"tcp://{RELAY_HOST}:{port}", dwell)
            elif kind == "SIGSTOP":
                os.kill(daemon.pid, signal.SIGCONT)
            else:
                relay.mend()
    every = sorted(value for values in latencies.values() for value in values)
    print(f"{'blanked after':<28}{'n':>5}{'p50 ms':>9}{'p100 ms':>9}")
    rows = []
    for kind, values in [*sorted(latencies.items()), ("all", every)]:
        ordered = sorted(values)
        row = {"kind": kind, "n": len(ordered), "p50_ms": ordered[len(ordered) // 2], "p100_ms": ordered[-1]}
        rows.append(row)
        print(f"{kind:<28}{row['n']:>5}{row['p50_ms']:>9.1f}{row['p100_ms']:>9.1f}")
    within = every[-1] <= BAR_MS and relit == 0
    print(
        f"lit again before it was over: {relit}; none later than {BAR_MS:g} ms: {'yes' if within else 'NO'}; "
        f"took {time.monotonic() - began:.0f} s"
    )
    return {"rows": rows, "relit": relit, "bar_ms": BAR_MS, "within": within, "latencies_ms": latencies}


def _daemon(folder: Path, address: str, dwell: str) -> ChildProcess:
    return ChildProcess(
        "daemon",
        "scancontrol",
        [
            "daemon",
            "--microscope",
            address,
            "--plan",
            str(folder / f"{dwell}.yaml"),
            "--out",
            str(folder / "runs"),
            "--start",
            "--no-page",
            "--no-restorer",
            "--keep-last",
            "1",
        ],
    )


def _lit(log: Path) -> bool:
    record = beam_record(log)
    return bool(record) and record[-1][0] == "on"


def _until_lit(log: Path, daemon: ChildProcess, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not _lit(log):
        assert daemon.poll() is None, f"the daemon ended: {daemon.last_words()}"
        assert time.monotonic() < deadline, "the beam did not come on"
        time.sleep(0.01)


def _next_off(log: Path, since_ns: int, timeout_s: float = 10.0) -> int:
    """When the beam next went off and stayed so: the last ``off``, once nothing has come after it for a while."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        record = beam_record(log)
        if record and record[-1][0] == "off" and record[-1][1] >= since_ns:
            return record[-1][1]
        time.sleep(0.005)
    raise AssertionError(f"the beam was still on {timeout_s:g} s later")


def data_port(address: str) -> int:
    """The port of a microscope's data socket, from its welcome to an observer."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as control:
        control.linger = 200
        control.connect(address)
        hello = Hello(protocol_version=PROTOCOL_VERSION, software="benchmark", name="benchmark", role="observer")
        control.send_multipart(encode(hello))
        assert control.poll(5000), "no welcome"
        welcome, _ = SERVER_CONTROL.decode(control.recv_multipart())
        assert isinstance(welcome, Welcome)
        control.send_multipart(encode(Goodbye(session=welcome.session)))
    return int(welcome.data_address.rsplit(":", 1)[1])
