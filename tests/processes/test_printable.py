"""What strangers call themselves cannot move a cursor, ring a bell, forge a line or turn what is read."""

from __future__ import annotations

import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scancontrol.processes import logs
from scancontrol.processes.printable import printable


@given(st.text())
def test_nothing_unprintable_is_left(text):
    cleaned = printable(text)
    assert len(cleaned) == len(text)
    assert not set(cleaned) & {chr(code) for code in [*range(32), 127, *range(128, 160), 0x202E, 0x2066, 0x2028]}


@pytest.mark.parametrize("name", ["ada", "Ádám Žižek", "测试", "e/Å² ± µ"])
def test_names_of_people_stay_as_they_are(name):
    assert printable(name) == name


def test_a_log_line_cannot_be_forged_or_coloured():
    stream = io.StringIO()
    before = logging.getLogger().handlers[:]
    try:
        logs.configure("test", verbose=True, stream=stream)
        logging.getLogger("x").warning("%s left", "eve\x1b[2J\x07\u202e")
    finally:
        logging.getLogger().handlers[:] = before
    assert "\x1b" not in stream.getvalue()
    assert "\u202e" not in stream.getvalue()
