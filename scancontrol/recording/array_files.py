"""A frame's arrays as files that other programs read: CSV, NPZ, HDF5."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import h5py
import msgspec
import numpy as np

from scancontrol.errors import InvalidInput
from scancontrol.files import writing
from scancontrol.recording.arrays import FrameArrays

__all__ = ["ARRAY_FORMATS", "write_arrays"]


def _write_csv(arrays: FrameArrays, path: Path) -> None:
    """The sound samples, a row each; images are not for text."""
    rows, cols = arrays.partial.shape
    places_nm = arrays.positions * (rows * arrays.pixel_nm, cols * arrays.pixel_nm)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["y_nm", "x_nm", "dwell_us", *arrays.channels])
        for at in np.flatnonzero(arrays.sound):
            place = (*places_nm[at].tolist(), arrays.dwell_us[at].item())
            table.writerow([*map(repr, place), *(str(value) for value in arrays.samples[:, at])])


def _write_npz(arrays: FrameArrays, path: Path) -> None:
    facts = {"channels": np.array(arrays.channels), "pixel_nm": np.array(arrays.pixel_nm)}
    facts |= {name: np.array(words) for name, words in arrays.about.items()}
    facts |= {name: np.array(made_by.to_json().decode()) for name, made_by in arrays.origins().items()}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays.named(), **facts)  # type: ignore[arg-type]


def _write_hdf5(arrays: FrameArrays, path: Path) -> None:
    with h5py.File(path, "w", locking=False) as file:
        for name, values in arrays.named().items():
            file.create_dataset(name, data=values, compression="gzip")
        file.attrs["channels"] = list(arrays.channels)
        file.attrs["pixel_nm"] = arrays.pixel_nm
        file.attrs["frame"] = arrays.frame
        file.attrs.update(arrays.about)
        for name, value in {} if arrays.made_by is None else msgspec.to_builtins(arrays.made_by).items():
            file.attrs[name] = str(value) if isinstance(value, list | tuple) else value
        for channel, other in arrays.others.items():
            if other.made_by is not None:
                file.attrs[f"made_by {channel}"] = other.made_by.to_json().decode()


_WRITERS: dict[str, Callable[[FrameArrays, Path], None]] = {"csv": _write_csv, "npz": _write_npz, "h5": _write_hdf5}
ARRAY_FORMATS = tuple(_WRITERS)
"""Endings of the files that :func:`write_arrays` makes."""


def write_arrays(arrays: FrameArrays, path: Path) -> None:
    """Write a frame's arrays; the ending says how: ``.npz`` and ``.h5`` hold all of them, ``.csv`` the sound samples.

    ``scancontrol import`` reads each of them back.

    Raises:
        InvalidInput: the ending is none of these.
        StorageError: the file cannot be written.
    """
    write = _WRITERS.get(path.suffix.removeprefix("."))
    if write is None:
        raise InvalidInput("out", path, "does not say its format", f"end it in .{', .'.join(ARRAY_FORMATS)}")
    with writing(path) as made:
        write(arrays, made)
