"""The Gaussian process of the spectral start on its torus: from a spectrum to the frame, and from a frame to one.

``solve`` is the E-step, conjugate gradients with FFTs; ``learn`` and ``learn_from_samples`` are M-steps. See
:mod:`restore.estimate.process` for what it is for.

References:
    Stein, Interpolation of Spatial Data, Springer 1999 (kriging as a Gaussian process).
    Guo & Verdú 2005, https://arxiv.org/abs/cs/0503056 (effective noise of large random linear systems).
"""

from __future__ import annotations

import torch
from torch import Tensor

from restore.estimate.carried import Learnt
from restore.estimate.operator import PixelReading, Reading
from restore.estimate.torus import BINS, frequencies, lag_window, sectors_of
from scancontrol.errors import LocalProtocolError

__all__ = ["SpectralSolver"]

_CLUMPED = (3.0, 100.0)  # preconditioned best for 1 in 3·clumping³ samples, at the most 1 in 100: see _clumping
_TREND = 0.2  # what is slower than this many cycles per mean sample spacing is trend, not lattice
_SECTOR_DOUBT = 20.0  # coefficients' worth of belief that all directions are alike
_PEAK_BIN = 4  # rings below 1/32 cycle per half-size pixel hold trends and no lattice
_PEAK_ERRORS = 5.0  # standard errors above chance that make a peak of the samples' power spectrum
_LATTICE = 0.25  # share of the power in peaks from which on a frame is treated as a crystal altogether
_RING_SHARE = (0.8, 0.0)  # weight of the ring average in the spectrum: of a rough surface, of a crystal
_NOISE_FACTOR = (0.7, 2.5)  # assumed noise over the measured one, likewise


def _pairs(factor: Tensor) -> Tensor:
    """A real factor (batch, h, w) for the two parts of complex numbers, (batch, h, w, 2)."""
    return factor[..., None].expand(*factor.shape, 2).contiguous()


