"""Every fill by name, behind one call: ``FILLS[name](samples, geometry) -> estimate``.

Image fills see the partial frame that the geometry grids; point fills see the samples where they were taken, to a
fraction of a pixel. ``FILLS`` is in the order of what a fill costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from restore.fills.gaussian import gaussian
from restore.fills.harmonic import harmonic
from restore.fills.kriging import kriging
from restore.fills.nearest import linear, nearest
from restore.fills.push_pull import push_pull
from restore.fills.spectral import spectral, spectral_fast
from restore.fills.total_variation import total_variation
from restore.gridding import FrameGeometry, Normalisation
from scancontrol.errors import InvalidInput

__all__ = ["FILLS", "Fill", "fill_named", "positions_px"]


def positions_px(geometry: FrameGeometry) -> Tensor:
    """Where each sample was taken, (y, x) in pixels with centres at whole numbers, float32, shape ``(n, 2)``."""
    cols = geometry.shape[1]
    pixel = torch.stack((geometry.index // cols, geometry.index % cols), -1)
    return pixel.to(geometry.offset.dtype) + geometry.offset


@dataclass(frozen=True)
class Fill:
    """A classical method. ``summary`` is one line for tables; ``live`` says whether ``auto`` may choose it."""

    name: str
    summary: str
    run: Callable[[Tensor, FrameGeometry], Tensor]
    live: bool = False

    def __call__(self, samples: Tensor, geometry: FrameGeometry) -> Tensor:
        """Estimate (rows, cols) float32 in the units of ``samples`` (n,)."""
        return self.run(samples, geometry)


def _restored(estimate: Tensor, scale: Normalisation) -> Tensor:
    """Back to sample units, in single precision: a pass over the frame in double takes as long as push–pull."""
    return torch.add(scale.centre.to(estimate.dtype), estimate * scale.scale.to(estimate.dtype))


def _of_images(fill: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, FrameGeometry], Tensor]:
    def run(samples: Tensor, geometry: FrameGeometry) -> Tensor:
        scale = geometry.normalisation(samples)
        mean, weight = geometry.grid(scale.apply(samples[None]))
        return _restored(fill(mean[:, None], weight.expand_as(mean)[:, None])[0, 0], scale)

    return run


def _of_points(fill: Callable[[Tensor, Tensor, tuple[int, int]], Tensor]) -> Callable[[Tensor, FrameGeometry], Tensor]:
    def run(samples: Tensor, geometry: FrameGeometry) -> Tensor:
        inside = geometry.dwell > 0
        scale = geometry.normalisation(samples)
        values = scale.apply(samples[None])[:, inside]
        return _restored(fill(positions_px(geometry)[inside], values[0], geometry.shape), scale)

    return run


FILLS: dict[str, Fill] = {
    fill.name: fill
    for fill in (
        Fill("push_pull", "push–pull pyramid", _of_images(push_pull), live=True),
        Fill("nearest", "nearest sample", _of_points(nearest)),
        Fill("linear", "linear on Delaunay triangles", _of_points(linear)),
        Fill("spectral_fast", "spectral Gaussian process at half size", _of_images(spectral_fast), live=True),
        Fill("gaussian", "Gaussian normalised convolution, widths by leaving one out", _of_images(gaussian)),
        Fill("harmonic", "harmonic, multigrid", _of_images(harmonic)),
        Fill("spectral", "spectral Gaussian process", _of_images(spectral), live=True),
        Fill("total_variation", "total variation, Chambolle–Pock", _of_images(total_variation)),
        Fill("kriging", "local ordinary kriging, 32 neighbours", _of_points(kriging)),
    )
}


def fill_named(name: str) -> Fill:
    """The fill of that name.

    Raises:
        InvalidInput: there is none.
    """
    try:
        return FILLS[name]
    except KeyError:
        raise InvalidInput("fill", repr(name), "is not a known method", f"choose one of {', '.join(FILLS)}") from None
