"""One frame as plain arrays, and from there to whatever reads arrays: CSV, NPZ, HDF5, xarray, HyperSpy.

::

    with Recording.open("scan.hspy") as recording:
        frame = frame_arrays(recording, 0)
    frame.samples, frame.positions, frame.dwell_us, frame.partial, frame.estimate, frame.interval
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.paths import expand, partial_frame
from scancontrol.paths.known import known_pixels, reach_of
from scancontrol.recording.data_sets import channel_of
from scancontrol.recording.hyperspy import describe
from scancontrol.recording.reader import RecordingReader, StoredRestoration
from scancontrol.restoration import Provenance

__all__ = ["ChannelImages", "FrameArrays", "frame_arrays"]


@dataclass(frozen=True)
class ChannelImages:
    """The images of one more detector, as :class:`FrameArrays` has those of the first."""

    partial: NDArray[np.float32]
    estimate: NDArray[np.float32] | None
    interval: NDArray[np.float32] | None
    made_by: Provenance | None
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class FrameArrays:
    """Everything that is known of one frame.

    Attributes:
        frame: its number.
        channels: the detectors' names, in the order of ``samples``.
        samples: (channels, n), readings in the order of the scan.
        sound: bool (n,), false where a reading is none or the disk damaged it.
        positions: float64 (n, 2), (y, x) in fractions of the field, as the beam was told; where a path followed the
            specimen while it was scanned, on the specimen as it lay in the middle of the frame, as in the pictures.
        dwell_us: float64 (n,).
        partial: float32 (rows, cols), dwell-weighted mean of the first channel's sound samples; 0 where there is none.
        dwell_map_us: float32 (rows, cols), dwell behind each pixel of ``partial``; 0 where it was not touched.
        estimate: float32 (rows, cols), the restoration in the samples' units; None where there is none.
        interval: float32 (rows, cols), half-width of its 90 % interval; None likewise.
        known: bool (rows, cols), where the samples can tell of the specimen; elsewhere ``estimate`` is no picture.
        made_by: what made the restoration; None likewise.
        pixel_nm: side of a pixel.
        others: the images of the other detectors, by name.
        about: what the frame is of, in words: microscope, specimen, stage, operator and more, as far as known.
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
    known: NDArray[np.bool_]
    others: Mapping[str, ChannelImages] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)

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
        """With partial frame and mask from the sound samples of the first channel, and ``interval`` of ``others``."""
        sound = sound & np.isfinite(samples[0])
        partial, dwell_map = partial_frame(positions[sound], samples[0][sound], shape, dwell_us=dwell_us[sound])
        return cls(
            samples=samples,
            sound=sound,
            positions=positions,
            dwell_us=dwell_us,
            partial=partial,
            dwell_map_us=dwell_map,
            known=known_pixels(reach_of(dwell_map > 0), others.get("interval")),
            **others,
        )

    def images(self) -> dict[str, NDArray[Any]]:
        """The images (rows, cols) that there are, by their names here; those of other detectors as ``estimate BF``."""
        named = {name: getattr(self, name) for name in ("partial", "dwell_map_us", "estimate", "interval", "known")}
        for channel, other in self.others.items():
            named |= {
                f"{name} {channel}": getattr(other, name) for name in ("partial", "estimate", "interval", "known")
            }
        return {name: image for name, image in named.items() if image is not None}

    def named(self) -> dict[str, NDArray[Any]]:
        """Every array that there is, by its name here: samples, where they are and how long, and :meth:`images`."""
        names = ("samples", "sound", "positions", "dwell_us")
        return {name: getattr(self, name) for name in names} | self.images()

    def origins(self) -> dict[str, Provenance]:
        """What made the restorations, as ``made_by``, and of other detectors as ``made_by BF``."""
        named = {"made_by": self.made_by}
        named |= {f"made_by {channel}": other.made_by for channel, other in self.others.items()}
        return {name: made_by for name, made_by in named.items() if made_by is not None}

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
        return dict(self.about) | {name: made_by.to_json().decode() for name, made_by in self.origins().items()}


def frame_arrays(
    recording: RecordingReader,
    frame: int,
    channels: Sequence[str] | None = None,
    newer: Mapping[str, StoredRestoration] = MappingProxyType({}),
) -> FrameArrays:
    """Samples, positions, dwell, partial frame, estimate and interval of a frame, as arrays.

    ``channels`` are the detectors wanted, the first of which is the one that ``partial``, ``estimate`` and ``interval``
    are of; all by default. ``newer`` holds restorations that are not on the disk yet, by detector.

    Raises:
        RecordingError: there is no such frame, or the file is damaged beyond its samples.
        InvalidInput: a detector is not recorded.
    """
    known = recording.header.channels
    names = known if channels is None else tuple(channel_of(recording.header, name) for name in channels)
    read, path = recording.read_samples(frame), expand(recording.recipe(frame))
    values = read.values[[known.index(name) for name in names]]
    chunk = path.chunk(0, values.shape[1])
    places = path.on_specimen(chunk.positions)
    stored = {name: newer.get(name) or recording.restoration(frame, name) for name in names}

    def images(row: int) -> ChannelImages:
        found, good = stored[names[row]], read.sound & np.isfinite(values[row])
        partial, dwell_map = partial_frame(places[good], values[row][good], path.shape, dwell_us=chunk.dwell_us[good])
        reach = reach_of(dwell_map > 0)
        if found is None:
            return ChannelImages(partial, None, None, None, known_pixels(reach))
        known = known_pixels(reach, found.interval)
        return ChannelImages(partial, found.estimate, found.interval, found.made_by, known)

    first = stored[names[0]]
    return FrameArrays.gridded(
        values,
        read.sound,
        places,
        chunk.dwell_us,
        path.shape,
        frame=frame,
        channels=names,
        estimate=None if first is None else first.estimate,
        interval=None if first is None else first.interval,
        made_by=None if first is None else first.made_by,
        pixel_nm=recording.header.pixel_size_nm,
        others={name: images(row) for row, name in enumerate(names) if row},
        about=dict(describe(recording.header, recording.capabilities)),
    )


def _optional(module: str, package: str | None = None) -> Any:
    package = package or module
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InvalidInput(package, "missing", f"cannot be imported ({error})", f"pip install {package}") from None
