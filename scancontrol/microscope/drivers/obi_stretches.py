"""A stretch of a scan path as Open Beam Interface commands, and the key to the values that come back. Pure.

Every stretch begins by setting the blanker together with its first pixel and ends blanked, so that a device whose
host falls silent finishes the stretch and waits without beam.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput
from scancontrol.microscope.obi.commands import CODES, CYCLE_US, MAX_RUN, Blank, Flush, Opcode

__all__ = ["MAX_SAMPLES", "Stretch", "cycles_of", "encode", "field_codes"]

MAX_SAMPLES = 3584
"""Samples in one stretch: their pixels fit one array even when every dwell is split into its 17 binary digits."""

_TAIL = Blank(enable=True).encode() + Flush().encode()
_UNBLANK = Blank(enable=False, inline=True).encode()[0]
_BLANK = Blank(enable=True, inline=True).encode()[0]

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Stretch:
    """Commands for ``n`` samples.

    ``data``: the bytes; ``reply_end`` (n,): how many values have come back when a sample is complete; ``weight``
    (replies,): each value's share of its sample in ADC cycles, 0 for a blanked move, None where sample and value
    are one; ``device_us``: the device's time; ``exposed_us`` (n,): time with beam.
    """

    data: bytes
    reply_end: Ints
    weight: Ints | None
    device_us: float
    exposed_us: NDArray[np.float64]

    @property
    def replies(self) -> int:
        """Values that come back in all."""
        return int(self.reply_end[-1])

    def values(self, replies: NDArray[np.uint16], first: int, count: int) -> NDArray[np.uint16]:
        """Samples ``first`` to ``first + count`` from exactly their ``replies``."""
        if self.weight is None:
            return replies
        start = int(self.reply_end[first - 1]) if first else 0
        ends = self.reply_end[first : first + count] - start
        weight = self.weight[start : start + len(replies)]
        starts = np.concatenate([[0], ends[:-1]])
        total = np.add.reduceat(replies * weight, starts)
        return np.rint(total / np.add.reduceat(weight, starts)).astype(np.uint16)


def cycles_of(time_us: NDArray[np.float64], quantity: str) -> Ints:
    """Times as whole ADC cycles.

    Raises:
        InvalidInput: that leaves none, or is not finite.
    """
    cycles = np.rint(np.asarray(time_us, dtype=np.float64) / CYCLE_US)
    if not np.all(np.isfinite(cycles)) or (cycles.size and cycles.min() < 1):
        raise InvalidInput(quantity, f"{np.min(time_us):g}", f"is below one ADC cycle, {CYCLE_US}", "raise it")
    return cycles.astype(np.int64)


def field_codes(positions: NDArray[np.float64], shape: tuple[int, int], fov_nm: float, full_nm: float | None) -> Ints:
    """DAC codes ``(n, 2)`` as (x, y) for ``positions`` (n, 2) as (y, x) in fractions of the field.

    ``full_nm`` is the width that the DACs' full range covers; with None the frame's longer side fills the range.

    Raises:
        InvalidInput: the frame is larger than the range.
    """
    rows, cols = shape
    height_nm = fov_nm * rows / cols
    full = max(fov_nm, height_nm) if full_nm is None else full_nm
    if max(fov_nm, height_nm) > full * (1 + 1e-9):
        raise InvalidInput(
            "fov_nm",
            max(fov_nm, height_nm),
            f"is above the field that the DACs cover, {full:g}",
            "lower the magnification and state the new full_field_nm, or plan a smaller field",
        )
    share = np.array([height_nm, fov_nm]) / full
    codes = np.rint((positions * share + (1 - share) / 2) * CODES).astype(np.int64)
    return np.clip(codes[:, ::-1], 0, CODES - 1)


def encode(codes: Ints, dwell: Ints, move: Ints, *, split: bool) -> Stretch:
    """Commands for ``codes`` (n, 2) as (x, y), ``dwell`` and ``move`` (n,) in ADC cycles; a move is blanked.

    ``split`` gives every dwell as pixels of a power of two of cycles each, because the device averages only the first
    power of two of a longer one; it costs as many pixels as the dwell has binary ones.

    Raises:
        InvalidInput: a dwell does not fit its field.
    """
    if dwell.size and dwell.max() > MAX_RUN:
        raise InvalidInput("dwell_us", dwell.max() * CYCLE_US, f"is above {MAX_RUN * CYCLE_US:g}", "lower it")
    sample, cycles, lit = _pixels(dwell, move, split)
    replies = np.bincount(sample, minlength=len(dwell))
    plain = len(sample) == len(dwell)
    return Stretch(
        data=_bytes(codes[sample], cycles, lit) + _TAIL,
        reply_end=np.cumsum(replies),
        weight=None if plain else np.where(lit, cycles, 0),
        device_us=float(cycles.sum()) * CYCLE_US,
        exposed_us=dwell.astype(np.float64) * CYCLE_US,
    )


def _pixels(dwell: Ints, move: Ints, split: bool) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """For every pixel the sample it belongs to, its cycles and whether it is lit."""
    n = np.arange(len(dwell))
    if split and np.any(dwell & (dwell - 1)):
        digits = np.int64(1) << np.arange(16, -1, -1)
        has = (dwell[:, None] & digits) != 0
        sample = np.repeat(n, has.sum(axis=1))
        cycles = np.broadcast_to(digits, has.shape)[has]
    else:
        sample, cycles = n, dwell
    lit = np.ones(len(sample), np.bool_)
    if not np.any(move):
        return sample, cycles, lit
    parts = -(-move // MAX_RUN)  # a move longer than the longest pixel takes several
    moving = np.repeat(n, parts)
    whole = np.full(len(moving), MAX_RUN, np.int64)
    last = np.cumsum(parts)[parts > 0] - 1
    whole[last] = (move - (parts - 1) * MAX_RUN)[parts > 0]
    # stable sort by sample puts each move before the pixels of its sample
    order = np.argsort(np.concatenate([moving, sample]), kind="stable")
    return (
        np.concatenate([moving, sample])[order],
        np.concatenate([whole, cycles])[order],
        np.concatenate([np.zeros(len(moving), np.bool_), lit])[order],
    )


def _bytes(codes: Ints, cycles: Ints, lit: NDArray[np.bool_]) -> bytes:
    """Arrays of pixels, each preceded by the inline blanking that holds for it."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(lit)) + 1])
    lengths = np.diff(np.concatenate([starts, [len(lit)]]))
    shortest = bool(np.all(cycles == 1))
    opcode = Opcode.VECTOR_PIXEL_MIN_DWELL if shortest else Opcode.VECTOR_PIXEL
    columns = [codes[:, 0], codes[:, 1]] if shortest else [codes[:, 0], codes[:, 1], cycles - 1]
    payload = np.stack(columns, axis=1).astype(">u2").view(np.uint8).reshape(len(codes), -1)
    width = payload.shape[1]
    begin = np.cumsum(4 + width * lengths) - (4 + width * lengths)
    out = np.empty(int(4 * len(starts) + width * len(codes)), np.uint8)
    out[begin] = np.where(lit[starts], _UNBLANK, _BLANK)
    out[begin + 1] = Opcode.ARRAY << 4 | opcode
    out[begin + 2] = (lengths - 1) >> 8
    out[begin + 3] = (lengths - 1) & 0xFF
    at = np.repeat(begin + 4 - width * starts, lengths) + width * np.arange(len(codes))
    out[at[:, None] + np.arange(width)] = payload
    return out.tobytes()
