"""What tests of the link over sockets ask for and take in."""

from __future__ import annotations

import time

import numpy as np

from scancontrol.link.link import Chunk, End, MicroscopeLink
from scancontrol.paths import PathRecipe, Raster


def recipe(side: int = 256) -> PathRecipe:
    return PathRecipe(pattern=Raster(), shape=(side, side), fov_nm=100.0, dwell_us=1.0)


def collect(link: MicroscopeLink, ends: int, timeout_s: float = 20.0) -> tuple[dict[int, list[int]], list[End]]:
    """Acknowledge everything until so many ends came; samples' indices by frame, values checked."""
    samples: dict[int, list[int]] = {}
    ended: list[End] = []
    deadline = time.monotonic() + timeout_s
    while len(ended) < ends:
        assert time.monotonic() < deadline, f"{len(ended)} of {ends} ends; {link.status}"
        event = link.receive(0.2)
        if isinstance(event, Chunk):
            expected = np.arange(event.first_index, event.next_index)
            np.testing.assert_array_equal(event.values[0], expected % 65536)
            samples.setdefault(event.frame, []).extend(expected.tolist())
            link.acknowledge(event.series_id, event.frame, event.next_index)
        elif isinstance(event, End):
            ended.append(event)
    return samples, ended
