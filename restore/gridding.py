"""Samples along a path become images: the first thing every restorer does with them.

``FrameGeometry`` is computed once per path and stays on the engine's device; after that only sample values
arrive, and ``FrameGeometry.grid`` turns them into a partial frame in one scatter. Pixel (i, j) of a (rows, cols)
frame covers [i/rows, (i+1)/rows) × [j/cols, (j+1)/cols), so a position's pixel coordinate is ``fraction * rows - 0.5``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from scancontrol.errors import InvalidInput

if TYPE_CHECKING:
    from scancontrol.paths import ScanPath

__all__ = ["MIN_SAMPLES", "FrameGeometry", "Normalisation", "distance_to_path", "scatter_mean"]

_FAR_CELL = 32  # pixels: a frame with an untouched square of that side is measured by SciPy's transform

MIN_SAMPLES = 16
"""Fewer samples than this carry neither a noise level nor a scale; restoring them is refused."""


def scatter_mean(index: Tensor, weights: Tensor, values: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
    """Weighted mean of the samples that fell on each pixel.

    Args:
        index: flat pixel of each sample, int64, shape (batch, n).
        weights: dwell of each sample, any unit, shape (batch, n); zero leaves a sample out.
        values: sample values, shape (batch, n).
        pixels: pixels of the frame.

    Returns:
        mean (batch, pixels), 0 where nothing fell, and summed weight (batch, pixels).
    """
    total = weights.new_zeros(index.shape[0], pixels).scatter_add_(1, index, weights)
    summed = values.new_zeros(index.shape[0], pixels).scatter_add_(1, index, values * weights)
    return torch.where(total > 0, summed / total.clamp_min(1e-30), 0.0), total


def distance_to_path(touched: Tensor) -> Tensor:
    """Exact Euclidean distance in pixels from every pixel centre to the nearest touched one.

    Two separable passes (Felzenszwalb & Huttenlocher 2012, equation 1): down the columns by running extrema, then
    along the rows by growing shifts k, which ends as soon as k² exceeds the largest squared distance left. Where that
    is far, as in a frame that is still being scanned, SciPy's transform, whose time knows no distance, is faster on a
    processor.

    Args:
        touched: bool, shape (..., rows, cols). A frame without any touched pixel gets its diagonal everywhere.

    Returns:
        float32, shape (..., rows, cols).
    """
    rows, cols = touched.shape[-2:]
    far, kind = rows + cols, torch.float32
    if touched.device.type == "cpu":
        if _has_far_pixels(touched):
            return _distances_far_away(touched)
        # An untouched pixel's own square is touched, or the one before the edge: squares of distances stay small.
        far, kind = 3 * _FAR_CELL, torch.int16
    line = torch.arange(rows, device=touched.device, dtype=kind)[:, None]
    above, below = torch.where(touched, line, -far), torch.where(touched, line, rows + far)
    for reach in (1 << n for n in range((min(rows, far) - 1).bit_length())):  # the last above, the first below
        for found, most in ((above, torch.maximum), (below, torch.minimum)):
            before = found.clone()
            first, second = before[..., :-reach, :], before[..., reach:, :]
            most(first, second, out=found[..., reach:, :] if found is above else found[..., :-reach, :])
    column = torch.minimum(line - above, below - line).clamp_max_(far).square_()
    best = column.clone()
    for shift in range(1, cols):
        # Asking for the maximum costs a device synchronisation, so not at every shift.
        if shift % 4 == 1 and shift * shift > float(best.max()):
            break
        left, right, moved = best[..., : cols - shift], best[..., shift:], column + shift * shift
        torch.minimum(left, moved[..., shift:], out=left)
        torch.minimum(right, moved[..., : cols - shift], out=right)
    return best.to(torch.float32).sqrt_().clamp_max_(float(np.hypot(rows, cols)))


def _has_far_pixels(touched: Tensor) -> bool:
    rows, cols = (n // _FAR_CELL * _FAR_CELL for n in touched.shape[-2:])
    if not rows or not cols:
        return max(touched.shape[-2:]) > _FAR_CELL
    cells = touched[..., :rows, :cols].unflatten(-1, (-1, _FAR_CELL)).any(-1).unflatten(-2, (-1, _FAR_CELL)).any(-2)
    return not bool(cells.all())


def _distances_far_away(touched: Tensor) -> Tensor:
    rows, cols = touched.shape[-2:]
    found = torch.full(touched.shape, float(np.hypot(rows, cols)))
    flat = found.view(-1, rows, cols)
    for frame, known in zip(flat, touched.reshape(flat.shape), strict=True):
        if not bool(known.any()):
            continue
        # Asked for distances, SciPy makes them of these indices in double precision, in half as much time again.
        nearest = distance_transform_edt(~known.numpy(), return_distances=False, return_indices=True)
        down, right = torch.from_numpy(nearest).unbind()
        down -= torch.arange(rows, dtype=down.dtype)[:, None]
        right -= torch.arange(cols, dtype=right.dtype)
        torch.sqrt(down.square_().add_(right.square_()), out=frame)
    return found


@dataclass(frozen=True)
class Normalisation:
    """The affine map that takes samples to about zero mean and unit spread, from the samples alone.

    ``centre`` and ``scale`` are the mean and standard deviation of the samples clipped to their own 0.5 and 99.5
    percentiles, so that they follow any gain and offset of the detector exactly and hot samples hardly at all; where
    all between is one grey level, as on an even ground with few specks, they are those of all samples. Both have
    shape (batch,). ``scale`` is 0 for samples of one grey level; such frames map to 0 and back to that level.
    """

    centre: Tensor
    scale: Tensor

    @classmethod
    def of(cls, samples: Tensor, weights: Tensor | None = None) -> Normalisation:
        """Measure samples of shape (batch, n); samples of zero weight are left out."""
        values = samples.double()
        if weights is None:
            clipped = _clipped(values, 0.005)
            centre, scale = clipped.mean(1), clipped.std(1, correction=0)
            whole = values.std(1, correction=0)
        else:
            used = weights > 0
            # Left-out samples must move neither percentile: repeat the used ones' median in their place.
            median = torch.where(used, values, torch.nan).nanmedian(1, keepdim=True).values
            inner = torch.where(used, values, median)
            share = 0.005 * float(used.sum(1).min()) / values.shape[1]
            clipped = _clipped(inner, share)
            count = used.sum(1).double()
            centre = torch.where(used, clipped, 0.0).sum(1) / count
            scale = (torch.where(used, clipped - centre[:, None], 0.0).square().sum(1) / count).sqrt()
            whole = (torch.where(used, inner - centre[:, None], 0.0).square().sum(1) / count).sqrt()
        # Rounding leaves a spread of some ulp on a constant; it must not be amplified into a picture.
        least = 1e-9 * centre.abs()
        scale = torch.where(scale > least, scale, torch.where(whole > least, whole, 0.0))
        return cls(centre, scale)

    def apply(self, values: Tensor) -> Tensor:
        """Values (batch, ...) in sample units to normalised float32."""
        centre, scale = self._shaped(values)
        return ((values.double() - centre) / torch.where(scale > 0, scale, 1.0)).float()

    def invert(self, values: Tensor) -> Tensor:
        """Normalised values (batch, ...) back to sample units, float32."""
        centre, scale = self._shaped(values)
        return torch.addcmul(centre.float(), values, scale.float())

    def invert_width(self, widths: Tensor) -> Tensor:
        """Normalised widths (batch, ...), such as an interval's, back to sample units, float32."""
        return widths * self._shaped(widths)[1].float()

    def _shaped(self, like: Tensor) -> tuple[Tensor, Tensor]:
        tail = (1,) * (like.dim() - 1)
        return self.centre.reshape(-1, *tail), self.scale.reshape(-1, *tail)


