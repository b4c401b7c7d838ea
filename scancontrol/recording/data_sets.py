"""Every data set of a recording: its name, its place in the file, its shape and kind of number.

Pictures are kept of each detector. Those of the first lie under the plain names, ``restorations``; those of another
under the same with its own behind, ``restorations BF``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from scancontrol.errors import InvalidInput
from scancontrol.recording.layout import EXPERIMENTS, LATER, TABLES, Header

__all__ = ["PICTURES", "PICTURE_TABLES", "DataSet", "channel_of", "data_sets", "picture_name"]

PICTURES = ("partial frames", "restorations", "intervals")
PICTURE_TABLES = ("partials_written", "restored", "provenance")


@dataclass(frozen=True)
class DataSet:
    """One of them.

    Attributes:
        name: its own in this file.
        kind: its name among ``EXPERIMENTS`` or ``TABLES``.
        place: where it is in the HDF5 file.
        shape, dtype: of what it holds.
        channel: the detector whose picture it belongs to; empty where it belongs to all.
        later: recordings of earlier releases may lack it.
    """

    name: str
    kind: str
    place: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    channel: str
    later: bool


def channel_of(header: Header, name: str | None) -> str:
    """The recorded detector called ``name``; the first one for None.

    Raises:
        InvalidInput: it is not recorded.
    """
    if name is None:
        return header.channels[0]
    if name not in header.channels:
        raise InvalidInput("channel", name, "is not recorded here", f"choose of {', '.join(header.channels)}")
    return name


def picture_name(header: Header, kind: str, channel: str | None) -> str:
    """What the data set of this kind is called that belongs to ``channel``, the first one for None.

    Raises:
        InvalidInput: that detector is not recorded.
    """
    name = channel_of(header, channel)
    return kind if name == header.channels[0] else f"{kind} {name}"


def data_sets(header: Header) -> Iterator[DataSet]:
    """All that a recording with this header has room for, the small ones first."""
    for kind, dtype in TABLES.items():
        for channel in header.channels if kind in PICTURE_TABLES else ("",):
            name = picture_name(header, kind, channel or None)
            later = kind in LATER or name != kind
            yield DataSet(name, kind, f"recording/{name}", header.table_shape(kind), dtype, channel, later)
    for kind in EXPERIMENTS:
        shape, dtype = header.experiment_shape(kind), header.experiment_dtype(kind)
        for channel in header.channels if kind in PICTURES else ("",):
            name = picture_name(header, kind, channel or None)
            yield DataSet(name, kind, f"Experiments/{name}/data", shape, dtype, channel, name != kind)
