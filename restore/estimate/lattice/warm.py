"""One frame of a stream's crystal from the frame before: a step for each part, and what columns told adds up.

Lattice coordinates stay with the specimen: what drifts between frames is the displacement's mean, and a column keeps
its number. So the cell's sums and what was told of each column are carried on, older frames counting less, and columns
that no path has hit yet are hit by the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from restore.estimate.lattice.cell import CellSums, look_up
from restore.estimate.lattice.columns import Heights, heights_of
from restore.estimate.lattice.model import LatticeFit, Readings, splines_of
from restore.estimate.lattice.pairs import Pairs
from restore.estimate.lattice.rounds import LEVEL_ANCHOR, anchored_roughness
from restore.estimate.lattice.splines import roughness
from restore.gridding import FrameGeometry

__all__ = ["NextFit", "next_fit"]

_KEPT = 0.85  # of the cell's sums and of the noise, for every frame
_SLOW_SHIFT_PX = 3.0  # prior deviation of control values about those of the frame before


@dataclass(frozen=True)
class _Designs:
    """What depends on a path and the fields' control points only."""

    level: Tensor
    amplitude: Tensor
    bend: Tensor
    level_normal: Tensor
    level_rough: Tensor
    bend_rough: Tensor


_designs = WeakIdKeyDictionary()  # geometry → control points → designs


def _designs_of(geometry: FrameGeometry, readings: Readings, fit: LatticeFit) -> _Designs:
    known = _designs.setdefault(geometry, {})
    key = (
        len(fit.level),
        len(fit.amplitude),
        fit.displacement.shape[1],
        float(readings.positions[0].sum()),
        float(readings.weights.sum()),
    )
    if key not in known:
        splines = [splines_of(fit.shape, x) for x in (fit.level, fit.amplitude, fit.displacement)]
        level, amplitude, bend = (s.at(readings.positions) for s in splines)
        normal = ((level * readings.weights[:, None]).T @ level).double()
        rough = anchored_roughness(splines[0].count, LEVEL_ANCHOR, level.device)
        known[key] = _Designs(level, amplitude, bend, normal, rough, roughness(splines[2].count).to(level.device))
    found: _Designs = known[key]
    return found


@dataclass(frozen=True)
class NextFit:
    """What a frame adds to the one before: fit, heights, the cell's sums, and the lattice's picture at the samples."""

    fit: LatticeFit
    heights: Heights | None
    sums: CellSums
    at_samples: Tensor


def next_fit(
    geometry: FrameGeometry, readings: Readings, fit: LatticeFit, heights: Heights | None, sums: CellSums | None
) -> NextFit:
    """One step of every part, from the frame before."""
    designs = _designs_of(geometry, readings, fit)
    values, weights = readings.values, readings.weights
    amplitude = designs.amplitude @ fit.amplitude

    def coordinates() -> Tensor:
        return ((readings.positions - designs.bend @ fit.displacement.T).double() @ fit.pair.T).float()

    at = coordinates()
    cell = look_up(fit.cell.table(), at)
    defects = torch.zeros_like(values) if heights is None else heights.drawn(at, amplitude)
    lattice = amplitude * cell[0] + defects
    normal = designs.level_normal / fit.noise + designs.level_rough / fit.deviations.level**2
    target = (designs.level.T @ (weights * (values - lattice))).double() / fit.noise
    fit = replace(fit, level=torch.linalg.solve(normal, target).to(values.dtype))
    level = designs.level @ fit.level
    relative = fit.relative_variance(level + lattice)
    fit = _moved(fit, designs, values - level - lattice, amplitude, cell[1:], weights / relative)
    at = coordinates()
    amplitude_cell = amplitude * look_up(fit.cell.table()[:1], at)[0]
    picture = level + amplitude_cell
    if heights is not None:
        heights = _told(readings, fit, heights, at, amplitude, picture)
        defects = heights.drawn(at, amplitude)
    left = values - picture - defects
    noise = float((weights * left.square()).sum() / weights.sum())
    fit = replace(fit, noise=_KEPT * fit.noise + (1 - _KEPT) * noise)
    now = CellSums(at, values - level - defects, amplitude, weights / relative)
    if sums is not None:
        now.add(sums, _KEPT)
    fit = replace(fit, cell=now.mean(fit.cell, fit.noise))
    cell_now = look_up(fit.cell.table()[:1], at)[0]
    return NextFit(fit, heights, now, level + amplitude * cell_now + defects)


def _moved(
    fit: LatticeFit, designs: _Designs, residual: Tensor, amplitude: Tensor, slopes: Tensor, weights: Tensor
) -> LatticeFit:
    """One Gauss–Newton step of the displacement."""
    slope = -amplitude * (fit.pair.T.to(slopes.dtype) @ slopes)
    design = torch.cat([designs.bend * slope[0][:, None], designs.bend * slope[1][:, None]], 1)
    count = designs.bend.shape[1]
    spacing = min(fit.shape) / (round(count**0.5) - 3)
    rough = designs.bend_rough / (fit.deviations.curvature * spacing**2) ** 2
    penalty = torch.block_diag(rough, rough)
    normal = ((design * (weights / fit.noise)[:, None]).T @ design).double() + penalty
    normal.diagonal().add_(_SLOW_SHIFT_PX**-2)
    gradient = (design.T @ (residual * weights / fit.noise)).double() - penalty @ fit.displacement.flatten().double()
    factor = torch.linalg.cholesky(normal)
    step = torch.cholesky_solve(gradient[:, None], factor)[:, 0].to(fit.displacement.dtype)
    return replace(fit, displacement=fit.displacement + step.unflatten(0, (2, -1)), precision=normal)


def _told(
    readings: Readings, fit: LatticeFit, heights: Heights, at: Tensor, amplitude: Tensor, picture: Tensor
) -> Heights:
    pairs = Pairs.of(heights.numbers, heights.profile, at, amplitude)
    each = fit.noise / readings.weights.clamp_min(1e-9)

    def noise(added: Tensor) -> Tensor:
        return each * fit.relative_variance(picture + added)

    return heights_of(
        heights.profile, heights.numbers, pairs, readings.values - picture, noise, heights.memory, heights.shown
    )
