"""A scan generator as deapi's server shows it to its client: its positions take time, and so do its calls."""

from __future__ import annotations

import threading
import time

import numpy as np

from scancontrol.errors import LinkError


class FakeGenerator:
    """Takes time for each position, and for each call; then each image holds 1000·y + x where the beam was."""

    def __init__(self, call_s=0.002):
        self.call_s = call_s
        self.hangs = ""
        self.refuses_to_stop = False
        self._let_go = threading.Event()
        self.started_s = None
        self.ended_s = 0.0
        self.xy = np.zeros((0, 2), np.int32)

    def _spend(self, call):
        time.sleep(self.call_s)
        if call == self.hangs:
            self._let_go.wait(10)

    def is_lit(self):
        return self.started_s is not None and time.monotonic() < self.ended_s

    def upload(self, xy, size, dwell_us):
        self._spend("upload")
        assert xy.dtype == np.int32
        assert xy.min() >= 0
        assert np.all(xy.max(axis=0) < size)
        self.xy, self.size, self.dwell_us = xy, size, dwell_us
        return dwell_us

    def start(self):
        self._spend("start")
        self.started_s = time.monotonic()
        self.ended_s = self.started_s + len(self.xy) * self.dwell_us * 1e-6

    def busy(self):
        self._spend("busy")
        return self.is_lit() or self.hangs == "busy"

    def image(self, name):
        self._spend("image")
        out = np.zeros(self.size[::-1], np.float32)
        done = int((min(time.monotonic(), self.ended_s) - self.started_s) * 1e6 / self.dwell_us + 1e-3)
        xy = self.xy[:done]
        out[xy[:, 1], xy[:, 0]] = 1000 * xy[:, 1] + xy[:, 0]
        return out

    def stop(self):
        time.sleep(self.call_s)
        if self.refuses_to_stop:
            raise LinkError("the server did not stop")
        self.ended_s = min(self.ended_s, time.monotonic())

    def close(self):
        self._let_go.set()
