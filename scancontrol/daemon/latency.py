"""From the last sample of a frame to its restoration, measured: percentiles over a bounded window."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

__all__ = ["LatencyWindow"]


class LatencyWindow:
    """The last ``size`` latencies in milliseconds, with the largest of all. Thread-safe."""

    def __init__(self, size: int = 4096) -> None:
        self._values: deque[float] = deque(maxlen=size)
        self._largest_ms = 0.0
        self._lock = threading.Lock()

    def add(self, latency_ms: float) -> None:
        """Count one latency."""
        with self._lock:
            self._values.append(latency_ms)
            self._largest_ms = max(self._largest_ms, latency_ms)

    def percentiles(self) -> dict[str, float] | None:
        """``p50`` and ``p99`` of the window and ``max`` of all, in ms; None before the first."""
        with self._lock:
            if not self._values:
                return None
            p50, p99 = np.percentile(np.fromiter(self._values, float), (50, 99))
            return {"p50": float(p50), "p99": float(p99), "max": self._largest_ms}
