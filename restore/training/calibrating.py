"""Fit a calibration on specimens that the network was not trained on, through the very restorer that will use it.

Frames without a stated noise: micrographs that were held out of training, as they are. A micrograph is its own truth,
noise and all, so such an interval holds the noise too. Frames whose readings' noise is stated: simulated specimens
without noise, and the same micrographs at half their size, with most of their noise averaged away; from both electrons
are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import NamedTuple

import numpy as np
import torch
from msgspec.structs import replace
from scipy.optimize import brentq
from torch import Tensor
from torch.nn import functional as F

from restore.estimate.lattice.crystal import find_crystal
from restore.generator.intervals import LEVEL, Calibration, CalibrationCounts, conformal_quantile
from restore.generator.running import restored_with
from restore.generator.weights import Weights
from restore.gridding import FrameGeometry
from restore.training.images import ImageSet
from restore.training.random_paths import draw_path
from restore.withholding import AtHeld, Withheld, about_specimen, carried_over, withhold
from simulators.specimens.truths.draws import draw
from simulators.specimens.truths.readings import draw_reading

__all__ = ["calibrate"]

_PATHS = ("jittered", "archimedean")
_COVERAGES = (0.01, 0.02, 0.04, 0.08, 0.2)
_SHARE = 0.04
_SPECIMEN_SIDE = 320
_LEAST_SIDE = 64  # on which the sparsest paths still have samples
_ELECTRONS = (3, 10, 30, 100, 300, 1000, 3000)  # a sample at full scale
_PIXELS = 20_000  # of a frame that are judged


class _Scan(NamedTuple):
    """A frame to restore: its specimen's group, truth (rows, cols), readings (n,) along a geometry."""

    group: str
    truth: Tensor
    samples: Tensor
    geometry: FrameGeometry
    noise_variance: float | None = None


def _micrographs(images: ImageSet, seed: int) -> Iterator[_Scan]:
    """Every image along every kind of path at every coverage, read as it is."""
    for number, (image, group) in enumerate(zip(images.images, images.groups, strict=True)):
        size = min(image.shape)
        truth = image[:size, :size].float() / 255
        for _, geometry in _geometries(size, (seed, number)):
            yield _Scan(group, truth, truth.flatten()[geometry.index], geometry)


def _halved(images: ImageSet, seed: int) -> Iterator[_Scan]:
    """Every image that is large enough at half its size, with counted electrons."""
    for number, (image, group) in enumerate(zip(images.images, images.groups, strict=True)):
        half = min(image.shape) // 2
        if half < _LEAST_SIDE:
            continue
        truth = F.avg_pool2d(image[None, None, : 2 * half, : 2 * half].float() / 255, 2)[0, 0]
        for name, geometry in _geometries(half, (seed, 2000 + number)):
            yield _counted(group, truth, geometry, (seed, 2000 + number, name))


def _specimens(kinds: Sequence[str], seed: int) -> Iterator[_Scan]:
    """Every kind of noise-free specimen, with counted electrons."""
    for number, kind in enumerate(kinds):
        for name, geometry in _geometries(_SPECIMEN_SIDE, (seed, 1000 + number)):
            truth = torch.from_numpy(draw(kind, geometry.shape, np.random.default_rng((seed, number, name))).image)
            yield _counted(f"specimen {kind}", truth, geometry, (seed, number, name))


def _counted(group: str, truth: Tensor, geometry: FrameGeometry, seed: tuple[int, int, int]) -> _Scan:
    """Electrons counted along a path, as many a sample as the last two numbers of the seed say; their noise stated."""
    electrons = float(_ELECTRONS[(seed[1] + seed[2]) % len(_ELECTRONS)])
    passed = truth.flatten()[geometry.index]
    readings = draw_reading(passed.numpy(), electrons, np.random.default_rng(seed))
    return _Scan(group, truth, torch.from_numpy(readings).float(), geometry, float(passed.mean()) / electrons)


def _geometries(size: int, seed: tuple[int, int]) -> Iterator[tuple[int, FrameGeometry]]:
    """Numbered paths of every kind and coverage, read at the centres of pixels."""
    for number, (kind, coverage) in enumerate(product(_PATHS, _COVERAGES)):
        rng = np.random.default_rng((*seed, number))
        where, _ = draw_path(kind, size, coverage, rng, torch.device("cpu"))
        pixel = where.floor().clamp(0, size - 1) + 0.5
        yield number, FrameGeometry.from_positions(pixel / size, (size, size))


@dataclass(frozen=True)
class _Frame:
    """|Error|, predicted scale and least half-width of one restored frame (rows, cols); errors of withheld samples."""

    group: str
    error: Tensor
    scale: Tensor
    least: Tensor | None
    geometry: FrameGeometry
    held: Withheld | None
    withheld_error: Tensor | None


@dataclass(frozen=True)
class _Judged:
    """A frame under a calibration that knows nothing of its specimen.

    ``scores``: sorted |error| over half-width of some of its pixels; ``asked``: logarithm of the rescaling that its
    withheld samples ask for, times their say; ``rms_share``: its true error over the expected one.
    """

    scores: np.ndarray
    asked: float
    rms_share: float
    has_crystal: bool


