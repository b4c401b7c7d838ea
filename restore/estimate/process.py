"""The strong start: a Gaussian process at half size whose power spectrum is learnt from the frame itself.

A lattice seen anywhere predicts it everywhere, but only an estimator that sees the whole frame can use that. Here
the half-size frame u is a stationary process with power spectrum S, and the samples are y = B u + noise, where B
reads the four full-size pixels inside each half-size one by cubic interpolation. S is first taken from the samples'
own covariance; then some rounds of expectation–maximisation alternate between

* the posterior mean of u, by a few preconditioned conjugate-gradient steps with FFTs, started warm, and
* S, as the power of that mean plus the posterior variance it lacks (E-step of the spectral EM).

For sparse irregular sampling the posterior variance is not available in closed form; the large-system limit of
random sampling gives it by one scalar fixed point, N = (σ² + mean S N / (S + N)) / ρ, with ρ samples per half-size
pixel: N is the effective white noise that each frequency sees. The network corrects what this linear, stationary
estimate cannot know; and from a frame that a network has corrected, the spectrum may be learnt once more.

References:
    Stein, Interpolation of Spatial Data, Springer 1999 (kriging as a Gaussian process).
    Guo & Verdú 2005, https://arxiv.org/abs/cs/0503056 (effective noise of large random linear systems).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from restore.estimate.solver import SpectralSolver
from restore.estimate.torus import MARGIN, fast_size, taper
from restore.fills.push_pull import push_pull
from scancontrol.errors import LocalProtocolError

__all__ = ["STATISTICS", "SpectralProcess", "SpectralStart", "spectral_start"]

STATISTICS = (
    "log coverage",
    "log noise",
    "log effective noise",
    "unresolved share",
    "log misfit",
    "mean frequency",
    "spectral flatness",
    "lattice share",
)
"""What ``SpectralStart.statistics`` holds, in order. All are in units of the samples' own spread."""


@dataclass(frozen=True)
class SpectralStart:
    """What the networks begin with, images at half size (batch, 1, h, w) each.

    Attributes:
        fill: what the spectrum was first learnt from: push–pull, or the frame that was given.
        before, estimate: the process's mean before its last round and after it.
        statistics: see ``STATISTICS``, (batch, 8).
    """

    fill: Tensor
    before: Tensor
    estimate: Tensor
    statistics: Tensor


class SpectralProcess:
    """A batch of partial frames as samples of Gaussian processes. Nothing here has a gradient.

    Linear in gain by construction of its caller: ``mean`` must be normalised (spread about 1), because the prior is.

    Arguments:
        mean: normalised partial frame, (batch, 1, rows, cols), both even; anything finite where ``weight`` is 0.
        weight: dwell on each pixel, (batch, 1, rows, cols); only where it is positive matters here.
        area: pixels of the frame that are not padding, if less than rows · cols.
    """

    @torch.no_grad()
    def __init__(self, mean: Tensor, weight: Tensor, area: float | None = None) -> None:
        rows, cols = mean.shape[-2:]
        h, w = rows // 2, cols // 2
        height, width = fast_size(h + 2 * MARGIN), fast_size(w + 2 * MARGIN)
        self._pixels = float(rows * cols) if area is None else area
        self._inner = (..., slice(MARGIN, MARGIN + h), slice(MARGIN, MARGIN + w))
        self._taper = taper(h, w, height, width, mean.device)
        touched = (weight[:, 0] > 0).float()
        measured = mean[:, 0].float() * touched
        phases, readings = mean.new_zeros(2, 4, len(mean), height, width, dtype=torch.float32)
        for n, (below, right) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
            phases[n][self._inner] = touched[:, below::2, right::2]
            readings[n][self._inner] = measured[:, below::2, right::2]
        self._count, self._total = phases.sum(0), readings.sum(0)
        self._solver = SpectralSolver(self._count, self._total, phases, readings, self._pixels / 4)

    @torch.no_grad()
    def start(self, iterations: Sequence[int]) -> SpectralStart:
        """Estimate the half-size frames from the samples alone.

        Arguments:
            iterations: conjugate-gradient steps of each round, at least two rounds. In the first, samples count as at
                their half-size pixel's centre.
        """
        solver = self._solver
        fill = push_pull((self._total / self._count.clamp_min(1.0))[:, None], self._count[:, None])[:, 0]
        solver.learn(fill * self._taper)
        solver.learn_from_samples()
        before = estimate = solver.solve(iterations[0], exact=False)
        for steps in iterations[1:]:
            solver.learn(estimate)
            before, estimate = estimate, solver.solve(steps, exact=True)
        return self._told(fill[self._inner][:, None], before, estimate)

    @torch.no_grad()
    def again(self, frame: Tensor, iterations: int) -> SpectralStart:
        """One more round after :meth:`start`, its spectrum learnt from a better half-size frame (batch, 1, h, w)."""
        before = self._solver.estimate
        if before is None:
            raise LocalProtocolError("a better frame was given before the first start")
        learnt_from = before.clone()
        learnt_from[self._inner] = frame[:, 0]
        self._solver.learn(learnt_from)
        return self._told(frame, before, self._solver.solve(iterations, exact=True))

    def _told(self, fill: Tensor, before: Tensor, estimate: Tensor) -> SpectralStart:
        solver = self._solver
        solver.learn(estimate)
        coverage = (solver.samples / self._pixels).log()[:, None]
        statistics = torch.cat([coverage, solver.statistics(), solver.shape_statistics()], 1)
        before, estimate = (image[self._inner][:, None].contiguous() for image in (before, estimate))
        return SpectralStart(fill.contiguous(), before, estimate, statistics)


def spectral_start(
    mean: Tensor, weight: Tensor, area: float | None = None, iterations: Sequence[int] = (3, 4, 4, 7)
) -> SpectralStart:
    """:meth:`SpectralProcess.start` of one batch."""
    return SpectralProcess(mean, weight, area).start(iterations)
