"""What the spectral process of a frame hands on to the next one: its spectra and its solutions, moved by the drift.

A following frame has most of its samples in common with the one before, so it begins where that one ended: a few steps
of conjugate gradients then do what a frame that begins with nothing needs several rounds for. A movement is a phase of
each wave, and so is exact to any fraction of a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from restore.restorer import Movement

__all__ = ["CarriedProcess", "Learnt"]


@dataclass(frozen=True)
class Learnt:
    """What one solver knows at the end of a frame. Tensors are of one batch, (batch, …), on a torus (height, width).

    Attributes:
        spectrum: transform of its estimate, divided by the number of cells, (batch, height, width // 2 + 1).
        power: the process's power spectrum. level: what the samples' covariance said of each ring,
            (batch, rings).
        noise, effective, clumping, lattice: see :class:`restore.estimate.solver.SpectralSolver`, (batch,).
        width: of the torus.
    """

    spectrum: Tensor
    power: Tensor
    level: Tensor | None
    noise: Tensor
    effective: Tensor
    clumping: Tensor
    lattice: Tensor
    width: int

    def of_one(self, at: int) -> Learnt:
        """Of one frame of the batch, by itself."""

        def one(values: Tensor) -> Tensor:
            return values[at : at + 1].clone()

        return Learnt(
            one(self.spectrum),
            one(self.power),
            None if self.level is None else one(self.level),
            one(self.noise),
            one(self.effective),
            one(self.clumping),
            one(self.lattice),
            self.width,
        )

    def moved(self, by: Movement) -> Learnt:
        """The same of a specimen that has moved, in the units of the next frame."""
        height, device = self.spectrum.shape[-2], self.spectrum.device
        down = torch.fft.fftfreq(height, device=device) * by.y_px
        right = torch.fft.rfftfreq(self.width, device=device) * by.x_px
        turn = torch.polar(torch.full_like(down, by.gain), -2 * torch.pi * down)[:, None]
        spectrum = self.spectrum * turn * torch.polar(torch.ones_like(right), -2 * torch.pi * right)
        spectrum[..., 0, 0] += by.shift
        squared = by.gain**2
        return replace(
            self,
            spectrum=spectrum,
            power=self.power * squared,
            level=None if self.level is None else self.level * squared,
            noise=self.noise * squared,
            effective=self.effective * squared,
        )


@dataclass(frozen=True)
class CarriedProcess:
    """What a frame's process hands on: of half-size pixels, and of full-size ones if it was solved for them."""

    half: Learnt
    full: Learnt | None

    def of_one(self, at: int) -> CarriedProcess:
        """Of one frame of the batch, by itself."""
        return CarriedProcess(self.half.of_one(at), None if self.full is None else self.full.of_one(at))

    def moved(self, by: Movement) -> CarriedProcess:
        """The same of a specimen that has moved."""
        return CarriedProcess(self.half.moved(by.halved()), None if self.full is None else self.full.moved(by))
