"""What was used last is kept, and no more than so many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scancontrol.recent import Recent


def test_the_entry_that_was_not_used_for_longest_goes_first() -> None:
    kept: Recent[str, int] = Recent(2)
    kept["a"], kept["b"] = 1, 2
    assert kept["a"] == 1  # used, so that b is the older one now
    kept["c"] = 3
    assert list(kept) == ["a", "c"]
    assert kept.get("b") is None
    assert kept.get("a") == 1
    kept["d"] = 4
    assert list(kept) == ["a", "d"]


def test_looking_whether_something_is_there_does_not_use_it() -> None:
    kept: Recent[str, int] = Recent(2)
    kept["a"], kept["b"] = 1, 2
    assert "a" in kept
    kept["c"] = 3
    assert list(kept) == ["b", "c"]


def test_what_is_made_is_made_once_while_it_is_kept() -> None:
    kept: Recent[int, int] = Recent(2)
    made: list[int] = []

    def square(of: int) -> int:
        made.append(of)
        return of * of

    assert [kept.made(k, lambda k=k: square(k)) for k in (3, 3, 4, 3, 5, 3, 4)] == [9, 9, 16, 9, 25, 9, 16]  # type: ignore[misc]
    assert made == [3, 4, 5, 4]


@given(st.integers(1, 5), st.lists(st.integers(0, 9)))
def test_it_keeps_the_last_distinct_keys_in_the_order_of_their_use(limit: int, keys: list[int]) -> None:
    kept: Recent[int, int] = Recent(limit)
    for key in keys:
        kept.made(key, lambda key=key: -key)  # type: ignore[misc]
    last = list(dict.fromkeys(reversed(keys)))[:limit]
    assert list(kept) == list(reversed(last))
    assert all(value == -key for key, value in kept.items())
