"""Numbers that were seen, against a set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scancontrol.wire.seen import SeenNumbers


@given(st.lists(st.integers(0, 60)))
def test_it_knows_what_a_set_knows(numbers):
    seen, known = SeenNumbers(), set()
    for number in numbers:
        assert (number in seen) == (number in known)
        seen.add(number)
        known.add(number)
    assert [number for number in range(62) if number in seen] == sorted(known)
    assert len(seen._starts) == sum(number - 1 not in known for number in known)


def test_a_million_numbers_in_order_are_one_stretch_and_many_gaps_are_bounded():
    seen = SeenNumbers()
    for number in range(10_000):
        seen.add(number)
    assert seen._starts == [0]
    for number in range(20_000, 60_000, 2):
        seen.add(number)
    assert len(seen._starts) <= 1024
    assert 59_998 in seen
    assert 60_000 not in seen
