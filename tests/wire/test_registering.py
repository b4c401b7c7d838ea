"""A path becomes known once, whoever waits for it is answered, and positions come in pieces that fit."""

from __future__ import annotations

from typing import Any

import msgspec
from wire_pair import CAPABILITIES, recipe

from scancontrol.paths import ScanPath
from scancontrol.wire import messages as m
from scancontrol.wire.registering import Registrations
from scancontrol.wire.registry import PathRegistry
from scancontrol.wire.scanner import ExpandRecipe

CONNECTION = b"ada"
PATH = recipe()
DATA = bytes(range(250)) * 1000  # positions, longer than a few pieces


def content(data: bool = False) -> dict[str, Any]:
    found = msgspec.msgpack.decode(msgspec.msgpack.encode(PATH))
    return {**found, "pattern": {**found["pattern"], "data": b""}} if data else found


def register(request: int, path_id: str = PATH.path_id, data_bytes: int = 0) -> m.Register:
    return m.Register(request=request, path_id=path_id, recipe=content(data_bytes > 0), data_bytes=data_bytes)


def pieces(path_id: str = PATH.path_id) -> list[m.Piece]:
    starts = range(0, len(DATA), m.PIECE_BYTES)
    return [m.Piece(path_id=path_id, offset=at, data=DATA[at : at + m.PIECE_BYTES]) for at in starts]


def registrations(at_once: int = 4) -> tuple[Registrations, PathRegistry]:
    paths = PathRegistry(8)
    return Registrations(paths, CAPABILITIES, at_once, needs_cells=False), paths


def test_a_recipe_is_expanded_once_and_everybody_who_waits_is_answered_once() -> None:
    known, _ = registrations()
    assert known.register(CONNECTION, register(1)) is None
    assert known.register(CONNECTION, register(2)) is None
    assert known.register(CONNECTION, register(2)) is None  # asked again, because the answer is slow
    (expansion,) = known.expansions()
    assert isinstance(expansion, ExpandRecipe)
    assert expansion.path_id == PATH.path_id
    assert known.expansions() == []
    assert known.expanded(PATH.path_id) == [(CONNECTION, 1), (CONNECTION, 2)]
    assert known.expanded(PATH.path_id) == []


def test_a_path_that_is_known_is_answered_at_once_and_not_expanded_again() -> None:
    known, paths = registrations()
    paths.add(ScanPath(PATH), frozenset())
    assert known.register(CONNECTION, register(7)) == m.Done(request=7)
    assert known.expansions() == []


def test_more_expansions_than_fit_at_once_are_refused_and_taken_once_there_is_room() -> None:
    known, _ = registrations(at_once=1)
    known.register(CONNECTION, register(1))
    refused = known.register(CONNECTION, register(2, "f" * 32))
    assert isinstance(refused, m.Refused)
    assert refused.code == "queue_full"
    known.expanded(PATH.path_id)
    assert known.register(CONNECTION, register(3, "f" * 32)) is None


def test_positions_are_fetched_window_by_window_and_the_recipe_gets_all_of_them() -> None:
    known, _ = registrations()
    wanted = known.register(CONNECTION, register(1, data_bytes=len(DATA)))
    assert wanted == m.Wanted(path_id=PATH.path_id, offset=0)
    assert known.uploading
    for piece in pieces():
        known.take_piece(CONNECTION, piece)
    assert not known.uploading
    (expansion,) = known.expansions()
    assert isinstance(expansion, ExpandRecipe)
    assert expansion.recipe["pattern"]["data"] == DATA


def test_a_lost_piece_changes_nothing_and_the_same_announcement_asks_for_it_again() -> None:
    known, _ = registrations()
    known.register(CONNECTION, register(1, data_bytes=len(DATA)))
    first, _, third, *_ = pieces()
    known.take_piece(CONNECTION, first)
    assert known.take_piece(CONNECTION, third) is None
    again = known.register(CONNECTION, register(1, data_bytes=len(DATA)))
    assert again == m.Wanted(path_id=PATH.path_id, offset=m.PIECE_BYTES)


def test_more_positions_than_were_announced_are_refused_and_the_upload_is_forgotten() -> None:
    known, _ = registrations()
    known.register(CONNECTION, register(5, data_bytes=m.PIECE_BYTES + 1))
    first, second, *_ = pieces()
    assert known.take_piece(CONNECTION, first) is None
    refused = known.take_piece(CONNECTION, second)
    assert isinstance(refused, m.Refused)
    assert (refused.request, refused.code) == (5, "malformed")
    assert not known.uploading
    assert known.expansions() == []


def test_the_rest_of_an_upload_whose_operator_has_left_is_nobodys() -> None:
    known, _ = registrations()
    known.register(CONNECTION, register(1, data_bytes=len(DATA)))
    known.forget_upload()
    assert known.take_piece(CONNECTION, pieces()[0]) is None
    assert known.expansions() == []
