"""The link over tcp loopback, two processes: samples per second and CPU per million samples, beside bare ZeroMQ.

An instrument that exposes as fast as it is asked stands for the hardware, so the figure is what the wire itself can
carry: heartbeats, credit, acknowledgement of every chunk, retention and the microscope's own dose sum included. Bare
ZeroMQ moves messages of the same sizes between the same kinds of sockets and does none of that. Either is measured
while every sample goes to a file before the next is asked for, in a recording (the link) or as it is (bare ZeroMQ), and
again without a file. All alternate within one run, and the median of three rounds is shown. On a machine that is short
of time the dead man may interrupt a frame; it goes on where it was, as in the daemon, and is counted. Bars: 8 MSa/s
without loss while recording, and half of bare ZeroMQ.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import zmq

from scancontrol.errors import RequestRefused
from scancontrol.link.link import Chunk, End, MicroscopeLink
from scancontrol.paths import Raster
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.processes.parent import ChildProcess
from scancontrol.recording import record_plan
from scancontrol.transport.keys import ClientSecurity, ServerSecurity, make_keys, secure_client

__all__ = ["run"]

SIDE = 2048  # samples of a frame: SIDE²
FRAMES = 8
ROUNDS = 3
FASTEST_HARDWARE = 8e6


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure each so many times, print the table, and return the figures."""
    load = round(os.getloadavg()[0], 1)
    figures: dict[str, Any] = {"samples": FRAMES * SIDE * SIDE, "rounds": rounds, "load_average": load, "rows": []}
    print(f"{'link, tcp loopback':<44}{'MSa/s':>8}{'of bare':>9}{'CPU s/MSa here':>16}{'there':>8}")
    with TemporaryDirectory() as folder:
        keys = _keys(Path(folder))
        for encrypted in (False, True):
            for chunk_samples in (16384, 65536):
                server, client = keys if encrypted else (None, None)
                name = f"{'CURVE' if encrypted else 'plain'}, {chunk_samples // 1024} Ki samples"
                for to_disk in (True, False):
                    disk = Path(folder) if to_disk else None
                    results: dict[str, list[dict[str, float]]] = {"bare ZeroMQ": [], "link": [], "link, dose map": []}
                    for _ in range(rounds):
                        results["bare ZeroMQ"].append(_bare(server, client, chunk_samples, disk))
                        results["link"].append(_link(server, client, chunk_samples, disk))
                        results["link, dose map"].append(_link(server, client, chunk_samples, disk, dose_limit=1e30))
                    bare = _median(results["bare ZeroMQ"])["samples_per_s"]
                    for end, figures_of in results.items():
                        row = {"transport": name, "to_disk": to_disk, "end": end, **_median(figures_of)}
                        row["of_bare"] = row["samples_per_s"] / bare
                        figures["rows"].append(row)
                        title = f"{name}{', to disk' if to_disk else ''}: {end}"
                        print(
                            f"{title:<44}{row['samples_per_s'] / 1e6:>8.1f}{row['of_bare']:>9.2f}"
                            f"{row['cpu_s_here']:>16.4f}{row['cpu_s_there']:>8.4f}",
                            flush=True,
                        )
    recording = [row for row in figures["rows"] if row["end"] != "bare ZeroMQ" and row["to_disk"]]
    figures["slowest_samples_per_s"] = min(row["samples_per_s"] for row in recording)
    figures["at_least_8_msa_per_s"] = figures["slowest_samples_per_s"] >= FASTEST_HARDWARE
    figures["least_of_bare"] = min(row["of_bare"] for row in recording)
    figures["interrupted"] = int(sum(row.get("interrupted", 0) for row in figures["rows"]))
    figures["at_least_half_of_bare"] = figures["least_of_bare"] >= 0.5
    print(f"frames interrupted by the dead man, and gone on with: {figures['interrupted']}")
    for bar in ("at_least_8_msa_per_s", "at_least_half_of_bare"):
        print(f"while recording, {bar.replace('_', ' ')}: {'yes' if figures[bar] else 'NO'}")
    return figures


def _median(results: list[dict[str, float]]) -> dict[str, float]:
    """Of each figure, but of interruptions all."""
    figures = {key: statistics.median(result[key] for result in results) for key in results[0]}
    if "interrupted" in figures:
        figures["interrupted"] = sum(result["interrupted"] for result in results)
    return figures


def _keys(folder: Path) -> tuple[ServerSecurity, ClientSecurity]:
    server_public, server_secret = make_keys(folder, "server")
    client_public, client_secret = make_keys(folder, "client")
    allowed = folder / "allowed"
    allowed.mkdir()
    (allowed / client_public.name).write_bytes(client_public.read_bytes())
    return ServerSecurity(server_secret, allowed), ClientSecurity(client_secret, server_public)