class SpectralSolver:
    """One batch of frames on a torus of cells: how its samples are read, and the current spectrum and estimate.

    Args:
        rough: every sample at its cell's centre; exact: where it is, or the same reading where cells are pixels.
        area: cells of the frame that are not margin or padding.
        noise_factor: assumed noise over the measured one, of a rough surface and of a crystal.
    """

    def __init__(self, rough: PixelReading, exact: Reading, area: float) -> None:
        batch, self.height, self.width = rough.count.shape
        self.rough, self.exact = rough, exact
        self.samples = rough.count.sum((1, 2)).clamp_min(1.0)  # (batch,)
        self.cells = self.height * self.width
        self.fill_factor = area / self.cells  # share of the torus that is frame
        self.density = self.samples / area  # (batch,) samples for each cell of the frame
        device = rough.count.device
        prior, self.multiplicity, self.bins, self.sizes = frequencies(self.height, self.width, device)
        self.power = prior.expand(batch, -1, -1)  # spectrum of the specimen, as known now
        self.noise = rough.count.new_full((batch,), 0.05)  # its share of the readings' variance
        self.effective = rough.count.new_full((batch,), 0.3)  # noise of a full grid that would tell as much
        self.estimate: Tensor | None = None  # (batch, height, width), that ``spectrum`` is of, once there is one
        self.learnt_from: Tensor | None = None  # the field that ``missed`` is of
        self.level: Tensor | None = None  # what the samples' covariance says of each ring
        self.clumping = rough.count.new_ones(batch)  # how much closer than at random samples lie together
        self._bin_weight = self.multiplicity.flatten() / self.cells
        self._grade(rough.count.new_zeros(batch))
        self._fixed_point()

    def _grade(self, lattice: Tensor) -> None:
        """Set what depends on the lattice's share (batch,): between the value for a rough surface and for a crystal."""
        self.lattice, crystal = lattice, (lattice / _LATTICE).clamp(0, 1)
        self.noise_factor, self.ring_share = (
            torch.add(first, crystal, alpha=last - first) for first, last in (_NOISE_FACTOR, _RING_SHARE)
        )

    @property
    def assumed_noise(self) -> Tensor:
        """What the solver takes for noise, (batch,).

        Detail of a crystal finer than half-size pixels acts as noise on them, more of it than the misfit shows;
        between the grains of a rough surface the misfit of a stationary process overstates it.
        """
        return self.noise * self.noise_factor

    def _mean(self, values: Tensor) -> Tensor:
        return values.flatten(1) @ self._bin_weight

    def _resolved(self) -> Tensor:
        """Share of each bin's power that the samples resolve, (batch, h, w/2 + 1)."""
        return self.power / (self.power + self.effective[:, None, None])

    def _fixed_point(self, rounds: int = 3) -> None:
        least = self.assumed_noise / self.density
        for _ in range(rounds):
            self.effective = torch.addcmul(least, self.effective / self.density, self._mean(self._resolved()))

    def begin_with(self, learnt: Learnt) -> Tensor:
        """Take up what the frame before had learnt, moved to where the specimen is now; returns its estimate."""
        self.power, self.level = learnt.power, learnt.level
        self.noise, self.effective, self.clumping = learnt.noise, learnt.effective, learnt.clumping
        self._grade(learnt.lattice)
        self.spectrum = learnt.spectrum
        self.estimate = self.learnt_from = self._field(learnt.spectrum)
        self.missed = self.exact.missed(self.estimate)
        self._fixed_point()
        return self.estimate

    def learnt(self) -> Learnt:
        """What the next frame may begin with."""
        return Learnt(
            self.spectrum, self.power, self.level, self.noise, self.effective, self.clumping, self.lattice, self.width
        )

    def learn(self, estimate: Tensor, fitted: bool = True) -> None:
        """M-step: noise from the misfit, spectrum from the estimate's power plus the variance it lacks.

        Args:
            fitted: whether the estimate was fitted to these samples: if not, its misfit says nothing of their noise.
        """
        resolved = self._mean(self._resolved()) * (self.cells * self.fill_factor)
        if estimate is not self.learnt_from:
            self.missed = self.exact.missed(estimate)
            self.learnt_from = estimate
        self.misfit = self.exact.energy(self.missed)
        free = torch.maximum(self.samples - resolved, 0.1 * self.samples)
        if self.estimate is not None and fitted:  # a fill passes through its samples
            self.noise = (self.misfit / free).clamp(0.003, 0.99)
            self._fixed_point()
        if estimate is not self.estimate:
            self.spectrum = torch.fft.rfft2(estimate, norm="ortho")
        power = (self.spectrum.real.square() + self.spectrum.imag.square()) / self.fill_factor
        power = power.addcmul_(self._resolved(), self.effective[:, None, None])
        # Single bins are one draw each, and a ring average knows no lattice: how much of each, the peaks tell.
        # An estimate is smooth where samples are far apart, so its rings lack power; its directions do not.
        rings = self._radial(power) if self.level is None else self.level
        mixed = torch.lerp(power, rings * self._directions(power), self.ring_share[:, None, None])
        self.power = mixed.clamp_min_(1e-7)
        self._fixed_point()

    def learn_from_samples(self) -> None:
        """Replace what the fill says of short waves by what the samples' own covariance says, lattice peaks included.

        A fill is smooth between samples, and between turns far apart it shows no lattice at all. The covariance of
        the samples about a slow trend, products of pairs over numbers of pairs, is free of that bias at every lag.
        Its ring averages are the isotropic level; of single bins, only what stands ``_PEAK_ERRORS`` standard errors
        above it is a peak and not chance.
        """
        size = (self.height, self.width)
        count = self.rough.count
        mask = (count > 0).to(count.dtype)
        cut = (_TREND * self.density.sqrt())[:, None, None] * (2 * BINS)
        trend = torch.fft.irfft2(self.spectrum * torch.exp(-0.5 * (self.bins / cut).square()), s=size, norm="ortho")
        values = (self.rough.total / count.clamp_min(1.0) - trend) * mask
        sums = torch.fft.rfft2(torch.stack([values, mask]))
        squares = torch.fft.irfft2(sums.real.square() + sums.imag.square(), s=size)
        self.clumping = self._clumping(squares[1])
        pairs = squares[1].clamp_min(0.5)
        window = lag_window(*size, values.device)
        power = torch.fft.rfft2(squares[0] / pairs * window).real
        variance = squares[0][:, :1, :1] / pairs[:, :1, :1]
        chance = variance * (window.square() / pairs).sum((1, 2), keepdim=True).sqrt()
        rings = self._radial(power).clamp_min(0.0)
        excess = power - rings
        short = self.bins > _PEAK_BIN
        peaks = torch.where((excess > _PEAK_ERRORS * chance) & (excess > rings) & short, excess, 0.0)
        self._grade((self._mean(peaks) / self._mean(power.clamp_min(0.0) * short).clamp_min(1e-9)).clamp(0, 1))
        slow = torch.exp(-0.5 * (self.bins / cut).square())
        rings = rings / (1 - slow).clamp_min(0.15).square()  # the trend took its part of every wave
        level = torch.maximum(rings, 0.1 * self._radial(self.power))
        self.level = torch.lerp(level, self._radial(self.power), slow)
        self.power = torch.lerp(level, self.power, slow) + peaks
        self._fixed_point()

    def _clumping(self, pairs: Tensor) -> Tensor:
        """How many more samples a sample has within the mean spacing than if they lay anywhere; (batch,).

        About 1 on any grid; 2 and 5 on spirals that touch 1/20 and 1/100, whose samples lie along one arc.

        Args:
            pairs: how many pairs of touched cells have each lag, (batch, h, w).
        """
        touched = pairs[:, :1, :1]
        density = touched / (self.fill_factor * self.cells)
        y = torch.fft.fftfreq(self.height, 1 / self.height, device=pairs.device)[:, None]
        x = torch.fft.fftfreq(self.width, 1 / self.width, device=pairs.device)[None]
        near = (y.square() + x.square()) * density < 1
        expected = touched * density * near.sum((1, 2), keepdim=True)
        return ((pairs * near).sum((1, 2), keepdim=True) / expected.clamp_min(1e-6)).flatten().clamp(1.0, 8.0)

    def _radial(self, power: Tensor) -> Tensor:
        """Each bin's ring average."""
        rings = power.new_zeros(power.shape[0], len(self.sizes)).index_add_(
            1, self.bins.reshape(-1), (power * self.multiplicity).flatten(1)
        )
        return (rings / self.sizes)[:, self.bins.reshape(-1)].reshape(power.shape)

    def _directions(self, power: Tensor) -> Tensor:
        """How much more power each bin's direction has than its ring on average; about 1 where few bins could tell."""
        sectors = sectors_of(self.height, self.width, power.device)
        sums = sectors.sums((power * self.multiplicity).flatten(1))
        average = sums.sum(-1, keepdim=True) / sectors.counts.sum(-1, keepdim=True).clamp_min(1.0)
        ratio = (sums / average.clamp_min(1e-12) + _SECTOR_DOUBT) / (sectors.counts + _SECTOR_DOUBT)
        return sectors.at_bins(ratio).reshape(power.shape)

    def solve(self, iterations: int, reading: Reading) -> Tensor:
        """E-step: conjugate gradients on whitened coefficients, preconditioned by the mean sampling density.

        Coefficients carry the square root of their rfft multiplicity, so that their plain real dot product is the
        one of the whole spectrum. The rough reading takes each sample to lie at its cell's centre, which is a third of
        the exact one's time and good enough to learn a spectrum from.
        """
        if self.learnt_from is None:
            raise LocalProtocolError("a spectrum was asked to be solved with before it was learnt")
        twice = self.multiplicity.sqrt()
        root = self.power.sqrt()
        noise, effective = self.assumed_noise[:, None, None], self.effective[:, None, None]
        # Real and imaginary parts side by side: a real factor times a complex tensor would be copied to complex first.
        out, back = _pairs(root / twice), _pairs(root * twice / noise)
        dependent = (_CLUMPED[0] * self.clumping.pow(3)).clamp_max(_CLUMPED[1])[:, None, None]
        inverse = _pairs(1.0 / (1.0 + self.power / (dependent * effective)))

        def gathered(total: Tensor) -> Tensor:
            return torch.view_as_real(torch.fft.rfft2(total, norm="ortho"))

        def normal(x: Tensor) -> Tensor:
            return torch.addcmul(x, gathered(reading.normal(self._field(torch.view_as_complex(x * out)))), back)

        tiny = root.new_full((len(root), 1, 1), 1e-20)

        def dot(a: Tensor, b: Tensor) -> Tensor:
            return torch.baddbmm(tiny, a.flatten(1)[:, None], b.flatten(1)[:, :, None])[..., None]

        # It starts from what the spectrum was learnt from, of which the misfit is known.
        x = torch.view_as_real(self.spectrum) * _pairs(twice / root)
        missed = self.missed if reading is self.exact else reading.missed(self.learnt_from)
        residual = torch.addcmul(x, gathered(reading.transposed(missed)), back).neg_()
        step = residual * inverse
        direction = step.clone()
        energy = dot(residual, step)
        for left in reversed(range(iterations)):
            image = normal(direction)
            length = energy / dot(direction, image)
            x.addcmul_(direction, length)
            if left:
                residual.addcmul_(image, length, value=-1)
                torch.mul(residual, inverse, out=step)
                before, energy = energy, dot(residual, step)
                direction = torch.addcmul(step, direction, energy / before)
        self.spectrum = torch.view_as_complex(x * out)
        self.estimate = self._field(self.spectrum)
        return self.estimate

    def _field(self, spectrum: Tensor) -> Tensor:
        return torch.fft.irfft2(spectrum, s=(self.height, self.width), norm="ortho")

    def statistics(self) -> Tensor:
        """log σ², log N, share of variance that no sample resolves, log misfit; (batch, 4)."""
        n = self.effective[:, None, None]
        unresolved = self._mean(self.power * n / (self.power + n)) / self._mean(self.power)
        misfit = (self.misfit / self.samples).clamp_min(1e-6)
        return torch.stack([self.noise.log(), self.effective.log(), unresolved, misfit.log()], 1)

    def shape_statistics(self) -> Tensor:
        """Mean frequency (cycles per half-size pixel), Wiener entropy (0 peaked, 1 white), lattice; (batch, 3)."""
        radial = self.power.new_zeros(self.power.shape[0], len(self.sizes)).index_add_(
            1, self.bins.reshape(-1), (self.power * self.multiplicity).flatten(1)
        )
        centre = (torch.arange(len(self.sizes), device=self.power.device) + 0.5) / (2 * BINS)
        mean = (radial * centre).sum(1) / radial.sum(1)
        flat = (self._mean(self.power.log())).exp() / self._mean(self.power)
        return torch.stack([mean * 4, flat.clamp_min(1e-6).pow(0.25), self.lattice], 1)
