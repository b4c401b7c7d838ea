"""What a recording says of itself, distrusted: its header, its texts, and where its data sets lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import msgspec
import numpy as np

from scancontrol.capabilities import Capabilities
from scancontrol.errors import RecordingError
from scancontrol.recording.data_sets import data_sets
from scancontrol.recording.layout import VERSION, Header
from scancontrol.recording.regions import Region, pread_all

__all__ = ["TEXT_LIMIT_BYTES", "check_version", "hdf5_of", "read_data_set", "read_head", "read_regions"]

TEXT_LIMIT_BYTES = 1 << 24


def check_version(file: h5py.File) -> None:
    """Check that the file is a recording, of a format that is known here.

    Raises:
        RecordingError: it is none, or one of a later format.
    """
    version = file.attrs.get("scancontrol_recording")
    if not isinstance(version, np.integer) or not 1 <= version <= VERSION:
        raise RecordingError(f"this HDF5 file is not a scancontrol recording of version 1 to {VERSION}")


@contextmanager
def hdf5_of(descriptor: int) -> Iterator[h5py.File]:
    """The HDF5 structure of the very file that ``descriptor`` reads, whatever takes its place meanwhile."""
    with os.fdopen(os.dup(descriptor), "rb", buffering=0) as raw, h5py.File(raw, "r") as file:
        yield file


def read_head(file: h5py.File, descriptor: int) -> tuple[Header, str, Capabilities]:
    """Header, plan and capabilities of a file that :func:`hdf5_of` opened on ``descriptor``.

    Raises:
        RecordingError: they are not those of a recording.
    """
    check_version(file)
    try:
        header = msgspec.yaml.decode(_read_text(file, descriptor, "header"), type=Header)
        capabilities = msgspec.yaml.decode(_read_text(file, descriptor, "capabilities"), type=Capabilities)
    except msgspec.MsgspecError as error:
        raise RecordingError(f"its header is damaged: {error}") from error
    return header, _read_text(file, descriptor, "plan").decode("utf-8", "replace").strip("\n") + "\n", capabilities


def _read_text(file: h5py.File, descriptor: int, name: str) -> bytes:
    data_set = read_data_set(file, f"recording/{name}")
    if data_set.dtype != np.uint8 or data_set.ndim != 1 or data_set.size > TEXT_LIMIT_BYTES:
        raise RecordingError(f"recording/{name} is {data_set.shape} {data_set.dtype}, not a text")
    region = Region.of(data_set)
    return pread_all(descriptor, data_set.size, int(region.offsets[0, 0]))


def read_regions(file: h5py.File, header: Header) -> dict[str, Region]:
    """Where each data set lies.

    Raises:
        RecordingError: one is not as the header says.
    """
    regions: dict[str, Region] = {}
    for wanted in data_sets(header):
        place, shape, dtype = wanted.place, wanted.shape, wanted.dtype.base
        if not shape[0] or (wanted.later and place not in file):
            continue
        data_set = read_data_set(file, place)
        if data_set.shape != shape or data_set.dtype != dtype:
            raise RecordingError(f"{place} is {data_set.shape} {data_set.dtype}; its header says {shape} {dtype}")
        regions[wanted.name] = Region.of(data_set)
    return regions


def read_data_set(file: h5py.File, place: str) -> h5py.Dataset:
    """A data set of this very file: a link that leads elsewhere is refused, not followed."""
    group: Any = file
    for part in place.split("/"):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise RecordingError(f"{place} is missing")
        group = group[part]
    if not isinstance(group, h5py.Dataset):
        raise RecordingError(f"{place} is not a data set")
    return group
