"""Runs a network on frames of samples: normalised and gridded, several at once, and back in the samples' units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from restore.estimate.lattice.crystal import Crystal
from restore.generator.carried import Carried
from restore.generator.generator import Estimate
from restore.gridding import FrameGeometry, Normalisation
from restore.restorer import Before

__all__ = ["CarriedSamples", "Found", "Network", "Ready", "ready_for", "restored_with", "run_generator", "run_together"]

_FARTHEST = 64.0  # spreads from the centre
_SIMILAR = 2.0  # times the contrast of a frame that the next one may have to begin with it

Network = Callable[..., Estimate]
"""A trained network: normalised partial frame, dwell, distance to the path, stated noise and perhaps what the frame
before carried in, estimate out."""


@dataclass(frozen=True)
class CarriedSamples:
    """What a network carries to the next frame, and of what: of samples ``centre + scale · value``.

    ``without`` is the share of a crystal that was taken off them; 0 without one.
    """

    carried: Carried
    normalisation: Normalisation
    without: float = 0.0

    @property
    def centre(self) -> float:
        """Asked when the next frame comes: then nothing of this one is waited for."""
        return float(self.normalisation.centre[0])

    @property
    def scale(self) -> float:
        """Likewise."""
        return float(self.normalisation.scale[0])

    def may_go_on(self, before: Before, scale: float) -> bool:
        """Whether the next frame, of that scale, may begin with it: not after long, nor if its contrast is another."""
        gain = before.moved.gain * self.scale
        return not self.carried.ends and scale > 0 and gain < _SIMILAR * scale and scale < _SIMILAR * gain

    def after(self, before: Before, normalisation: Normalisation) -> Carried:
        """The same for the next frame, in its normalised units."""
        moved = before.moved
        centre, scale = float(normalisation.centre[0]), float(normalisation.scale[0])
        level = moved.gain * self.centre + (1 - self.without) * moved.shift
        by = replace(moved, gain=moved.gain * self.scale / scale, shift=(level - centre) / scale)
        return self.carried.moved(by)


class Found(NamedTuple):
    """What a network says of a frame, in the units of its samples.

    Attributes:
        estimate, scale: the frame, and its error's scale on each pixel, (rows, cols).
        carried: what the next frame may begin with, if anything.
    """

    estimate: Tensor
    scale: Tensor
    carried: CarriedSamples | None


@dataclass(frozen=True)
class Ready:
    """A frame as a network takes it.

    Attributes:
        planes: mean, dwell, distance to the path, each (1, 1, rows, cols), and stated noise (1,).
        normalisation: of its samples. began: what the frame before carried, moved to this one.
        crystal: that was taken off the samples and is to be put back.
    """

    planes: tuple[Tensor, Tensor, Tensor, Tensor]
    normalisation: Normalisation
    began: Carried | None = None
    crystal: Crystal | None = None

    def found(self, frame: Tensor, log_scale: Tensor, carried: Carried | None) -> Found:
        """What a network said of it, (1, 1, rows, cols), in the units of the samples."""
        normalisation, crystal = self.normalisation, self.crystal
        kept = None
        if carried is not None:
            kept = CarriedSamples(carried, normalisation, 0.0 if crystal is None else crystal.share)
        estimate = normalisation.invert(frame)[0, 0]
        if crystal is not None:
            estimate = torch.add(crystal.image, estimate, alpha=crystal.rest)
        return Found(estimate, normalisation.invert_width(log_scale.exp())[0, 0], kept)


@torch.inference_mode()
def ready_for(
    samples: Tensor,
    geometry: FrameGeometry,
    noise_variance: float | None = None,
    before: Before | None = None,
    crystal: Crystal | None = None,
) -> Ready:
    """Normalise and grid samples (n,). Exactly gain-equivariant.

    Args:
        noise_variance: of a nominal sample about the specimen, in the samples' units squared, if it is known.
        before: that carried :class:`CarriedSamples`.
        crystal: to be taken off the samples.
    """
    rest = samples if crystal is None else samples - crystal.at_samples
    normalisation = _bounded(geometry.normalisation(rest), rest)
    mean, weight = geometry.grid(normalisation.apply(rest[None])[0])
    noise = torch.full_like(normalisation.scale, torch.nan if noise_variance is None else noise_variance)
    noise = (noise / normalisation.scale.square().clamp_min(1e-300)).float()
    planes = (mean[None, None], weight[None, None], geometry.distance[None, None], noise)
    known, began = None if before is None else before.carried, None
    if before is not None and isinstance(known, CarriedSamples):
        alike = known.without == (0.0 if crystal is None else crystal.share)  # else it is of something else
        if alike and known.may_go_on(before, float(normalisation.scale[0])):
            began = known.after(before, normalisation)
            if before.changed is not None:
                began = began.refilled(planes[0], planes[1], before.changed)
    return Ready(planes, normalisation, began, crystal)


@torch.inference_mode()
def run_together(network: Network, frames: Sequence[Ready]) -> list[Found]:
    """Restore frames of one size in one pass; one that begins with what another carried goes by itself."""
    if len(frames) == 1:
        (frame,) = frames
        said = network(*frame.planes, *([] if frame.began is None else [frame.began]))
        return [frame.found(said.frame, said.log_scale, said.carried)]
    said = network(*(torch.cat(planes) for planes in zip(*(frame.planes for frame in frames), strict=True)))
    return [
        frame.found(
            said.frame[at : at + 1],
            said.log_scale[at : at + 1],
            None if said.carried is None else said.carried.of_one(at),
        )
        for at, frame in enumerate(frames)
    ]


def run_generator(
    network: Network,
    samples: Tensor,
    geometry: FrameGeometry,
    noise_variance: float | None = None,
    before: Before | None = None,
) -> Found:
    """Restore samples (n,); see :func:`ready_for`."""
    return run_together(network, [ready_for(samples, geometry, noise_variance, before)])[0]


def restored_with(
    network: Network,
    samples: Tensor,
    geometry: FrameGeometry,
    crystal: Crystal | None,
    noise_variance: float | None = None,
    before: Before | None = None,
) -> Found:
    """As :func:`run_generator`, with a crystal taken off the samples first and put back."""
    return run_together(network, [ready_for(samples, geometry, noise_variance, before, crystal)])[0]


def _bounded(normalisation: Normalisation, samples: Tensor) -> Normalisation:
    """With so large a scale that no sample (n,) is farther out than any of a single frame, whose samples are bounded.

    Of several frames together nearly all samples may be of one grey level, though each alone has a contrast.
    """
    farthest = (samples.double() - normalisation.centre).abs().max()
    return replace(normalisation, scale=torch.maximum(normalisation.scale, farthest / _FARTHEST))
