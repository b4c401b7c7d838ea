"""Positions from a file: columns are taken by their names, units are converted, and what is ambiguous is refused.

Without a header, rows are ``y, x`` in fractions of the region, and optionally a relative dwell.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.files import read_bytes
from scancontrol.paths.patterns.points import Points
from scancontrol.plan.table import MAX_TABLE_BYTES, Table, read_table

__all__ = ["Field", "Positions", "column_named", "headed", "plain_name", "positions_in", "read_positions"]

_AXES = {
    "y": ("y", "ypos", "yposition", "posy", "positiony", "ycoord", "row", "rows", "slow", "line"),
    "x": ("x", "xpos", "xposition", "posx", "positionx", "xcoord", "col", "cols", "column", "columns", "fast"),
    "dwell": ("dwell", "dwelltime", "weight", "relativedwell"),
    "time": ("t", "time", "timestamp"),
    "flag": ("flag", "flags", "valid"),
}
_UNITS = {
    "nm": "nm",
    "nanometre": "nm",
    "nanometer": "nm",
    "um": "um",
    "µm": "um",
    "μm": "um",
    "micron": "um",
    "px": "px",
    "pix": "px",
    "pixel": "px",
    "pixels": "px",
    "fraction": "fraction",
    "frac": "fraction",
    "us": "us",
    "µs": "us",
    "μs": "us",
    "relative": "relative",
    "s": "s",
    "ms": "s",
    "ns": "s",
}
_DIRECT_ELECTRON = "scan_coordinates.csv"  # DE-Server writes x, y in pixels, without names
_TAKES = "name the columns y and x (or row, col) with a unit: y_px, y_nm, y_um, y_fraction; and dwell, if they differ"

Unit = Literal["nm", "um", "px", "fraction", "us", "s", "relative", ""]


@dataclass(frozen=True)
class Field:
    """The frame that positions lie in. ``whole`` is False for a region of it, or a turned one."""

    shape: tuple[int, int]
    fov_nm: float
    dwell_us: float
    whole: bool = True


@dataclass(frozen=True)
class Positions:
    """``points`` (n, 2 or 3): y, x in fractions of the region, and the relative dwell. ``said``: how it was read."""

    points: NDArray[np.float64]
    said: tuple[str, ...]


def read_positions(path: Path, field: Field, jump_px: float = 1.5) -> tuple[Points, tuple[str, ...]]:
    """Read the positions of a scan from a text, NPY or NPZ file (of an NPZ, ``file.npz::key`` names the array).

    Returns:
        The pattern, and in sentences how the file was understood.

    Raises:
        InvalidInput: the file cannot be read, does not say what its columns are, or holds positions that cannot be.
    """
    found = _read(path, field)
    if found.points.size == 0:
        raise _refused(path, "holds an empty path", "give at least one position")
    return Points.from_array(found.points, jump_px=jump_px), found.said


def _read(path: Path, field: Field) -> Positions:
    name, _, key = path.name.partition("::")
    file = path.with_name(name)
    suffix = file.suffix.lower()
    if suffix == ".npy":
        return _of_array(
            _read_npy(read_bytes(file, "points file", "check its name", MAX_TABLE_BYTES), file), file, field
        )
    if suffix == ".npz":
        return _of_archive(file, key, field)
    return positions_in(read_table(file, "points file"), file, field)


def positions_in(table: Table, path: Path, field: Field, others: tuple[str, ...] = ()) -> Positions:
    """The positions that a table holds. Columns called one of ``others`` are somebody else's, and passed over.

    Raises:
        InvalidInput: a column is not understood, or the units cannot be.
    """
    table = headed(table)
    if table.header is None and path.name.endswith(_DIRECT_ELECTRON) and table.values.shape[1:] == (2,):
        table = replace(table, header=("x_px", "y_px"))
    if table.header is None:
        return _of_array(table.values, path, field)
    found: dict[str, tuple[int, Unit]] = {}
    for at, name in enumerate(table.header):
        if plain_name(name)[0] in others:
            continue
        if name.strip() == "" or name.lower().startswith("unnamed"):
            raise InvalidInput(
                "points file",
                f"{path}, column {at + 1}",
                "has no name, as an index of pandas",
                "write it with index=False",
            )
        axis, unit = column_named(name)
        if axis is None or axis in found:
            listed = ", ".join(map(repr, table.header))
            wrong = "is given twice" if axis in found else "is not understood"
            raise _refused(f"{path}, column {name!r} of {listed}", wrong, _TAKES)
        found[axis] = at, unit
    if "y" not in found or "x" not in found:
        listed = ", ".join(map(repr, table.header))
        raise _refused(f"{path}, columns {listed}", "name no y and x", _TAKES)
    return _of_columns(table, found, path, field)


def headed(table: Table) -> Table:
    """The table with its columns' names, also where they stand in a comment above it."""
    in_comment = table.header is None and any(column_named(word)[0] in ("y", "x") for word in table.remark)
    return replace(table, header=table.remark) if in_comment else table


