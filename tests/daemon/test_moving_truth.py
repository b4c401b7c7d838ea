"""Each frame of a dry run has its own truth: the simulator states how far the specimen moved; a picture is moved."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from simulator_tools import acquire, config, path

from scancontrol.daemon.moving_truth import MovingTruth
from scancontrol.errors import RecordingError
from simulators.microscope import SimulatedMicroscope
from simulators.side_files.tracked_truth import TrackedTruth
from simulators.specimens.library import Particles
from simulators.specimens.motion import Motion

SPECIMEN = Particles(size_nm=12.0, count=15)
SIDE = 64


def scan(folder: Path, px_a_frame: tuple[float, float], frames: int, kept: int = 0) -> list[NDArray[np.float32]]:
    """Scan a drifting specimen; what is expected in the middle of each frame, rendered there."""
    recipe = path("jittered", pixels=SIDE, fov_nm=3.2)
    per_s = tuple(0.05 * px / (recipe.duration_us * 1e-6) for px in px_a_frame)
    motion = Motion(drift_nm_per_s=(per_s[0], per_s[1]))
    microscope = SimulatedMicroscope(
        config(specimen=SPECIMEN, motion=motion), truth=TrackedTruth(folder / "truth.npz", kept=kept)
    )
    exposure, rendered = microscope.exposure, []
    for frame in range(frames):
        began_us = exposure.clock_us
        acquire(microscope, recipe, frame)
        ended_us, exposure.clock_us = exposure.clock_us, began_us + recipe.duration_us / 2
        rendered.append(exposure.expected_counts((SIDE, SIDE), 3.2, recipe.dwell_per_pixel_us)[0])
        exposure.clock_us = ended_us
    return rendered


def off(found: NDArray[np.float32] | None, rendered: NDArray[np.float32]) -> float:
    """Root mean square difference in per cent of the range."""
    assert found is not None
    return float(100 * np.sqrt(np.mean((found - rendered) ** 2)) / np.ptp(rendered))


def test_each_frames_truth_is_what_the_simulator_would_render_in_the_middle_of_it(tmp_path: Path) -> None:
    rendered = scan(tmp_path, (0.7, -0.45), 4)
    truth = MovingTruth(tmp_path / "truth.npz", (SIDE, SIDE))
    assert [off(truth.of(frame), rendered[frame]) < 0.1 for frame in range(4)] == [True] * 4
    assert off(truth.still, rendered[3]) > 2
    assert truth.of(4) is None, "nothing is stated of it yet"


def test_a_specimen_that_leaves_what_was_rendered_is_rendered_again_and_old_pictures_go(tmp_path: Path) -> None:
    rendered = scan(tmp_path, (30.0, 10.0), 6, kept=2)
    truth = MovingTruth(tmp_path / "truth.npz")
    assert sorted(file.name for file in tmp_path.glob("truth-around-*")) == [
        "truth-around-000001.npz",
        "truth-around-000002.npz",
    ]
    assert truth.of(0) is None
    assert off(truth.of(2), rendered[2]) < 0.1
    assert off(truth.of(5), rendered[5]) < 0.1


def test_a_frame_that_comes_in_pieces_has_moved_once(tmp_path: Path) -> None:
    recipe = path("jittered", pixels=SIDE, fov_nm=3.2)
    microscope = SimulatedMicroscope(
        config(specimen=SPECIMEN, motion=Motion(drift_nm_per_s=(10.0, 0.0))), truth=TrackedTruth(tmp_path / "truth.npz")
    )
    microscope.begin(recipe, 0, 0)
    assert microscope.read(100) is not None
    microscope.begin(recipe, 100, 0)
    lines = [json.loads(line) for line in (tmp_path / "truth-moves.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [0]


def test_without_moves_the_specimen_stands_still(tmp_path: Path) -> None:
    still = np.arange(20, dtype=np.float32).reshape(4, 5)
    np.savez(tmp_path / "truth.npz", expected=still[None])
    np.testing.assert_array_equal(MovingTruth(tmp_path / "truth.npz").of(7), still)


def test_moves_are_read_as_they_come_and_nonsense_is_refused(tmp_path: Path) -> None:
    rendered = scan(tmp_path, (0.5, 0.0), 2)
    moves = tmp_path / "truth-moves.jsonl"
    first, second = moves.read_bytes().splitlines(keepends=True)
    moves.write_bytes(first + second[:20])
    truth = MovingTruth(tmp_path / "truth.npz")
    assert truth.of(0) is not None
    assert truth.of(1) is None, "half a line is none"
    moves.write_bytes(first + second)
    assert off(truth.of(1), rendered[1]) < 0.1
    moves.write_bytes(first + second + b"{}\n")
    with pytest.raises(RecordingError, match="not what the simulator wrote"):
        truth.of(1)
