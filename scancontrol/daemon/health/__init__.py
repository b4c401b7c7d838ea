"""The health of a running daemon, for whoever asks: one frozen snapshot, as JSON and as Prometheus text."""

from scancontrol.daemon.health.server import ENDPOINT_FILE, Endpoint, HealthServer, ask, find_daemon
from scancontrol.daemon.health.snapshot import (
    BeamHealth,
    DoseHealth,
    QueueHealth,
    RestorerHealth,
    ScanHealth,
    Snapshot,
    Versions,
    rss_bytes,
)

__all__ = [
    "ENDPOINT_FILE",
    "BeamHealth",
    "DoseHealth",
    "Endpoint",
    "HealthServer",
    "QueueHealth",
    "RestorerHealth",
    "ScanHealth",
    "Snapshot",
    "Versions",
    "ask",
    "find_daemon",
    "rss_bytes",
]
