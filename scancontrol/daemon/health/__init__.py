"""The health of a running daemon, for whoever asks: its snapshot, as JSON and as Prometheus text."""

from scancontrol.daemon.health.server import ENDPOINT_FILE, Endpoint, HealthServer, ask, daemon_folder, find_daemon

__all__ = ["ENDPOINT_FILE", "Endpoint", "HealthServer", "ask", "daemon_folder", "find_daemon"]
