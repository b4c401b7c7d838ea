"""The detectors that a plan asks for, out of all that the microscope sends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scancontrol.wire.assembly import Chunk

__all__ = ["chosen_channels"]


def chosen_channels(chunk: Chunk, sent: tuple[str, ...], wanted: tuple[str, ...]) -> Chunk:
    """``chunk`` with the rows of the detectors ``wanted``, in that order, out of those ``sent``."""
    if sent == wanted or not sent:
        return chunk
    rows = [sent.index(name) for name in wanted]
    return replace(chunk, values=np.ascontiguousarray(chunk.values[rows]))
