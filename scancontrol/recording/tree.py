"""Making the whole HDF5 file: HyperSpy's tree and ours, every data set at its final size, allocated early."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np

from scancontrol.capabilities import Capabilities
from scancontrol.recording.data_sets import DataSet, data_sets
from scancontrol.recording.hyperspy import metadata_of, write_metadata
from scancontrol.recording.layout import TABLES, Header
from scancontrol.recording.regions import Region

__all__ = ["create_file", "pictures_in_block"]

SAMPLES_PER_BLOCK = 1 << 24
"""Samples of one channel that lie together; a block is also what HyperSpy loads at a time when lazy."""

PICTURE_BLOCKS = 1 << 14
"""Blocks that a stack of pictures is stored in, at most, as far as blocks stay below a gigabyte."""
_BLOCK_BYTES = 1 << 30


def create_file(path: Path, header: Header, plan_text: str, capabilities: Capabilities) -> dict[str, Region]:
    """Make the whole file, close it, and return where each of its data sets lies.

    Nothing is allocated on the disk but the tree itself: the file is sparse until written or reserved.

    Raises:
        OSError: it cannot be made; none is left then.
    """
    try:
        # Its name is hidden and its lock ours; HDF5's own lock is what network file systems refuse.
        with h5py.File(path, "w", libver=("earliest", "v110"), locking=False) as file:
            return _build(file, header, plan_text, capabilities)
    except BaseException as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _plain(error) from error
        raise


def _plain(error: OSError) -> OSError:
    """HDF5's errors carry the system's own number and words somewhere inside."""
    number, words = re.search(r"errno = (\d+)", str(error)), re.search(r"error message = '([^']+)'", str(error))
    if number is None or words is None:
        return OSError("HDF5 could not write it")  # what it says of its own state then helps nobody
    return OSError(int(number[1]), words[1])


def _build(file: h5py.File, header: Header, plan_text: str, capabilities: Capabilities) -> dict[str, Region]:
    file.attrs["file_format"] = "HyperSpy"
    file.attrs["file_format_version"] = "3.3"
    file.attrs["scancontrol_recording"] = np.uint32(header.version)
    ours = file.create_group("recording")
    for name, text in (
        ("header", msgspec.yaml.encode(header).decode()),
        ("plan", plan_text),
        ("capabilities", msgspec.yaml.encode(capabilities).decode()),
    ):
        ours.create_dataset(name, data=np.frombuffer(text.encode() or b"\n", dtype="u1"))
    made: dict[str, h5py.Dataset] = {}
    for wanted in data_sets(header):
        if not wanted.shape[0]:
            continue
        if wanted.kind in TABLES:
            made[wanted.name] = _data_set(ours, wanted.name, wanted.shape, wanted.dtype.base)
        else:
            made[wanted.name] = _experiment(file, wanted, header, capabilities)
    file.flush()
    return {name: Region.of(data_set) for name, data_set in made.items()}


def _data_set(
    group: h5py.Group, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], block: tuple[int, ...] | None = None
) -> h5py.Dataset:
    """A data set allocated now and left unfilled: contiguous, or in blocks where HyperSpy may load lazily."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    if block is None:
        properties.set_layout(h5py.h5d.CONTIGUOUS)
    else:
        properties.set_chunk(block)
    kind = h5py.h5t.py_create(dtype, logical=True)
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, properties))


def pictures_in_block(shape: tuple[int, ...]) -> int:
    """One, so that HyperSpy loads one at a time; more where HDF5 would be busy for long with very many blocks."""
    frames, rows, cols = shape
    return min(-(-frames // PICTURE_BLOCKS), max(1, _BLOCK_BYTES // (4 * rows * cols)))


def _experiment(file: h5py.File, wanted: DataSet, header: Header, capabilities: Capabilities) -> h5py.Dataset:
    """One signal as HyperSpy reads it; lengths in nm, energies in keV, currents in nA, times in s."""
    group, shape = file.create_group(f"Experiments/{wanted.name}"), wanted.shape
    pixel_nm = header.pixel_size_nm
    if wanted.kind == "raw samples":
        block: tuple[int, ...] = (1, min(shape[1], SAMPLES_PER_BLOCK))
        axes = [("detector", "", 1.0, True), ("dwell time", "µs", header.dwell_us, False)]
    else:
        block = (pictures_in_block(shape), *header.shape)
        every = (
            header.keep_restorations if wanted.kind != "partial frames" and header.keep_restorations != "last" else 1
        )
        axes = [("frame", "", float(every), True), ("y", "nm", pixel_nm, False), ("x", "nm", pixel_nm, False)]
    data_set = _data_set(group, "data", shape, wanted.dtype, block)
    for index, (axis, units, scale, navigate) in enumerate(axes):
        group.create_group(f"axis-{index}").attrs.update(
            {
                "_type": "UniformDataAxis",
                "name": axis,
                "units": units,
                "scale": scale,
                "offset": 0.0,
                "size": shape[index],
                "navigate": navigate,
                "is_binned": False,
            }
        )
    write_metadata(group.create_group("metadata"), metadata_of(header, capabilities, wanted.name, wanted.channel))
    group.create_group("original_metadata")
    group.create_group("learning_results")
    return data_set
