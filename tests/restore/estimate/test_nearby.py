"""Slices say of neighbours what pooling says."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from restore.estimate.nearby import highest_nearby, highest_of_blocks, sums_nearby


def _images(rows: int, cols: int) -> torch.Tensor:
    return torch.rand(2, rows, cols, generator=torch.Generator().manual_seed(rows))


@pytest.mark.parametrize("reach", [1, 2])
@pytest.mark.parametrize("shape", [(9, 14), (1, 3)])
def test_sums_and_maxima_of_neighbours_are_those_of_pooling(shape: tuple[int, int], reach: int) -> None:
    images, width = _images(*shape), 2 * reach + 1
    torch.testing.assert_close(
        sums_nearby(images, reach), F.avg_pool2d(images[None], width, 1, reach, divisor_override=1)[0]
    )
    assert torch.equal(highest_nearby(images, reach), F.max_pool2d(images[None], width, 1, reach)[0])
    mask = images > 0.8
    assert torch.equal(highest_nearby(mask, reach), F.max_pool2d(mask[None].float(), width, 1, reach)[0] > 0)


@pytest.mark.parametrize("shape", [(9, 15), (10, 13), (2, 4)])
def test_maxima_of_blocks_are_those_of_pooling(shape: tuple[int, int]) -> None:
    image = _images(*shape)[0]
    assert torch.equal(highest_of_blocks(image, 3), F.max_pool2d(image[None], 3, ceil_mode=True)[0])
