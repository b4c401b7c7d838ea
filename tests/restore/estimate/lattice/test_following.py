"""A stream's crystal: looked for once, followed, let go when it no longer explains the samples."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from restore.estimate.lattice.following import CrystalStream
from restore.gridding import FrameGeometry

SHAPE = (32, 32)


@dataclass(frozen=True)
class Wave:
    """Stands in for a crystal: so much of the samples as it explains."""

    at_samples: Tensor
    share: float = 1.0


def _geometry(part: float = 1.0) -> FrameGeometry:
    positions = np.random.default_rng(1).random((400, 2)) * (part, 1.0)
    return FrameGeometry.from_positions(torch.from_numpy(positions), SHAPE)


def _samples(kind: str) -> Tensor:
    return torch.sin(torch.arange(400.0) * {"lattice": 0.7, "another": 1.9}[kind])


class Search:
    """Finds one lattice and follows nothing else."""

    def __init__(self, found: bool = True) -> None:
        self.found, self.searches, self.waiting = found, 0, threading.Event()
        self.waiting.set()
        self.now_s, self.takes_s = 0.0, 0.0

    def find(self, samples: Tensor, geometry: FrameGeometry) -> Wave | None:
        assert self.waiting.wait(10)
        self.searches += 1
        self.now_s += self.takes_s
        return Wave(samples.clone()) if self.found else None

    @staticmethod
    def track(crystal: Wave, samples: Tensor, geometry: FrameGeometry) -> Wave:
        return crystal

    def stream(self, search: str) -> CrystalStream:
        return CrystalStream(search, self.find, self.track, lambda: self.now_s)  # type: ignore[arg-type]


def test_the_first_frame_waits_for_the_search_and_the_next_ones_follow_what_it_found() -> None:
    search = Search()
    stream = search.stream("first")
    frames = [stream.crystal(_samples("lattice"), _geometry()) for _ in range(3)]
    assert all(frame is not None for frame in frames)
    assert search.searches == 1


def test_frames_go_on_without_a_crystal_while_it_is_looked_for_beside_them() -> None:
    search = Search()
    search.waiting.clear()
    stream = search.stream("beside")
    assert [stream.crystal(_samples("lattice"), _geometry()) for _ in range(3)] == [None] * 3
    search.waiting.set()
    stream.join()
    assert stream.crystal(_samples("lattice"), _geometry()) is not None
    assert search.searches == 1


def test_a_crystal_that_no_longer_explains_the_samples_is_let_go_and_looked_for_again() -> None:
    search = Search()
    stream = search.stream("first")
    stream.crystal(_samples("lattice"), _geometry())
    again = stream.crystal(_samples("another"), _geometry())
    assert search.searches == 2
    assert again is not None
    assert torch.equal(again.at_samples, _samples("another"))


def test_the_longer_nothing_is_found_the_seldomer_it_is_looked_for() -> None:
    search = Search(found=False)
    stream = search.stream("first")
    searched = []
    for frame in range(40):
        before = search.searches
        assert stream.crystal(_samples("lattice"), _geometry()) is None
        if search.searches > before:
            searched.append(frame)
    pauses = [b - a for a, b in itertools.pairwise(searched)]
    assert pauses == sorted(pauses)
    assert pauses[0] == 2
    assert pauses[-1] >= 8


def test_a_search_beside_frames_rests_four_times_as_long_as_it_took_however_many_frames_come() -> None:
    search = Search(found=False)
    search.takes_s = 2.0
    stream = search.stream("beside")
    searched = []
    for frame in range(40):
        before = search.searches
        assert stream.crystal(_samples("lattice"), _geometry()) is None
        stream.join()
        if search.searches > before:
            searched.append(frame)
        search.now_s += 0.5
    assert searched == [0, 16, 32]  # 8 s are 16 frames; a search seems to take none, as this thread waits for it


def test_the_first_part_of_a_scan_is_not_asked_for_a_crystal() -> None:
    search = Search()
    assert search.stream("first").crystal(_samples("lattice"), _geometry(part=0.5)) is None
    assert search.searches == 0


@pytest.mark.parametrize(("search", "searches"), [("each", 3), ("off", 0)])
def test_frames_that_have_nothing_to_do_with_each_other_are_each_searched_or_none(search: str, searches: int) -> None:
    found = Search()
    stream = found.stream(search)
    for _ in range(3):
        stream.crystal(_samples("lattice"), _geometry())
    assert found.searches == searches
