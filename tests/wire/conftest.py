"""Both ends of the wire in memory, for every test that wants them."""

from __future__ import annotations

import pytest
from wire_pair import Client, Pair


@pytest.fixture
def pair() -> Pair:
    return Pair()


@pytest.fixture
def operator(pair: Pair) -> Client:
    return pair.ready(Client(pair))