def column_named(name: str) -> tuple[str | None, Unit]:
    """What a column is, by its name: (y, x, dwell, time, flag or None, unit or an empty string)."""
    plain, unit = plain_name(name)
    return next((axis for axis, names in _AXES.items() if plain in names), None), unit


def plain_name(name: str) -> tuple[str, Unit]:
    """A column's name in small letters without blanks and signs, and the unit that it ends in."""
    words = [word for word in re.split(r"[^0-9a-zµμ]+", name.strip().lower()) if word]
    unit: Unit = ""
    if len(words) > 1 and words[-1] in _UNITS:
        unit = _UNITS[words.pop()]  # type: ignore[assignment]
    return "".join(words), unit


def _of_columns(table: Table, found: dict[str, tuple[int, Unit]], path: Path, field: Field) -> Positions:
    (y_at, y_unit), (x_at, x_unit) = found["y"], found["x"]
    names = f"{table.header[y_at]}, {table.header[x_at]}" if table.header else ""
    if y_unit != x_unit:
        raise _refused(f"{path}, columns {names}", "are in two units", "give both in one")
    values = table.values[:, [y_at, x_at]]
    unit = y_unit or _guessed(values, names, path, field)
    points, how = _in_fractions(values, unit, names, path, field)
    said = [f"{path.name}: y and x from the columns {names}, {how}"]
    if "dwell" in found:
        at, dwell_unit = found["dwell"]
        dwell = table.values[:, at] / (field.dwell_us if dwell_unit == "us" else 1.0)
        if dwell_unit not in ("", "us", "relative"):
            raise _refused(f"{path}, dwell in {dwell_unit}", "is no time", "give dwell_us, or dwell")
        points = np.column_stack([points, dwell])
        said.append("dwell in µs" if dwell_unit == "us" else "dwell relative to the plan's dwell_us")
    if "time" in found:
        if (np.diff(table.values[:, found["time"][0]]) < 0).any():
            raise _refused(f"{path}, its times", "go back", "sort the rows, or leave the column out")
        said.append("times are not used: samples follow one another in the file's order")
    if "flag" in found:
        off = int((table.values[:, found["flag"][0]] == 0).sum())
        if off > 0:
            raise InvalidInput(
                "points file",
                f"{path}, its flags",
                f"are 0 in {off} rows, which may mean blanked or not",
                "leave them out",
            )
        said.append("flags are all set and not used")
    return Positions(points, tuple(said))


def _guessed(values: NDArray[np.float64], names: str, path: Path, field: Field) -> Unit:
    """Of columns without a unit: rows and columns count pixels, y and x are fractions where they can be."""
    if re.search(r"\b(row|col|line)", names.lower()):
        return "px"
    largest = float(np.nanmax(values, initial=0.0))
    if largest > 1.0:
        raise InvalidInput(
            "points file",
            f"{path}, columns {names}",
            f"have no unit, and go to {largest:g}, above the fractions of the field, [0, 1)",
            "name the unit, as in y_px and x_px, y_nm and x_nm or y_um and x_um",
        )
    return "fraction"


