"""Keeps the crystal of a stream: looked for once, followed from frame to frame, let go when it no longer explains.

To look takes seconds, to follow a fraction of that. So a stream looks beside the frames that it restores: those that
come meanwhile are restored without a crystal, the next ones with it. A search that found nothing is not repeated before
a few times as long has passed: frames need the processor, too. Offline the first frame waits for the search.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from restore.estimate.lattice.crystal import Crystal, find_crystal, follow
from restore.feeding import Moment
from restore.gridding import FrameGeometry

__all__ = ["CRYSTAL_SEARCHES", "CrystalSearch", "CrystalStream"]

log = logging.getLogger(__name__)

CrystalSearch = Literal["first", "beside", "each", "off"]
"""``first``: a frame waits until its crystal is looked for; ``beside``: it is looked for meanwhile, the frames after it
get it; ``each``: frames have nothing to do with each other; or not at all."""

CRYSTAL_SEARCHES: tuple[CrystalSearch, ...] = ("first", "beside", "each", "off")

_BLOCKS = 4  # a scan covers the field when each of so many by so many blocks has samples
_LEAST_SHARE = 0.25  # of the mean number of samples, in each block
_STILL_EXPLAINS = 0.5  # of the share of the samples' variance that the crystal explained when it was found
_LONGEST_PAUSE = 64  # frames after which a search is repeated at the latest

_RESTS = 4.0  # times as long as a search beside the frames took, before the next one begins

Find = Callable[[Tensor, FrameGeometry], Crystal | None]


class CrystalStream:
    """For one restorer and one thread; streams of one frame size are taken for one stream until proven otherwise.

    Args:
        search: when to look for a crystal.
        find, track: what looks and what follows.
        clock_s: what tells how long a search took.
    """

    def __init__(
        self,
        search: CrystalSearch,
        find: Find = find_crystal,
        track: Callable[[Crystal, Tensor, FrameGeometry], Crystal] = follow,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._search, self._find, self._track, self._clock_s = search, find, track, clock_s
        self._known: dict[tuple[int, int], Crystal] = {}
        self._explained: dict[tuple[int, int], float] = {}
        self._pause: dict[tuple[int, int], int] = {}  # frames until the next search
        self._longest: dict[tuple[int, int], int] = {}
        self._beside: threading.Thread | None = None
        self._rests_until_s: dict[tuple[int, int], float] = {}  # of searches beside frames

    @property
    def looks(self) -> bool:
        """Whether crystals are looked for at all."""
        return self._search != "off"

    def crystal(self, samples: Tensor, geometry: FrameGeometry) -> Crystal | None:
        """The crystal of this frame, from its samples (n,), or None."""
        if self._search == "off":
            return None
        if self._search == "each":
            return self._find(samples, geometry)
        known = self._known.get(geometry.shape)
        if known is not None:
            found = self._track(known, samples, geometry)
            if _explained(found, samples) > _STILL_EXPLAINS * self._explained[geometry.shape]:
                self._known[geometry.shape] = found
                return found
            log.info("the crystal no longer explains the samples; it is looked for again")
            self._forget(geometry.shape)
        if not _covers(geometry):
            return None
        waiting = self._pause.get(geometry.shape, 0)
        if waiting > 0:
            self._pause[geometry.shape] = waiting - 1
            return None
        if self._search == "first":
            return self._look(samples, geometry)
        rested = self._clock_s() >= self._rests_until_s.get(geometry.shape, -math.inf)
        if rested and (self._beside is None or not self._beside.is_alive()):
            own = samples.clone()
            Moment(own.device).wait()  # the other thread computes on another stream of a GPU
            self._beside = threading.Thread(target=self._look, args=(own, geometry), name="crystal", daemon=True)
            self._beside.start()
        return None

    def join(self) -> None:
        """Wait for a search that is under way."""
        if self._beside is not None:
            self._beside.join()

    def _look(self, samples: Tensor, geometry: FrameGeometry) -> Crystal | None:
        began_s, shape = self._clock_s(), geometry.shape
        found = self._find(samples, geometry)
        if found is None:
            ended_s = self._clock_s()
            self._rests_until_s[shape] = ended_s + _RESTS * (ended_s - began_s)
            self._longest[shape] = min(_LONGEST_PAUSE, 2 * self._longest.get(shape, 0) + 1)
            self._pause[shape] = self._longest[shape]
            return None
        log.info("a crystal was found: share %.2f", found.share)
        self._explained[shape] = _explained(found, samples)
        self._longest.pop(shape, None)
        self._known[shape] = found
        return found

    def _forget(self, shape: tuple[int, int]) -> None:
        for kept in (self._known, self._explained, self._pause, self._longest, self._rests_until_s):
            kept.pop(shape, None)


def _explained(crystal: Crystal, samples: Tensor) -> float:
    """Share of the samples' variance that the crystal explains."""
    left = samples - crystal.at_samples / crystal.share
    return 1 - float(left.var() / samples.var().clamp_min(1e-30))


def _covers(geometry: FrameGeometry) -> bool:
    """Whether the whole field was scanned, and not the first part of a path."""
    rows, cols = geometry.shape
    row, col = geometry.index // cols * _BLOCKS // rows, geometry.index % cols * _BLOCKS // cols
    counts = torch.bincount(row * _BLOCKS + col, minlength=_BLOCKS * _BLOCKS)
    return int(counts.min()) >= _LEAST_SHARE * geometry.count / len(counts)
