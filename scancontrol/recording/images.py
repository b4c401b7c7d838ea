"""The part of a recording that may be lost: positions, partial frames and restorations.

All of it can be computed again from the recipe and the raw samples. So a disk without room for it is
noted and counted, never raised, and the scan goes on.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import RecordingError
from scancontrol.recording.data_sets import picture_name
from scancontrol.recording.layout import PATH_ROW, RESTORATION_ROW, TABLES, Header
from scancontrol.recording.regions import Region, disk_error
from scancontrol.restoration import Provenance

__all__ = ["ImageWriter"]

log = logging.getLogger(__name__)
RESERVE_BYTES, RESERVE_SHARE = 256 << 20, 0.02
"""Pictures are not stored while less than this is free on the disk: the smaller of the two."""
_LOOK_S = 0.25
_POSITIONS_WRITTEN = int(PATH_ROW.fields["positions_written"][1]) if PATH_ROW.fields else 0


class ImageWriter:
    """Writes beside the raw samples, from any thread, into regions of its own."""

    def __init__(self, path: Path, header: Header, regions: dict[str, Region], descriptor: int) -> None:
        self._path = path
        self._header = header
        self._regions = regions
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self.not_stored = 0
        self._look_at, self._scarce = 0.0, False

    def positions(
        self,
        path_row: int,
        start: int,
        last: bool,
        nominal: NDArray[Any],
        achieved: NDArray[Any] | None,
        dwell_us: NDArray[Any],
    ) -> bool:
        """Store positions (n, 2) and dwell times (n,) from row ``start`` of the position tables."""
        with self._lock:
            done = self._put("nominal", 8 * start, nominal) and self._put("dwell_us", 4 * start, dwell_us)
            if achieved is not None:
                done = done and self._put("achieved", 8 * start, achieved)
            if done and last:
                flag = np.array([1 if achieved is None else 2], dtype="<u8")
                done = self._put("paths", path_row * PATH_ROW.itemsize + _POSITIONS_WRITTEN, flag)
            return done

    def has_place(self, kind: str, channel: str | None) -> bool:
        """Whether pictures of this kind and detector are kept here: earlier recordings know the first one alone."""
        return picture_name(self._header, kind, channel) in self._regions

    def partial(self, row: int, image: NDArray[Any], channel: str | None = None) -> bool:
        """Store the gridded samples (rows, cols) of the frame in row ``row``, of the first detector by default."""
        image, named = self._checked(image), functools.partial(picture_name, self._header, channel=channel)
        if not self.has_place("partial frames", channel):
            return False
        with self._lock:
            return self._put(named("partial frames"), row * image.nbytes, image) and self._put(
                named("partials_written"), row, np.ones(1, dtype="u1")
            )

    def restoration(
        self,
        row: int,
        frame: int,
        estimate: NDArray[Any],
        interval: NDArray[Any] | None,
        made_by: Provenance,
        utc_ns: int | None,
        channel: str | None = None,
    ) -> bool:
        """Store an estimate and its interval (rows, cols) in place ``row``, and where they come from."""
        named = functools.partial(picture_name, self._header, channel=channel)
        withheld = made_by.withheld_rmse
        values = np.zeros(1, dtype=RESTORATION_ROW)
        for name, value in (
            ("written", 1),
            ("has_interval", interval is not None),
            ("frame", frame),
            ("samples_used", made_by.samples_used),
            ("withheld_rmse", np.nan if withheld is None else withheld),
            ("utc_ns", time.time_ns() if utc_ns is None else utc_ns),
            ("method", made_by.method.encode()[:64]),
            ("face", made_by.face.encode()),
            ("weights_hash", made_by.weights_hash.encode()[:64]),
        ):
            values[name] = value
        estimate = self._checked(estimate)
        with self._lock:
            # A replaced restoration is absent, not half old and half new, until all of it is there.
            done = self._put(named("restored"), row * values.itemsize, np.zeros_like(values))
            done = done and self._put(named("restorations"), row * estimate.nbytes, estimate)
            if interval is not None:
                done = done and self._put(named("intervals"), row * estimate.nbytes, self._checked(interval))
            if named("provenance") in self._regions:
                text = np.array([made_by.to_json()], dtype=TABLES["provenance"])
                done = done and self._put(named("provenance"), row * text.itemsize, text.view("u1"))
            return done and self._put(named("restored"), row * values.itemsize, values)

    def reopened(self, descriptor: int) -> None:
        """The file is another one from now on, with everything at its place."""
        with self._lock:
            self._descriptor = descriptor if self._descriptor >= 0 else -1

    def close(self) -> None:
        """Write nothing from now on; returns when what is being written is written."""
        with self._lock:
            self._descriptor = -1

    def _yield_to_samples(self) -> None:
        """Pictures are the first to go: what is left of the disk is for ledgers, logs and other recordings' samples.

        Raises:
            OSError: less than the reserve is free.
        """
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_S
            disk = os.fstatvfs(self._descriptor)
            reserve = min(RESERVE_BYTES, RESERVE_SHARE * disk.f_blocks * disk.f_frsize)
            self._scarce = disk.f_bavail * disk.f_frsize < reserve
        if self._scarce:
            raise OSError(
                errno.ENOSPC, f"less than {RESERVE_BYTES >> 20} MiB or {RESERVE_SHARE:.0%} of the disk is free"
            )

    def _checked(self, image: NDArray[Any]) -> NDArray[Any]:
        if image.shape != self._header.shape:
            raise RecordingError(f"an image of {image.shape} px; the recording holds {self._header.shape} px")
        return np.ascontiguousarray(image, dtype="<f4")

    def _put(self, name: str, first: int, values: NDArray[Any]) -> bool:
        if self._descriptor < 0:
            return False
        data = values if values.dtype.kind in "uV" else values.astype("<f4", copy=False)
        try:
            self._yield_to_samples()
            self._regions[name].write(self._descriptor, 0, first, np.ascontiguousarray(data).tobytes())
        except OSError as error:
            if not self.not_stored:
                log.warning("%s; raw samples go on", disk_error(self._path, f"storing {name} in", error))
            self.not_stored += 1
            return False
        return True
