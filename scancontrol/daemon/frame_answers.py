"""Recorded frames for whoever asks: exact samples, positions and pictures, also of a scan that goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from scancontrol.daemon.page.arrays import encode_arrays
from scancontrol.daemon.page.hub import LiveHub, RestorationView, View
from scancontrol.daemon.page.messages import GetFrame
from scancontrol.daemon.snapshot import Snapshot
from scancontrol.errors import InvalidInput
from scancontrol.recording import RecordingReader, StoredRestoration
from scancontrol.recording.arrays import frame_arrays

__all__ = ["FrameAnswers"]

MAX_FRAME_BYTES: Final = 1 << 30
_SETTLED_S: Final = 0.5  # nothing is on its way to the restorer for so long: no picture comes any more


class FrameAnswers:
    """Reads frames of the recordings in ``folder``; what is newest may be in ``hub`` and not yet on the disk.

    ``settled`` says of a series and a frame whether the frame was restored, or is missed.
    """

    def __init__(
        self, folder: Path, hub: LiveHub, settled: Callable[[int, int], bool] = lambda series_id, frame: False
    ) -> None:
        self._folder, self._hub, self._settled = folder, hub, settled
        self._idle_since: tuple[str, int] | None = None  # recording that waits for nothing any more, and since when

    def ready(self, wanted: GetFrame) -> bool:
        """Whether the frame has all that it will have. Cheap: it looks at what was published, and at no disk."""
        newest = self._hub.newest("status")
        status = None if newest is None else newest[1]
        if not isinstance(status, Snapshot) or status.scan.recording != wanted.recording:
            return True
        view = _whole_of(self._hub.newest("restoration"), status.scan.series_id)
        if view is not None and view.frame == wanted.frame:
            return True
        scanned = status.scan.frames_ended > wanted.frame or status.scan.phase.value == "ended"
        if scanned and self._settled(status.scan.series_id, wanted.frame):
            return True  # whatever later frames wait for
        waits_for_none = status.restorer.state == "off" or (status.restorer.queue == status.restorer.catching_up == 0)
        if not (scanned and waits_for_none):
            self._idle_since = None
            return False
        if self._idle_since is None or self._idle_since[0] != wanted.recording:
            self._idle_since = (wanted.recording, status.utc_ns)
        return status.utc_ns - self._idle_since[1] >= _SETTLED_S * 1e9

    def read(self, wanted: GetFrame) -> bytes:
        """The frame as a message.

        Raises:
            InvalidInput: the name is no recording's of this folder, or the frame is too large to be sent.
            RecordingError: it cannot be read, or has no such frame.
        """
        file = self._folder / wanted.recording
        if file.parent != self._folder or file.suffix != ".hspy" or not file.is_file():
            remedy = "give the name that the status tells"
            raise InvalidInput("recording", wanted.recording, "is no recording of this daemon", remedy)
        newest = self._hub.newest("restoration")  # before the file is read: what is no more here by then is there
        with RecordingReader(file) as recording:
            header, entry = recording.header, recording.frame(wanted.frame)
            view, newer = _whole_of(newest, header.series_id), {}
            if view is not None and view.frame == wanted.frame:
                shown = StoredRestoration(view.frame, view.estimate, view.interval, view.made_by, utc_ns=0)
                newer[view.channel or header.channels[0]] = shown
            arrays = frame_arrays(recording, wanted.frame, newer=newer)
        named = arrays.named()
        size = sum(array.nbytes for array in named.values())
        if size > MAX_FRAME_BYTES:
            raise InvalidInput("frame", f"{size} bytes", f"is above {MAX_FRAME_BYTES}", "read the recording's file")
        facts = {
            "recording": wanted.recording,
            "frame": arrays.frame,
            "plan": header.name,
            "series": header.series_unique_id,
            "complete": entry.complete,
            "reason": entry.reason,
            "channels": arrays.channels,
            "pixel_nm": arrays.pixel_nm,
            "about": dict(arrays.about),
            "origins": {name: msgspec.to_builtins(made_by) for name, made_by in arrays.origins().items()},
        }
        return encode_arrays("frame", wanted.request, facts, named)


def _whole_of(newest: tuple[int, View] | None, series_id: int) -> RestorationView | None:
    """The newest restoration, if it is of this series and of a whole frame."""
    view = None if newest is None else newest[1]
    whole = isinstance(view, RestorationView) and not view.partial and view.series_id == series_id
    return view if isinstance(view, RestorationView) and whole else None
