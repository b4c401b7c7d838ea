"""Positions from anybody's file: read as it says, or refused with what would be understood."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from plan_tools import GOOD, MICROSCOPE

from scancontrol.errors import InvalidInput
from scancontrol.files import to_yaml
from scancontrol.paths import expand
from scancontrol.plan.plan import load_plan, load_plan_and_notes
from scancontrol.plan.planned import PlannedScan
from scancontrol.plan.positions import Field, read_positions

FIELD = Field((100, 200), 20.0, 2.0)  # 10 nm high, 20 nm wide, pixels of 0.1 nm
A, B = (0.25, 0.5), (0.75, 0.125)  # y, x


def read(folder: Path, content: str | bytes, name: str = "path.csv") -> tuple[np.ndarray, tuple[str, ...]]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    points, said = read_positions(path, FIELD)
    return points.rows, said


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("0.25,0.5\n0.75,0.125\n", "without names"),
        ("y,x\n0.25,0.5\n0.75,0.125\n", "columns y, x"),
        ("x,y\n0.5,0.25\n0.125,0.75\n", "fractions"),
        ("X,Y\n0.5,0.25\n0.125,0.75\n", "columns Y, X"),
        ("xpos,ypos\n0.5,0.25\n0.125,0.75\n", "fractions"),
        ("x_fraction,y_fraction\n0.5,0.25\n0.125,0.75\n", "fractions"),
        ("col,row\n99.5,24.5\n24.5,74.5\n", "fractions"),
        ("slow_px;fast_px\n25,0;100,0\n75,0;25,0\n", "pixels"),
        ("x_px\ty_px\n100.0\t25.0\n25.0\t75.0\n", "pixels"),
        ("y_nm,x_nm\n2.5,10\n7.5,2.5\n", "nm of 20 nm"),
        ("X [µm]; Y [µm]\n0,01;0,0025\n0,0025;0,0075\n", "µm of 20 nm"),
        ("y(um) x(um)\n0.0025 0.01\n0.0075 0.0025\n", "µm"),
        ("# made by hand\n\n'y','x'\n0.25,0.5, # first\n0.75,0.125,\n", "fractions"),
        ("# x, y\n0.5,0.25\n0.125,0.75\n", "columns y, x"),
        ("# made by hand\n% x (fraction) y (fraction)\n0.5 0.25\n0.125 0.75\n", "fractions"),
        ("# made by hand\n0.25 0.5\n0.75 0.125\n", "without names"),
        ('"y","x"\n"0.25","0.5"\n"0.75","0.125"\n', "fractions"),
        ("\ufeffy,x\r\n0.25,0.5\r\n0.75,0.125\r\n", "fractions"),
        ("y x\n0,25 0,5\n0,75 0,125\n", "fractions"),
        ("time_s,y,x\n0,0.25,0.5\n1,0.75,0.125\n", "times are not used"),
        ("t,y,x,flag\n0,0.25,0.5,1\n1,0.75,0.125,1\n", "flags are all set"),
    ],
)
def test_the_names_of_columns_say_what_they_are(tmp_path: Path, text: str, word: str) -> None:
    rows, said = read(tmp_path, text)
    if ("px" in text.splitlines()[0] and "," in text and ";" in text) or "x_px" in text:  # 25,0 is the whole number 25
        expected = [((25 + 0.5) / 100, (100 + 0.5) / 200), ((75 + 0.5) / 100, (25 + 0.5) / 200)]
    elif text.startswith("col,row"):
        expected = [(0.245, 0.4975), (0.745, 0.1225)]
        word = "pixels"
    else:
        expected = [A, B]
    np.testing.assert_allclose(rows, expected, atol=1e-12)
    assert word in " ".join(said)


def test_the_coordinates_of_direct_electron_are_x_and_y_in_pixels(tmp_path: Path) -> None:
    rows, said = read(tmp_path, "150,3\n4,60\n", "ROI_scan_coordinates.csv")
    np.testing.assert_allclose(rows * FIELD.shape - 0.5, [[3, 150], [60, 4]])
    assert "columns y_px, x_px, whole pixels" in said[0]


def test_a_dwell_is_found_wherever_it_stands_and_its_unit_is_obeyed(tmp_path: Path) -> None:
    rows, said = read(tmp_path, "dwell,y,x\n1,0.25,0.5\n3,0.75,0.125\n")
    np.testing.assert_allclose(rows, [(*A, 1), (*B, 3)])
    assert "relative" in said[1]
    rows, said = read(tmp_path, "y,x,dwell_us\n0.25,0.5,1\n0.75,0.125,3\n")
    np.testing.assert_allclose(rows, [(*A, 0.5), (*B, 1.5)])  # of 2 us
    assert "µs" in said[1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("y,x\n25,100\n75,25\n", ["no unit", "75|100", "y_px"]),
        ("a,b\n0.1,0.2\n", ["'a' of 'a', 'b'", "not understood", "y_nm"]),
        ("y,y\n0.1,0.2\n", ["given twice"]),
        ("y,dwell\n0.1,0.2\n", ["no y and x"]),
        (",y,x\n0,0.25,0.5\n", ["index of pandas", "index=False"]),
        ("Unnamed: 0,y,x\n0,0.25,0.5\n", ["index of pandas"]),
        ("y_nm,x_um\n1,1\n", ["two units"]),
        ("y,x,intensity\n0.1,0.2,3\n", ["'intensity'", "not understood"]),
        ("y,x,flag\n0.1,0.2,1\n0.3,0.4,0\n", ["0 in 1 rows"]),
        ("t,y,x\n2,0.1,0.2\n1,0.3,0.4\n", ["go back"]),
        ("y,x\n0,25,0,5\n", ["4 columns", "decimal"]),
        ("y,x\n0.1,0.2\n0.3,\n", ["line 3", "1 columns"]),
        ("y,x\n0.1,0.2\n0.3,hello\n", ["line 3", "'hello'"]),
        ("y,x\n1.0,0.5\n0.3,1.0\n", ["2 of 2", "exactly"]),
        ("y,x\n0.1,0.2\n0.3,1.00001\n", ["no unit|1 of 2"]),
        ("y_nm,x_nm\n0.1,20.4\n", ["1 of 1", "0.02"]),
    ],
)
def test_what_could_be_meant_in_two_ways_is_refused_by_name(tmp_path: Path, text: str, says: list[str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(tmp_path, text)
    for words in says:
        assert any(word in str(refused.value) for word in words.split("|")), str(refused.value)
    assert refused.value.remedy


def test_arrays_are_read_by_their_shape_and_masks_row_by_row(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([A, B]))
    np.testing.assert_array_equal(read_positions(tmp_path / "a.npy", FIELD)[0].rows, [A, B])
    mask = np.zeros(FIELD.shape, bool)
    mask[3, 150] = mask[60, 2] = mask[3, 4] = True
    np.save(tmp_path / "m.npy", mask)
    points, said = read_positions(tmp_path / "m.npy", FIELD)
    np.testing.assert_allclose(points.rows * FIELD.shape - 0.5, [[3, 4], [3, 150], [60, 2]])
    assert "3 pixels of a mask, visited row by row" in said[0]
    np.savez(tmp_path / "many.npz", first=np.array([A]), second=np.array([B, A]))
    np.testing.assert_array_equal(read_positions(tmp_path / "many.npz::second", FIELD)[0].rows, [B, A])
    with pytest.raises(InvalidInput, match="which of its arrays, first, second"):
        read_positions(tmp_path / "many.npz", FIELD)
    np.save(tmp_path / "m.npy", mask.T)
    with pytest.raises(InvalidInput, match="not of the plan's shape"):
        read_positions(tmp_path / "m.npy", FIELD)


def test_units_of_the_whole_field_are_refused_for_a_region_of_it(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("y_nm,x_nm\n1,2\n")
    with pytest.raises(InvalidInput, match="leave region and rotation_deg out"):
        read_positions(tmp_path / "p.csv", Field((100, 200), 20.0, 2.0, whole=False))


def test_a_plan_reads_the_file_beside_it_and_says_how(tmp_path: Path) -> None:
    (tmp_path / "scan coordinates α.csv").write_text("x_px,y_px\n10,20\n30,40\n")
    plan = tmp_path / "plan.yaml"
    plan.write_text(to_yaml({**GOOD, "patterns": [{"kind": "points", "file": "scan coordinates α.csv"}]}))
    loaded, said = load_plan_and_notes(plan)
    assert load_plan(plan) == loaded
    positions = expand(PlannedScan(loaded, MICROSCOPE).recipe(0)).positions * 128 - 0.5
    np.testing.assert_allclose(positions, [[20, 10], [40, 30]], atol=0.01)  # the DAC's step
    assert "whole pixels of 128 x 128" in said[0]
