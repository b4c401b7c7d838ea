"""What was measured goes into the microscope's YAML; everything else stays as its author wrote it."""

from __future__ import annotations

import pytest
import yaml

from scancontrol.calibration.file import with_coil, with_detector, write_calibration
from scancontrol.capabilities import CoilModel, DetectorChannel
from scancontrol.errors import InvalidInput

COIL = CoilModel(time_constant_us=1.23456, time_constant_sd_us=0.0123, delay_us=0.2, delay_sd_us=0.031)
ENTRY = {"order": 1, "time_constant_us": 1.235, "delay_us": 0.2, "time_constant_sd_us": 0.012, "delay_sd_us": 0.031}

STATED = DetectorChannel(name="HAADF")
GLOWING = DetectorChannel(name="HAADF", counts_per_electron=19.87654, decay_us=0.4321, decay_sd_us=0.052)
GLOW = {"counts_per_electron": 19.88, "decay_us": 0.432, "decay_sd_us": 0.052}

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
    write_calibration(file, COIL, "measured today", (STATED,), GLOWING)
    once = file.read_text()
    write_calibration(file, COIL, "measured today", (STATED,), GLOWING)
    assert file.read_text() == once
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("text", ["", "just words", "stated: {dac_bits: 16}\n", "a: [1\n"])
def test_a_file_that_is_no_configuration_is_left_alone(tmp_path, text):
    file = tmp_path / "microscope.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInput):
        write_calibration(file, COIL, "measured today")
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "microscope:\n  driver: nidaq\n  detectors:   # two\n    - {name: BF, adc_bits: 12}  # below\n"
            "    - {name: HAADF, counts_per_electron: 1.0, adc_bits: 16}  # ours\n  beam_current_pa: 40.0\n",
            "microscope:\n  driver: nidaq\n  detectors:   # two\n    - {name: BF, adc_bits: 12}  # below\n"
            "    - {name: HAADF, counts_per_electron: 19.88, adc_bits: 16, decay_us: 0.432, decay_sd_us: 0.052}"
            "  # ours\n"
            "  beam_current_pa: 40.0\n",
        ),
        (
            "microscope:\n  detector:\n    name: HAADF  # ours\n  driver: obi\n",
            "microscope:\n  detector:\n    name: HAADF  # ours\n    counts_per_electron: 19.88\n    decay_us: 0.432\n"
            "    decay_sd_us: 0.052\n  driver: obi\n",
        ),
        (
            "microscope:\n  driver: obi\n",
            'microscope:\n  detector: {name: "HAADF", counts_per_electron: 19.88, decay_us: 0.432, '
            "decay_sd_us: 0.052}\n  driver: obi\n",
        ),
    ],
)
def test_a_detectors_values_are_written_where_it_is_stated_and_nothing_else_is_touched(before, after):
    text, key = with_detector(before, (STATED,), GLOWING)
    assert text == after
    assert key.startswith("microscope.detector")


def test_where_no_detector_is_stated_all_are_with_what_was_measured_of_one():
    others = (DetectorChannel(name="BF", offset_counts=-3.0, averages=True), STATED)
    text, key = with_detector("name: x\nstated:\n  detectors: null\n  dac_bits: 16\n", others, GLOWING)
    assert key == "stated.detectors"
    stated = yaml.safe_load(text)["stated"]
    assert stated == {
        "detectors": [{"name": "BF", "offset_counts": -3, "averages": True}, {"name": "HAADF", **GLOW}],
        "dac_bits": 16,
    }


def test_a_detector_that_the_file_does_not_know_is_refused():
    with pytest.raises(InvalidInput, match="not among those"):
        with_detector("microscope:\n  detector: {name: SE}\n", (STATED,), GLOWING)
