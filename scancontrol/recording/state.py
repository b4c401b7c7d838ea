"""What a recording is and whether it was ended, read without its frames: a folder may hold thousands."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scancontrol.capabilities import Capabilities
from scancontrol.errors import RecordingError
from scancontrol.recording.head import check_version, hdf5_of, read_data_set, read_head
from scancontrol.recording.layout import STATUS_ROW, Header
from scancontrol.recording.regions import Region, is_being_written

__all__ = ["RecordingState"]


@dataclass(frozen=True)
class RecordingState:
    """A recording that was not ended, from outside; ``being_written`` while a process holds it."""

    path: Path
    header: Header
    capabilities: Capabilities
    being_written: bool

    @classmethod
    def of_unfinished(cls, path: Path) -> RecordingState | None:
        """Look at ``path``; None where it was ended cleanly, which takes about a millisecond to see.

        Raises:
            RecordingError: it is no recording, or damaged.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                with hdf5_of(descriptor) as file:
                    check_version(file)
                    status = Region.of(read_data_set(file, "recording/status"))
                    if np.frombuffer(status.read(descriptor, 0, 0, STATUS_ROW.itemsize), dtype=STATUS_ROW)["closed"][0]:
                        return None
                    header, _, capabilities = read_head(file, descriptor)
            finally:
                os.close(descriptor)
        except RecordingError as error:
            raise RecordingError(f"{path}: {error}") from error
        except Exception as error:  # h5py answers a damaged file with whatever its depths throw
            raise RecordingError(f"{path} is not a readable recording: {error}") from error
        return cls(path, header, capabilities, is_being_written(path))
