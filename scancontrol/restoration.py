"""Where a restored picture comes from: one value, carried unchanged from the restorer to wire, page and file.

A further fact is a further field of :class:`Provenance`, with a default, and nothing else: the wire, the recording
and the page carry the value whole, and files written before it was known are read with the default.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec

from scancontrol.errors import InvalidInput

__all__ = ["AS_KEPT", "Face", "FreshNotices", "Look", "Provenance"]

Face: TypeAlias = Literal["classical", "faithful", "realistic"]
"""Whether a picture comes from a fill, from weights that learnt errors, or from weights that learnt likeness too."""

_Name = Annotated[str, msgspec.Meta(max_length=200)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 48)]
_Notice = Annotated[str, msgspec.Meta(max_length=300)]


class Look(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way to look at the newest frame that is not the one in which it is kept: restored anew, and stored nowhere.

    Attributes:
        alone: from its own samples only, whatever is remembered.
        lattice: whether a lattice may be used.
    """

    alone: bool = False
    lattice: bool = True


AS_KEPT = Look()


class Provenance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What made a restoration, from how much, and how wrong it was found to be.

    Attributes:
        method: name of the fill or of the weights.
        face: see :data:`Face`.
        weights_hash: of the weights file; empty for a classical fill.
        samples_used: samples of this frame that it was made from, withheld ones included; 0 if it was not noted.
        withheld_rmse: error on the samples that were withheld from it, in sample units; None if too few to tell.
        expected_rmse: that error carried over to every pixel of the frame, in sample units; None likewise.
        outliers: readings that all their neighbours deny; they were left out.
        lost: readings that were none (no number, or a value repeated where one was lost); they were left out.
        saturated: readings at the converter's highest value; they were believed.
        lattice_share: how far a lattice, proven by this frame's own samples, made the picture; 0 is not at all.
        delay_samples, delay_sd_samples: how late readings come beyond what is known, and its standard deviation; None
            if no delay is seen.
        missed: share of the withheld samples outside the interval that was promised for them, where that is more than
            by chance: the interval was widened. None where it is not.
        cause: in a word, what the readings most likely suffer from that was not corrected, such as ``delay``; empty
            where they are explained.
        frames: how many frames' samples are in the picture, this one's included.
        age_frames: how many frames ago the oldest of them was scanned.
        later_frames: how many of them were scanned after this one; only offline.
        drift_px: (y, x) by which the specimen has moved since the frame before; None if it was not measured.
        drift_sd_px: standard deviation of that, of the worse direction.
        forgotten: share of the field in which older samples were let go because this frame contradicts them.
        notices: what is to be told of the readings, a sentence each, the most important first.

    Raises:
        InvalidInput: all of it together takes more than ``LIMIT_BYTES`` as JSON.
    """

    LIMIT_BYTES: ClassVar[int] = 4096  # a recording has this much room for it beside each picture

    method: _Name
    face: Face
    weights_hash: _Name = ""
    samples_used: _Count = 0
    withheld_rmse: float | None = None
    expected_rmse: float | None = None
    outliers: _Count = 0
    lost: _Count = 0
    saturated: _Count = 0
    lattice_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    delay_samples: float | None = None
    delay_sd_samples: float | None = None
    missed: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    cause: _Name = ""
    frames: Annotated[int, msgspec.Meta(ge=1)] = 1
    age_frames: _Count = 0
    later_frames: _Count = 0
    drift_px: tuple[float, float] | None = None
    drift_sd_px: float | None = None
    forgotten: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    notices: Annotated[tuple[_Notice, ...], msgspec.Meta(max_length=8)] = ()

    def __post_init__(self) -> None:
        size = len(self.to_json())
        if size > self.LIMIT_BYTES:
            limit = f"is more than the {self.LIMIT_BYTES} that a recording has room for"
            raise InvalidInput("provenance", f"{size} bytes", limit, "shorten its texts")

    def to_json(self) -> bytes:
        """As a recording keeps it; fields that have their default are left out."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes) -> Provenance:
        """What :meth:`to_json` wrote, also by a version that knew other facts.

        Raises:
            msgspec.MsgspecError: it is not that.
        """
        return msgspec.json.decode(text, type=cls)


class FreshNotices:
    """Passes each kind of notice on once, whatever its figures, until no frame has had it for a while."""

    _QUIET = 16  # frames without it, after which it is told again

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._frames = 0

    def of(self, notices: Iterable[str]) -> list[str]:
        """Those of one more frame that are new."""
        self._frames += 1
        fresh = []
        for notice in notices:
            kind = re.sub(r"[-+]?\d[\d.e+-]*", "#", notice)
            if self._frames - self._last.get(kind, -self._QUIET) >= self._QUIET:
                fresh.append(notice)
            self._last[kind] = self._frames
        return fresh