def calibrate(weights: Weights, images: ImageSet, specimens: Sequence[str] = (), seed: int = 11) -> Calibration:
    """Factors by coverage and distance, then how far a frame's withheld samples may be trusted to rescale them.

    Args:
        images: micrographs that were held out of training. specimens: kinds of simulated ones
            (:data:`simulators.specimens.truths.draws.KINDS`); with any, frames whose noise is stated get a calibration
            of their own.
    """
    calibration = _fitted(_restored(weights, _micrographs(images, seed)))
    if not specimens:
        return calibration
    stated = chain(_specimens(specimens, seed), _halved(images, seed))
    return replace(calibration, stated=_fitted(_restored(weights, stated)))


def _fitted(restored: Iterable[_Frame]) -> Calibration:
    """What is promised has to hold on specimens that nobody has seen.

    So every frame is judged by factors from the other groups: the rescaling that it needed (the quantile of its scores)
    is regressed, in logarithms, on the one that its withheld samples asked for, and the bias is what makes the mean
    coverage of those frames the promised one. Frames with a crystal are left out of both, for their intervals are as
    wide as a column may be that no sample fell on, whatever the scale is.
    """
    frames = list(restored)
    counts: dict[str, CalibrationCounts] = {}
    for frame in frames:
        where = frame.geometry
        counts.setdefault(frame.group, CalibrationCounts()).add(
            frame.error, frame.scale, where.distance, where.touched, where.is_drawn
        )
    judged = []
    for group in counts:
        others = _table([count for name, count in counts.items() if name != group] or [counts[group]])
        judged += [
            _judge(frame, frame.held, others) for frame in frames if frame.group == group and frame.held is not None
        ]
    whole = _table(list(counts.values()))
    if len(judged) < 3:
        return whole
    plain = [frame for frame in judged if not frame.has_crystal]
    plain = plain if len(plain) >= 3 else judged
    asked = np.array([frame.asked for frame in plain])
    needed = np.array([np.log(_at_level(frame.scores)) for frame in plain])
    trust = float(np.clip(np.cov(asked, needed)[0, 1] / max(1e-12, np.var(asked, ddof=1)), 0, 1))
    share = float(np.median([frame.rms_share for frame in judged]))
    bias = _bias([frame.scores / np.exp(trust * frame.asked) for frame in plain])
    return replace(whole, trust=round(trust, 4), bias=round(bias, 4), rms_share=round(share, 4))


def _restored(weights: Weights, scans: Iterable[_Scan]) -> Iterator[_Frame]:
    for group, truth, samples, geometry, noise in scans:
        kept, held = withhold(geometry, _SHARE)
        used = samples if held is None else samples[held.kept]
        crystal = find_crystal(used, kept)
        estimate, scale, _ = restored_with(weights.network, used, kept, crystal, noise)
        residual = None if held is None else about_specimen(held.residual(samples, estimate), noise).abs()
        least = None if crystal is None else crystal.half_width
        yield _Frame(group, (truth - estimate).abs(), scale.clamp_min(1e-6), least, kept, held, residual)


def _table(counts: list[CalibrationCounts]) -> Calibration:
    together = CalibrationCounts.together(counts)
    return Calibration(factors=together.factors(drawn=False), drawn_factors=together.factors(drawn=True))


def _judge(frame: _Frame, held: Withheld, others: Calibration) -> _Judged:
    geometry = frame.geometry
    width = others.half_width(frame.scale, geometry.distance, geometry.touched, geometry.is_drawn)
    assert frame.withheld_error is not None  # noqa: S101 - samples were withheld
    withheld = frame.withheld_error / width.flatten()[held.pixel]
    asked = held.say_on_widths * np.log(np.clip(conformal_quantile(withheld), 0.25, 4))
    expected = carried_over(AtHeld.of(frame.withheld_error, held, width), held.say_on_errors)
    least = width if frame.least is None else torch.maximum(width, frame.least)
    scores = (frame.error / least).flatten()
    some = scores[:: max(1, len(scores) // _PIXELS)].sort().values.numpy()
    rms_share = float(frame.error.square().mean().sqrt()) / max(1e-30, expected)
    return _Judged(some, float(asked), rms_share, frame.least is not None)


def _at_level(ordered: np.ndarray) -> float:
    return float(ordered[min(len(ordered) - 1, int(np.ceil((len(ordered) + 1) * LEVEL)) - 1)])


def _bias(scores: list[np.ndarray]) -> float:
    """The factor on half-widths at which the mean share of each frame's sorted scores below it is ``LEVEL``."""

    def covered(factor: float) -> float:
        return float(np.mean([np.searchsorted(frame, factor, "right") / len(frame) for frame in scores]))

    low, high = 0.05, 20.0
    if not covered(low) < LEVEL <= covered(high):
        return low if covered(low) >= LEVEL else high
    return float(np.exp(brentq(lambda log: covered(np.exp(log)) - LEVEL, np.log(low), np.log(high), xtol=1e-4)))
