"""What the generator hands on from frame to frame: its process, and what its networks added, moved by the drift.

What networks correct is the specimen's, so it moves with it; they need not look at every frame of which most samples
are known to them. Where something else than its place has changed, they do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from restore.estimate.carried import CarriedProcess
from restore.restorer import STILL, Movement

__all__ = ["LOOKS_EVERY", "Carried", "shifted"]

LOOKS_EVERY = 3  # frames: the networks look at one of so many
_BEGINS_ANEW = 24  # frames: one of so many takes nothing over


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

    def moved(self, by: Movement, changed: Tensor | None = None) -> Carried:
        """The same at the next frame, in its units; ``changed`` (rows, cols): where more than the place has."""
        if changed is None:
            moved = replace(self, since=by.after(self.since))
        else:  # what was said there is of something else, and what is there is not known any better than anywhere
            correction, log_scale = self.said()
            rows, cols = changed.shape
            correction[..., :rows, :cols].masked_fill_(changed, 0.0)
            log_scale[..., :rows, :cols].masked_fill_(changed, float(log_scale.max()))
            moved = replace(self, correction=correction, log_scale=log_scale, since=by)
        return replace(moved, process=self.process.moved(by), frames=self.frames + 1, age=self.age + 1)

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
        return correction.mul_(gain), log_scale.add_(math.log(gain))


def shifted(image: Tensor, y_px: float, x_px: float) -> Tensor:
    """An image (…, rows, cols) moved down and right, linear between pixels, edges repeated."""
    for axis, by in ((-2, y_px), (-1, x_px)):
        whole = math.floor(by)
        at = torch.arange(image.shape[axis], device=image.device) - whole
        near, far = (image.index_select(axis, each.clamp(0, len(at) - 1)) for each in (at, at - 1))
        image = near.lerp_(far, by - whole)
    return image
