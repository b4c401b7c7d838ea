"""A measured coil model goes into the microscope's YAML; everything else stays as its author wrote it."""

from __future__ import annotations

import pytest
import yaml

from scancontrol.calibration.file import with_coil, write_coil
from scancontrol.capabilities import CoilModel
from scancontrol.errors import InvalidInput

COIL = CoilModel(time_constant_us=1.23456, time_constant_sd_us=0.0123, delay_us=0.2, delay_sd_us=0.031)
ENTRY = {"order": 1, "time_constant_us": 1.235, "delay_us": 0.2, "time_constant_sd_us": 0.012, "delay_sd_us": 0.031}

HOSTED = """# my microscope
microscope:
  driver: obi          # the scan box
  coil: {order: 1, time_constant_us: 0.0}   # not measured yet
  beam_current_pa: 40.0
address: tcp://127.0.0.1:5556
"""
BLOCK = """stated:
  coil:
    order: 2
    time_constant_us: 3
    damping: 0.7
  # keep me
  dac_bits: 16
"""


def test_an_entry_in_braces_is_replaced_with_its_comment():
    text, key = with_coil(HOSTED, COIL, "measured today")
    assert key == "microscope.coil"
    assert yaml.safe_load(text)["microscope"]["coil"] == ENTRY
    kept = [line for line in HOSTED.splitlines() if "coil" not in line]
    assert [line for line in text.splitlines() if "coil" not in line] == kept
    assert "not measured yet" not in text
    assert "# measured today" in text


def test_an_entry_of_several_lines_is_replaced_whole():
    text, _ = with_coil(BLOCK, COIL, "measured today")
    assert yaml.safe_load(text) == {"stated": {"coil": ENTRY, "dac_bits": 16}}
    assert "# keep me" in text


@pytest.mark.parametrize("text", ["stated:\n  dac_bits: 16\n", "name: x\n"])
def test_a_missing_entry_is_added_where_the_microscope_looks_for_it(text):
    new, key = with_coil(text, COIL, "measured today")
    assert key == "stated.coil"
    old = yaml.safe_load(text)
    assert yaml.safe_load(new) == {**old, "stated": {**old.get("stated", {}), "coil": ENTRY}}


def test_writing_twice_gives_the_same_file(tmp_path):
    file = tmp_path / "microscope.yaml"
    file.write_text(HOSTED)
    write_coil(file, COIL, "measured today")
    once = file.read_text()
    write_coil(file, COIL, "measured today")
    assert file.read_text() == once
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("text", ["", "just words", "stated: {dac_bits: 16}\n", "a: [1\n"])
def test_a_file_that_is_no_configuration_is_left_alone(tmp_path, text):
    file = tmp_path / "microscope.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInput):
        write_coil(file, COIL, "measured today")
    assert file.read_text() == text
