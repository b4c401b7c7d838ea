"""What a crystal tells of itself, from samples along any path.

``find_crystal`` looks for a lattice in one frame: waves that stand out, the two vectors that index them, a cell with a
bent field, and then asks withheld readings whether it is there. Where one is not the whole of the field, it looks for
up to three beside each other. ``follow`` does the next frame of a stream, warm.
A picture of a crystal is the most dangerous thing that a restorer can draw: what is not proven is not drawn, defects
are drawn where a sample fell, and where none fell the interval holds them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from restore.estimate.lattice.cell import look_up
from restore.estimate.lattice.columns import Columns, Heights, listed
from restore.estimate.lattice.defects import with_defects
from restore.estimate.lattice.doubt import shares
from restore.estimate.lattice.evidence import Evidence, weigh
from restore.estimate.lattice.fit import fit_lattice, refit
from restore.estimate.lattice.grains import grains_in
from restore.estimate.lattice.model import LatticeFit, Readings, splines_of
from restore.estimate.lattice.peaks import find_waves, without_trend
from restore.estimate.lattice.region import EVERYWHERE, at_readings, of_region, own_regions, within
from restore.estimate.lattice.strain import StrainMap, gradient_grid, strain_map
from restore.estimate.lattice.together import Grain, at_samples, drawn_together
from restore.estimate.lattice.vectors import reciprocal_pairs
from restore.estimate.lattice.warm import next_fit
from restore.fills.registry import positions_px
from restore.gridding import FrameGeometry

__all__ = ["Crystal", "find_crystal", "follow"]

_CENTRED = 0.98  # of the noise, below which readings are taken for those of pixels' middles
_FEWEST = 400  # samples below this tell no lattice from chance
_MOST = 0.9  # of the field, below which a lattice is asked about after others beside it
_WHOLE = 0.95  # share of a lattice that explains the frame


@dataclass(frozen=True)
class Crystal:
    """What the lattice says of a frame, in the units of its samples.

    Attributes:
        image: share × lattices with their mean levels within their regions, share × the readings' centre elsewhere,
            (rows, cols).
        at_samples: the same at the samples, (n,).
        share: how much of the lattices is used, above 0 to 1.
        half_width: of a 90 % interval, where columns of which little is told or a field that contradicts the lattices
            make it wider, whatever their share is, (rows, cols).
        doubt: how far the readings around each pixel contradict the first lattice, 0 to 1, (rows, cols).
        evidence: what withheld readings said.
        grains: the lattices, each with its own region; the first has the largest.
        scale: of the samples over that of the fits.
        centred: whether readings are those of the middle of their pixels.
    """

    image: Tensor
    at_samples: Tensor
    share: float
    half_width: Tensor
    doubt: Tensor
    evidence: Evidence
    grains: tuple[Grain, ...]
    scale: float
    centred: bool

    @property
    def rest(self) -> float:
        """Which share of what is restored of the rest, samples less ``at_samples``, belongs beside the image."""
        return self.evidence.rest

    @property
    def fit(self) -> LatticeFit:
        """The first lattice, on a scale of its own."""
        return self.grains[0].fit

    @property
    def heights(self) -> Heights | None:
        """Of the first lattice's columns."""
        return self.grains[0].heights

    @cached_property
    def region(self) -> Tensor:
        """How far any lattice is used at each pixel, 0 to 1, (rows, cols)."""
        return torch.stack([grain.region for grain in self.grains]).sum(0)

    @cached_property
    def vectors(self) -> Tensor:
        """Direct vectors of the first lattice in pixels, rows (y, x), (2, 2)."""
        return torch.linalg.inv(self.fit.pair.T).float()

    @cached_property
    def strain(self) -> StrainMap:
        """Displacement, strain and rotation of the first lattice relative to its mean, with their deviations."""
        return strain_map(self.fit)

    @cached_property
    def gradient(self) -> Tensor:
        """The displacement's gradient with its deviations on a coarse grid; see :func:`gradient_grid`."""
        return gradient_grid(self.fit)

    @cached_property
    def variance(self) -> Tensor:
        """Of the first lattice without its defects: the cell's and the displacement's, (rows, cols)."""
        fit = self.fit
        _, *slopes, spread = look_up(torch.cat([fit.cell.table(), fit.cell.spread()[None]]), fit.image_coordinates())
        amplitude = splines_of(fit.shape, fit.amplitude).image(fit.amplitude)
        along = torch.einsum("cij,ca->aij", torch.stack(slopes), fit.pair.float())
        each = spread.square() + (along.square() * self.strain.displacement_sd_px.square()).sum(0)
        return (self.share * self.scale * amplitude).square() * each

    @cached_property
    def columns(self) -> Columns | None:
        """Every column of the first lattice, or None if its cell has no columns to tell apart."""
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
    waves = find_waves(without_trend(readings), readings.positions, geometry.shape, readings.weights)
    pairs = reciprocal_pairs(waves, float(min(geometry.shape)))
    if not pairs:
        return None
    fit = fit_lattice(readings, pairs[0])
    readings, fit, centred = _as_placed(readings, fit, geometry)
    fits, regions, evidence = _proven(readings, fit, geometry.is_drawn)
    if evidence.share <= 0:
        return None
    grains = []
    for fit, region in zip(fits, regions, strict=True):
        own, heights = with_defects(of_region(readings, region), fit, 2)
        grains.append(Grain(own, heights, region))
    told = at_samples(readings, grains)
    return _crystal(readings, grains, told, regions, evidence, _Scale(centre, scale), centred)


