"""Example scans, and circles where nothing is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from restore.evaluation.subjects import Subject
from restore.experiments.scans import draw_scans, least_known


def test_circles_stand_where_the_interval_is_widest_and_apart() -> None:
    interval = np.ones((128, 128))
    interval[20:30, 90:100] = 9
    interval[80:90, 30:40] = 6
    (first, second) = least_known(interval, 8)
    assert np.hypot(first[0] - 24.5, first[1] - 94.5) < 2
    assert np.hypot(second[0] - 84.5, second[1] - 34.5) < 2


def test_no_circle_stands_where_all_is_known_alike() -> None:
    assert least_known(np.random.default_rng(0).uniform(0.9, 1.1, (128, 128)), 8) == []


@pytest.mark.slow
def test_scans_are_drawn_for_both_kinds_of_path(tmp_path: Path) -> None:
    y, x = np.mgrid[:256, :256]
    picture = (np.sin(x / 9) * np.cos(y / 7) + x / 256).astype(np.float32)
    drawn = draw_scans(tmp_path, [Subject("waves", "drawn", picture)])
    assert [path.name for path in drawn] == ["poster-scans-grid.png", "poster-scans-spiral.png"]
    assert all(path.stat().st_size > 10_000 for path in drawn)
