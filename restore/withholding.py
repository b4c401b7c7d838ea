"""An error that is measured and not promised: a few samples of each frame never reach the restorer.

From grids single samples are withheld. From paths that are drawn, arcs are: a single sample of a spiral has its
neighbours on the same arc and is far easier than the gaps between turns. The residuals at the withheld samples, by
their distance to what was kept, also set a 90 % interval for every pixel (split conformal prediction within the
frame).

References: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005; Lei, G'Sell, Rinaldo,
Tibshirani, Wasserman, "Distribution-free predictive inference for regression", JASA 113 (2018) 1094.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from restore.gridding import FrameGeometry

__all__ = [
    "LEVEL",
    "AtHeld",
    "Withheld",
    "about_specimen",
    "carried_over",
    "growth_along",
    "half_widths",
    "missed_share",
    "withhold",
]

LEVEL = 0.9
_FEWEST = 24  # withheld samples below this tell nothing about a 90 % quantile
_BINS = 5
_PROMISED_WIDTHS_WORTH = 32
_PROMISED_ERRORS_WORTH = 64
_STEPS_PER_PX = 16
_MISSED_LEAST = 0.2  # of the withheld samples outside their interval, whatever chance allows
_MISSED_SURE = 3.0  # standard deviations beyond what chance allows
_LEAST_OF_SPECIMEN = 0.05  # of a residual's variance: how well noise is known, and where it is all that is left


@dataclass(frozen=True)
class Withheld:
    """Which samples of a geometry were withheld.

    Attributes:
        kept: indices of the samples that are not, int64.
        index: indices of those that are, shape ``(k,)``.
        pixel: flat pixel of each withheld sample, shape ``(k,)``.
        distance_px: distance of that pixel to the nearest kept one, shape ``(k,)``.
        places: how many places of the frame they speak for: a whole arc is one.
    """

    kept: Tensor
    index: Tensor
    pixel: Tensor
    distance_px: Tensor
    places: int

    @property
    def say_on_widths(self) -> float:
        """Weight of the quantile that these samples measure against the one promised without them, 0 to 1.

        Of many frames, promised widths are right within the accuracy that about thirty places can measure.
        """
        return self.places / (self.places + _PROMISED_WIDTHS_WORTH)

    @property
    def say_on_errors(self) -> float:
        """The same of their root mean square: few large residuals make it, so it takes many more places to know it."""
        return self.places / (self.places + _PROMISED_ERRORS_WORTH)

    def residual(self, samples: Tensor, estimate: Tensor) -> Tensor:
        """Withheld samples minus the estimate (rows, cols) there, shape ``(k,)``."""
        return samples[self.index] - estimate.flatten()[self.pixel]


_splits = WeakIdKeyDictionary()  # geometry → share → (kept geometry, what was withheld) or None
_step_maps = WeakIdKeyDictionary()  # distances (rows, cols) → steps


def withhold(geometry: FrameGeometry, share: float, seed: int = 0) -> tuple[FrameGeometry, Withheld | None]:
    """The geometry of the kept samples, and what was withheld; the same for the same geometry, and cached.

    Withholds nothing, and returns None, where ``share`` of the samples would be too few to tell anything. Samples
    that share a pixel are withheld together: a revisited pixel is not unseen. Of remembered samples none is withheld
    but those: the error is that of this frame.
    """
    known = _splits.setdefault(geometry, {})
    if (share, seed) not in known:
        known[share, seed] = _split(geometry, share, seed)
    return known[share, seed] or (geometry, None)


def _split(geometry: FrameGeometry, share: float, seed: int) -> tuple[FrameGeometry, Withheld] | None:
    wanted = round(share * geometry.fresh)
    if wanted < _FEWEST or geometry.fresh - wanted < 2 * _FEWEST:
        return None
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.zeros(geometry.count, dtype=torch.bool)
    if geometry.is_drawn:
        # The middle of such an arc is as far from what is kept as a pixel of the gaps is on average.
        spacing = 1 / max(geometry.touched, 1e-6)
        length = max(4, min(round(0.5 * spacing), wanted // 8))
        places = arcs = max(1, wanted // length)
        # One arc in each equal part of the path, so that all of the frame is heard.
        part = geometry.fresh / arcs
        starts = (torch.arange(arcs) + torch.rand(arcs, generator=generator)) * part
        reach = (starts.long()[:, None] + torch.arange(length)).clamp(max=geometry.fresh - 1)
        chosen[reach.flatten()] = True
    else:
        places, part = wanted, geometry.fresh / wanted
        at = ((torch.arange(wanted) + torch.rand(wanted, generator=generator)) * part).long()
        chosen[at.clamp(max=geometry.fresh - 1)] = True
    chosen = chosen.to(geometry.device)
    rows, cols = geometry.shape
    pixels = torch.zeros(rows * cols, dtype=torch.bool, device=geometry.device)
    pixels[geometry.index[chosen]] = True
    inside = geometry.dwell > 0
    chosen = pixels[geometry.index] & inside
    kept = (~chosen).nonzero()[:, 0]
    if int((inside & ~chosen).sum()) < 2 * _FEWEST:
        return None
    index = chosen[: geometry.fresh].nonzero()[:, 0]
    remaining = geometry.select(kept)
    pixel = geometry.index[index]
    return remaining, Withheld(kept, index, pixel, remaining.distance.flatten()[pixel], places)


class AtHeld(NamedTuple):
    """What the withheld samples say, on the processor: brought there at once, since each question waits for the device.

    Attributes:
        residual: estimate minus reading, (k,).
        width: the half-width promised there, (k,).
        everywhere: root mean square of all half-widths.
    """

    residual: Tensor
    width: Tensor
    everywhere: float

    @classmethod
    def of(cls, residual: Tensor, held: Withheld, widths: Tensor) -> AtHeld:
        """Of residuals (k,) and the half-widths of every pixel (rows, cols), on their device, which is waited for."""
        return cls.told(cls.asked(residual, held, widths).cpu())

    @staticmethod
    def asked(residual: Tensor, held: Withheld, widths: Tensor) -> Tensor:
        """All of it in one tensor (2k + 1,) on the device, for :meth:`told` when it has come."""
        there, everywhere = widths.flatten()[held.pixel], widths.square().mean().sqrt()
        return torch.cat([residual.to(widths.dtype), there, everywhere[None]])

    @classmethod
    def told(cls, asked: Tensor) -> AtHeld:
        """From what was :meth:`asked`, on the processor."""
        count = len(asked) // 2
        return cls(asked[:count], asked[count:-1], float(asked[-1]))

    @property
    def rms(self) -> float:
        """Of the residuals."""
        return float(self.residual.square().mean().sqrt())

    @property
    def scores(self) -> Tensor:
        """Sizes of residuals over the half-widths that were promised, (k,)."""
        return self.residual.abs() / self.width.clamp_min(1e-30)


def carried_over(at_held: AtHeld, say: float = 1.0) -> float:
    """The withheld samples' error carried over to every pixel, in the proportion of the interval's half-widths.

    Withheld samples lie nearer to the path than most pixels, and few of them speak for few places; the interval knows
    every pixel but was promised. So: the widths' root mean square, times how the measured error stood to the widths
    at the withheld samples, to the power ``say`` (1: believe the measurement alone; 0: the promise alone).

    Args:
        at_held: residuals and half-widths, in the same units.
        say: as above.
    """
    there = at_held.width.square().mean().sqrt().clamp_min(1e-30)
    measured = float((at_held.residual.square().mean().sqrt() / there).clamp_min(1e-30))
    return at_held.everywhere * measured**say


def missed_share(scores: Tensor, places: int) -> float | None:
    """Share of withheld samples outside their interval, where that is more than chance allows at so many places.

    Args:
        scores: residuals over promised half-widths, not negative, (k,).
    """
    missed, should = float((scores > 1).float().mean()), 1 - LEVEL
    by_chance = should + _MISSED_SURE * math.sqrt(should * LEVEL / max(1, places))
    return missed if missed > max(_MISSED_LEAST, by_chance) else None


def about_specimen(residual: Tensor, noise_variance: float | None) -> Tensor:
    """Residuals of withheld readings (k,), shrunk to what they would be about the specimen if the noise is known."""
    if noise_variance is None:
        return residual
    of_noise = noise_variance / residual.square().mean().clamp_min(1e-30)
    return residual * (1 - of_noise).clamp_min(_LEAST_OF_SPECIMEN).sqrt()


def growth_along(samples: Tensor, geometry: FrameGeometry, noise_variance: float | None = None) -> Tensor | None:
    """How much two samples of a drawn path differ, root mean square, at 0, 1, 2, 4, … px along it; else None.

    Of the specimen alone where the noise is known. Never falling with distance, to at least the largest distance of a
    pixel to the path.
    """
    if not geometry.is_drawn:
        return None
    values = [samples.new_zeros(())]
    lag, reach = 1, float(geometry.distance.max())
    while lag < len(samples) // 2:
        square = (samples[lag:] - samples[:-lag]).square().mean()
        of_noise = 0.0 if noise_variance is None else 2 * noise_variance
        values.append(torch.maximum(square - of_noise, _LEAST_OF_SPECIMEN * square).sqrt())
        if lag >= reach:
            break
        lag *= 2
    return torch.stack(values).cummax(0).values


def half_widths(
    residual: Tensor, distance_px: Tensor, distances: Tensor, level: float = LEVEL, growth: Tensor | None = None
) -> Tensor:
    """Half-width at every pixel such that ``level`` of residuals at its distance to the path lie within it.

    Args:
        residual: of the withheld samples, shape ``(k,)``.
        distance_px: their distances to the kept path, shape ``(k,)``.
        distances: of every pixel, shape ``(rows, cols)``.
        growth: of :func:`growth_along`; widths grow in its proportion beyond the farthest withheld samples, which
            at low coverage see less of the gaps than there is.

    Returns:
        Shape ``(rows, cols)``. Within groups of withheld samples of like distance the conformal quantile,
        ``⌈(k + 1)·level⌉``-th smallest; between groups interpolated; never falling with distance.
    """
    order = distance_px.argsort(stable=True)
    count = len(order)
    bins = max(1, min(_BINS, count // 40))
    centres, widths = [], []
    for group in order.tensor_split(bins):
        size = residual[group].abs().sort().values
        rank = min(len(size), math.ceil((len(size) + 1) * level))
        widths.append(size[rank - 1])
        centres.append(distance_px[group].mean())
    width = torch.stack(widths).cummax(0).values
    centre = torch.stack(centres)
    # Distances are few and the pixels many: interpolate for steps of distance, then look the pixels up.
    step = torch.arange(int(float(distances.max()) * _STEPS_PER_PX) + 2, device=distances.device) / _STEPS_PER_PX
    table = width.expand(len(step)) if bins == 1 else _interpolated(step, centre, width)
    if growth is not None and len(growth) > 2:
        octave = torch.log2(torch.stack((step, centre[-1].expand_as(step))).clamp(min=0.5)) + 1
        beyond, there = _interpolated(octave, torch.arange(len(growth), device=step.device), growth)
        table = table * (beyond / there.clamp(min=1e-20)).clamp(min=1)
    return table[_steps(distances)]


def _interpolated(at: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """Piecewise linear through ``values`` at rising ``places``, constant outside."""
    upper = torch.searchsorted(places.to(at.dtype), at.contiguous()).clamp(1, len(places) - 1)
    low, high = places[upper - 1], places[upper]
    return torch.lerp(values[upper - 1], values[upper], ((at - low) / (high - low).clamp(min=1e-6)).clamp(0, 1))


def _steps(distances: Tensor) -> Tensor:
    """Which step each distance is nearest to; kept for as long as the geometry that it belongs to."""
    if distances not in _step_maps:
        _step_maps[distances] = (distances * _STEPS_PER_PX + 0.5).long()
    found: Tensor = _step_maps[distances]
    return found
