"""Fields on control points reproduce what is affine, and their roughness is none for it."""

from __future__ import annotations

import torch

from restore.estimate.lattice.splines import Splines, roughness


def test_splines_sum_to_one_everywhere() -> None:
    positions = torch.rand(200, 2, dtype=torch.float64) * torch.tensor([60.0, 90.0]) - 0.5
    design = Splines((60, 90), 7).at(positions)
    torch.testing.assert_close(design.sum(1), torch.ones(200, dtype=torch.float64))


def test_a_fields_image_is_the_field_at_the_pixels() -> None:
    splines = Splines((40, 50), 6)
    control = torch.randn(2, 36, dtype=torch.float64)
    pixels = torch.cartesian_prod(torch.arange(40.0), torch.arange(50.0)).double()
    torch.testing.assert_close(splines.image(control).flatten(1).T, splines.at(pixels) @ control.T)


def test_reading_a_field_and_spreading_readings_are_each_others_adjoint() -> None:
    positions = torch.rand(100, 2, dtype=torch.float64) * 39
    design = Splines((40, 40), 5).at(positions)
    control, readings = torch.randn(25, dtype=torch.float64), torch.randn(100, dtype=torch.float64)
    torch.testing.assert_close((design @ control) @ readings, control @ (design.T @ readings))


def test_an_affine_field_has_no_roughness_and_a_bent_one_has() -> None:
    line = torch.arange(6, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    matrix = roughness(6)
    affine = (3 + 2 * y - 5 * x).flatten()
    torch.testing.assert_close(affine @ matrix @ affine, torch.zeros((), dtype=torch.float64), atol=1e-9, rtol=0)
    for bent in (y**2, x**2, x * y):
        assert float(bent.flatten() @ matrix @ bent.flatten()) > 1
