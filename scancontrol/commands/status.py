"""``scancontrol status``: one frozen snapshot of a running daemon and all it holds together."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from scancontrol.daemon import health
from scancontrol.daemon.orders import OrdersSnapshot
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.errors import InvalidInput, LinkError
from scancontrol.processes.child import Shutdown

__all__ = ["add_parser", "run", "text_of"]


def add_parser(subparsers: Any) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser("status", help="a snapshot of the running daemon", description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--daemon", metavar="HOST:PORT", help="as the daemon printed it (default: found in the folder)")
    where.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="the daemon's recordings")
    parser.add_argument("--json", action="store_true", help="as JSON, on one line")
    parser.add_argument("--watch", nargs="?", type=float, const=1.0, metavar="S", help="again every S seconds (1)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print it once, or until Ctrl-C."""
    if arguments.watch is not None and not 0.05 <= arguments.watch <= 3600:
        raise InvalidInput("--watch", arguments.watch, "is outside 0.05 to 3600", "give seconds")
    shutdown = Shutdown() if arguments.watch is not None else None
    while True:
        try:
            _show(health.ask(arguments.daemon or health.find_daemon(arguments.runs).status), arguments)
        except LinkError as error:
            if shutdown is None:
                raise
            print(error, file=sys.stderr, flush=True)
        if shutdown is None or shutdown.wait(arguments.watch):
            return 0


def _show(snapshot: Snapshot, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(msgspec.json.encode(snapshot).decode(), flush=True)
        return
    if arguments.watch is not None and sys.stdout.isatty():
        sys.stdout.write("\x1b[H\x1b[J")
    print(text_of(snapshot), flush=True)


def text_of(s: Snapshot) -> str:
    """The snapshot for people: one line a part."""
    scan, beam, dose, restorer, orders = s.scan, s.microscope, s.dose, s.restorer, s.orders
    status, phase = beam.status, scan.phase.value
    frames = "" if scan.frame is None else f", frame {scan.frame + 1}/{scan.frames_planned or '?'}"
    ended = f" ({scan.explanation})" if scan.explanation else ""
    catching_up = f", {restorer.catching_up} frames left to restore" if restorer.catching_up else ""
    lit = "unknown" if status is None else "ON" if status.beam_on else "blanked"
    if not beam.connected and status is not None:
        lit += " when last heard"
    clock = "unknown" if beam.clock_offset_us is None else f"{beam.clock_offset_us:+.1f} ± {beam.clock_error_us:.1f} µs"
    limit = "no limit" if dose.area_limit_e_per_a2 is None else f"limit {dose.area_limit_e_per_a2:.4g}"
    session = "no limit" if dose.session_limit_electrons is None else f"limit {dose.session_limit_electrons:.4g}"
    latency = (
        ""
        if restorer.latency_p50_ms is None
        else (f", latency p50 {restorer.latency_p50_ms:.1f} ms, p99 {restorer.latency_p99_ms:.1f} ms")
    )
    assumed = f", {dose.assumed_electrons:.4g} of them assumed" if dose.assumed_electrons else ""
    retained = _megabytes(None if status is None else status.retained_bytes)
    lines = [
        f"phase       {phase}{ended}{frames}, {_rate(scan.frame_rate_hz or None)}, "
        f"{s.plan.plan if s.plan else 'no plan'}{catching_up}",
        f"orders      {_orders(orders)}",
        f"recording   {scan.recording or 'none'}, scan {scan.series_unique_id or 'none'}",
        f"samples     {scan.samples_received} on disk, {scan.samples_exposed} exposed in frames that ended, "
        f"{scan.samples_lost} lost, {scan.samples_duplicate} sent twice, {scan.interruptions} interruptions",
        f"beam        {lit}, blanker {'unknown' if status is None else status.blanker}",
        f"microscope  {beam.name or 'unknown'} at {beam.address}, "
        f"{'answers' if beam.connected else 'DOES NOT ANSWER'}, "
        f"{'state unknown' if status is None else status.state}, clock {clock}",
        f"lease       {'nobody' if status is None else status.operator or 'nobody'}",
        f"dose        specimen {dose.specimen} at y {dose.stage_um[0]:g}, x {dose.stage_um[1]:g} µm: "
        f"{_known(dose.area_e_per_a2)} e/Å² here ({limit})",
        f"            session {dose.session_electrons:.4g} electrons ({session}), "
        f"ever {dose.total_electrons:.4g}{assumed}",
        f"queues      {_known(None if status is None else status.queued_scans)} scans, {retained} unacknowledged, "
        f"beam waited {_known(None if status is None else status.starved)} times, restorer {restorer.queue}, "
        f"disk free {_megabytes(s.disk_free_bytes)}",
        f"restorer    {restorer.state}, {restorer.method or 'no method'}, {restorer.restored} restored, "
        f"{restorer.dropped} passed over, {restorer.restarts} restarts{latency}",
        f"daemon      process {s.pid}, up {(s.utc_ns - s.started_utc_ns) / 1e9:.0f} s, {_megabytes(s.rss_bytes)}, "
        f"{s.versions.software}, wire {s.versions.wire_protocol}, page {s.versions.page_protocol}",
        f"as of       {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(s.utc_ns / 1e9))} UTC",
    ]
    return "\n".join(lines + [f"warning     {warning}" for warning in s.warnings])


def _orders(orders: OrdersSnapshot) -> str:
    """What is wanted, in words."""
    wanted = f"{'scan' if orders.begun else 'begin'} {orders.start}" if orders.start else "nothing"
    if orders.aborting:
        wanted = f"ABORT asked for, {orders.start} has not ended yet"
    blank = {"off": "", "asked": ", BLANK ASKED FOR, NOT CONFIRMED", "confirmed": ", beam held blanked until Start"}[
        orders.blank
    ]
    return wanted + blank


def _rate(hertz: float | None) -> str:
    return "no rate yet" if hertz is None else f"{hertz:.2f} frames/s"


def _known(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _megabytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e6:,.1f} MB"
