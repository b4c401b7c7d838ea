"""Which frame is restored next, which give way, and who is told."""

from __future__ import annotations

import numpy as np
import pytest

from scancontrol.restoration import Look
from scancontrol.restorer.requests import Asked, MissedFrame, Requests
from scancontrol.wire import restoring as wire

PATH = wire.Register(path_id="0" * 32, recipe={})
SAMPLES = np.zeros(4, dtype="<u2")


def ask(
    requests: Requests,
    frame: int,
    *,
    keep: bool = False,
    complete: bool = True,
    stream: str = "s",
    look: Look | None = None,
) -> list[MissedFrame]:
    read_again = (lambda: SAMPLES) if keep else None
    return requests.ask(stream, frame, PATH, SAMPLES, complete=complete, read_again=read_again, look=look, now_ns=0)


def done(requests: Requests) -> int | None:
    """The next frame goes out, and is answered."""
    asked = requests.next()
    return None if asked is None else answered(requests, asked)


def answered(requests: Requests, asked: Asked) -> int:
    assert requests.answered(asked.request) is asked
    return asked.frame


def test_the_newest_frame_is_next_and_what_is_to_be_stored_follows_in_its_order() -> None:
    requests = Requests()
    for frame in range(4):
        assert ask(requests, frame, keep=True) == []
    assert [done(requests) for _ in range(5)] == [3, 0, 1, 2, None]


def test_a_frame_that_is_not_to_be_stored_gives_way_to_a_newer_one() -> None:
    requests = Requests()
    ask(requests, 0)
    assert ask(requests, 1) == [MissedFrame("s", 0, "dropped")]
    assert ask(requests, 2, stream="other") == []
    assert [done(requests) for _ in range(3)] == [1, 2, None]


def test_a_look_at_an_unfinished_frame_waits_behind_a_complete_one_and_before_the_stored_ones() -> None:
    requests = Requests()
    ask(requests, 0, keep=True)
    ask(requests, 1, keep=True)
    ask(requests, 2, complete=False)
    ask(requests, 2, complete=False)
    assert [done(requests) for _ in range(4)] == [1, 2, 0, None]


def test_a_look_is_not_taken_once_its_frame_is_complete() -> None:
    requests = Requests()
    ask(requests, 0, complete=False)
    ask(requests, 0)
    assert [done(requests), done(requests)] == [0, None]


def test_one_request_at_a_time_is_out() -> None:
    requests = Requests()
    ask(requests, 0, keep=True)
    out = requests.next()
    assert out is not None
    ask(requests, 1, keep=True)
    assert requests.next() is None
    assert answered(requests, out) == 0
    assert done(requests) == 1


def test_an_answer_to_what_was_never_asked_or_was_answered_before_is_nobodys() -> None:
    requests = Requests()
    ask(requests, 0)
    out = requests.next()
    assert out is not None
    assert requests.answered(out.request + 1) is None
    assert requests.answered(None) is None
    assert answered(requests, out) == 0
    assert requests.answered(out.request) is None


def test_samples_of_stored_frames_beyond_the_memory_are_let_go() -> None:
    requests = Requests(waiting_bytes=2 * SAMPLES.nbytes)
    for frame in range(5):
        ask(requests, frame, keep=True)
    kept = []
    while (asked := requests.next()) is not None:
        kept.append(asked.samples is not None)
        requests.answered(asked.request)
    assert kept == [True, True, True, False, False], "the newest, and two that wait"


def test_what_was_out_when_the_restorer_died_is_missed_or_tried_once_more_after_the_others() -> None:
    requests = Requests()
    ask(requests, 0)
    requests.next()
    assert requests.lost("died") == [MissedFrame("s", 0, "died")]
    ask(requests, 1, keep=True)
    ask(requests, 2, keep=True)
    assert requests.next().frame == 2  # type: ignore[union-attr]
    assert requests.lost("died") == []
    assert done(requests) == 1
    assert requests.next().frame == 2  # type: ignore[union-attr]
    assert requests.lost("died") == [MissedFrame("s", 2, "died")], "it ended the restorer twice"


def test_a_stream_that_is_forgotten_comes_out_no_more() -> None:
    requests = Requests()
    for frame in range(3):
        ask(requests, frame, keep=True)
    ask(requests, 9, keep=True, stream="other")
    out = requests.next()
    assert out is not None
    assert out.frame == 2
    assert requests.waiting("s") == 3
    assert requests.forget("s") == 3
    assert requests.waiting("s") == 0
    assert requests.answered(out.request) is None
    assert [done(requests), done(requests)] == [9, None]


def test_at_the_end_everything_complete_that_is_left_is_missed() -> None:
    requests = Requests()
    ask(requests, 0, keep=True)
    ask(requests, 1, keep=True)
    requests.next()
    ask(requests, 2, complete=False)
    assert {frame.frame for frame in requests.close("stopped")} == {0, 1}
    assert len(requests) == 0


@pytest.mark.parametrize("busy", [False, True])
def test_a_path_is_prepared_only_while_no_frame_waits(busy: bool) -> None:
    requests = Requests()
    requests.prepare(PATH)
    if busy:
        ask(requests, 0)
        assert requests.ahead() is None
        done(requests)
    assert requests.ahead() is PATH
    assert requests.ahead() is None


def test_another_look_at_the_newest_frame_follows_it_and_only_the_last_one_asked_for_is_taken() -> None:
    requests = Requests()
    ask(requests, 0, keep=True)
    ask(requests, 1, keep=True)
    ask(requests, 1, look=Look(alone=True))
    ask(requests, 1, look=Look(lattice=False))
    ask(requests, 2, complete=False)
    looks = []
    while (asked := requests.next()) is not None:
        answered(requests, asked)
        looks.append((asked.frame, asked.look))
    assert looks == [(1, None), (1, Look(lattice=False)), (2, None), (0, None)]


def test_another_look_that_is_lost_or_forgotten_is_nobodys_missed_frame() -> None:
    requests = Requests()
    ask(requests, 0, look=Look(alone=True))
    assert requests.next() is not None
    assert requests.lost("died") == []
    ask(requests, 0, look=Look(alone=True))
    assert requests.waiting("s") == 0
    assert requests.forget("s") == 0
    assert requests.next() is None


@pytest.mark.parametrize("restoration_ms", [5, 14, 40, 90, 400])
def test_the_newest_picture_is_never_older_than_two_restorations_whatever_the_beam_does(restoration_ms: int) -> None:
    """Frames come every 14 ms and all are to be stored; a picture's age counts from the last sample of its frame."""
    requests, beam_ms, now_ms, done_ms = Requests(), 14, 0, 0
    scanned: dict[int, int] = {}
    out, worst_ms, shown = None, 0, -1
    for now_ms in range(4000):
        if now_ms % beam_ms == 0:
            frame = len(scanned)
            scanned[frame] = now_ms
            ask(requests, frame, keep=True)
        if out is not None and now_ms >= done_ms:
            shown = max(shown, answered(requests, out))
            out = None
        if out is None and (out := requests.next()) is not None:
            done_ms = now_ms + restoration_ms
        if shown >= 0 and out is not None:  # the picture that stands until the next one comes
            worst_ms = max(worst_ms, now_ms - scanned[shown])
    # Restored for as long as one restoration, and shown until the next newest one is: the stored ones may come between.
    assert worst_ms <= 2 * restoration_ms + 2 * beam_ms
