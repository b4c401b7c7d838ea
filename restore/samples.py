"""Restoring samples that any program measured: arrays in, arrays out.

::

    from restore import restore_samples

    found = restore_samples(values, positions, (512, 512), dwell=dwell_us, pixel_nm=0.05)
    found.estimate, found.interval, found.partial, found.made_by.expected_rmse

``positions`` are (y, x) in fractions of the field, (0, 0) the upper left corner; or a boolean mask of the pixels that
were measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from restore.engine import Engine
from restore.loading import load_restorer, pick_device
from scancontrol.errors import InvalidInput
from scancontrol.paths import PathRecipe, Points, expand
from scancontrol.recording.arrays import FrameArrays

__all__ = ["restore_samples"]


def restore_samples(
    values: ArrayLike,
    positions_or_mask: ArrayLike,
    shape: tuple[int, int] | None = None,
    *,
    dwell: ArrayLike = 1.0,
    pixel_nm: float = 1.0,
    crystals: Literal["first", "each", "off"] = "first",
    method: str = "auto",
    weights: Path | None = None,
    device: str = "auto",
) -> FrameArrays:
    """Restore a frame from samples along any path, with the 90 % interval of every pixel.

    Args:
        values: (n,), readings of any kind of real number, NaN where there is none; or (rows, cols) with a mask.
        positions_or_mask: (n, 2) of (y, x) in fractions of the field, in the order of the scan; or bool (rows, cols),
            whose values are then taken row by row.
        shape: (rows, cols) of the picture; a mask has its own.
        dwell: µs, one number or one a sample.
        pixel_nm: side of a pixel.
        crystals: when to look for a lattice: for one frame, ``first`` and ``each`` are alike.
        method: ``generator``, a classical fill, or ``auto``, the best of what is installed.
        weights: of the generator, in place of those that ship.
        device: ``cpu``, ``cuda`` or ``auto``.

    Returns:
        The arrays of the frame; ``interval`` is None from a fill that has none.

    Raises:
        InvalidInput: shapes do not agree, a position is outside the field, values are complex, or too few are left.
    """
    samples, positions, shape = _paired(np.asarray(values), np.asarray(positions_or_mask), shape)
    dwell_us = np.asarray(dwell, dtype=np.float64)
    if dwell_us.ndim == 0:
        dwell_us = np.full(len(samples), dwell_us)
    if dwell_us.shape != samples.shape or not (np.isfinite(dwell_us).all() and (dwell_us > 0).all()):
        raise InvalidInput(
            "dwell", dwell_us.shape, f"does not suit {len(samples)} samples", "give one time above 0 µs, or one each"
        )
    mean_us = float(dwell_us.mean())
    points = Points.from_array(np.column_stack([positions, dwell_us / mean_us]))
    path = expand(PathRecipe(pattern=points, shape=shape, fov_nm=pixel_nm * shape[1], dwell_us=mean_us))
    where = pick_device(device)
    engine = Engine(load_restorer(method, weights, where, crystals=crystals), where)
    engine.register(path)
    result = engine.restore(samples, path.path_id)
    return FrameArrays.gridded(
        samples[None],
        np.ones(len(samples), dtype=np.bool_),
        positions,
        dwell_us,
        shape,
        frame=0,
        channels=("samples",),
        estimate=result.estimate.numpy(),
        interval=None if result.interval is None else result.interval.numpy(),
        made_by=msgspec.structs.replace(result.made_by, samples_used=len(samples)),
        pixel_nm=pixel_nm,
    )


def _paired(
    values: NDArray[Any], where: NDArray[Any], shape: tuple[int, int] | None
) -> tuple[NDArray[Any], NDArray[np.float64], tuple[int, int]]:
    """Samples (n,), their positions (n, 2) in fractions, and the picture's shape."""
    if where.dtype == np.bool_ and where.ndim == 2:
        if shape is not None and tuple(shape) != where.shape:
            raise InvalidInput("shape", shape, f"is not the mask's, {where.shape}", "leave it out")
        if values.shape == where.shape:
            values = values[where]
        shape, where = (where.shape[0], where.shape[1]), (np.argwhere(where) + 0.5) / where.shape
    if shape is None:
        raise InvalidInput("shape", None, "is needed with positions", "give (rows, cols)")
    if where.ndim != 2 or where.shape[1] != 2:
        raise InvalidInput("positions", where.shape, "is not (n, 2)", "give (y, x) of every sample, or a boolean mask")
    if values.shape != where.shape[:1]:
        raise InvalidInput("values", values.shape, f"is not one for each of {len(where)} positions", "give as many")
    return values, where.astype(np.float64), (int(shape[0]), int(shape[1]))
