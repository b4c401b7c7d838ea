"""The Gaussian process of the spectral start on its torus: from a spectrum to the frame, and from a frame to one.

``solve`` is the E-step, conjugate gradients with FFTs; ``learn`` and ``learn_from_samples`` are M-steps. See
:mod:`restore.estimate.process` for what it is for. On a GPU each operation is a launch, which takes longer than what is
launched, so there are few: numbers stay on the device and scale where vectors are added, what is known of a ring of
waves is computed for the ring, and no transform is normalised on its own.

References:
    Stein, Interpolation of Spatial Data, Springer 1999 (kriging as a Gaussian process).
    Guo & Verdú 2005, https://arxiv.org/abs/cs/0503056 (effective noise of large random linear systems).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from restore.estimate.carried import Learnt
from restore.estimate.learning import (
    Believed,
    about_trend,
    from_covariance,
    from_power,
    lacking,
    measured,
    settled,
    squared,
    weighed,
)
from restore.estimate.operator import PixelReading, Reading
from restore.estimate.steps import advanced, arrived, beginning, curved, factors, turned
from restore.estimate.torus import lag_window, lags
from restore.estimate.waves import BINS, sectors_of, waves_of
from scancontrol.errors import LocalProtocolError

__all__ = ["SpectralSolver"]

_CLUMPED = (3.0, 100.0)  # preconditioned best for 1 in 3·clumping³ samples, at the most 1 in 100: see _clumping
_TREND = 0.2  # what is slower than this many cycles per mean sample spacing is trend, not lattice
_SECTOR_DOUBT = 20.0  # coefficients' worth of belief that all directions are alike
_LATTICE = 0.25  # share of the power in peaks from which on a frame is treated as a crystal altogether
_RING_SHARE = (0.8, 0.0)  # weight of the ring average in the spectrum: of a rough surface, of a crystal
_NOISE_FACTOR = (0.7, 2.5)  # assumed noise over the measured one, likewise


@lru_cache(maxsize=8)
def _constants(device: torch.device) -> tuple[Tensor, ...]:
    """What is known of a frame before anything is, what is graded by its lattice, and what divisors are kept above.

    Returns:
        Noise, effective noise, clumping, lattice, noise factor, ring share and assumed noise, (7, 1); factor and share
        of a rough surface, (2, 1), and how they change with the lattice's share, (2, 1); a tiny number, (1, 1, 1); one.
    """
    graded = torch.tensor([_NOISE_FACTOR, _RING_SHARE], device=device)
    noise, factor, share = 0.05, _NOISE_FACTOR[0], _RING_SHARE[0]
    known = torch.tensor([[noise], [0.3], [1.0], [0.0], [factor], [share], [noise * factor]], device=device)
    tiny = torch.full((1, 1, 1), 1e-20, device=device)
    slope = (graded[:, 1:] - graded[:, :1]) / _LATTICE
    return known, graded[:, :1].contiguous(), slope, tiny, torch.ones((), device=device)


@lru_cache(maxsize=32)
def _trend_exponents(rings: int, device: torch.device) -> Tensor:
    """Logarithm of the share that is trend, in each ring, where there is one sample a cell; (rings,)."""
    return -0.5 * (torch.arange(float(rings), device=device) / (_TREND * 2 * BINS)).square()


class SpectralSolver:
    """One batch of frames on a torus of cells: how its samples are read, and the current spectrum and estimate.

    Args:
        rough: every sample at its cell's centre; exact: where it is, or the same reading where cells are pixels.
        area: cells of the frame that are not margin or padding.
    """

    def __init__(self, rough: PixelReading, exact: Reading, area: float) -> None:
        batch, self.height, self.width = rough.count.shape
        self.rough, self.exact, self.area = rough, exact, area
        self.samples = rough.count.sum((1, 2)).clamp_min_(1.0)  # (batch,)
        self.cells = self.height * self.width
        self.fill_factor = area / self.cells  # share of the torus that is frame
        self.density = self.samples / area  # (batch,) samples for each cell of the frame
        device = rough.count.device
        self.waves = waves_of(self.height, self.width, device)
        known, *self._grades, self._tiny, self._one = _constants(device)
        self.noise, effective, self.clumping, self.lattice, self.noise_factor, share, self.assumed = known.expand(
            -1, batch
        )
        self.ring_share = share[:, None, None]
        self._dependent = (self.noise, self.noise)  # of no clumping yet: see _dependence
        self.unlikely = self.waves.unlikely.expand(batch, -1, -1)  # 1 over ``power``
        self.power = self.waves.prior.expand(batch, -1, -1)  # spectrum of the specimen, as known now
        # ``noise``: its share of the readings' variance. ``clumping``: how much closer than at random samples lie.
        self.estimate: Tensor | None = None  # (batch, height, width), that ``spectrum`` is of, once there is one
        self.learnt_from: Tensor | None = None  # the field that ``missed`` is of
        self.level: Tensor | None = None  # what the samples' covariance says of each ring, (batch, rings)
        self.sample_noise = effective * self.density

    def _grade(self, lattice: Tensor) -> None:
        """Set what depends on the lattice's share (batch,): between the value for a rough surface and for a crystal.

        ``assumed`` is what the solver takes for noise, (batch,): detail of a crystal finer than half-size pixels acts
        as noise on them, more of it than the misfit shows; between the grains of a rough surface the misfit of a
        stationary process overstates it.
        """
        self.lattice = lattice
        first, slope = self._grades
        self.noise_factor, ring_share = torch.addcmul(first, lattice.clamp(0, _LATTICE), slope)
        self.ring_share = ring_share[:, None, None]
        self.assumed = self.noise * self.noise_factor

    @property
    def effective(self) -> Tensor:
        """Noise of a full grid that would tell as much as the samples do, (batch,)."""
        return self.sample_noise / self.density

    def _settle(self) -> None:
        """Set ``sample_noise`` (batch,), effective noise times density."""
        self.sample_noise = settled(self.unlikely, self.density, self.sample_noise, self.assumed, self.waves.share)

    def begin_with(self, learnt: Learnt) -> Tensor:
        """Take up what the frame before had learnt, moved to where the specimen is now; returns its estimate."""
        self.power, self.level, self.unlikely = learnt.power, learnt.level, learnt.power.reciprocal()
        self.noise = learnt.noise
        self._grade(learnt.lattice)
        self.clumping = learnt.clumping
        self.spectrum = learnt.spectrum
        self.estimate = self.learnt_from = self._field(learnt.spectrum)
        self.missed = self.exact.missed(self.estimate)
        self.sample_noise = learnt.effective * self.density
        self._settle()
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
        share, density = self.waves.share, self.density
        if self.learnt_from is None:
            self._settle()
        if estimate is not self.learnt_from:
            self.missed = self.exact.missed(estimate)
            self.learnt_from = estimate
        if self.estimate is not None and fitted:  # a fill passes through its samples
            self.misfit = self.exact.energy(self.missed) / self.samples
            self.noise, self.assumed, self.sample_noise = measured(
                self.misfit, self.unlikely, density, self.sample_noise, self.noise_factor, share, self._one
            )
        if estimate is not self.estimate:
            self.spectrum = torch.fft.rfft2(estimate, norm="forward")
        self._believe(
            from_power(
                Believed(self.power, self.unlikely, self.sample_noise),
                torch.view_as_real(self.spectrum),
                self.cells / self.fill_factor,
                sectors_of(self.height, self.width, density.device, _SECTOR_DOUBT),
                self.level,
                self.ring_share,
                density,
                self.assumed,
                share,
            )
        )

    def _believe(self, found: Believed) -> None:
        self.power, self.unlikely, self.sample_noise = found

    def learn_from_samples(self) -> None:
        """Replace what the fill says of short waves by what the samples' own covariance says, lattice peaks included.

        A fill is smooth between samples, and between turns far apart it shows no lattice at all. The covariance of
        the samples about a slow trend, products of pairs over numbers of pairs, is free of that bias at every lag.
        Its ring averages are the isotropic level; of single bins, only what stands far above it is a peak and not
        chance.
        """
        size, waves, count = (self.height, self.width), self.waves, self.rough.count
        slow = (_trend_exponents(len(waves.short[1]), count.device) / self.density[:, None]).exp_()
        trend = torch.fft.irfft2(self.spectrum * waves.at(slow), s=size, norm="forward")
        sums = torch.fft.rfft2(about_trend(self.rough.mean(), count, trend))
        products, pairs = torch.fft.irfft2(squared(torch.view_as_real(sums)), s=size)
        self.clumping = self._clumping(pairs)
        products, chance = weighed(products, pairs, lag_window(*size, count.device))
        spectrum = torch.view_as_real(torch.fft.rfft2(products))[..., 0]
        lattice, self.level, self.power = from_covariance(spectrum, chance, self.power, slow, waves)
        self._grade(lattice)
        self.unlikely = self.power.reciprocal()
        self._settle()

    def _clumping(self, pairs: Tensor) -> Tensor:
        """How many more samples a sample has within the mean spacing than if they lay anywhere; (batch,).

        About 1 on any grid; 2 and 5 on spirals that touch 1/20 and 1/100, whose samples lie along one arc.

        Args:
            pairs: how many pairs of touched cells have each lag, (batch, h, w).
        """
        touched = pairs[:, :1, :1]
        near = (lags(self.height, self.width, pairs.device) * touched < self.area).to(pairs.dtype)
        found = (pairs * near).sum((1, 2))
        expected = near.sum((1, 2)) * (touched.square() / self.area).flatten()
        return (found / expected.clamp_min_(1e-6)).clamp_(1.0, 8.0)

    def solve(self, iterations: int, reading: Reading) -> Tensor:
        """E-step: conjugate gradients on whitened coefficients, preconditioned by the mean sampling density.

        Coefficients carry the square root of their rfft multiplicity, so that their plain real dot product is the
        one of the whole spectrum. The rough reading takes each sample to lie at its cell's centre, which is a third of
        the exact one's time and good enough to learn a spectrum from.
        """
        if self.learnt_from is None:
            raise LocalProtocolError("a spectrum was asked to be solved with before it was learnt")
        dependent = self._dependence() * self.sample_noise
        waves = self.waves
        stacked = self.power.device.type != "cpu"
        out, back, turns = factors(self.power, waves.scales, self.assumed, dependent, self._one, stacked)

        def gathered(total: Tensor) -> Tensor:
            return torch.view_as_real(torch.fft.rfft2(total))

        found, along = (out.new_empty(number, *out.shape) for number in (2, len(turns) + 1))
        # It starts from what the spectrum was learnt from, of which the misfit is known.
        misread = self.missed if reading is self.exact else reading.missed(self.learnt_from)
        image = gathered(reading.transposed(misread))
        ahead = beginning(
            torch.view_as_real(self.spectrum), image, out, back, turns, self._tiny, found, along
        )  # the direction's spectrum
        for left in reversed(range(iterations)):
            image = gathered(reading.normal(self._field(torch.view_as_complex(ahead))))
            curvature = curved(along, image, back, self._tiny)
            if left:
                ahead = turned(along, *advanced(found, along, curvature, turns, self._tiny), out)
            else:
                ahead = arrived(found, along, curvature, out)
        self.spectrum = torch.view_as_complex(ahead)
        self.estimate = self._field(self.spectrum)
        return self.estimate

    def _dependence(self) -> Tensor:
        """What ``sample_noise`` is multiplied with for noise of a grid that tells what clumped samples do, (batch,)."""
        if self._dependent[0] is not self.clumping:
            found = (_CLUMPED[0] * self.clumping.pow(3)).clamp_max_(_CLUMPED[1]) / self.density
            self._dependent = (self.clumping, found)
        return self._dependent[1]

    def _field(self, spectrum: Tensor) -> Tensor:
        return torch.fft.irfft2(spectrum, s=(self.height, self.width), norm="forward")

    def statistics(self, pixels: float) -> Tensor:
        """What ``STATISTICS`` of :mod:`restore.estimate.process` names, (batch, 8), of a frame of so many pixels."""
        power = self.power.flatten(1)
        mean, moment = (power @ self.waves.moments).unbind(1)
        logs = torch.stack([self.samples / pixels, self.noise, self.effective, self.misfit.clamp_min(1e-6)]).log_()
        entropy = (self.waves.mean(power.log()).exp_() / mean).clamp_min_(1e-6).pow_(0.25)  # 0 peaked, 1 white
        unresolved = self.waves.mean(lacking(self.unlikely, self.density, self.sample_noise)) / mean
        frequency = 4 * moment / mean
        return torch.stack([*logs[:3], unresolved, logs[3], frequency, entropy, self.lattice], 1)
