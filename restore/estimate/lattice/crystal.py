"""What a crystal tells of itself, from samples along any path.

``find_crystal`` looks for a lattice in one frame: waves that stand out, the two vectors that index them, a cell with a
bent field, and then asks withheld readings whether it is there. ``follow`` does the next frame of a stream, warm.
A picture of a crystal is the most dangerous thing that a restorer can draw: what is not proven is not drawn, defects
are drawn where a sample fell, and where none fell the interval holds them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from restore.estimate.lattice.cell import look_up
from restore.estimate.lattice.columns import Columns, Heights, Numbers, Pairs, heights_of, profile_of
from restore.estimate.lattice.evidence import Evidence, weigh
from restore.estimate.lattice.fit import fit_lattice, refit
from restore.estimate.lattice.model import LatticeFit, Readings
from restore.estimate.lattice.peaks import find_waves
from restore.estimate.lattice.splines import Splines
from restore.estimate.lattice.vectors import reciprocal_pairs
from restore.fills.registry import positions_px
from restore.gridding import FrameGeometry

__all__ = ["Crystal", "find_crystal", "follow"]

_CENTRED = 0.98  # of the noise, below which readings are taken for those of pixels' middles
_FEWEST = 400  # samples below this tell no lattice from chance


@dataclass(frozen=True)
class Crystal:
    """What the lattice says of a frame, in the units of its samples.

    Attributes:
        image: share × lattice with its mean level, (rows, cols) float32.
        at_samples: the same at the samples, (n,).
        share: how much of the lattice is used, above 0 to 1.
        vectors: direct lattice vectors in pixels, rows (y, x), (2, 2).
        displacement: of the lattice from a straight one, (2, rows, cols) in pixels; its deviation, (2, rows, cols).
        variance: of the lattice part of the image, without its defects, (rows, cols).
        half_width: what columns that nobody looked at may add to a 90 % interval's half-width, (rows, cols).
        columns: every column of the frame, or None if the cell has no columns to tell apart.
        evidence: what withheld readings said.
        notes: sentences for people.
        fit: the lattice itself; centred: whether readings are those of the middle of their pixels.
    """

    image: Tensor
    at_samples: Tensor
    share: float
    vectors: Tensor
    displacement: Tensor
    displacement_sd: Tensor
    variance: Tensor
    half_width: Tensor
    columns: Columns | None
    evidence: Evidence
    notes: tuple[str, ...]
    fit: LatticeFit
    centred: bool


@torch.no_grad()
def find_crystal(
    samples: Tensor, geometry: FrameGeometry, *, fill: Tensor | None = None, weights: Tensor | None = None
) -> Crystal | None:
    """The lattice of a frame, or None if withheld readings do not prove one.

    Arguments:
        samples: (n,) along the path of ``geometry``.
        fill: a classical fill of the frame (rows, cols), if one is at hand: its trend is taken off before waves are
            looked for.
        weights: of the samples (n,), relative to their dwell: 0 leaves a sample out.
    """
    if int((geometry.dwell > 0).sum()) < _FEWEST:
        return None
    readings, centre, scale = _readings(samples, geometry, weights)
    if scale <= 0:
        return None
    waves = find_waves(_without_trend(readings), readings.positions, geometry.shape, readings.weights)
    pairs = reciprocal_pairs(waves, float(min(geometry.shape)))
    if not pairs:
        return None
    fit = fit_lattice(readings, pairs[0])
    readings, fit, centred = _as_placed(readings, fit, geometry)
    evidence = weigh(readings, fit)
    if evidence.share <= 0:
        return None
    return _crystal(readings, *_with_defects(readings, fit, 2), evidence, centre, scale, centred)


@torch.no_grad()
def follow(crystal: Crystal, samples: Tensor, geometry: FrameGeometry) -> Crystal:
    """The same crystal in the next frame, from what is known of it."""
    readings, centre, scale = _readings(samples, geometry, None)
    if crystal.centred:
        readings = replace(readings, positions=_centres(readings.positions))
    fit = refit(readings, crystal.fit, 1)
    return _crystal(readings, *_with_defects(readings, fit, 1), crystal.evidence, centre, scale, crystal.centred)


def _readings(samples: Tensor, geometry: FrameGeometry, weights: Tensor | None) -> tuple[Readings, float, float]:
    """Samples on a scale of their own, and that scale."""
    normalisation = geometry.normalisation(samples)
    values = normalisation.apply(samples[None])[0]
    used = geometry.dwell if weights is None else geometry.dwell * weights
    centre, scale = float(normalisation.centre[0]), float(normalisation.scale[0])
    return Readings(values, positions_px(geometry), used, geometry.shape), centre, scale


def _centres(positions: Tensor) -> Tensor:
    return (positions + 0.5).floor()


def _as_placed(readings: Readings, fit: LatticeFit, geometry: FrameGeometry) -> tuple[Readings, LatticeFit, bool]:
    """Readings, fit, and whether the readings are those of the middle of their pixels, as of an image that is read.

    Which it is, is said by the readings: a period of a few pixels tells a quarter of a pixel apart.
    """
    if float(geometry.offset.abs().max()) < 1e-3:
        return readings, fit, False
    middle = replace(readings, positions=_centres(readings.positions))
    other = refit(middle, fit, 2)
    if other.noise < _CENTRED * fit.noise:
        return middle, fit_lattice(middle, fit.pair), True
    return readings, fit, False


def _without_trend(readings: Readings) -> Tensor:
    splines = Splines(readings.shape, 8)
    design = splines.at(readings.positions)
    weighted = design * readings.weights[:, None]
    normal = (weighted.T @ design).double()
    normal.diagonal().add_(1e-2 * normal.diagonal().mean())
    trend = torch.linalg.solve(normal, (weighted.T @ readings.values).double()).to(design.dtype)
    return readings.values - design @ trend


def _heights(readings: Readings, fit: LatticeFit) -> Heights | None:
    """The columns' own heights, from what the mean lattice leaves of the samples."""
    profile = profile_of(fit.cell, fit.pair)
    if profile is None:
        return None
    own, picture = fit.coordinates(readings.positions), fit.at(readings.positions)
    numbers = Numbers.of(torch.cat([own, fit.coordinates(_outline(readings))]), len(profile.heights))
    pairs = Pairs.of(numbers, profile, own, fit.amplitude_at(readings.positions))
    each = fit.noise / readings.weights.clamp_min(1e-9)

    def noise(added: Tensor) -> Tensor:
        return each * fit.relative_variance(picture + added)

    return heights_of(profile, numbers, pairs, readings.values - picture, noise)


