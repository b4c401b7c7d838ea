"""How a crystal is strained and turned: from the displacement of its lattice, with the deviation of each figure.

The lattice's phase at position p is G (p − d(p)). So the deformation of the lattice there, from the one that G spans,
is F = (1 − ∇d)⁻¹; relative to a reference lattice (the mean one of a region) it is F F₀⁻¹, of which the symmetric part
less 1 is the strain and the antisymmetric part the rotation.

References: Hÿtch, Snoeck, Kilaas 1998, Ultramicroscopy 74, 131, section 2.4 (geometric phase analysis).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from restore.estimate.lattice.model import LatticeFit, splines_of
from scancontrol.errors import InvalidInput

__all__ = ["StrainMap", "gradient_grid", "strain_map"]

_COARSE = 32  # deviations are smooth: so many places along a side
_STEP_PX = 0.5


@dataclass(frozen=True)
class StrainMap:
    """Maps (rows, cols) float32 over a frame; strains and rotation without unit and in radians, small.

    Attributes:
        displacement_px: from the reference lattice, (2, rows, cols), y before x; its deviation likewise.
        exx, eyy, exy: strain; x is to the right, y downwards.
        rotation: in radians, positive from x to y, which on a screen is clockwise.
        sd: posterior deviations of exx, eyy, exy and rotation, (4, rows, cols).
    """

    displacement_px: Tensor
    displacement_sd_px: Tensor
    exx: Tensor
    eyy: Tensor
    exy: Tensor
    rotation: Tensor
    sd: Tensor


@torch.no_grad()
def strain_map(fit: LatticeFit, region: tuple[int, int, int, int] | None = None) -> StrainMap:
    """Strain relative to the mean lattice of the frame, or of a region.

    Args:
        region: first row, first column, rows and columns of the reference; the whole frame, if not given.

    Raises:
        InvalidInput: the region is not inside the frame, or smaller than 8 × 8.
    """
    rows, cols = fit.shape
    top, left, height, width = region or (0, 0, rows, cols)
    if min(top, left) < 0 or min(height, width) < 8 or top + height > rows or left + width > cols:
        raise InvalidInput("region", region, f"is no part of {rows} × {cols} pixels of 8 × 8 or more", "choose another")
    splines = splines_of(fit.shape, fit.displacement)
    field = fit.field().double()
    slopes = splines.gradient(fit.displacement.double())  # (2, 2, rows, cols): of component by axis
    here = (..., slice(top, top + height), slice(left, left + width))
    reference = slopes[here].mean((-2, -1))
    identity = torch.eye(2, dtype=torch.float64, device=field.device)
    local = torch.linalg.inv(identity - slopes.permute(2, 3, 0, 1))
    relative = local @ (identity - reference)
    y = torch.arange(rows, dtype=torch.float64, device=field.device)[:, None].expand(rows, cols)
    x = torch.arange(cols, dtype=torch.float64, device=field.device)[None].expand(rows, cols)
    straight = reference[:, 0, None, None] * y + reference[:, 1, None, None] * x
    moved = field - straight
    moved = moved - moved[here].mean((-2, -1))[:, None, None]
    displacement_sd, sd = _deviations(fit)
    return StrainMap(
        displacement_px=moved.float(),
        displacement_sd_px=displacement_sd,
        exx=(relative[..., 1, 1] - 1).float(),
        eyy=(relative[..., 0, 0] - 1).float(),
        exy=(0.5 * (relative[..., 0, 1] + relative[..., 1, 0])).float(),
        rotation=(0.5 * (relative[..., 0, 1] - relative[..., 1, 0])).float().neg(),
        sd=sd,
    )


@torch.no_grad()
def gradient_grid(fit: LatticeFit) -> Tensor:
    """The displacement's gradient with its deviations where it is smooth enough to be sent: (8, n, n) float32.

    The first four are ∂d_y/∂y, ∂d_y/∂x, ∂d_x/∂y, ∂d_x/∂x, the others the deviations of exx, eyy, exy and rotation, at n
    evenly spaced places of each axis from the first pixel to the last. Strain from any reference follows from them.
    """
    coarse = _Coarse(fit)
    return torch.cat([coarse.gradient().float(), coarse.strain_deviations().float()]).reshape(8, _COARSE, _COARSE)


class _Coarse:
    """Splines of a fit's displacement and their derivatives at the coarse places, (places, k²) each."""

    def __init__(self, fit: LatticeFit) -> None:
        splines = splines_of(fit.shape, fit.displacement)
        on, exact = fit.displacement.device, torch.float64
        lines = [torch.linspace(_STEP_PX, n - 1 - _STEP_PX, _COARSE, dtype=exact, device=on) for n in fit.shape]
        places = torch.cartesian_prod(*lines)
        steps = torch.eye(2, dtype=exact, device=on) * _STEP_PX
        self.value = splines.at(places)
        self.down, self.right = (
            (splines.at(places + step) - splines.at(places - step)) / (2 * _STEP_PX) for step in steps
        )
        self._control = fit.displacement.double()
        (self._yy, self._yx), (_, self._xx) = (
            half.chunk(2, 1) for half in torch.linalg.inv(fit.precision).double().chunk(2, 0)
        )

    def gradient(self) -> Tensor:
        """Of y by y and x, then of x by y and x: (4, places)."""
        return torch.stack([slope @ control for control in self._control for slope in (self.down, self.right)])

    def displacement_deviations(self) -> Tensor:
        """Posterior ones, of y and x: (2, places)."""
        return _root(_product(self.value, self._yy, self.value), _product(self.value, self._xx, self.value))

    def strain_deviations(self) -> Tensor:
        """Posterior ones of exx, eyy, exy and rotation: (4, places)."""
        down, right = self.down, self.right
        apart = _product(right, self._yy, right) + _product(down, self._xx, down)
        common = 2 * _product(right, self._yx, down)
        return _root(
            _product(right, self._xx, right),
            _product(down, self._yy, down),
            0.25 * (apart + common),
            0.25 * (apart - common),
        )


def _product(left: Tensor, covariance: Tensor, right: Tensor) -> Tensor:
    """Covariance of what ``left`` and ``right`` (places, k²) make of control values: (places,)."""
    return ((left @ covariance) * right).sum(1)


def _root(*variances: Tensor) -> Tensor:
    return torch.stack(variances).clamp_min(0).sqrt()


def _deviations(fit: LatticeFit) -> tuple[Tensor, Tensor]:
    """Posterior deviations of displacement (2, rows, cols) and of exx, eyy, exy, rotation (4, rows, cols)."""
    coarse = _Coarse(fit)
    found = torch.cat([coarse.displacement_deviations(), coarse.strain_deviations()]).float()
    grid = found.reshape(-1, 1, _COARSE, _COARSE)
    fine = F.interpolate(grid, fit.shape, mode="bilinear", align_corners=True)[:, 0]
    return fine[:2], fine[2:]
