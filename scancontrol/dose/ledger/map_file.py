"""The compacted part of a ledger: one ``npz`` file, replaced as a whole, bounded before it is unpacked."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np

from scancontrol.dose.ledger.area import MAX_TILES, TILE
from scancontrol.dose.ledger.state import Asked, LedgerState, Place
from scancontrol.errors import InvalidInput
from scancontrol.files import write_bytes

__all__ = ["VERSION", "Loaded", "digest_of", "load_map", "save_map"]

VERSION = 2


def save_map(path: Path, state: LedgerState, follows: str) -> str:
    """Write a state; ``follows`` is the digest of the map before it. Returns its own.

    Raises:
        StorageError: the disk does not take it; the old file stays.
    """
    facts = {
        "version": VERSION,
        "follows": follows,
        "overcount": state.overcount,
        "specimen": state.specimen,
        "session": state.session,
        "number": state.number,
        "electrons": state.electrons,
        "session_electrons": state.session_electrons,
        "frames": state.frames,
        "assumed_electrons": state.assumed_electrons,
        "server_id": state.server_id,
        "server_baseline": state.server_baseline,
        "server_electrons": state.server_electrons,
        "places": [asdict(place) for place in state.places.values()],
        "asked": [asdict(asked) for asked in state.asked.values()],
        "paths": [
            msgspec.to_builtins(state.paths[path_id].recipe)
            for path_id in dict.fromkeys(asked.path_id for asked in state.asked.values())
        ],
    }
    keys = np.array(list(state.area.tiles), dtype=np.int64).reshape(-1, 3)
    tiles = np.array(list(state.area.tiles.values()), dtype=np.float64).reshape(-1, TILE, TILE)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, keys=keys, tiles=tiles, facts=np.frombuffer(msgspec.json.encode(facts), np.uint8))
    write_bytes(path, buffer.getbuffer(), "dose ledger")
    return digest_of(buffer.getvalue())


@dataclass(frozen=True)
class Loaded:
    """A map as it was read: its digest, and that of the map before it, empty where there is none."""

    state: LedgerState
    digest: str = ""
    follows: str = ""
    unchained: bool = False  # of a release that wrote no digests


def digest_of(content: bytes) -> str:
    """What a journal remembers a map by."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def load_map(path: Path) -> Loaded:
    """The map in a file; an empty one where there is none.

    Raises:
        InvalidInput: it is none, or damaged.
    """
    state = LedgerState()
    if not path.exists():
        return Loaded(state)
    try:
        if path.stat().st_size > 1 << 30:
            raise ValueError("too large")
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:  # bounded before anything is unpacked
            if sum(item.file_size for item in archive.infolist()) > MAX_TILES * (TILE * TILE * 8 + 24) + (64 << 20):
                raise ValueError("too large unpacked")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            keys, tiles, facts = file["keys"], file["tiles"], msgspec.json.decode(file["facts"].tobytes())
        if facts["version"] not in (1, VERSION) or keys.shape != (len(tiles), 3) or tiles.shape[1:] != (TILE, TILE):
            raise ValueError("of another version")
        if tiles.dtype != np.float64 or not bool(np.isfinite(tiles).all() and (tiles >= 0).all()):
            raise ValueError("not doses")
        for name in (
            "specimen",
            "session",
            "number",
            "electrons",
            "session_electrons",
            "frames",
            "assumed_electrons",
            "server_id",
            "server_baseline",
            "server_electrons",
        ):
            setattr(state, name, type(getattr(state, name))(facts[name]))
        state.overcount = float(facts.get("overcount", 1.0))
        for key, tile in zip(keys.tolist(), tiles, strict=True):
            state.area.tiles[key[0], key[1], key[2]] = tile.copy()
        for recipe in facts["paths"]:
            state.apply({"kind": "path", "recipe": recipe, "n": state.number})
        for given in facts["asked"]:
            asked = Asked(**{**given, "stage_nm": tuple(given["stage_nm"])})
            state.asked[asked.number] = asked
        for given in facts["places"]:
            place = Place(**{**given, "stage_nm": (float(given["stage_nm"][0]), float(given["stage_nm"][1]))})
            state.places[place.stage_nm] = place
    except Exception as error:  # zip, zlib and numpy's header, parsed as Python, fail in as many ways
        raise InvalidInput(
            "dose ledger", path, f"cannot be read ({error})", "restore it from a copy, or name a new specimen"
        ) from error
    unchained = facts["version"] == 1
    return Loaded(state, digest_of(content), "" if unchained else str(facts["follows"]), unchained)
