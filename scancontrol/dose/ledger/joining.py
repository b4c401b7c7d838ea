"""A ledger's map and its journal put together again, or refused: dose is never forgotten, and never read as 0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scancontrol.dose.ledger.journal import Record
from scancontrol.dose.ledger.map_file import Loaded
from scancontrol.dose.ledger.state import LedgerState
from scancontrol.errors import InvalidInput

__all__ = ["head_of", "joined"]

_REMEDY = "restore both files from one copy, or name a new specimen"


def head_of(number: int, digest: str) -> Record:
    """The first record of a journal that goes on from a map."""
    return {"n": number, "kind": "map", "digest": digest}


def joined(folder: Path, loaded: Loaded, records: Sequence[Record]) -> LedgerState:
    """The state that map and journal add up to.

    Args:
        folder: named in what is refused.
        loaded: the map.
        records: the journal's.
    Raises:
        InvalidInput: the two do not belong together, or records are lacking.
    """
    state = loaded.state
    head = records[0] if records and records[0].get("kind") == "map" else None
    remembered = "" if head is None else str(head.get("digest"))
    rest = list(records if head is None else records[1:])
    base = 0 if head is None else int(head["n"])
    for place, record in enumerate(rest):
        if record.get("n") != base + 1 + place:
            raise _refused(folder, f"lacks record {base + 1 + place}: {record.get('n')} comes instead")
    if remembered == loaded.digest:
        if base != state.number:
            raise _refused(folder, f"has a map up to record {state.number} and a journal from {base + 1} on")
    elif not loaded.digest:
        raise _refused(folder, "has lost its map, map.npz")
    elif remembered == loaded.follows and base + len(rest) >= state.number:
        # The map was written, and the journal not yet replaced, when the process was killed.
        rest = [record for record in rest if record["n"] > state.number]
        if rest and not loaded.unchained:
            raise _refused(folder, f"has an older map, up to record {state.number}")
    else:
        raise _refused(folder, "has a map and a journal that do not belong together: one is older, or was edited")
    for record in rest:
        state.apply(record)
    return state


def _refused(folder: Path, what: str) -> InvalidInput:
    return InvalidInput("dose ledger", folder, what, _REMEDY)
