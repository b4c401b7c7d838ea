"""What a crystal tells of itself, from samples along any path.

``find_crystal`` looks for a lattice in one frame: waves that stand out, the two vectors that index them, a cell with a
bent field, and then asks withheld readings whether it is there. ``follow`` does the next frame of a stream, warm.
A picture of a crystal is the most dangerous thing that a restorer can draw: what is not proven is not drawn, defects
are drawn where a sample fell, and where none fell the interval holds them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from restore.estimate.lattice.cell import CellSums, look_up
from restore.estimate.lattice.columns import Columns, Heights, listed
from restore.estimate.lattice.defects import with_defects
from restore.estimate.lattice.doubt import doubt, guessed
from restore.estimate.lattice.evidence import Evidence, weigh
from restore.estimate.lattice.fit import fit_lattice, refit
from restore.estimate.lattice.model import LatticeFit, Readings, splines_of
from restore.estimate.lattice.peaks import find_waves
from restore.estimate.lattice.picture import draw
from restore.estimate.lattice.region import at_readings, own_region, within
from restore.estimate.lattice.splines import Splines
from restore.estimate.lattice.strain import StrainMap, gradient_grid, strain_map
from restore.estimate.lattice.vectors import reciprocal_pairs
from restore.estimate.lattice.warm import next_fit
from restore.fills.registry import positions_px
from restore.gridding import FrameGeometry

__all__ = ["Crystal", "find_crystal", "follow"]

_CENTRED = 0.98  # of the noise, below which readings are taken for those of pixels' middles
_FEWEST = 400  # samples below this tell no lattice from chance


@dataclass(frozen=True)
class Crystal:
    """What the lattice says of a frame, in the units of its samples.

    Attributes:
        image: share × lattice with its mean level within its region, share × the readings' centre elsewhere, (rows,
            cols).
        at_samples: the same at the samples, (n,).
        share: how much of the lattice is used, above 0 to 1.
        half_width: of a 90 % interval, where columns of which little is told or a field that contradicts the lattice
            make it wider, whatever the share of the lattice is, (rows, cols).
        doubt: how far the readings around each pixel contradict the lattice, 0 to 1, (rows, cols).
        region: how far the lattice is used at each pixel, 0 to 1, (rows, cols): in its own grain, on its own particle.
        evidence: what withheld readings said.
        fit: the lattice itself; heights: of its columns, if it has any; both on the scale of the fit.
        scale: of the samples over that of the fit.
        centred: whether readings are those of the middle of their pixels.
        sums: of the cell, that the next frame adds to.
    """

    image: Tensor
    at_samples: Tensor
    share: float
    half_width: Tensor
    doubt: Tensor
    region: Tensor
    evidence: Evidence
    fit: LatticeFit
    heights: Heights | None
    scale: float
    centred: bool
    sums: CellSums | None

    @property
    def rest(self) -> float:
        """Which share of what is restored of the rest, samples less ``at_samples``, belongs beside the image."""
        return self.evidence.rest

    @cached_property
    def vectors(self) -> Tensor:
        """Direct lattice vectors in pixels, rows (y, x), (2, 2)."""
        return torch.linalg.inv(self.fit.pair.T).float()

    @cached_property
    def strain(self) -> StrainMap:
        """Displacement, strain and rotation relative to the mean lattice of the frame, with their deviations."""
        return strain_map(self.fit)

    @cached_property
    def gradient(self) -> Tensor:
        """The displacement's gradient with its deviations on a coarse grid; see :func:`gradient_grid`."""
        return gradient_grid(self.fit)

    @cached_property
    def variance(self) -> Tensor:
        """Of the image without its defects: the cell's and the displacement's, (rows, cols)."""
        fit = self.fit
        _, *slopes, spread = look_up(torch.cat([fit.cell.table(), fit.cell.spread()[None]]), fit.image_coordinates())
        amplitude = splines_of(fit.shape, fit.amplitude).image(fit.amplitude)
        along = torch.einsum("cij,ca->aij", torch.stack(slopes), fit.pair.float())
        each = spread.square() + (along.square() * self.strain.displacement_sd_px.square()).sum(0)
        return (self.share * self.scale * amplitude).square() * each

    @cached_property
    def columns(self) -> Columns | None:
        """Every column of the frame, or None if the cell has no columns to tell apart."""
        return None if self.heights is None else listed(self.heights, self.fit, self.share * self.scale)


@torch.no_grad()
def find_crystal(samples: Tensor, geometry: FrameGeometry, *, weights: Tensor | None = None) -> Crystal | None:
    """The lattice of a frame, or None if withheld readings do not prove one.

    Args:
        samples: (n,) along the path of ``geometry``.
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
    fit, region = own_region(readings, fit)
    evidence = weigh(readings, fit, geometry.is_drawn)
    if evidence.share <= 0:
        return None
    fit, heights = with_defects(within(readings, region), fit, 2)
    at_samples = fit.at(readings.positions)
    if heights is not None:
        own, amplitude = fit.coordinates(readings.positions), fit.amplitude_at(readings.positions)
        at_samples = at_samples + heights.drawn(own, amplitude)
    return _crystal(readings, fit, heights, None, at_samples, region, evidence, _Scale(centre, scale), centred)


@torch.no_grad()
def follow(crystal: Crystal, samples: Tensor, geometry: FrameGeometry) -> Crystal:
    """The same crystal in the next frame, from what is known of it."""
    readings, centre, scale = _readings(samples, geometry, None)
    if crystal.centred:
        readings = replace(readings, positions=_centres(readings.positions))
    own = within(readings, crystal.region)
    found = next_fit(geometry, own, crystal.fit, crystal.heights, crystal.sums)
    scaled = _Scale(centre, scale)
    fit, heights, at_samples, region = found.fit, found.heights, found.at_samples, crystal.region
    return _crystal(readings, fit, heights, found.sums, at_samples, region, crystal.evidence, scaled, crystal.centred)


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


@dataclass(frozen=True)
class _Scale:
    """From the scale of a fit to that of the samples."""

    centre: float
    scale: float


def _crystal(
    readings: Readings,
    fit: LatticeFit,
    heights: Heights | None,
    sums: CellSums | None,
    at_samples: Tensor,
    region: Tensor,
    evidence: Evidence,
    scale: _Scale,
    centred: bool,
) -> Crystal:
    share, picture = evidence.share, draw(fit, heights)
    doubted = doubt(readings, fit)
    return Crystal(
        image=picture.values.mul_(region).mul_(share * scale.scale).add_(share * scale.centre),
        at_samples=share * (scale.centre + scale.scale * at_samples * at_readings(readings, region)),
        share=share,
        half_width=scale.scale * torch.maximum(picture.half_width, guessed(fit, heights, doubted)),
        doubt=doubted,
        region=region,
        evidence=evidence,
        fit=fit,
        heights=heights,
        scale=scale.scale,
        centred=centred,
        sums=sums,
    )
