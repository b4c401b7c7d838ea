"""A map and a journal add up to what was written, or are refused: however they were cut, nothing is passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scancontrol.dose.ledger.joining import head_of, joined
from scancontrol.dose.ledger.map_file import Loaded
from scancontrol.dose.ledger.state import LedgerState
from scancontrol.errors import InvalidInput

HERE = Path("ledger")
KINDS = st.one_of(
    st.builds(lambda name: {"kind": "session", "session": name}, st.sampled_from("abc")),
    st.builds(
        lambda name, electrons: {"kind": "server", "server_id": name, "electrons": electrons},
        st.sampled_from("xyz"),
        st.floats(0, 1e9),
    ),
)


def numbered(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**record, "n": place + 1} for place, record in enumerate(records)]


def after(records: list[dict[str, Any]]) -> LedgerState:
    state = LedgerState()
    for record in records:
        state.apply(record)
    return state


def facts(state: LedgerState) -> tuple[object, ...]:
    return state.number, state.session, state.server_id, state.server_baseline


@st.composite
def cut(draw: st.DrawFn) -> tuple[list[dict[str, Any]], int]:
    """Records from the first on, and after which of them the map was written."""
    records = numbered(draw(st.lists(KINDS, min_size=1, max_size=12)))
    return records, draw(st.integers(1, len(records)))


@settings(max_examples=60, deadline=None)
@given(cut())
def test_wherever_the_map_was_written_it_and_the_rest_are_the_whole(given: tuple[list[dict[str, Any]], int]) -> None:
    records, at = given
    loaded = Loaded(after(records[:at]), digest="this", follows="before")
    journal = [head_of(at, "this"), *records[at:]]
    assert facts(joined(HERE, loaded, journal)) == facts(after(records))


@settings(max_examples=60, deadline=None)
@given(cut(), st.data())
def test_a_process_killed_between_map_and_journal_has_counted_every_record_once(
    given: tuple[list[dict[str, Any]], int], data: st.DataObject
) -> None:
    records, _ = given
    before = data.draw(st.integers(0, len(records)), "the map before")
    loaded = Loaded(after(records), digest="new", follows="old")
    assert facts(joined(HERE, loaded, [head_of(before, "old"), *records[before:]])) == facts(after(records))


@settings(max_examples=60, deadline=None)
@given(cut(), st.data())
def test_a_journal_that_lacks_a_record_is_refused_wherever_it_lacks_it(
    given: tuple[list[dict[str, Any]], int], data: st.DataObject
) -> None:
    records, at = given
    rest = [*records[at:], *({**record, "n": len(records) + 1 + k} for k, record in enumerate(records[:2]))]
    rest.append({**records[0], "n": rest[-1]["n"] + 1})
    del rest[data.draw(st.integers(0, len(rest) - 2), "lacking")]  # that the last one is there is the anchor's to say
    with pytest.raises(InvalidInput, match="lacks record"):
        joined(HERE, Loaded(after(records[:at]), digest="this"), [head_of(at, "this"), *rest])


@settings(max_examples=60, deadline=None)
@given(cut())
def test_files_that_do_not_belong_together_are_refused(given: tuple[list[dict[str, Any]], int]) -> None:
    records, at = given
    state, rest = after(records[:at]), records[at:]
    with pytest.raises(InvalidInput, match="has lost its map"):
        joined(HERE, Loaded(LedgerState()), [head_of(at, "this"), *rest])
    with pytest.raises(InvalidInput, match="do not belong together"):
        joined(HERE, Loaded(state, digest="another", follows="an older"), [head_of(at, "this"), *rest])
    moved = [{**record, "n": record["n"] + 1} for record in rest]
    with pytest.raises(InvalidInput, match="has a map up to record"):
        joined(HERE, Loaded(state, digest="this"), [head_of(at + 1, "this"), *moved])
