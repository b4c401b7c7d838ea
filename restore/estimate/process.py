"""The strong start: a Gaussian process whose power spectrum is learnt from the frame itself, first at half size.

A lattice seen anywhere predicts it everywhere, but only an estimator that sees the whole frame can use that. Here
the half-size frame u is a stationary process with power spectrum S, and the samples are y = B u + noise, where B
reads the four full-size pixels inside each half-size one by cubic interpolation. S is first taken from the samples'
own covariance; then some rounds of expectation–maximisation alternate between

* the posterior mean of u, by a few preconditioned conjugate-gradient steps with FFTs, started warm, and
* S, as the power of that mean plus the posterior variance it lacks (E-step of the spectral EM).

For sparse irregular sampling the posterior variance is not available in closed form; the large-system limit of
random sampling gives it by one scalar fixed point, N = (σ² + mean S N / (S + N)) / ρ, with ρ samples per half-size
pixel: N is the effective white noise that each frequency sees. Where the samples' spectrum has peaks, as a crystal's,
two more rounds follow at full size, whose waves half-size pixels cannot carry. The network corrects what this linear,
stationary estimate cannot know; and from a frame that a network has corrected, the spectrum may be learnt once more.

References:
    Stein, Interpolation of Spatial Data, Springer 1999 (kriging as a Gaussian process).
    Guo & Verdú 2005, https://arxiv.org/abs/cs/0503056 (effective noise of large random linear systems).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.estimate.carried import CarriedProcess, Learnt
from restore.estimate.fused import chain
from restore.estimate.interpolation import doubled
from restore.estimate.operator import HalfReading, PixelReading
from restore.estimate.solver import SpectralSolver
from restore.estimate.torus import Torus
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

_FOLLOWING, _FOLLOWING_FULL = (2, 2), 4  # steps of a frame that begins where the one before ended, by round and size
_NO_PEAKS, _PEAKS = 0.005, 0.02  # share of the samples' power in peaks from which on the full size is solved for


_pushed = chain(push_pull)


@dataclass(frozen=True)
class SpectralStart:
    """What the networks begin with.

    Attributes:
        fill: what the spectrum was first learnt from, push–pull or the frame that was given, (batch, 1, h, w).
        before, estimate: the half-size process's mean before its last round and after it, (batch, 1, h, w).
        plain: ``estimate`` interpolated to full size, (batch, 1, 2h, 2w).
        full: the full-size process's mean as far as the frame has peaks in its spectrum, else ``plain``.
        statistics: see ``STATISTICS``, (batch, 8).
        touched, measured: whether a sample fell on each pixel, and its value, 0 elsewhere, (batch, 1, 2h, 2w).
    """

    fill: Tensor
    before: Tensor
    estimate: Tensor
    plain: Tensor
    full: Tensor
    statistics: Tensor
    touched: Tensor
    measured: Tensor


class SpectralProcess:
    """A batch of partial frames as samples of Gaussian processes. Nothing here has a gradient.

    Linear in gain by construction of its caller: ``mean`` must be normalised (spread about 1), because the prior is.

    Args:
        mean: normalised partial frame, (batch, 1, rows, cols), both even; anything finite where ``weight`` is 0.
        weight: dwell on each pixel, (batch, 1, rows, cols); only where it is positive matters here.
        area: pixels of the frame that are not padding, if less than rows · cols.
    """

    @torch.no_grad()
    def __init__(self, mean: Tensor, weight: Tensor, area: float | None = None) -> None:
        rows, cols = mean.shape[-2:]
        h, w = rows // 2, cols // 2
        self._pixels = float(rows * cols) if area is None else area
        self._torus = Torus(h, w)
        frames = weight.new_empty(2, *weight[:, 0].shape, dtype=torch.float32)
        self._frames = frames
        self._touched, self._measured = frames
        self._touched.copy_(weight[:, 0] > 0)
        torch.mul(mean[:, 0].float(), self._touched, out=self._measured)
        phases = self._torus.around(F.pixel_unshuffle(frames, 2).flatten(0, 1)).unflatten(0, (2, -1, 4))
        self._solver = SpectralSolver(PixelReading(*phases.sum(2)), HalfReading(*phases), self._pixels / 4)
        self._before: Learnt | None = None  # of the full size, from the frame before
        self._full: Learnt | None = None  # and from this one

    @torch.no_grad()
    def start(self, iterations: Sequence[int], full_iterations: Sequence[int] = ()) -> SpectralStart:
        """Estimate the half-size frames from the samples alone, and the full-size ones from them.

        Args:
            iterations: conjugate-gradient steps of each round, at least two rounds. In the first, samples count as at
                their half-size pixel's centre.
            full_iterations: of each round at full size, for frames that have power there; none: interpolate all.
        """
        solver, torus = self._solver, self._torus
        rough, exact = solver.rough, solver.exact
        fill = self._pushed()
        solver.learn(fill * torus.taper(fill.device))
        solver.learn_from_samples()
        before = estimate = solver.solve(iterations[0], rough)
        for steps in iterations[1:]:
            solver.learn(estimate)
            before, estimate = estimate, solver.solve(steps, exact)
        return self._told(torus.inside(fill)[:, None], before, estimate, full_iterations)

    @torch.no_grad()
    def follow(self, before: CarriedProcess) -> SpectralStart:
        """Estimate the frame from where the one before ended, in few steps; ``before`` is moved to this frame."""
        fill = self._pushed()
        early, estimate = self._following(before)
        return self._told(self._torus.inside(fill)[:, None], early, estimate, (_FOLLOWING_FULL,))

    @torch.no_grad()
    def followed(self, before: CarriedProcess) -> Tensor:
        """``full`` of :meth:`follow` alone, of a frame that no network looks at."""
        _, estimate = self._following(before)
        self._solver.learn(estimate)
        return self._at_full_size(doubled(self._torus.inside(estimate)[:, None]), (_FOLLOWING_FULL,))

    def _following(self, before: CarriedProcess) -> tuple[Tensor, Tensor]:
        solver = self._solver
        solver.begin_with(before.half)
        early = solver.solve(_FOLLOWING[0], solver.exact)
        solver.learn(early)
        self._before = before.full
        return early, solver.solve(_FOLLOWING[1], solver.exact)

    @property
    def noise(self) -> Tensor:
        """Variance of a nominal sample about the process, in the samples' own, (batch,)."""
        return self._solver.noise

    def carried(self) -> CarriedProcess:
        """What the next frame may begin with."""
        return CarriedProcess(self._solver.learnt(), self._full)

    def _pushed(self) -> Tensor:
        rough = self._solver.rough
        return _pushed(rough.mean()[:, None], rough.count[:, None])[:, 0]

    @torch.no_grad()
    def again(self, frame: Tensor, iterations: int, full_iterations: Sequence[int] = ()) -> SpectralStart:
        """One more round after :meth:`start`, its spectrum learnt from a better half-size frame (batch, 1, h, w)."""
        before = self._solver.estimate
        if before is None:
            raise LocalProtocolError("a better frame was given before the first start")
        better = before.clone()
        self._torus.inside(better).copy_(frame[:, 0])
        self._solver.learn(better)
        return self._told(frame, before, self._solver.solve(iterations, self._solver.exact), full_iterations)

    def _told(self, fill: Tensor, before: Tensor, estimate: Tensor, full_iterations: Sequence[int]) -> SpectralStart:
        solver = self._solver
        solver.learn(estimate)
        statistics = solver.statistics(self._pixels)
        before, estimate = (self._torus.inside(image)[:, None].contiguous() for image in (before, estimate))
        plain = doubled(estimate)
        full = self._at_full_size(plain, full_iterations)
        frames = (self._touched[:, None], self._measured[:, None])
        return SpectralStart(fill.contiguous(), before, estimate, plain, full, statistics, *frames)

    def _at_full_size(self, plain: Tensor, iterations: Sequence[int]) -> Tensor:
        """The process at full size where the samples' spectrum has peaks, begun with the half-size one interpolated."""
        share = self._solver.lattice.sub(_NO_PEAKS).mul_(1 / (_PEAKS - _NO_PEAKS)).clamp_(0, 1)[:, None, None, None]
        # A processor leaves out what nobody would see; on other devices asking would cost more than computing.
        if not iterations or (share.device.type == "cpu" and not bool(share.any())):
            return plain
        torus = Torus(*plain.shape[-2:])
        reading = PixelReading(*torus.around(self._frames.flatten(0, 1)).unflatten(0, (2, -1)))
        solver = SpectralSolver(reading, reading, self._pixels)
        if self._before is None:
            solver.learn(torus.faded(plain[:, 0]))
            solver.learn_from_samples()
        else:
            solver.learn(solver.begin_with(self._before), fitted=False)
        estimate = solver.solve(iterations[0], reading)
        for steps in iterations[1:]:
            solver.learn(estimate)
            estimate = solver.solve(steps, reading)
        self._full = solver.learnt()
        return torch.lerp(plain, torus.inside(estimate)[:, None], share)


def spectral_start(
    mean: Tensor,
    weight: Tensor,
    area: float | None = None,
    iterations: Sequence[int] = (3, 4, 4, 7),
    full_iterations: Sequence[int] = (),
) -> SpectralStart:
    """:meth:`SpectralProcess.start` of one batch."""
    return SpectralProcess(mean, weight, area).start(iterations, full_iterations)
