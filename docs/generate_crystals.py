"""Draw ``docs/images/crystals.png``: specimens, their readings, the crystal that is told of them, and its interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from restore.estimate.lattice.crystal import find_crystal
from restore.evaluation.run import scan_path
from restore.evaluation.subjects import read_specimens
from restore.gridding import FrameGeometry

_SHOWN = (
    ("two_species-10px", "jittered_grid", 1 / 20),
    ("two_species-28px", "jittered_grid", 1 / 20),
    ("two_species-16px", "spiral", 1 / 100),
)
_CUT, _STEP, _EDGE, _GAP = 150, 40, 8, 6
_SHAPE = (512, 512)
_ELECTRONS = 60.0


def _row(name: str, pattern: str, coverage: float) -> NDArray[np.uint8]:
    subject = read_specimens([name], _SHAPE, 1, _ELECTRONS)[name][0]
    geometry = FrameGeometry.from_path(scan_path(pattern, coverage, _SHAPE))
    index = geometry.index.numpy()
    samples = subject.read(index)
    crystal = find_crystal(torch.as_tensor(samples), geometry)
    if crystal is None or subject.specimen is None:
        raise SystemExit(f"{name}: no crystal was found")
    low, high = np.percentile(subject.pixels, [0.1, 99.9])
    partial = np.full(subject.pixels.size, low, np.float32)
    partial[index] = samples
    columns = subject.specimen.columns
    defects = columns.position_px[columns.defect]
    corners = [(y, x) for y in range(0, _SHAPE[0] - _CUT, _STEP) for x in range(0, _SHAPE[1] - _CUT, _STEP)]

    def held(corner: tuple[int, int]) -> int:
        inside = (defects > np.array(corner) + _EDGE) & (defects < np.array(corner) + _CUT - _EDGE)
        return int(inside.all(1).sum())

    top, left = max(corners, key=held)
    pictures = (subject.pixels, partial.reshape(_SHAPE), crystal.image.numpy(), crystal.half_width.numpy() + low)
    grey = [np.clip((p[top : top + _CUT, left : left + _CUT] - low) / (high - low) * 255, 0, 255) for p in pictures]
    doubled = [np.kron(g.astype(np.uint8), np.ones((2, 2), np.uint8)) for g in grey]
    return np.hstack([np.pad(d, ((0, _GAP), (0, _GAP)), constant_values=255) for d in doubled])


if __name__ == "__main__":
    rows = np.vstack([_row(*shown) for shown in _SHOWN])
    Image.fromarray(rows).save(Path(__file__).parent / "images" / "crystals.png", optimize=True)