def _outline(readings: Readings) -> Tensor:
    """Positions around the frame's edge, (k, 2)."""
    rows, cols = readings.shape
    y = torch.arange(rows, device=readings.positions.device, dtype=readings.positions.dtype)
    x = torch.arange(cols, device=readings.positions.device, dtype=readings.positions.dtype)
    sides = [torch.stack([y, torch.full_like(y, side)], 1) for side in (0, cols - 1)]
    ends = [torch.stack([torch.full_like(x, end), x], 1) for end in (0, rows - 1)]
    return torch.cat(sides + ends)


def _with_defects(readings: Readings, fit: LatticeFit, rounds: int) -> tuple[LatticeFit, Heights | None]:
    """The fit without what single columns lack: smooth fields would otherwise take a part of it."""
    heights = _heights(readings, fit)
    for _ in range(rounds):
        if heights is None:
            break
        own, amplitude = fit.coordinates(readings.positions), fit.amplitude_at(readings.positions)
        ordinary = replace(readings, values=readings.values - heights.drawn(own, amplitude)[0])
        fit = refit(ordinary, fit, 1)
        heights = _heights(readings, fit)
    return fit, heights


def _crystal(
    readings: Readings,
    fit: LatticeFit,
    heights: Heights | None,
    evidence: Evidence,
    centre: float,
    scale: float,
    centred: bool,
) -> Crystal:
    shape, share = readings.shape, evidence.share
    tables = torch.cat([fit.cell.table(), fit.cell.spread()[None]])
    coordinates = fit.image_coordinates()
    cell, *slopes, spread = look_up(tables, coordinates)
    amplitude = Splines(shape, round(len(fit.amplitude) ** 0.5)).image(fit.amplitude)
    level = Splines(shape, round(len(fit.level) ** 0.5)).image(fit.level)
    picture = level + amplitude * cell
    at_samples = fit.at(readings.positions)
    field_sd = _field_deviation(fit)
    pair = fit.pair.float()
    slope = torch.stack(slopes)
    along = torch.einsum("cij,ca->aij", slope, pair) * amplitude
    variance = (amplitude * spread).square() + (along.square() * field_sd.square()).sum(0)
    half_width = torch.zeros_like(picture)
    columns = None
    if heights is not None:
        own, strength = fit.coordinates(readings.positions), fit.amplitude_at(readings.positions)
        added, half_width = heights.drawn(coordinates, amplitude)
        picture = picture + added
        at_samples = at_samples + heights.drawn(own, strength)[0]
        columns = _columns(heights, fit, share * scale)
    field = fit.field()
    field = field - field.mean((1, 2), keepdim=True)
    return Crystal(
        image=share * (centre + scale * picture),
        at_samples=share * (centre + scale * at_samples),
        share=share,
        vectors=torch.linalg.inv(fit.pair.T).float(),
        displacement=field,
        displacement_sd=field_sd,
        variance=(share * scale) ** 2 * variance,
        half_width=share * scale * half_width,
        columns=columns,
        evidence=evidence,
        notes=(),
        fit=fit,
        centred=centred,
    )


