"""Configuration files are read strictly, and a bad one is named by file, place, value and remedy."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from scancontrol.errors import InvalidInput, StorageError
from scancontrol.files import beside, load_yaml, read_csv, to_yaml, write_private, write_text, writing


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


class Square(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="square", tag_field="kind"):
    side: float


class Circle(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="circle", tag_field="kind"):
    radius: float
    drawn: Literal["filled", "outlined"] = "filled"


class Drawing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    shapes: tuple[Square | Circle, ...]


@pytest.mark.parametrize(
    ("shape", "choice"),
    [
        ("{kind: cirlce, radius: 1.0}", "choose from circle, square"),
        ("{kind: circle, radius: 1.0, drawn: dotted}", "choose from filled, outlined"),
    ],
)
def test_a_misspelt_choice_is_refused_with_all_there_are(tmp_path: Path, shape: str, choice: str) -> None:
    with pytest.raises(InvalidInput, match=choice):
        load_yaml(write(tmp_path, f"shapes: [{shape}]\n"), Drawing)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.yaml cannot be read"):
        load_yaml(tmp_path / "nowhere.yaml", Setup)


def test_a_file_too_large_to_be_written_by_hand_is_not_parsed(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is above"):
        load_yaml(write(tmp_path, "#" * (5 << 20)), Setup)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e3", 1000.0), ("1E-3", 0.001), ("10", 10.0), ("-.5", -0.5), (".inf", float("inf")), ("2_000.5", 2000.5)],
)
def test_a_number_is_what_a_person_means_by_it(tmp_path: Path, text: str, value: float) -> None:
    assert load_yaml(write(tmp_path, f"scan: {{dwell_us: {text}}}"), Setup).scan.dwell_us == value


@pytest.mark.parametrize("text", ["1:30", "010", "010:00", "2026-11-29"])
def test_what_one_reader_of_yaml_takes_for_another_number_is_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match="Expected `float`, got `str`") as caught:
        load_yaml(write(tmp_path, f"scan: {{dwell_us: {text}}}"), Setup)
    assert text in str(caught.value)
    assert "plain" in caught.value.remedy


def test_a_name_that_looks_like_a_time_or_a_date_is_a_name_and_survives(tmp_path: Path) -> None:
    names = ("12:30", "2026-11-29", "1e3", "010", "no", "0x10", "~", "1_000")
    setup = Setup(scan=Scan(dwell_us=1.0, detectors=names))
    assert load_yaml(write(tmp_path, to_yaml(setup)), Setup) == setup
    assert load_yaml(write(tmp_path, "scan: {dwell_us: 1, detectors: [12:30, 2026-11-29]}"), Setup).scan.detectors == (
        "12:30",
        "2026-11-29",
    )


def test_a_key_that_is_given_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"line 3.*'dwell_us' is given twice"):
        load_yaml(write(tmp_path, "scan:\n  dwell_us: 1.0\n  dwell_us: 2.0\n"), Setup)


@pytest.mark.parametrize("content", [b"out: caf\xe9\n", "out: café\n".encode("utf-16")])
def test_text_in_another_encoding_is_refused_in_a_sentence_by_every_reader(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"is not UTF-8 text \(line 1\)"):
        load_yaml(path, Setup)
    with pytest.raises(InvalidInput, match="UTF-8"):
        read_csv(path, "manifest")


def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes(b"\xef\xbb\xbffile,group\r\na.tif,gold\r\nb.tif\r\n")
    assert read_csv(path, "manifest", ["file"]) == [{"file": "a.tif", "group": "gold"}, {"file": "b.tif", "group": ""}]
    with pytest.raises(InvalidInput, match=r"has no column split.*'file', 'group'"):
        read_csv(path, "manifest", ["split"])


def test_paths_in_a_file_are_from_its_folder_and_the_tilde_is_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    setup = write(tmp_path, "scan: {dwell_us: 1}")
    assert beside(setup, "a/b.npy") == beside(tmp_path, "a/b.npy") == tmp_path / "a" / "b.npy"
    assert beside(setup, "/elsewhere/c") == Path("/elsewhere/c")
    assert beside(setup, "~/d") == tmp_path / "home" / "d"
    with pytest.raises(InvalidInput, match="begins with ~ of nobody"):
        beside(setup, "~nobody-of-this-name/e")


def test_a_file_is_written_whole_or_its_old_content_stays(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    write_text(path, "old")

    def fall(part: Path) -> None:
        part.write_text("half of the n")
        raise RuntimeError("the program fell")

    with pytest.raises(RuntimeError), writing(path) as part:
        fall(part)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(StorageError, match="cannot be written"):
        write_text(tmp_path / "nowhere" / "report.txt", "new")


def test_a_private_file_is_its_owners_alone_also_where_an_open_one_was(tmp_path):
    file = tmp_path / "links"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "secret")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == "secret"
    with pytest.raises(StorageError, match="cannot be written"):
        write_private(tmp_path / "nowhere" / "links", "secret")
