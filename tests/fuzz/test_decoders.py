"""Whatever a decoder is sent, it answers or raises a typed error, and never takes memory out of proportion."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator

import pytest
from fuzz_targets import TARGETS, Target
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_SLOW = ("yaml_", "recording", "weights_")  # milliseconds an input
_FAST_EXAMPLES, _SLOW_EXAMPLES = 80, 15


def _mutations(target: Target) -> st.SearchStrategy[bytes]:
    """Valid inputs with a few bytes changed, cut out, put in or repeated; and plain noise."""
    edit = st.tuples(
        st.sampled_from(["set", "cut", "insert", "repeat"]), st.floats(0, 1), st.binary(min_size=1, max_size=9)
    )

    def apply(seed: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
        data = bytearray(seed)
        for kind, place, piece in edits:
            at = int(place * len(data))
            if kind == "set":
                data[at : at + len(piece)] = piece
            elif kind == "cut":
                del data[at : at + len(piece)]
            elif kind == "insert":
                data[at:at] = piece
            else:
                data[at:at] = data[at : at + len(piece)] * 4
        return bytes(data)

    mutated = st.builds(apply, st.sampled_from(target.seeds), st.lists(edit, min_size=1, max_size=6))
    return mutated | st.binary(max_size=200)


@pytest.mark.parametrize("name", TARGETS)
def test_what_the_fuzzer_begins_from_is_accepted(name: str) -> None:
    for seed in TARGETS[name].seeds:
        assert TARGETS[name].run(seed), "a seed that is refused leads the fuzzer nowhere"


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_input_gets_an_answer_or_a_typed_error(name: str) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=_SLOW_EXAMPLES if name.startswith(_SLOW) else _FAST_EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(_mutations(target))
    def check(data: bytes) -> None:
        target.run(data)

    check()


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("name", TARGETS)
def test_memory_stays_in_proportion_to_the_input(name: str, traced: None) -> None:
    target, chance = TARGETS[name], random.Random(name)
    for _ in range(3 if name.startswith(_SLOW) else 20):
        data = bytearray(chance.choice(target.seeds))
        for _ in range(chance.randrange(8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        target.run(bytes(data))
        taken = tracemalloc.get_traced_memory()[1] - before
        assert taken < (4 << 20) + target.factor * len(data), f"{taken} bytes for an input of {len(data)}"