@contextmanager
def _far_end(security: ServerSecurity | None, *arguments: str) -> Iterator[tuple[int, str]]:
    command = list(arguments)
    if security is not None:
        command += ["--secret-key", str(security.secret_key_file), "--clients", str(security.allowed_clients)]
    process = ChildProcess("far end", "benchmarks._ramp", command)
    try:
        yield process.pid, process.wait_ready(60)["address"]
    finally:
        process.stop(10)


def _cpu_s(pid: int) -> float:
    """User and system time of another process, /proc/PID/stat fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Meter:
    """Wall and CPU time from here on."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._begun = (time.perf_counter(), time.process_time(), _cpu_s(pid))

    def figures(self, samples: int) -> dict[str, float]:
        wall, here, there = self._begun
        million = samples / 1e6
        return {
            "samples_per_s": samples / (time.perf_counter() - wall),
            "cpu_s_here": (time.process_time() - here) / million,
            "cpu_s_there": (_cpu_s(self._pid) - there) / million,
        }


def _link(
    server: ServerSecurity | None,
    client: ClientSecurity | None,
    chunk_samples: int,
    disk: Path | None,
    dose_limit: float | None = None,
) -> dict[str, float]:
    limit = [] if dose_limit is None else ["--dose-limit", str(dose_limit)]
    with (
        _far_end(server, "--chunk-samples", str(chunk_samples), *limit) as (pid, address),
        MicroscopeLink(address, security=client, operator="benchmark", window=32) as link,
        ExitStack() as stack,
    ):
        capabilities = link.connect(20)
        plan = ScanPlan(
            name="benchmark", shape=(SIDE, SIDE), fov_nm=1000.0, dwell_us=0.125, frames=FRAMES, patterns=(Raster(),)
        )
        planned = PlannedScan(plan, capabilities)
        path = planned.path(0)
        path_id = link.register(path.recipe)
        recording = None
        if disk is not None:
            file = stack.enter_context(TemporaryDirectory(dir=disk))
            recording = record_plan(Path(file) / "link.hspy", planned)
            stack.callback(recording.abandon)
        meter = _Meter(pid)
        wanted = deque((frame, 0) for frame in range(FRAMES))  # and the first sample that is lacking
        ended = received = queued = interrupted = 0
        while ended < FRAMES:
            while wanted and queued < 3:
                frame, first_index = wanted[0]
                if recording is not None:
                    recording.begin_frame(frame, path)
                try:
                    link.start(path_id, 1, frame, first_index)
                except RequestRefused as refused:
                    if refused.code != "not_now":
                        raise
                    break  # the end of one that was cut off is on its way
                wanted.popleft()
                queued += 1
            event = link.receive(10)
            if isinstance(event, Chunk):
                if recording is not None:
                    recording.write_chunk(
                        event.frame,
                        event.first_index,
                        event.values,
                        event.monotonic_ns,
                        event.utc_ns,
                        event.session_electrons,
                    )
                received += event.count
                link.acknowledge(event.series_id, event.frame, event.next_index)
            elif isinstance(event, End):
                queued -= 1
                if event.reason == "completed":
                    ended += 1
                elif event.reason == "heartbeat_lost":  # a machine with other work: the daemon goes on, too
                    interrupted += 1
                    wanted.append((event.frame, event.next_index))
                else:
                    raise RuntimeError(f"frame {event.frame} ended {event.reason}: {event.message}")
            elif event is None:
                raise RuntimeError("no samples for 10 s")
        figures = {**meter.figures(received), "interrupted": interrupted}
        kept = received if recording is None else recording.counts["samples"]
        if received != FRAMES * SIDE * SIDE or kept != received:
            raise RuntimeError(f"{received} samples received and {kept} kept of {FRAMES * SIDE * SIDE}")
        return figures


def _bare(
    server: ServerSecurity | None, client: ClientSecurity | None, chunk_samples: int, disk: Path | None
) -> dict[str, float]:
    with (
        _far_end(server, "--bare", "--chunk-samples", str(chunk_samples)) as (pid, address),
        zmq.Context() as context,
        context.socket(zmq.DEALER) as socket,
        TemporaryFile(dir=disk) as file,
    ):
        socket.linger = 0
        socket.rcvhwm = 64
        secure_client(socket, client)
        socket.connect(address)
        chunks = FRAMES * SIDE * SIDE // chunk_samples
        socket.send(b"1")
        socket.recv_multipart()  # connected
        os.posix_fallocate(file.fileno(), 0, 2 * FRAMES * SIDE * SIDE)  # as a recording reserves its room
        meter = _Meter(pid)
        socket.send(str(chunks).encode())
        received = 0
        for _ in range(chunks):
            payload = socket.recv_multipart()[1]
            if disk is not None:
                os.pwrite(file.fileno(), payload, 2 * received)
            received += len(payload) // 2
        return meter.figures(received)


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
