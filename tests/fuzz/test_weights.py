"""The weights reader on files that were damaged, or made to do harm with a hash that is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from restore.generator.generator import Generator
from restore.generator.presets import GeneratorConfig
from restore.generator.weights import _digest, load_weights, save_weights
from scancontrol.errors import InvalidInput

TINY = GeneratorConfig(widths=(8, 8), inner_blocks=(0, 1), outer_blocks=1, spectral_iterations=(2, 2))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, Generator(TINY), "tiny")
    return path


def forged(whole: Path, target: Path, change: Any) -> Path:
    """The same tensors with other notes, and the hash that fits them."""
    with safe_open(whole, framework="pt") as file:
        notes = json.loads(file.metadata()["notes"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - safe_open is no mapping
    change(notes)
    text = json.dumps(notes, sort_keys=True)
    save_file(tensors, target, {"notes": text, "hash": _digest(tensors, text)})
    return target


def test_damaged_weights_are_refused(whole: Path, tmp_path: Path) -> None:
    data = whole.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    target = tmp_path / "damaged.safetensors"

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, header - 1) | st.integers(header, len(data) - 1), st.binary(min_size=1, max_size=6))
    def check(at: int, piece: bytes) -> None:
        changed = data[:at] + piece + data[at + len(piece) :]
        if changed == data:
            return
        target.write_bytes(changed)
        try:
            load_weights(target)
        except InvalidInput:
            return
        assert at < header, "what the hash guards was altered"  # the order of the header's keys may change

    check()


@pytest.mark.parametrize("keep", [0, 7, 8, 100, -1])
def test_truncated_weights_are_refused(whole: Path, tmp_path: Path, keep: int) -> None:
    target = tmp_path / "short.safetensors"
    target.write_bytes(whole.read_bytes()[:keep])
    with pytest.raises(InvalidInput, match="weights"):
        load_weights(target)


@pytest.mark.parametrize(
    "change",
    [
        {"widths": [1 << 18, 1 << 18]},
        {"widths": [8, -8]},
        {"widths": []},
        {"inner_blocks": [0, 1 << 30]},
        {"outer_blocks": 1 << 30},
        {"widths": [1024] * 8, "inner_blocks": [16] * 8},
    ],
    ids=["wide", "negative", "none", "many inner blocks", "many outer blocks", "the most that any may ask for: 10 GB"],
)
def test_a_configuration_that_asks_for_all_memory_is_refused_though_its_hash_is_right(
    whole: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    target = forged(whole, tmp_path / "forged.safetensors", lambda notes: notes["config"].update(change))
    with pytest.raises(InvalidInput):
        load_weights(target)


@pytest.mark.parametrize("notes", ["[1]", "3", "null", "{}", "[" * 100_000, '{"format": "scancontrol-generator/1"}'])
def test_notes_that_are_no_notes_are_refused_though_their_hash_is_right(
    whole: Path, tmp_path: Path, notes: str
) -> None:
    target = tmp_path / "forged.safetensors"
    tensors = {"one": torch.ones(2)}
    save_file(tensors, target, {"notes": notes, "hash": _digest(tensors, notes)})
    with pytest.raises(InvalidInput, match="are not of this program"):
        load_weights(target)


@pytest.mark.parametrize("change", [{"name": "n" * 65}, {"name": 5}, {"face": "third"}, {"more": 1}])
def test_notes_say_what_they_must_and_nothing_else(whole: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    target = forged(whole, tmp_path / "forged.safetensors", lambda notes: notes.update(change))
    with pytest.raises(InvalidInput, match="are not of this program"):
        load_weights(target)
