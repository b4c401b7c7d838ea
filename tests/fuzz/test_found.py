"""What fuzzing, by machine and by thought, has found: one case each, so that it stays found."""

from __future__ import annotations

import io
import json
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fuzz_targets import TARGETS, read_all
from plan_tools import read_points

from scancontrol.daemon.config import DaemonConfig
from scancontrol.dose.ledger import DoseLedger, read_ledger
from scancontrol.errors import InvalidInput, RecordingError
from scancontrol.files import convert, load_yaml
from scancontrol.paths import PathRecipe, expand
from scancontrol.plan.plan import ScanPlan, parse_plan
from scancontrol.recording import file_name

_PLAN = "shape: [16, 16]\nfov_nm: 8.0\ndwell_us: 1.0\npatterns: [{kind: serpentine}]\n"


def _bomb(levels: int = 9) -> str:
    """References to references: nine short lines that stand for a thousand million words."""
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("microscope:\n- " + _bomb().replace("\n", "\n- ") + "\n", "microscope"),
        (_bomb(), "a0"),
        ("microscope: " + "[" * 3000 + "]" * 3000, "nests too deeply"),
        ("microscope: " + "{a: " * 3000, "nests too deeply"),
        ("microscope:\n  " + "- " * 3000, "nests too deeply"),
        ("microscope: !!timestamp 2001-13-45", "cannot be"),
        ("microscope: !!timestamp x", "cannot be|not YAML"),
        ("microscope: " + "9" * 5000, "cannot be"),
        ("keep_last: !!int 0x", "cannot be|not YAML"),
        ("microscope: !!python/object/apply:os.system [true]", "not YAML"),
        ("? [a, b]\n: c", "not YAML|str"),
        ("&a [*a]", "not valid|Expected"),
    ],
    ids=[
        "references as a value",
        "references",
        "nesting",
        "maps",
        "dashes",
        "date",
        "timestamp",
        "long number",
        "hexadecimal",
        "object",
        "list as key",
        "itself",
    ],
)
def test_a_yaml_file_that_means_harm_is_refused_in_few_words_and_little_memory(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "daemon.yaml"
    path.write_text(text)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match=said) as caught:
            load_yaml(path, DaemonConfig)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "pattern",
    [
        {"kind": "archimedean", "turn_spacing_px": 1.22158506814013e-120},
        {"kind": "archimedean", "turn_spacing_px": 1e-3, "step_px": 0.05},
        {"kind": "archimedean", "turn_spacing_px": 1.0, "max_turns_per_sample": 1e-300},
    ],
    ids=["no spacing", "little spacing", "hardly turning"],
)
def test_a_recipe_that_would_take_for_ever_to_expand_is_refused_at_once(pattern: dict[str, object]) -> None:
    recipe = {"pattern": pattern, "shape": [8192, 8192], "fov_nm": 16.0, "dwell_us": 2.0}
    began = time.monotonic()
    with pytest.raises(InvalidInput, match=r"samples|turn"):
        expand(convert(recipe, PathRecipe, "recipe"))
    assert time.monotonic() - began < 5


def _npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize(
    "raw",
    [
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000000), }", bytes(32)),
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': \x002, 2), }", bytes(32)),
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2), }", bytes(32)),
        _npy("{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }", bytes(32)),
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2)"),
        _npy("__import__('os').system('true')"),
        b"\x93NUMPY\x09\x00",
        b"PK\x03\x04",
        b"",
    ],
    ids=["huge", "tokens", "negative", "objects", "open brace", "call", "version", "zip", "nothing"],
)
def test_an_npy_file_whose_header_lies_is_refused_before_anything_is_allocated(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "points.npy"
    path.write_bytes(raw)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="points"):
            read_points(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i2", "|u1"])
def test_points_of_any_number_type_are_read_as_numpy_reads_them(tmp_path: Path, dtype: str, order: str) -> None:
    points = np.array([[0, 1], [1, 0], [0, 0]], dtype=dtype, order=order) * 0
    file = io.BytesIO()
    np.save(file, points)
    (tmp_path / "p.npy").write_bytes(file.getvalue())
    np.testing.assert_array_equal(read_points(tmp_path / "p.npy").rows, points.astype(float))


@pytest.mark.parametrize(
    "name", ["../../etc/cron.d/x", "/etc/passwd", "..", "a/../../b", "a\x00b", "..\\..\\x", "~/x", ""]
)
def test_a_plan_cannot_name_its_recording_out_of_the_output_folder(tmp_path: Path, name: str) -> None:
    try:
        plan = parse_plan(_PLAN + f"name: {json.dumps(name)}\n")
    except InvalidInput:
        return  # YAML does not carry it
    made = tmp_path / file_name(plan, "7")
    assert made.resolve().parent == tmp_path.resolve()
    assert made.suffix == ".hspy"
    assert "\x00" not in made.name
    assert not made.name.startswith((".", "~"))


def test_a_recording_that_links_to_another_file_is_refused(tmp_path: Path) -> None:
    import h5py

    whole = tmp_path / "whole.hspy"
    whole.write_bytes(TARGETS["recording"].seeds[0])
    with h5py.File(whole, "r+") as file:
        del file["recording/plan"]
        file["recording/plan"] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(RecordingError, match="plan is missing"):
        read_all(whole)


@pytest.mark.parametrize("name", ["../weights/lite", "/etc/passwd", "lite/../../x", "lite\x00", ""])
def test_shipped_weights_are_named_and_not_found_by_path(name: str) -> None:
    weights_io = pytest.importorskip("restore.generator.weights")
    with pytest.raises(InvalidInput, match="weights"):
        weights_io.shipped(name)


def test_a_plan_read_from_a_recording_opens_no_file(tmp_path: Path) -> None:
    text = "name: p\nshape: [16, 16]\nfov_nm: 8.0\ndwell_us: 1.0\npatterns: [{kind: points, file: /etc/passwd}]\n"
    with pytest.raises(InvalidInput):
        parse_plan(text)
    assert isinstance(parse_plan(_PLAN + "name: p\n"), ScanPlan)


def test_what_a_damaged_ledger_holds_is_not_read_out_to_the_operator(tmp_path: Path) -> None:
    header = b"{" + b"\x01" * 3000  # numpy quotes all of a header that it cannot parse
    array = b"\x93NUMPY\x03\x00" + struct.pack("<I", len(header)) + header
    DoseLedger(tmp_path, "grid").close()
    with zipfile.ZipFile(tmp_path / "grid" / "map.npz") as whole:
        names = whole.namelist()
    with zipfile.ZipFile(tmp_path / "grid" / "map.npz", "w") as damaged:
        for name in names:
            damaged.writestr(name, array)
    with pytest.raises(
        InvalidInput, match=r"cannot be read \(.* … \d+ characters … .*restore it from a copy"
    ) as refused:
        read_ledger(tmp_path / "grid")
    assert len(str(refused.value)) < 4000