def _in_fractions(
    values: NDArray[np.float64], unit: Unit, names: str, path: Path, field: Field
) -> tuple[NDArray[np.float64], str]:
    if unit in ("us", "s", "relative"):
        raise _refused(f"{path}, columns {names}", f"are in {unit}", _TAKES)
    if unit == "fraction":
        return values, "in fractions of the region"
    if not field.whole:
        raise InvalidInput(
            "points file",
            f"{path}, columns {names}",
            f"in {unit} are of the whole field",
            "leave region and rotation_deg out",
        )
    rows, cols = field.shape
    if unit == "px":
        if (values == np.round(values)).all():
            return (values + 0.5) / (rows, cols), f"whole pixels of {rows} x {cols}, at the middle of each"
        return values / (rows, cols), f"in pixels from the field's edge, of {rows} x {cols}"
    side_nm = np.array([field.fov_nm * rows / cols, field.fov_nm])
    return values * (1e3 if unit == "um" else 1.0) / side_nm, f"in {unit.replace('um', 'µm')} of {field.fov_nm:g} nm"


def _of_array(array: NDArray[np.generic], path: Path, field: Field) -> Positions:
    if array.dtype == np.bool_:
        if array.shape != field.shape:
            raise InvalidInput(
                "points file",
                f"{path}, a mask {array.shape}",
                f"is not of the plan's shape, {field.shape}",
                "resample it",
            )
        if not field.whole:
            raise _refused(path, "is a mask of the whole field", "leave region and rotation_deg out")
        at = (np.argwhere(array) + 0.5) / field.shape
        return Positions(at, (f"{path.name}: the {len(at)} pixels of a mask, visited row by row",))
    if array.size and (array.ndim != 2 or array.shape[1] not in (2, 3)):
        raise InvalidInput(
            "points file",
            path,
            f"holds an array of shape {array.shape}",
            "give an (n, 2) array of y, x, or (n, 3) with a relative dwell, or a mask (rows, cols) of bool",
        )
    what = "y, x and relative dwell" if array.size and array.shape[1] == 3 else "y, x"
    return Positions(
        array.astype(np.float64), (f"{path.name}: columns without names, taken as {what} in fractions of the region",)
    )


def _of_archive(path: Path, key: str, field: Field) -> Positions:
    try:
        with zipfile.ZipFile(io.BytesIO(_content(path))) as archive:
            if sum(item.file_size for item in archive.infolist()) > MAX_TABLE_BYTES:
                raise _refused(path, f"unpacks to more than {MAX_TABLE_BYTES} bytes", "thin the path")
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            key = key or (names[0] if len(names) == 1 else "positions" if "positions" in names else "")
            if key not in names:
                said = f"{path}::{key}" if key else path
                raise InvalidInput(
                    "points file",
                    said,
                    f"does not say which of its arrays, {', '.join(names)}",
                    f"write {path.name}::KEY",
                )
            array = _read_npy(archive.read(f"{key}.npy"), path)
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, EOFError) as error:
        raise _refused(path, f"cannot be understood ({error})", "give an NPZ file") from error
    return _of_array(array, path, field)


def _content(path: Path) -> bytes:
    return read_bytes(path, "points file", "check its name", MAX_TABLE_BYTES)


def _read_npy(raw: bytes, path: Path) -> NDArray[np.generic]:
    """An array of numbers, its header believed only where it agrees with the file's size."""

    def refused(why: str) -> InvalidInput:
        return _refused(path, f"cannot be understood ({why})", "give rows of y, x in fractions, as CSV or NPY")

    file = io.BytesIO(raw)
    try:
        header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)]
        shape, by_columns, dtype = header(file)
    except Exception as error:  # numpy's header is parsed as Python, and fails in as many ways
        raise refused("its NPY header is damaged") from error
    if dtype.kind not in "fiub":
        raise refused(f"it holds {dtype}, no numbers")
    if math.prod(shape) * dtype.itemsize != len(raw) - file.tell():
        raise refused(f"its header says {shape}, which does not fit its size")
    return np.frombuffer(raw, dtype, offset=file.tell()).reshape(shape, order="F" if by_columns else "C")


def _refused(what: object, limit: str, remedy: str) -> InvalidInput:
    return InvalidInput("points file", what, limit, remedy)
