"""Puts samples onto pixels: the partial frame that the live page shows and the recording keeps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scancontrol.paths.geometry import pixel_index
from scancontrol.paths.path import ScanPath

__all__ = ["partial_frame"]


def partial_frame(
    path: ScanPath | NDArray[np.float64],
    values: NDArray[np.generic],
    shape: tuple[int, int] | None = None,
    *,
    dwell_us: NDArray[np.float64] | None = None,
    first_index: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Dwell-weighted mean of the samples in each pixel, and the dwell in it.

    ``values`` (n,) belong to samples ``first_index`` onwards of ``path``, which may be cut short, or to positions
    (n, 2) in fractions of the field. Returns ``mean`` (rows, cols), 0 where no sample fell, and ``weight`` (rows, cols)
    in µs of dwell (in samples where positions come without dwell).

    Raises:
        ValueError: lengths differ.
    """
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"values has shape {values.shape}, expected (n,)")
    if isinstance(path, ScanPath):
        chunk = path.chunk(first_index, len(values))
        positions, dwell_us, shape = path.on_specimen(chunk.positions, first_index), chunk.dwell_us, shape or path.shape
    else:
        positions = path
    if shape is None:
        raise ValueError("shape is needed with bare positions")
    if len(positions) != len(values) or (dwell_us is not None and len(dwell_us) != len(values)):
        raise ValueError(f"{len(values)} values for {len(positions)} positions")
    index = pixel_index(positions, shape)
    pixels = shape[0] * shape[1]
    dwell = np.ones(len(values)) if dwell_us is None else dwell_us
    weight = np.bincount(index, weights=dwell, minlength=pixels)
    total = np.bincount(index, weights=values.astype(np.float64) * dwell, minlength=pixels)
    mean = np.divide(total, weight, out=np.zeros(pixels), where=weight > 0)
    return mean.reshape(shape).astype(np.float32), weight.reshape(shape).astype(np.float32)
