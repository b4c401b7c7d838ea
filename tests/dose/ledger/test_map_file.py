"""The compacted part of a ledger: it comes back as it was, or is refused before it can do harm."""

from __future__ import annotations

import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from ledger_scans import CURRENT_PA, HERE, raster, scan

from scancontrol.dose.ledger import DoseLedger
from scancontrol.dose.ledger.map_file import digest_of, load_map, save_map
from scancontrol.dose.ledger.state import LedgerState
from scancontrol.errors import InvalidInput


@pytest.fixture
def state(tmp_path: Path) -> LedgerState:
    """Of a specimen that was scanned at two places, and that a third scan was asked for."""
    ledger, path = DoseLedger(tmp_path, "gold"), raster()
    scan(ledger, path)
    scan(ledger, path, 1, stage_nm=(500.0, -20.0))
    ledger.ask("s", 2, path, 7, CURRENT_PA, HERE)
    ledger.close()
    return load_map(tmp_path / "gold" / "map.npz").state


def test_what_is_saved_is_loaded_whole_and_the_chain_of_maps_is_kept(state: LedgerState, tmp_path: Path) -> None:
    file = tmp_path / "map.npz"
    digest = save_map(file, state, follows="abc")
    loaded = load_map(file)
    assert (loaded.digest, loaded.follows, loaded.unchained) == (digest, "abc", False)
    assert digest == digest_of(file.read_bytes())
    for name in ("specimen", "session", "number", "electrons", "session_electrons", "frames", "overcount", "server_id"):
        assert getattr(loaded.state, name) == getattr(state, name), name
    assert state.places
    assert loaded.state.places == state.places
    assert state.asked
    assert loaded.state.asked == state.asked
    assert set(loaded.state.paths) == {asked.path_id for asked in state.asked.values()}, (
        "paths that nobody waits for go"
    )
    assert list(loaded.state.area.tiles) == list(state.area.tiles) != []
    for key, tile in state.area.tiles.items():
        np.testing.assert_array_equal(loaded.state.area.tiles[key], tile)


def test_without_a_file_the_state_is_that_of_a_specimen_never_scanned(tmp_path: Path) -> None:
    loaded = load_map(tmp_path / "none.npz")
    assert (loaded.state.electrons, loaded.digest, loaded.follows) == (0.0, "", "")


def _rewritten(file: Path, **changes: object) -> None:
    """The same map with some of its facts changed, or what ``tiles`` makes of its doses."""
    with np.load(file) as archive:
        keys, tiles, facts = archive["keys"], archive["tiles"], msgspec.json.decode(archive["facts"].tobytes())
    if callable(change := changes.pop("tiles", None)):
        tiles = change(tiles)
    facts |= changes
    np.savez_compressed(file, keys=keys, tiles=tiles, facts=np.frombuffer(msgspec.json.encode(facts), np.uint8))


def test_a_map_of_a_release_that_wrote_no_digests_is_read_and_said_to_be_unchained(
    state: LedgerState, tmp_path: Path
) -> None:
    file = tmp_path / "map.npz"
    save_map(file, state, follows="abc")
    _rewritten(file, version=1)
    loaded = load_map(file)
    assert (loaded.unchained, loaded.follows, loaded.state.electrons) == (True, "", state.electrons)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"version": 3}, "of another version"),
        ({"tiles": lambda tiles: -tiles}, "not doses"),
        ({"tiles": lambda tiles: tiles * np.nan}, "not doses"),
        ({"tiles": lambda tiles: tiles.astype(np.float32)}, "not doses"),
        ({"tiles": lambda tiles: tiles[:, :3]}, "of another version"),
        ({"tiles": lambda tiles: tiles[1:]}, "of another version"),
        ({"electrons": "many"}, "could not convert"),
        ({"places": [{"stage_nm": [0]}]}, "cannot be read"),
        ({"paths": [{"pattern": "none"}]}, "cannot be read"),
    ],
)
def test_what_is_no_map_is_refused_with_the_remedy(
    state: LedgerState, tmp_path: Path, changes: dict[str, object], why: str
) -> None:
    file = tmp_path / "map.npz"
    save_map(file, state, follows="")
    _rewritten(file, **changes)
    with pytest.raises(InvalidInput, match=why) as refused:
        load_map(file)
    assert "restore it from a copy" in refused.value.remedy


def test_a_file_that_says_it_would_unpack_to_fill_the_memory_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "map.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiles.npy", bytes(1000))
    content = bytearray(file.read_bytes())
    at = content.rindex(b"PK\x01\x02") + 24  # the directory's word for the unpacked size
    content[at : at + 4] = (0xFFFFFFFE).to_bytes(4, "little")
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match="too large unpacked"):
        load_map(file)