def _clipped(values: Tensor, share: float) -> Tensor:
    """Each row clipped to its own ``share`` and ``1 − share`` quantiles."""
    last = values.shape[1] - 1  # torch.quantile refuses more than 2**24 values, and sorts them all
    low, high = (values.kthvalue(1 + round(part * last), 1, keepdim=True).values for part in (share, 1 - share))
    return values.clamp(low, high)


@dataclass(frozen=True)
class FrameGeometry:
    """Where each sample of a frame was taken, prepared on a device.

    Attributes:
        shape: (rows, cols) of the frame.
        index: flat pixel ``row * cols + col`` of each sample, int64, shape (n,).
        offset: (y, x) from that pixel's centre in pixels, each in [-0.5, 0.5], float32, shape (n, 2).
        dwell: dwell of each sample relative to the mean, float32, shape (n,); 0 for samples outside the
        field.
        weight: dwell summed per pixel, float32, shape (rows, cols); 0 where the beam never was.
        fresh: how many of the samples, counted from the first, are of this frame; the others are remembered ones.
        planned: of a frame that lost samples, the geometry with all of them.
        whole: of the beginning of a path, the geometry of all of it.
    """

    shape: tuple[int, int]
    index: Tensor
    offset: Tensor
    dwell: Tensor
    weight: Tensor
    fresh: int
    planned: FrameGeometry | None = field(default=None, repr=False, compare=False)
    whole: FrameGeometry | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_positions(
        cls,
        positions: np.ndarray | Tensor,
        shape: tuple[int, int],
        dwell_us: np.ndarray | Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> FrameGeometry:
        """Prepare positions (n, 2), ``(y, x)`` in fractions of the field of view.

        Coil lag can carry the beam past the edge; such samples keep their place in the order but weigh
        nothing.

        Raises:
            InvalidInput: positions are not (n, 2) and finite, fewer than ``MIN_SAMPLES`` lie inside the
            field, dwell
                times do not match them or are negative, or the frame is smaller than 16 × 16.
        """
        rows, cols = shape
        if min(rows, cols) < 16:
            raise InvalidInput("shape", shape, "is smaller than 16 × 16", "scan a larger frame")
        where = torch.as_tensor(positions, dtype=torch.float64)
        if where.dim() != 2 or where.shape[1] != 2:
            raise InvalidInput("positions", tuple(where.shape), "is not (n, 2)", "give (y, x) of every sample")
        if not bool(torch.isfinite(where).all()):
            raise InvalidInput("positions", "NaN or Inf", "is no place", "give finite fractions of the field")
        dwell = (
            torch.ones(len(where), dtype=torch.float64)
            if dwell_us is None
            else torch.as_tensor(dwell_us, dtype=torch.float64)
        )
        if dwell.shape != where.shape[:1] or not bool((dwell >= 0).all()):
            raise InvalidInput(
                "dwell_us", tuple(dwell.shape), f"does not suit {len(where)} samples", "give one time ≥ 0 each"
            )
        inside = ((where >= 0) & (where < 1)).all(1) & (dwell > 0)
        if int(inside.sum()) < MIN_SAMPLES:
            raise InvalidInput(
                "samples inside the field",
                int(inside.sum()),
                f"is below {MIN_SAMPLES}",
                "scan more of the field before asking for a restoration",
            )
        extent = torch.tensor([rows, cols], dtype=torch.float64)
        pixel = torch.floor(where * extent).clamp_(min=torch.zeros(2, dtype=torch.float64), max=extent - 1)
        offset = (where * extent - 0.5 - pixel).clamp_(-0.5, 0.5)
        relative = torch.where(inside, dwell / dwell[inside].mean(), 0.0)
        index = (pixel[:, 0] * cols + pixel[:, 1]).long().to(device)
        return cls._assemble(shape, index, offset.float().to(device), relative.float().to(device))

    @classmethod
    def from_path(
        cls, path: ScanPath, device: torch.device | str = "cpu", achieved: np.ndarray | None = None
    ) -> FrameGeometry:
        """Prepare an expanded scan path; ``achieved`` (n, 2) replaces its nominal positions where they are known.

        Samples of a bent path are placed on the specimen as it lay in the middle of the frame.
        """
        positions = path.positions if achieved is None else achieved
        return cls.from_positions(path.on_specimen(positions), path.shape, path.dwell_us, device)

    @classmethod
    def _assemble(
        cls, shape: tuple[int, int], index: Tensor, offset: Tensor, dwell: Tensor, fresh: int | None = None
    ) -> FrameGeometry:
        rows, cols = shape
        weight = dwell.new_zeros(rows * cols).index_add_(0, index, dwell).reshape(rows, cols)
        fresh = len(index) if fresh is None else fresh
        return cls(shape, index, offset, dwell, weight, fresh)

    @property
    def count(self) -> int:
        """Number of samples n."""
        return self.index.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.index.device

    @property
    def places(self) -> Tensor:
        """(y, x) of each sample in pixels, 0 at the first pixel's centre, float32, shape (n, 2)."""
        cols = self.shape[1]
        return torch.stack((self.index // cols, self.index % cols), 1).to(self.offset.dtype) + self.offset

    @cached_property
    def distance(self) -> Tensor:
        """Pixels to the nearest touched pixel, float32, shape (rows, cols)."""
        return distance_to_path(self.weight > 0)

    @cached_property
    def touched(self) -> float:
        """Fraction of pixels on which the beam dwelt at all."""
        return float((self.weight > 0).float().mean())

    @cached_property
    def is_drawn(self) -> bool:
        """Whether successive samples mostly lie on neighbouring pixels, so that the path is a curve."""
        cols = self.shape[1]
        y, x = self.index // cols, self.index % cols
        near = ((y[1:] - y[:-1]).abs() <= 2) & ((x[1:] - x[:-1]).abs() <= 2)
        return 2 * int(near.sum()) >= len(near)

    def to(self, device: torch.device | str) -> FrameGeometry:
        """The same geometry on another device."""
        names = ("index", "offset", "dwell", "weight")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def prefix(self, count: int) -> FrameGeometry:
        """The geometry of the first ``count`` samples: a frame that is still being scanned."""
        return replace(self.select(slice(0, count)), whole=self)

    def select(self, keep: Tensor | slice) -> FrameGeometry:
        """The geometry of some of the samples, by slice, bool mask (n,) or indices.

        Raises:
            InvalidInput: fewer than ``MIN_SAMPLES`` remain.
        """
        dwell = self.dwell[keep]
        if int((dwell > 0).sum()) < MIN_SAMPLES:
            raise InvalidInput(
                "samples", int((dwell > 0).sum()), f"is below {MIN_SAMPLES}", "wait until more of the path is scanned"
            )
        fresh = torch.zeros(self.count, dtype=torch.bool, device=self.device)
        fresh[: self.fresh] = True
        return self._assemble(self.shape, self.index[keep], self.offset[keep], dwell, int(fresh[keep].sum()))

    def remembering(self, places: Tensor, dwell: Tensor) -> FrameGeometry:
        """This geometry and remembered samples after it: their (y, x) in pixels (m, 2), all inside, and dwell (m,)."""
        rows, cols = self.shape
        pixel = torch.minimum((places + 0.5).floor(), places.new_tensor((rows - 1, cols - 1))).clamp_min(0)
        index = torch.cat((self.index, (pixel[:, 0] * cols + pixel[:, 1]).long()))
        offset = torch.cat((self.offset, (places - pixel).clamp(-0.5, 0.5)))
        return self._assemble(self.shape, index, offset, torch.cat((self.dwell, dwell)), self.count)

    def weighted(self, weights: Tensor) -> FrameGeometry:
        """This geometry with each sample's dwell multiplied by its weight (n,); 0 leaves a sample out.

        Raises:
            InvalidInput: fewer than ``MIN_SAMPLES`` remain.
        """
        dwell = self.dwell * weights.to(self.dwell)
        if int((dwell > 0).sum()) < MIN_SAMPLES:
            raise InvalidInput("readings", int((dwell > 0).sum()), f"is below {MIN_SAMPLES}", "look at the detector")
        found = self._assemble(self.shape, self.index, self.offset, dwell, self.fresh)
        return replace(found, planned=self.planned or self)

    def grid(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (..., n) to their dwell-weighted mean per pixel (..., rows, cols), and the weight (rows,
        cols).

        The mean is 0 where the weight is 0.

        Raises:
            InvalidInput: the number of samples is not the path's; on the processor also if one is NaN or infinite.
        """
        if samples.shape[-1] != self.count:
            raise InvalidInput(
                "samples", samples.shape[-1], f"is not the path's {self.count}", "use prefix(count) for a partial frame"
            )
        # Elsewhere asking would wait for the device; what an engine sends there was judged on the processor.
        if samples.device.type == "cpu" and not bool(torch.isfinite(samples).all()):
            raise InvalidInput("samples", "NaN or Inf", "is no reading", "mask or replace the faulty samples")
        flat = samples.reshape(-1, self.count).to(torch.promote_types(samples.dtype, torch.float32))
        rows, cols = self.shape
        batch = flat.shape[0]
        mean, _ = scatter_mean(
            self.index.expand(batch, -1), self.dwell.to(flat.dtype).expand(batch, -1), flat, rows * cols
        )
        return mean.reshape(*samples.shape[:-1], rows, cols), self.weight

    def normalisation(self, samples: Tensor) -> Normalisation:
        """Robust centre and scale of samples (n,) or (batch, n), left-out samples excepted."""
        rows: Sequence[int] = (-1, self.count)
        weights = self.dwell.expand(samples.reshape(*rows).shape[0], -1)
        return Normalisation.of(samples.reshape(*rows), None if self._all_counted else weights)

    @cached_property
    def _all_counted(self) -> bool:
        """Whether every sample lies in the field and was not left out."""
        return bool((self.dwell > 0).all())
