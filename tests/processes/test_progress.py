"""How far a long piece of work is: a bar on a terminal, lines elsewhere, and nothing lost with the stream."""

from __future__ import annotations

import io
import threading

import pytest

from scancontrol.processes.progress import progress, say_beside


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError("nobody reads")


def drawn_on(stream: io.StringIO) -> str:
    with progress(4, "frames", done=1, stream=stream) as bar:
        for _ in range(3):
            bar.update()
    return stream.getvalue()


def test_a_file_gets_whole_lines_the_last_of_which_says_that_all_is_done() -> None:
    text = drawn_on(io.StringIO())
    assert "\r" not in text
    first, *_, last = text.splitlines()
    assert "1/4" in first
    assert "4/4" in last
    assert "frames" in last


def test_a_terminal_gets_one_line_that_is_redrawn() -> None:
    text = drawn_on(Terminal())
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert "4/4" in text.rsplit("\r", 1)[1]


def test_a_stream_that_is_lost_loses_the_words_and_nothing_else() -> None:
    assert drawn_on(Gone()) == ""


def test_a_quiet_bar_says_nothing_and_what_is_said_beside_it_is_still_said(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(4, "frames", quiet=True) as bar:
        bar.update()
        say_beside(bar, "one chunk is damaged")
    say_beside(None, "no bar at all")
    assert capsys.readouterr().err == "one chunk is damaged\nno bar at all\n"


def test_no_thread_outlives_a_bar() -> None:
    before = set(threading.enumerate())
    drawn_on(Terminal())
    assert set(threading.enumerate()) == before
