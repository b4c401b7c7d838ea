"""What an acquisition says of itself adds up, whatever comes in whatever pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scancontrol.acquisition.phases import AcquisitionStatus, Phase
from scancontrol.acquisition.progress import Progress
from scancontrol.wire.assembly import Chunk
from scancontrol.wire.messages import End


def chunk(first: int, count: int, session_electrons: float) -> Chunk:
    values = np.zeros((1, count), "<u2")
    return Chunk(1, "s", 0, "p", first, count, values, 0, 0, 0.0, 0.0, session_electrons)


def end(samples: int) -> End:
    return End(
        sequence=0,
        first_index=0,
        series_id=1,
        series_unique_id="s",
        frame=0,
        path_id="p",
        reason="completed",
        message="",
        samples=samples,
        next_index=samples,
        electrons=0.0,
        monotonic_ns=0,
        utc_ns=0,
    )


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20), st.floats(0, 1e6)), max_size=20))
def test_each_sample_is_received_once_however_often_it_was_sent(sent: list[tuple[int, int, float]]) -> None:
    progress, have, again, gaps = Progress(AcquisitionStatus()), 0, 0, 0
    for first, count, electrons in sent:
        following = have if first > have else max(have, first + count)  # what follows a gap is not taken
        progress.kept(chunk(first, count, electrons), have, following)
        again, gaps = again + max(0, have - first), gaps + (first > have)
        have = following
    status = progress.status
    assert status.samples_received == status.next_index == have or not sent
    assert (status.samples_duplicate, status.chunks_out_of_turn) == (again, gaps)
    assert status.electrons == max([electrons for _, _, electrons in sent], default=0.0)


def test_the_first_failure_is_the_reason_and_the_later_ones_do_not_hide_it() -> None:
    told: list[AcquisitionStatus] = []
    progress = Progress(AcquisitionStatus(phase=Phase.SCANNING), told.append)
    progress.failed("recording", "the disk is full")
    progress.failed("link", "no answer")
    progress.finish(("completed", ""), owed=True)
    assert (told[-1].finish_reason, told[-1].message, told[-1].owed) == ("recording", "the disk is full", True)
    assert (told[-1].phase, told[-1].resumable) == (Phase.ENDED, True)


@pytest.mark.parametrize("frames", [1, 2, 40])
def test_the_rate_is_that_of_the_newest_frames_and_none_of_a_single_one(frames: int) -> None:
    times = iter([0.0, *(100.0 + 0.25 * n for n in range(frames - 1))])
    progress = Progress(AcquisitionStatus(), clock=lambda: next(times))
    for _ in range(frames):
        progress.ended(end(10), complete=True, lost=1)
    rate_hz = {1: 0.0, 2: 0.01, 40: 4.0}[frames]  # the first one is forgotten among forty
    assert progress.status.frame_rate_hz == pytest.approx(rate_hz)
    assert (progress.status.frames_ended, progress.status.samples_lost) == (frames, frames)
    assert progress.status.samples_exposed == 10 * frames