def _field_deviation(fit: LatticeFit) -> Tensor:
    """Standard deviation of the displacement on every pixel, (2, rows, cols)."""
    count = fit.displacement.shape[1]
    splines = Splines(fit.shape, round(count**0.5))
    rows, cols = fit.shape
    lines = [torch.linspace(0, n - 1, 24, device=fit.displacement.device) for n in (rows, cols)]
    design = splines.at(torch.cartesian_prod(*lines)).double()
    found = []
    for block in (fit.covariance[:count, :count], fit.covariance[count:, count:]):
        found.append(((design @ block) * design).sum(1).clamp_min(0).sqrt().reshape(1, 24, 24))
    coarse = torch.stack(found).float()
    return torch.nn.functional.interpolate(coarse, (rows, cols), mode="bilinear", align_corners=True)[:, 0]


def _columns(heights: Heights, fit: LatticeFit, scale: float) -> Columns:
    coordinates = heights.numbers.coordinates(heights.profile)
    direct = torch.linalg.inv(fit.pair.T).float()
    straight = coordinates @ direct
    splines = Splines(fit.shape, round(fit.displacement.shape[1] ** 0.5))
    positions = straight
    for _ in range(3):
        positions = straight + splines.at(positions) @ fit.displacement.T
    limit = torch.tensor(fit.shape, device=positions.device) - 0.5
    inside = ((positions > -0.5) & (positions < limit)).all(1)
    kind = torch.arange(len(heights.profile.heights), device=positions.device).repeat(
        len(coordinates) // len(heights.profile.heights)
    )[inside]
    positions = positions[inside]
    shown = heights.shown[inside]
    full = heights.profile.heights[kind] * fit.amplitude_at(positions) * scale
    return Columns(
        positions,
        kind,
        full * (1 + shown),
        shown,
        heights.sd[inside],
        heights.half_width[inside],
        heights.unusual[inside],
        heights.hit[inside],
    )
