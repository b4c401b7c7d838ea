"""The notebook of the instrument that lies: what it exposed is told sample by sample, and in order."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from benchmarks.chaos.liar import Liar, Lie, exposed, exposed_twice
from scancontrol.paths import PathRecipe, Raster, ScanPath

PATH = ScanPath(PathRecipe(pattern=Raster(), shape=(64, 64), fov_nm=64.0, dwell_us=100.0))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.touch()
    return path


def _scan(liar: Liar, log: Path, first_index: int) -> int:
    """Light the beam until something more was exposed, blank and collect; the first sample that was not exposed."""
    before = exposed(log)
    liar.begin(PATH, first_index, 0)
    while exposed(log) == before:
        time.sleep(0.001)
    liar.blank()
    while (block := liar.read(PATH.count)) is not None:
        first_index += block.values.shape[1]
    return first_index


def test_a_frame_that_goes_on_where_it_was_is_exposed_once_and_one_that_goes_back_is_not(log):
    liar = Liar(Lie(), log)
    try:
        reached = 0
        for _ in range(10):
            reached = _scan(liar, log, reached)
            assert exposed(log) == reached, "all that was exposed is handed over"
        assert exposed_twice(log) == 0
        _scan(liar, log, reached - 3)
        assert exposed_twice(log) == 3
    finally:
        liar.close()


def test_nothing_is_noted_as_exposed_before_the_frame_that_it_is_of(log):
    liar = Liar(Lie(), log)
    try:
        for frame in range(10):
            liar.begin(PATH, 0, frame)
            liar.blank()
    finally:
        liar.close()
    frame = -1
    for line in map(json.loads, log.read_text().splitlines()):
        frame = line.get("begin", frame)
        assert line.get("frame", frame) == frame
    assert frame == 9
