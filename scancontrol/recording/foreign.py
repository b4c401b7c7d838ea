"""Samples that another program measured, read from CSV, NPZ or HDF5 and put into a recording.

In a CSV, columns are taken by their names: y and x (or row and col) with a unit, as in a file of positions, and the
detectors' readings, by default those called :data:`VALUE_NAMES`. In NPZ and HDF5 the arrays are ``values`` (or
``samples``) with ``positions`` (n, 2), (y, x) in fractions, or with ``positions_px``, ``positions_nm`` or
``positions_um``; or with a mask (rows, cols), ``mask`` or ``sampled``; and ``dwell_us`` where it is known.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from scancontrol.capabilities import Capabilities, DetectorChannel, check_detectors
from scancontrol.errors import InvalidInput
from scancontrol.paths import Points, partial_frame
from scancontrol.plan.plan import ScanPlan
from scancontrol.plan.planned import PlannedScan
from scancontrol.plan.positions import Field, headed, plain_name, positions_in
from scancontrol.plan.table import Table, read_table
from scancontrol.recording.planned import record_plan

__all__ = ["VALUE_NAMES", "ForeignSamples", "read_samples", "record_samples"]

VALUE_NAMES = (
    "value",
    "values",
    "sample",
    "samples",
    "intensity",
    "signal",
    "counts",
    "haadf",
    "adf",
    "abf",
    "bf",
    "df",
)
_MAX_BYTES = 1 << 31
_CHUNK = 1 << 16
_UNIT_KEYS = {"positions": "fraction", "positions_px": "px", "positions_nm": "nm", "positions_um": "um"}
_READ = {"values", "samples", "mask", "sampled", "dwell_us", "sound", *_UNIT_KEYS}
"""Arrays that are looked at; others may be anything."""


@dataclass(frozen=True)
class ForeignSamples:
    """Readings (channels, n), their ``points`` (n, 2 or 3) as a pattern takes them, and how they were understood.

    Raises:
        InvalidInput: a channel's name is given twice, or cannot be that of a group in HDF5.
    """

    channels: tuple[str, ...]
    values: NDArray[Any]
    points: NDArray[np.float64]
    said: tuple[str, ...]

    def __post_init__(self) -> None:
        check_detectors(self.channels, "name each column of readings once and plainly")


def read_samples(path: Path, field: Field, columns: Sequence[str] = ()) -> ForeignSamples:
    """Read samples and where they were measured. ``columns`` names a CSV's columns of readings.

    Raises:
        InvalidInput: the file cannot be read, does not say what is what, or its parts do not fit together.
    """
    if path.suffix.lower() in (".npz", ".h5", ".hdf5"):
        if columns:
            raise InvalidInput("value", ", ".join(columns), f"names columns, and {path} has none", "leave it out")
        return _of_arrays(_read_npz(path) if path.suffix.lower() == ".npz" else _read_hdf5(path), path, field)
    table = headed(read_table(path, "samples file"))
    if table.header is None:
        remedy = "give a first line such as y_px,x_px,value; or y_nm,x_nm,dwell_us,HAADF"
        raise InvalidInput("samples file", path, "has no names above its columns", remedy)
    plain = [plain_name(name)[0] for name in table.header]
    wanted = tuple(plain_name(name)[0] for name in columns) or VALUE_NAMES
    missing = [name for name in columns if plain_name(name)[0] not in plain]
    at = [index for index, name in enumerate(plain) if name in wanted]
    if missing or not at:
        named = ", ".join(map(repr, missing)) or "readings"
        listed = ", ".join(map(repr, table.header))
        raise InvalidInput("samples file", path, f"has no column of {named}: {listed}", "name it with --value COLUMN")
    positions = positions_in(table, path, field, wanted)
    channels = tuple(table.header[index] for index in at)
    return ForeignSamples(channels, table.values[:, at].T, positions.points, positions.said)


def _of_arrays(arrays: Mapping[str, NDArray[Any]], path: Path, field: Field) -> ForeignSamples:
    for name, array in arrays.items():
        if name in _READ and array.dtype.kind not in "fiubc":
            raise InvalidInput("samples file", f"{path}, {name} of {array.dtype}", "holds no numbers", "give numbers")
    values = _one_of(arrays, ("values", "samples"), path)
    key = next((name for name in _UNIT_KEYS if name in arrays), None)
    if key is None:
        mask = _one_of(arrays, ("mask", "sampled"), path).astype(np.bool_)
        if mask.shape != field.shape:
            raise InvalidInput("samples file", f"{path}, a mask {mask.shape}", f"is not {field.shape}", "mend --shape")
        values = values[mask] if values.shape == mask.shape else values
        places, unit = np.argwhere(mask), "px"
    else:
        places, unit = arrays[key], _UNIT_KEYS[key]
    values = values[None] if values.ndim == 1 else values
    if places.ndim != 2 or places.shape[1] != 2 or values.ndim != 2 or values.shape[1] != len(places):
        shapes = f"{values.shape} and {places.shape}"
        raise InvalidInput(
            "samples file", f"{path}, values and positions {shapes}", "do not fit", "give (n,) and (n, 2)"
        )
    names, cells = [f"y_{unit}", f"x_{unit}"], [*places.T.astype(np.float64)]
    if "dwell_us" in arrays:
        if arrays["dwell_us"].shape not in ((), (len(places),)):
            raise InvalidInput("dwell_us", arrays["dwell_us"].shape, f"is not ({len(places)},)", "give one a sample")
        names.append("dwell_us")
        cells.append(np.broadcast_to(arrays["dwell_us"], len(places)).astype(np.float64))
    found = positions_in(Table(tuple(names), np.column_stack(cells)), path, field)
    keep = arrays.get("sound", np.ones(len(places), dtype=np.bool_)).astype(np.bool_)
    channels = tuple(map(str, arrays.get("channels", np.array([]))))
    if len(channels) != len(values):
        channels = ("samples",) if len(values) == 1 else tuple(f"samples {i}" for i in range(len(values)))
    how = f"{path.name}: positions from the array {key}, (y, x)"
    if key is None:
        how = f"{path.name}: the {len(places)} pixels of a mask, taken row by row: the scan's own order is not known"
    return ForeignSamples(channels, values[:, keep], found.points[keep], (how, *found.said[1:]))


def _one_of(arrays: Mapping[str, NDArray[Any]], names: tuple[str, ...], path: Path) -> NDArray[Any]:
    found = [name for name in names if name in arrays]
    if len(found) != 1:
        listed = ", ".join(arrays) or "nothing"
        wrong = "hold both" if found else f"has neither {' nor '.join(names)}, but {listed}"
        raise InvalidInput("samples file", path, wrong, "see docs/how-to/with-data.md for what arrays are called")
    return arrays[found[0]]


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            size = sum(item.file_size for item in archive.zip.infolist())
            if size > _MAX_BYTES:
                raise InvalidInput("samples file", path, f"unpacks to more than {_MAX_BYTES} bytes", "split it")
            return {name: archive[name] for name in archive.files}
    except InvalidInput:
        raise
    except Exception as error:  # numpy parses headers as Python, and fails in as many ways
        raise InvalidInput("samples file", path, f"cannot be read ({error})", "give an NPZ file of numbers") from error


def _read_hdf5(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with h5py.File(path, "r", locking=False) as file:
            sets = {name: file[name] for name in file if name in _READ and isinstance(file[name], h5py.Dataset)}
            if sum(each.nbytes for each in sets.values()) > _MAX_BYTES:
                raise InvalidInput("samples file", path, f"holds more than {_MAX_BYTES} bytes", "split it")
            found = {name: each[()] for name, each in sets.items()}
            return found | ({"channels": file.attrs["channels"]} if "channels" in file.attrs else {})
    except InvalidInput:
        raise
    except Exception as error:  # h5py answers a damaged file with whatever its depths throw
        raise InvalidInput("samples file", path, f"cannot be read ({error})", "give an HDF5 file of numbers") from error


def record_samples(
    out: Path, samples: ForeignSamples, field: Field, name: str, *, beam_current_pa: float = 0.0
) -> tuple[str, ...]:
    """Make a recording of one frame of these samples; says what was changed on the way.

    Raises:
        InvalidInput: a position is outside the field, or the readings are no real numbers.
        RecordingError: the disk has no room, or there is such a file.
    """
    dtype, said = _kept_as(samples.values)
    microscope = Capabilities(
        name="another program",
        detectors=tuple(DetectorChannel(name=channel) for channel in samples.channels),
        dac_bits=32,
        sample_clock_mhz=1e5,
        shortest_dwell_us=1e-3,
        longest_dwell_us=1e9,
        beam_current_pa=beam_current_pa,
        origin="experiment",
        sample_dtype=dtype,
    )
    plan = ScanPlan(
        name=name,
        shape=field.shape,
        fov_nm=field.fov_nm,
        dwell_us=field.dwell_us,
        patterns=(Points.from_array(samples.points),),
        settle=None,
    )
    planned = PlannedScan(plan, microscope)
    path, values = planned.path(0), np.ascontiguousarray(samples.values, dtype=dtype)
    with record_plan(out, planned, sample_dtype=dtype) as recording:
        recording.begin_frame(0, path)
        electrons, now = path.electrons(beam_current_pa), time.time_ns()
        for first in range(0, path.count, _CHUNK):
            part = values[:, first : first + _CHUNK]
            recording.write_chunk(
                0, first, part, time.monotonic_ns(), now, electrons * (first + part.shape[1]) / path.count
            )
        recording.end_frame(0, "completed", exposed=path.count, electrons=electrons)
        recording.write_positions(path.path_id, path.positions, None, path.dwell_us)
        good = np.isfinite(values[0])
        partial, _ = partial_frame(path.positions[good], values[0][good], path.shape, dwell_us=path.dwell_us[good])
        recording.write_partial(0, partial)
    return said


def _kept_as(values: NDArray[Any]) -> tuple[Literal["<u2", "<f4"], tuple[str, ...]]:
    if values.dtype.kind not in "fiub":
        raise InvalidInput("values", values.dtype, "are no real numbers", "give the detector's readings")
    with np.errstate(over="ignore"):
        single = values.astype("<f4")
    if bool(((values >= 0) & (values <= 65535) & (values == np.floor(values))).all()):
        return "<u2", ()
    if bool((np.isinf(single) & np.isfinite(values)).any()):
        raise InvalidInput("values", f"{np.nanmax(np.abs(values)):g}", "is above what float32 holds", "scale them")
    exact = bool(np.array_equal(single.astype(np.float64), values.astype(np.float64), equal_nan=True))
    return "<f4", () if exact else ("values are kept as float32, rounded to 7 digits",)
