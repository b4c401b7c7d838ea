"""Configuration files are read strictly, and a bad one is named by file, place, value and remedy."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from scancontrol.errors import InvalidInput
from scancontrol.files import load_yaml, to_yaml


class Scan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dwell_us: float
    detectors: tuple[str, ...] = ("HAADF",)


class Setup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    scan: Scan


def write(folder: Path, text: str) -> Path:
    path = folder / "setup.yaml"
    path.write_text(text)
    return path


def test_a_structure_survives_the_way_to_yaml_and_back(tmp_path: Path) -> None:
    setup = Setup(scan=Scan(dwell_us=1.5, detectors=("HAADF", "BF")))
    assert load_yaml(write(tmp_path, to_yaml(setup)), Setup) == setup


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scan: {dwell_us: 1.0, flyback: 2}", ["$.scan", "flyback", "setup.yaml"]),
        ("scan: {dwell_us: fast}", ["$.scan.dwell_us", "'fast'", "float"]),
        ("scan: {}", ["$.scan", "dwell_us"]),
        ("scan: {dwell_us: [1, 2}", ["not YAML", "line 1"]),
        ("just words", ["object", "just words", "mend"]),
        ("scan: !!python/object/apply:os.system ['true']", ["not YAML"]),
    ],
    ids=["unknown key", "wrong type", "missing key", "malformed", "not a mapping", "code"],
)
def test_a_bad_file_is_refused_with_its_place_and_value(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_yaml(write(tmp_path, text), Setup)
    for word in words:
        assert word in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.yaml cannot be read"):
        load_yaml(tmp_path / "nowhere.yaml", Setup)


def test_a_file_too_large_to_be_written_by_hand_is_not_parsed(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is above"):
        load_yaml(write(tmp_path, "#" * (5 << 20)), Setup)
