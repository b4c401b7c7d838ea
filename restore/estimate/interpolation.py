"""Read the four full-size pixels inside each half-size one from a half-size field, and the transpose of that.

Keys' cubic convolution at ±¼ half-size pixel along each axis. On a processor by slices and scaled additions only: with
one channel, convolution kernels are ten times slower there, and torch's own bicubic interpolation four times. On a GPU
by one convolution: to launch fifty small kernels would take longer than what they do.

References: Keys 1981, IEEE Trans. ASSP 29, 1153, equation 15.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["doubled", "half_to_phases", "phases_to_half"]

# Keys' kernel (a = −½) at distances 1¾, ¾, ¼ and 1¼; as taps −2 … 1 they read a quarter pixel before the centre.
_TAPS = ((-2, -0.0234375), (-1, 0.2265625), (0, 0.8671875), (1, -0.0703125))


def _shifted_add(out: Tensor, x: Tensor, axis: int, tap: int, weight: float) -> None:
    """out[k] += weight · x[k + tap] along an axis; nothing is read beyond the ends."""
    length = x.shape[axis] - abs(tap)
    out.narrow(axis, max(0, -tap), length).add_(x.narrow(axis, max(0, tap), length), alpha=weight)


def _along(x: Tensor, axis: int, sign: int) -> Tensor:
    out = x * _TAPS[2][1]
    for tap, weight in _TAPS:
        if tap:
            _shifted_add(out, x, axis, sign * tap, weight)
    return out


def half_to_phases(field: Tensor) -> list[Tensor]:
    """The full-size pixels (2k, 2l), (2k, 2l + 1), (2k + 1, 2l), (2k + 1, 2l + 1) of a field (batch, h, w).

    On a processor a list of four, elsewhere of one stack (batch, 4, h, w), in the order of ``pixel_unshuffle``. Exact
    away from the border's outermost two pixels.
    """
    if field.device.type != "cpu":
        return [_phases_by_convolution(field)]
    rows = [_along(field, -2, sign) for sign in (1, -1)]
    return [_along(row, -1, sign) for row in rows for sign in (1, -1)]


def phases_to_half(phases: list[Tensor]) -> Tensor:
    """The transpose of :func:`half_to_phases`: four (batch, h, w) to one."""
    if phases[0].device.type != "cpu":
        return _half_by_convolution(phases[0])
    # Reading k + tap and adding to k turns, transposed, into reading k and adding to k + tap.
    rows = [_along(phases[2 * n], -1, -1).add_(_along(phases[2 * n + 1], -1, 1)) for n in (0, 1)]
    return _along(rows[0], -2, -1).add_(_along(rows[1], -2, 1))


@lru_cache(maxsize=8)
def _kernels(device: torch.device, dtype: torch.dtype) -> Tensor:
    """The four phases' kernels, (4, 1, 5, 5): outer products of the taps, mirrored for those after the centre."""
    with torch.inference_mode(False):  # kept, and a later call may be training
        line = torch.zeros(5, device=device, dtype=dtype)
        for tap, weight in _TAPS:
            line[tap + 2] = weight
        lines = (line, line.flip(0))
        return torch.stack([torch.outer(row, col) for row in lines for col in lines])[:, None]


def _phases_by_convolution(field: Tensor) -> Tensor:
    # Rounded to ten bits, the operator and its transpose would not be each other's, as conjugate gradients need it.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return F.conv2d(field[:, None], _kernels(field.device, field.dtype), padding=2)


def _half_by_convolution(stacked: Tensor) -> Tensor:
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return F.conv_transpose2d(stacked, _kernels(stacked.device, stacked.dtype), padding=2)[:, 0]


_SHARPER = (-0.03515625, 0.26171875, 0.87890625, -0.10546875)  # the same with a = −¾, as torch's bicubic has it


@torch.no_grad()
def doubled(field: Tensor) -> Tensor:
    """A field (batch, 1, h, w) at twice its size, edges repeated: ``F.interpolate`` in mode bicubic."""
    if field.device.type != "cpu":
        return F.interpolate(field, scale_factor=2, mode="bicubic", align_corners=False)
    rows, cols = field.shape[-2:]
    padded = F.pad(field, (2, 2, 2, 2), mode="replicate")
    out = field.new_empty(*field.shape[:-2], rows, 2, cols, 2)
    for below in (0, 1):
        line = _weighted(padded, -2, below, rows)
        for right in (0, 1):
            out[..., below, :, right] = _weighted(line, -1, right, cols)
    return out.reshape(*field.shape[:-2], 2 * rows, 2 * cols)


def _weighted(padded: Tensor, axis: int, after: int, length: int) -> Tensor:
    """Four neighbours' weighted sum, a quarter pixel before each of ``length`` centres, or after it."""
    weights = _SHARPER[::-1] if after else _SHARPER
    out = weights[0] * padded.narrow(axis, after, length)
    for tap in (1, 2, 3):
        out.add_(padded.narrow(axis, after + tap, length), alpha=weights[tap])
    return out
