"""Which pixels the samples of a scan can tell of. The others hold no picture, whatever a restoration has there.

A pixel is told of as far as samples lie about as close to it as they lie to the pixels between them; beyond the widest
of their gaps also only where the restoration is as sure as it is between them. So a scan of a part of the field, one
that was aborted, and one with a hole in it are shown as far as they went, and no further.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scancontrol.paths.geometry import pixel_index
from scancontrol.paths.path import ScanPath

__all__ = ["Reach", "known_pixels", "reach_of", "touched_by"]

Mask = NDArray[np.bool_]

_COARSE_PX = 256  # distances are found on a grid of at most so many pixels a side
_GAP, _FURTHEST = 2.0, 3.0  # times the distance that three quarters of the pixels between samples are within
_UNSURE = 1.25  # times the interval between the samples
_LOOKED_AT = 1 << 16
_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Reach:
    """How far samples reach: ``between`` them, and at the ``furthest``; bool (rows, cols)."""

    between: Mask
    furthest: Mask


def touched_by(path: ScanPath, count: int | None = None) -> Mask:
    """The picture's pixels that the first ``count`` samples (all by default) of ``path`` are of, bool (rows, cols)."""
    count = path.count if count is None else count
    touched = np.zeros(path.shape[0] * path.shape[1], dtype=np.bool_)
    for first in range(0, count, _AT_ONCE):  # in short steps: a heartbeat may need the interpreter meanwhile
        positions = path.chunk(first, min(_AT_ONCE, count - first)).positions
        touched[pixel_index(path.on_specimen(positions, first), path.shape)] = True
    return touched.reshape(path.shape)


def reach_of(touched: Mask) -> Reach:
    """How far samples in the pixels ``touched``, bool (rows, cols), reach."""
    if touched.all() or not touched.any():
        return Reach(touched, touched)
    factor = -(-max(touched.shape) // _COARSE_PX)
    rows, cols = (-(-side // factor) for side in touched.shape)
    padded = np.zeros((rows * factor, cols * factor), dtype=np.bool_)
    padded[: touched.shape[0], : touched.shape[1]] = touched
    coarse: Mask = np.logical_or.reduce(padded.reshape(rows, factor, cols, factor), axis=(1, 3))
    distance = np.sqrt(_squared_distance(coarse))
    scale = float(np.quantile(distance[_spanned(coarse)], 0.75))

    def within(times: float) -> Mask:
        near = distance <= times * scale + 1
        return np.repeat(np.repeat(near, factor, 0), factor, 1)[: touched.shape[0], : touched.shape[1]]

    return Reach(within(_GAP), within(_FURTHEST))


def known_pixels(reach: Reach, interval: NDArray[np.floating] | None = None) -> Mask:
    """The pixels that are told of, bool (rows, cols).

    ``interval`` (rows, cols) is the half-width of a restoration's interval: beyond the gaps between the samples what is
    less sure than anything between them is not told of.
    """
    if interval is None or reach.between.all():
        return reach.furthest
    inside = interval[reach.between]
    if inside.size == 0:
        return reach.furthest
    sure = _UNSURE * float(np.quantile(inside[:: max(1, inside.size // _LOOKED_AT)], 0.99))
    return reach.between | (reach.furthest & (interval <= sure))


def _spanned(touched: Mask) -> Mask:
    """The pixels that have touched ones on both sides, in their row and in their column."""

    def along(axis: int) -> Mask:
        before = np.logical_or.accumulate(touched, axis)
        after = np.flip(np.logical_or.accumulate(np.flip(touched, axis), axis), axis)
        return before & after

    return along(0) & along(1)


def _squared_distance(touched: Mask) -> NDArray[np.float32]:
    """Square of the distance (px) to the nearest touched pixel: exact, one axis after the other."""
    rows, cols = touched.shape
    place = np.arange(rows, dtype=np.float32)[:, None]
    last = np.maximum.accumulate(np.where(touched, place, -np.inf), axis=0)
    following = np.flip(np.minimum.accumulate(np.flip(np.where(touched, place, np.inf), 0), axis=0), 0)
    column = np.minimum(place - last, following - place).astype(np.float32) ** 2
    squared = column.copy()
    for step in range(1, cols):
        if step * step >= squared.max():
            break
        np.minimum(squared[:, step:], column[:, :-step] + step * step, out=squared[:, step:])
        np.minimum(squared[:, :-step], column[:, step:] + step * step, out=squared[:, :-step])
    return squared
