"""Gridded partial frames: of every detector on the disk, and of the chosen one on the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from recording_tools import MICROSCOPE, new_recording, samples_of, spiral

from scancontrol.acquisition import FrameEnd, FrameStart, Partial, PartialFrames
from scancontrol.paths import partial_frame
from scancontrol.recording import Recording


def test_a_detector_chosen_in_mid_frame_is_shown_with_all_of_its_samples_and_every_one_is_recorded(
    tmp_path: Path,
) -> None:
    path, shown, chosen = spiral(), list[Partial](), ["HAADF"]
    half = path.count // 2
    with new_recording(tmp_path / "a.hspy", [path]) as recording:
        sink = PartialFrames(
            recording, MICROSCOPE.coil, shown.append, shown=lambda: chosen[0], interval_s=0.0, clock=lambda: 0.0
        )
        recording.begin_frame(0, path)
        sink.frame_started(FrameStart(1, 0, path, 0, 0, 0))
        sink.samples(0, 0, samples_of(0, 0, half))
        chosen[0] = "BF"
        sink.samples(0, half, samples_of(0, half, path.count - half))
        sink.frame_ended(FrameEnd(1, 0, path, "completed", path.count, True, 0))
    values = samples_of(0, 0, path.count)
    assert [(partial.channel, partial.samples) for partial in shown] == [
        ("HAADF", half),
        ("BF", path.count),
        ("BF", path.count),
    ]
    with Recording.open(tmp_path / "a.hspy") as read:
        for row, channel in enumerate(("HAADF", "BF")):
            np.testing.assert_allclose(read.partial(0, channel), partial_frame(path, values[row])[0], rtol=1e-6)
    np.testing.assert_allclose(shown[-1].mean, partial_frame(path, values[1])[0], rtol=1e-6)
