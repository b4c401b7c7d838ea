"""What a session gets of a scan: frames, exact and whole, and the pictures that the page shows while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import RemoteProtocolError
from scancontrol.recording.arrays import ChannelImages, FrameArrays
from scancontrol.restoration import Provenance

__all__ = ["Frame", "Picture", "frame_of", "picture_of"]


@dataclass(frozen=True)
class Frame(FrameArrays):
    """One recorded frame as arrays; the fields of :class:`~scancontrol.recording.arrays.FrameArrays` and these.

    Attributes:
        recording: name of the file that holds it.
        plan: name of its plan.
        complete: whether every sample of its path is there.
    """

    recording: str = ""
    plan: str = ""
    complete: bool = True

    @property
    def restored(self) -> NDArray[np.float32] | None:
        """The restoration (rows, cols) in the samples' units, ``estimate``; None where there is none."""
        return self.estimate


@dataclass(frozen=True)
class Picture:
    """What the page shows at one moment. At most 1024 pixels on a side, rounded to 1/65535 of its range.

    Attributes:
        kind: ``partial`` while a frame is scanned, ``complete`` at its end, ``restoration``, or a dry run's ``truth``.
        series: number of its scan, ``scan.series_id`` of the status; None of a truth.
        frame: its number; None of a truth.
        image: float32 (rows, cols) in the samples' units.
        interval: of a restoration, the half-width of its 90 % interval.
        weight: uint8 (rows, cols) of a partial or complete frame, 0 where the beam was not.
        partial: whether a restoration was made before the frame's last sample.
        made_by: what made a restoration.
        binning: how many of the frame's pixels make one of these, along each side.
    """

    kind: Literal["partial", "complete", "restoration", "truth"]
    series: int | None
    frame: int | None
    image: NDArray[np.float32]
    interval: NDArray[np.float32] | None = None
    weight: NDArray[np.uint8] | None = None
    partial: bool = False
    made_by: Provenance | None = None
    binning: int = 1


def frame_of(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Frame:
    """The frame that a message of the daemon holds.

    Raises:
        RemoteProtocolError: it holds none.
    """
    try:
        channels = tuple(map(str, header["channels"]))
        origins = msgspec.convert(header["origins"], dict[str, Provenance])
        others = {
            name: ChannelImages(
                arrays[f"partial {name}"],
                arrays.get(f"estimate {name}"),
                arrays.get(f"interval {name}"),
                origins.get(f"made_by {name}"),
                arrays[f"known {name}"],
            )
            for name in channels[1:]
        }
        return Frame(
            frame=int(header["frame"]),
            channels=channels,
            samples=arrays["samples"],
            sound=arrays["sound"],
            positions=arrays["positions"],
            dwell_us=arrays["dwell_us"],
            partial=arrays["partial"],
            dwell_map_us=arrays["dwell_map_us"],
            estimate=arrays.get("estimate"),
            interval=arrays.get("interval"),
            known=arrays["known"],
            made_by=origins.get("made_by"),
            pixel_nm=float(header["pixel_nm"]),
            others=others,
            about=msgspec.convert(header["about"], dict[str, str]),
            recording=str(header["recording"]),
            plan=str(header["plan"]),
            complete=bool(header["complete"]),
        )
    except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
        raise RemoteProtocolError(f"what the daemon sent as a frame lacks something: {error!r}") from error


def picture_of(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Picture | None:
    """The picture that a message holds; None where a dry run's truth is taken back.

    Raises:
        RemoteProtocolError: it holds none.
    """
    try:
        kind = header["type"]
        image = arrays.get("estimate" if kind == "restoration" else "image")
        if kind == "truth" and image is None:
            return None
        return Picture(
            kind=kind,
            series=int(header["series"]) if "series" in header else None,
            frame=header.get("frame"),
            image=arrays["estimate"] if kind == "restoration" else arrays["image"],
            interval=arrays.get("interval"),
            weight=arrays.get("weight"),
            partial=bool(header.get("partial", False)),
            made_by=None if "made_by" not in header else msgspec.convert(header["made_by"], Provenance),
            binning=int(header["binning"]),
        )
    except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
        raise RemoteProtocolError(f"what the daemon sent as a picture lacks something: {error!r}") from error