def _proven(readings: Readings, fit: LatticeFit, drawn: bool) -> tuple[list[LatticeFit], Tensor, Evidence]:
    """One lattice, or several if it is not the whole of the field and withheld readings speak for them."""
    fits, regions = own_regions(readings, [fit])
    most = float(regions.mean()) > _MOST
    evidence = weigh(readings, fits, drawn) if most else None
    if evidence is not None and evidence.share >= _WHOLE and float(regions.mean()) > EVERYWHERE:
        return fits, regions, evidence
    several, theirs = grains_in(readings)
    if several:
        other = weigh(readings, several, drawn)
        if other.share > 0 and (evidence is None or evidence.share <= 0 or other.ratio < evidence.ratio):
            return several, theirs, other
    return fits, regions, evidence or weigh(readings, fits, drawn)


@torch.no_grad()
def follow(crystal: Crystal, samples: Tensor, geometry: FrameGeometry) -> Crystal:
    """The same crystal in the next frame, from what is known of it."""
    readings, centre, scale = _readings(samples, geometry, None)
    if crystal.centred:
        readings = replace(readings, positions=_centres(readings.positions))
    grains, told = [], torch.zeros_like(readings.values)
    for grain in crystal.grains:
        own = within(readings, grain.region)
        found = next_fit(geometry, own, grain.fit, grain.heights, grain.sums)
        grains.append(Grain(found.fit, found.heights, grain.region, found.sums))
        told += found.at_samples * at_readings(readings, grain.region)
    likely = shares(readings, [grain.fit for grain in grains])[:-1]
    return _crystal(readings, grains, told, likely, crystal.evidence, _Scale(centre, scale), crystal.centred)


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


@dataclass(frozen=True)
class _Scale:
    """From the scale of a fit to that of the samples."""

    centre: float
    scale: float


def _crystal(
    readings: Readings,
    grains: list[Grain],
    told: Tensor,
    likely: Tensor,
    evidence: Evidence,
    scale: _Scale,
    centred: bool,
) -> Crystal:
    share, picture = evidence.share, drawn_together(readings, grains, likely)
    return Crystal(
        image=picture.values.mul_(share * scale.scale).add_(share * scale.centre),
        at_samples=share * (scale.centre + scale.scale * told),
        share=share,
        half_width=scale.scale * picture.half_width,
        doubt=1 - likely[0],
        evidence=evidence,
        grains=tuple(grains),
        scale=scale.scale,
        centred=centred,
    )
