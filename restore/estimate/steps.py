"""What conjugate gradients do between their transforms, each as a chain that can be one kernel or two.

Vectors are real and imaginary parts side by side, (batch, h, w, 2): a real factor times a complex tensor would be
copied to complex first. Directions are divided by the residual's energy, which leaves no quotients of numbers to be
computed on their own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from restore.estimate.fused import chain

__all__ = ["advanced", "arrived", "beginning", "curved", "factors", "turned"]


def _pairs(factor: Tensor) -> Tensor:
    """A real factor (batch, h, w) for the two parts of complex numbers, (batch, h, w, 2)."""
    if torch.compiler.is_compiling():
        return factor[..., None].expand(*factor.shape, 2)
    return torch.view_as_real(torch.complex(factor, factor))


def _added_product(a: Tensor, b: Tensor, c: Tensor, out: Tensor) -> None:
    """a + b · c, written to its place."""
    if torch.compiler.is_compiling():
        out.copy_(torch.addcmul(a, b, c))
    else:
        torch.addcmul(a, b, c, out=out)


def _dot(a: Tensor, b: Tensor, least: Tensor, sign: float) -> Tensor:
    """Inner product of each frame's vectors, kept off 0, times a sign; (batch, 1, 1, 1)."""
    if torch.compiler.is_compiling():
        return sign * ((a * b).sum((1, 2, 3), keepdim=True) + least[..., None])
    return torch.baddbmm(least, a.flatten(1)[:, None], b.flatten(1)[:, :, None], beta=sign, alpha=sign)[..., None]


@chain
def factors(
    power: Tensor, amplitude: Tensor, pairs: Tensor, noise: Tensor, dependent: Tensor, one: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Factors of one solution, (batch, h, w, 2) each.

    Args:
        power: of the process, (batch, h, w).
        amplitude, pairs: see :class:`restore.estimate.waves.Waves`.
        noise: of a reading, (batch,).
        dependent: noise of a grid that would tell as much of what the samples tell least, (batch,).
        one: 1, ().

    Returns:
        From coefficients to a spectrum, from a transform to coefficients, and the preconditioner.
    """
    out = _pairs(power.sqrt().mul_(amplitude))
    back = out * (pairs / noise[:, None, None, None])
    return out, back, _pairs(torch.addcdiv(one, power, dependent[:, None, None]).reciprocal_())


@chain
def beginning(
    spectrum: Tensor,
    gathered: Tensor,
    out: Tensor,
    back: Tensor,
    inverse: Tensor,
    least: Tensor,
    found: Tensor,
    along: Tensor,
) -> Tensor:
    """Begin at a spectrum, of which the readings that it misses are ``gathered``; returns the direction's spectrum.

    Args:
        spectrum, gathered, out, back, inverse: (batch, h, w, 2), see :func:`factors`.
        least: what inner products are kept above, (1, 1, 1).
        found: to hold coefficients and what they still miss, the residual's negative, (2, batch, h, w, 2).
        along: to hold a direction in which to go on, and its image, likewise.
    """
    x, missed, direction = found[0], found[1], along[0]
    if torch.compiler.is_compiling():
        x.copy_(spectrum / out)
    else:
        torch.div(spectrum, out, out=x)
    _added_product(x, gathered, back, missed)
    step = missed * inverse
    energy = _dot(missed, step, least, -1.0)
    if torch.compiler.is_compiling():
        direction.copy_(step / energy)
    else:
        torch.div(step, energy, out=direction)
    return direction * out


@chain
def curved(along: Tensor, gathered: Tensor, back: Tensor, least: Tensor) -> Tensor:
    """Set the image of a direction; returns how the misfit is curved along it, (batch, 1, 1, 1)."""
    _added_product(along[0], gathered, back, along[1])
    return _dot(along[0], along[1], least, 1.0)


@chain
def advanced(found: Tensor, along: Tensor, curvature: Tensor, inverse: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    """Go one step along a direction; returns the residual's next one, and the negative of its energy."""
    found.addcdiv_(along, curvature)
    step = found[1] * inverse
    return step, _dot(found[1], step, least, -1.0)


@chain
def turned(along: Tensor, step: Tensor, energy: Tensor, out: Tensor) -> Tensor:
    """Turn a direction by a step of an energy; returns its spectrum."""
    along[0].addcdiv_(step, energy)
    return along[0] * out


@chain
def arrived(found: Tensor, along: Tensor, curvature: Tensor, out: Tensor) -> Tensor:
    """Go the last step along a direction; returns the spectrum of what was found."""
    return torch.addcdiv(found[0], along[0], curvature).mul_(out)
