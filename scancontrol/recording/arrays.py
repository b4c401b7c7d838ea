"""One frame as plain arrays, and from there to whatever reads arrays: CSV, NPZ, HDF5, xarray, HyperSpy.

::

    with Recording.open("scan.hspy") as recording:
        frame = frame_arrays(recording, 0)
    frame.samples, frame.positions, frame.dwell_us, frame.partial, frame.estimate, frame.interval
"""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.files import writing
from scancontrol.paths import expand, partial_frame
from scancontrol.recording.reader import RecordingReader
from scancontrol.restoration import Provenance

__all__ = ["ARRAY_FORMATS", "FrameArrays", "frame_arrays", "write_arrays"]


@dataclass(frozen=True)
class FrameArrays:
    """Everything that is known of one frame.

    Attributes:
        frame: its number.
        channels: the detectors' names.
        samples: (channels, n), readings in the order of the scan.
        sound: bool (n,), false where a reading is none or the disk damaged it.
        positions: float64 (n, 2), (y, x) in fractions of the field, as the beam was told.
        dwell_us: float64 (n,).
        partial: float32 (rows, cols), dwell-weighted mean of the first channel's sound samples; 0 where there is none.
        dwell_map_us: float32 (rows, cols), dwell behind each pixel of ``partial``; 0 where it was not touched.
        estimate: float32 (rows, cols), the restoration in the samples' units; None where there is none.
        interval: float32 (rows, cols), half-width of its 90 % interval; None likewise.
        made_by: what made the restoration; None likewise.
        pixel_nm: side of a pixel.
    """

    frame: int
    channels: tuple[str, ...]
    samples: NDArray[Any]
    sound: NDArray[np.bool_]
    positions: NDArray[np.float64]
    dwell_us: NDArray[np.float64]
    partial: NDArray[np.float32]
    dwell_map_us: NDArray[np.float32]
    estimate: NDArray[np.float32] | None
    interval: NDArray[np.float32] | None
    made_by: Provenance | None
    pixel_nm: float

    @classmethod
    def gridded(
        cls,
        samples: NDArray[Any],
        sound: NDArray[np.bool_],
        positions: NDArray[np.float64],
        dwell_us: NDArray[np.float64],
        shape: tuple[int, int],
        **others: Any,
    ) -> FrameArrays:
        """With the partial frame gridded from the sound samples of the first channel."""
        sound = sound & np.isfinite(samples[0])
        partial, dwell_map = partial_frame(positions[sound], samples[0][sound], shape, dwell_us=dwell_us[sound])
        return cls(
            samples=samples,
            sound=sound,
            positions=positions,
            dwell_us=dwell_us,
            partial=partial,
            dwell_map_us=dwell_map,
            **others,
        )

    def images(self) -> dict[str, NDArray[np.float32]]:
        """The images (rows, cols) that there are, by their names here."""
        named = {name: getattr(self, name) for name in ("partial", "dwell_map_us", "estimate", "interval")}
        return {name: image for name, image in named.items() if image is not None}

    def to_xarray(self) -> Any:
        """The images as an :class:`xarray.Dataset` over ``y`` and ``x`` in nm, 0 at the first pixel's centre.

        Raises:
            InvalidInput: xarray is not installed.
        """
        xarray = _optional("xarray")
        rows, cols = self.partial.shape
        nm = {"units": "nm"}
        coordinates = {"y": ("y", self.pixel_nm * np.arange(rows), nm), "x": ("x", self.pixel_nm * np.arange(cols), nm)}
        images = {name: (("y", "x"), image) for name, image in self.images().items()}
        return xarray.Dataset(images, coordinates, {"frame": self.frame, **self._told()})

    def to_hyperspy(self, image: str = "estimate") -> Any:
        """One of :meth:`images` as a HyperSpy ``Signal2D`` with axes in nm.

        Raises:
            InvalidInput: HyperSpy is not installed, or there is no such image.
        """
        signals = _optional("hyperspy.signals", "hyperspy")
        images = self.images()
        if image not in images:
            raise InvalidInput("image", image, f"is not of frame {self.frame}", f"choose of {', '.join(images)}")
        axes = [
            {"name": name, "size": size, "scale": self.pixel_nm, "offset": 0.0, "units": "nm", "navigate": False}
            for name, size in zip(("y", "x"), images[image].shape, strict=True)
        ]
        title = f"frame {self.frame}, {image}"
        metadata = {"General": {"title": title}, "scancontrol": self._told()}
        return signals.Signal2D(images[image], axes=axes, metadata=metadata)

    def _told(self) -> dict[str, str]:
        return {} if self.made_by is None else {"made_by": self.made_by.to_json().decode()}


def frame_arrays(recording: RecordingReader, frame: int) -> FrameArrays:
    """Samples, positions, dwell, partial frame, estimate and interval of a frame, as arrays.

    Raises:
        RecordingError: there is no such frame, or the file is damaged beyond its samples.
    """
    read, path = recording.read_samples(frame), expand(recording.recipe(frame))
    chunk, stored = path.chunk(0, read.values.shape[1]), recording.restoration(frame)
    return FrameArrays.gridded(
        read.values,
        read.sound,
        chunk.positions,
        chunk.dwell_us,
        path.shape,
        frame=frame,
        channels=recording.header.channels,
        estimate=None if stored is None else stored.estimate,
        interval=None if stored is None else stored.interval,
        made_by=None if stored is None else stored.made_by,
        pixel_nm=recording.header.pixel_size_nm,
    )


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


def _named(arrays: FrameArrays) -> dict[str, NDArray[Any]]:
    names = ("samples", "sound", "positions", "dwell_us")
    return {name: getattr(arrays, name) for name in names} | arrays.images()


def _write_npz(arrays: FrameArrays, path: Path) -> None:
    facts = {"channels": np.array(arrays.channels), "pixel_nm": np.array(arrays.pixel_nm)}
    if arrays.made_by is not None:
        facts["made_by"] = np.array(arrays.made_by.to_json().decode())
    with path.open("wb") as file:
        np.savez_compressed(file, **_named(arrays), **facts)  # type: ignore[arg-type]


def _write_hdf5(arrays: FrameArrays, path: Path) -> None:
    with h5py.File(path, "w") as file:
        for name, values in _named(arrays).items():
            file.create_dataset(name, data=values, compression="gzip")
        file.attrs["channels"] = list(arrays.channels)
        file.attrs["pixel_nm"] = arrays.pixel_nm
        file.attrs["frame"] = arrays.frame
        for name, value in {} if arrays.made_by is None else msgspec.to_builtins(arrays.made_by).items():
            file.attrs[name] = str(value) if isinstance(value, list | tuple) else value


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


def _optional(module: str, package: str | None = None) -> Any:
    package = package or module
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InvalidInput(package, "missing", f"cannot be imported ({error})", f"pip install {package}") from None
