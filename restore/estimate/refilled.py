"""What a frame hands on, of places that have changed since: the old specimen there gives way to a fill of new samples.

A few steps of conjugate gradients follow a specimen that moves, but where another one has come slow waves of the old
one would stay for frames.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.estimate.carried import CarriedProcess, Learnt
from restore.estimate.torus import MARGIN
from restore.fills.push_pull import push_pull

__all__ = ["refilled"]


def refilled(process: CarriedProcess, mean: Tensor, weight: Tensor, changed: Tensor) -> CarriedProcess:
    """The same, begun anew where ``changed``.

    Args:
        process: moved to this frame and in its units.
        mean: of this frame's samples on each pixel, (1, 1, rows, cols), anything finite where ``weight`` is 0.
        weight: dwell on each pixel, (1, 1, rows, cols).
        changed: bool (rows, cols).
    """
    touched = (weight > 0).to(mean.dtype)
    measured, where = mean * touched, changed[None, None].to(mean.dtype)
    full = None if process.full is None else _with(process.full, measured, touched, where)
    total, count = (F.avg_pool2d(each, 2, ceil_mode=True, divisor_override=1) for each in (measured, touched))
    half = F.max_pool2d(where, 2, ceil_mode=True)
    return CarriedProcess(_with(process.half, total / count.clamp_min(1.0), count, half), full)


def _with(learnt: Learnt, mean: Tensor, count: Tensor, where: Tensor) -> Learnt:
    field = torch.fft.irfft2(learnt.spectrum, s=(learnt.spectrum.shape[-2], learnt.width), norm="forward")
    rows, cols = mean.shape[-2:]
    inside = field[..., MARGIN : MARGIN + rows, MARGIN : MARGIN + cols]
    inside.copy_(torch.where(where[:, 0] > 0, push_pull(mean, count)[:, 0], inside))
    return replace(learnt, spectrum=torch.fft.rfft2(field, norm="forward"))
