"""Reading the pictures of a recording: partial frames and restorations, of each detector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput, RecordingError
from scancontrol.recording.data_sets import picture_name
from scancontrol.recording.layout import TABLES, Header
from scancontrol.restoration import Provenance

__all__ = ["StoredPictures", "StoredRestoration"]


@dataclass(frozen=True)
class StoredRestoration:
    """A restoration as it was shown: images (rows, cols) float32 in sample units, and where they come from."""

    frame: int
    estimate: NDArray[np.float32]
    interval: NDArray[np.float32] | None
    made_by: Provenance
    utc_ns: int


class StoredPictures:
    """The pictures that a file holds. ``row`` is a frame's row in the frame table; channels are named, None: the first.

    Args:
        header: of the recording.
        names: the data sets that this file has.
        read: bytes of a data set, from a byte, so many.

    All methods raise :class:`InvalidInput` where a detector is not recorded, :class:`RecordingError` where what the
    file says of a picture is damaged, and what ``read`` raises.
    """

    def __init__(self, header: Header, names: frozenset[str], read: Callable[[str, int, int], bytes]) -> None:
        self._header, self._names, self._read = header, names, read

    def stored(
        self, kind: Literal["partial", "restoration"], frames: list[int], channel: str | None
    ) -> NDArray[np.bool_]:
        """For each of ``frames``, numbers in the order of rows, whether such a picture is stored."""
        name = picture_name(self._header, "partials_written" if kind == "partial" else "restored", channel)
        found = np.zeros(len(frames), dtype=np.bool_)
        if name not in self._names:
            return found
        if kind == "partial":
            return np.frombuffer(self._read(name, 0, len(frames)), dtype=np.uint8) > 0
        places = [self._header.restoration_row(row) for row in range(len(frames))]
        rows, dtype = max((place + 1 for place in places if place is not None), default=0), TABLES["restored"]
        table = np.frombuffer(self._read(name, 0, rows * dtype.itemsize), dtype=dtype)
        for row, frame in enumerate(frames):
            if (place := places[row]) is not None:
                found[row] = table["written"][place] and table["frame"][place] == frame
        return found

    def partial(self, row: int, channel: str | None) -> NDArray[np.float32] | None:
        """The gridded samples (rows, cols), if stored."""
        written = picture_name(self._header, "partials_written", channel)
        if written not in self._names or not self._read(written, row, 1)[0]:
            return None
        return self._picture("partial frames", row, channel)

    def restoration(self, row: int, frame: int, channel: str | None) -> StoredRestoration | None:
        """What was shown as the restoration of frame number ``frame``, if stored."""
        name, place = picture_name(self._header, "restored", channel), self._header.restoration_row(row)
        if place is None or name not in self._names:
            return None
        dtype = TABLES["restored"]
        values = np.frombuffer(self._read(name, place * dtype.itemsize, dtype.itemsize), dtype=dtype)[0]
        if not values["written"] or int(values["frame"]) != frame:
            return None
        return StoredRestoration(
            frame=int(values["frame"]),
            estimate=self._picture("restorations", place, channel),
            interval=self._picture("intervals", place, channel) if values["has_interval"] else None,
            made_by=self._provenance(place, values, channel),
            utc_ns=int(values["utc_ns"]),
        )

    def _provenance(self, place: int, values: Any, channel: str | None) -> Provenance:
        """Of a restoration; the first recordings keep it in the columns of ``restored`` alone."""
        size, name = TABLES["provenance"].itemsize, picture_name(self._header, "provenance", channel)
        text = b"" if name not in self._names else self._read(name, place * size, size).rstrip(b"\0")
        names = {key: bytes(values[key]).decode("utf-8", "replace") for key in ("method", "face", "weights_hash")}
        withheld = None if np.isnan(values["withheld_rmse"]) else float(values["withheld_rmse"])
        facts = names | {"samples_used": int(values["samples_used"]), "withheld_rmse": withheld}
        try:
            return Provenance.from_json(text) if text else msgspec.convert(facts, Provenance)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidInput) as error:
            raise RecordingError(f"where a restoration comes from is damaged: {error}") from error

    def _picture(self, kind: str, place: int, channel: str | None) -> NDArray[np.float32]:
        size = self._header.shape[0] * self._header.shape[1] * 4
        data = self._read(picture_name(self._header, kind, channel), place * size, size)
        return np.frombuffer(data, dtype="<f4").reshape(self._header.shape)
