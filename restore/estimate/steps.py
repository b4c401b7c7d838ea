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
    power: Tensor, scales: Tensor, noise: Tensor, dependent: Tensor, one: Tensor, stacked: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Factors of one solution.

    Args:
        power: of the process, (batch, h, w).
        scales: see :class:`restore.estimate.waves.Waves`.
        noise: of a reading, (batch,).
        dependent: noise of a grid that would tell as much of what the samples tell least, (batch,).
        one: 1, ().
        stacked: whether a direction's spectrum is kept beside it, which is one launch less and more memory to pass.

    Returns:
        From coefficients to a spectrum and from a transform to coefficients, (batch, h, w, 2) each; from a residual to
        a step, (directions, batch, h, w, 2): the preconditioner, after the same to the step's spectrum if ``stacked``.
    """
    if torch.compiler.is_compiling():
        both = torch.stack(
            [(power / noise[:, None, None]).sqrt(), torch.addcdiv(one, power, dependent[:, None, None]).reciprocal()]
        )
        pairs = torch.stack([both, both], -1)
    else:
        both = power.new_empty(2, *power.shape)
        torch.div(power, noise[:, None, None], out=both[0]).sqrt_()
        torch.addcdiv(one, power, dependent[:, None, None], out=both[1]).reciprocal_()
        pairs = torch.view_as_real(torch.complex(both, both))
    out, back = (pairs[:1] * scales).unbind(0)
    if not stacked:
        return out, back, pairs[1:]
    pairs[0].copy_(out * pairs[1]) if torch.compiler.is_compiling() else torch.mul(out, pairs[1], out=pairs[0])
    return out, back, pairs


@chain
def beginning(
    spectrum: Tensor,
    gathered: Tensor,
    out: Tensor,
    back: Tensor,
    turns: Tensor,
    least: Tensor,
    found: Tensor,
    along: Tensor,
) -> Tensor:
    """Begin at a spectrum, of which the readings that it misses are ``gathered``; returns the direction's spectrum.

    Args:
        spectrum, gathered, out, back, turns: see :func:`factors`.
        least: what inner products are kept above, (1, 1, 1).
        found: to hold coefficients and what they still miss, the residual's negative, (2, batch, h, w, 2).
        along: to hold a direction in which to go on, after its spectrum if that is kept, and its image, likewise.
    """
    x, missed, directions = found[0], found[1], along[:-1]
    if torch.compiler.is_compiling():
        x.copy_(spectrum / out)
    else:
        torch.div(spectrum, out, out=x)
    _added_product(x, gathered, back, missed)
    steps = missed * turns
    energy = _dot(missed, steps[-1], least, -1.0)
    if torch.compiler.is_compiling():
        directions.copy_(steps / energy)
    else:
        torch.div(steps, energy, out=directions)
    return _spectrum_of(directions, out)


def _spectrum_of(directions: Tensor, out: Tensor) -> Tensor:
    return directions[0] if len(directions) > 1 else directions[0] * out


@chain
def curved(along: Tensor, gathered: Tensor, back: Tensor, least: Tensor) -> Tensor:
    """Set the image of a direction; returns how the misfit is curved along it, (batch, 1, 1, 1)."""
    direction, image = along[-2], along[-1]
    _added_product(direction, gathered, back, image)
    return _dot(direction, image, least, 1.0)


@chain
def advanced(found: Tensor, along: Tensor, curvature: Tensor, turns: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    """Go one step along a direction; returns the residual's next ones, and the negative of its energy."""
    found.addcdiv_(along[-2:], curvature)
    steps = found[1] * turns
    return steps, _dot(found[1], steps[-1], least, -1.0)


@chain
def turned(along: Tensor, steps: Tensor, energy: Tensor, out: Tensor) -> Tensor:
    """Turn a direction by steps of an energy; returns its spectrum."""
    directions = along[:-1].addcdiv_(steps, energy)
    return _spectrum_of(directions, out)


@chain
def arrived(found: Tensor, along: Tensor, curvature: Tensor, out: Tensor) -> Tensor:
    """Go the last step along a direction; returns the spectrum of what was found."""
    return torch.addcdiv(found[0], along[-2], curvature).mul_(out)
