"""What the generator hands on from frame to frame: its process, and what its networks added, moved by the drift.

What networks correct is the specimen's, so it moves with it; they need not look at every frame of which most samples
are known to them. Where something else than its place has changed, they do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.estimate.carried import CarriedProcess
from restore.estimate.refilled import refilled
from restore.restorer import STILL, Movement

__all__ = ["LOOKS_EVERY", "Carried", "shifted"]

LOOKS_EVERY = 3  # frames: the networks look at one of so many
_BEGINS_ANEW = 24  # frames: one of so many takes nothing over
_MUCH = 0.03  # of the frame, that has changed if they look before their turn


@dataclass(frozen=True)
class Carried:
    """At the end of a frame, in the units of its normalised samples.

    Attributes:
        process: of the spectral start.
        correction, log_scale: what the networks said when they looked last, (batch, 1, rows, cols), padding included.
        since: what has moved since then.
        frames: how many frames ago that was. age: how many frames ago one began anew.
    """

    process: CarriedProcess
    correction: Tensor
    log_scale: Tensor
    since: Movement = STILL
    frames: int = 0
    age: int = 0

    def moved(self, by: Movement) -> Carried:
        """The same at the next frame, in its units."""
        return replace(
            self, process=self.process.moved(by), since=by.after(self.since), frames=self.frames + 1, age=self.age + 1
        )

    def refilled(self, mean: Tensor, weight: Tensor, changed: Tensor) -> Carried:
        """The same where more than its place has ``changed`` (rows, cols): see :mod:`restore.estimate.refilled`.

        What the networks said there is of something else, and what is there is not known any better than anywhere. If
        it is much of the frame, they look again.
        """
        process = refilled(self.process, mean, weight, changed)
        if float(changed.float().mean()) > _MUCH:
            return replace(self, process=process, frames=LOOKS_EVERY)
        rows, cols = changed.shape
        correction, log_scale = (said.clone() for said in self.said())
        correction[..., :rows, :cols].masked_fill_(changed, 0.0)
        log_scale[..., :rows, :cols].masked_fill_(changed, float(log_scale.max()))
        return replace(self, process=process, correction=correction, log_scale=log_scale, since=STILL)

    def of_one(self, at: int) -> Carried:
        """Of one frame of a batch, by itself."""
        process, correction, log_scale = self.process.of_one(at), self.correction[at], self.log_scale[at]
        return replace(self, process=process, correction=correction[None].clone(), log_scale=log_scale[None].clone())

    @property
    def ends(self) -> bool:
        """Whether the next frame is to begin anew, and learn all of its samples' spectrum again."""
        return self.age + 1 >= _BEGINS_ANEW

    @property
    def looks(self) -> bool:
        """Whether the networks are to look at this frame."""
        return self.frames >= LOOKS_EVERY

    def said(self) -> tuple[Tensor, Tensor]:
        """Correction and log scale where the specimen is now."""
        since, gain = self.since, self.since.gain
        correction, log_scale = (shifted(x, since.y_px, since.x_px) for x in (self.correction, self.log_scale))
        if gain == 1:
            return correction, log_scale
        return correction * gain, log_scale + math.log(gain)


def shifted(images: Tensor, y_px: float, x_px: float) -> Tensor:
    """Images (batch, channels, rows, cols) moved down and right, linear between pixels, edges repeated.

    They themselves if they stay.
    """
    if y_px == x_px == 0:
        return images
    shape = images.shape[-2:]
    whole = [max(-side, min(side, math.floor(by))) for side, by in zip(shape, (y_px, x_px), strict=True)]
    (above, below), (left, right) = ((max(0, by + 1), max(0, -by)) for by in whole)
    images = F.pad(images, (left, right, above, below), mode="replicate")
    for axis, by, before, moved in ((-2, y_px, above, whole[0]), (-1, x_px, left, whole[1])):
        length, part = shape[axis], by - math.floor(by)
        near, far = (images.narrow(axis, before - moved - beyond, length) for beyond in (0, 1))
        images = torch.lerp(near, far, part) if part else near
    return images
