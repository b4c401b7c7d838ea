"""The paths of Ede's partial-scan work as his code draws them, for comparison with published numbers.

Ede and Beanland, Sci. Rep. 10, 8332 (2020), arXiv:1905.13667, and the poster's code. His paths are masks; here the
masked pixels are visited in the order in which they are drawn, with their mask values as relative dwell. Written for
square frames of 512 pixels; other squares are drawn alike at their own size.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scancontrol.errors import InvalidInput, within
from scancontrol.paths.geometry import Canvas, finite
from scancontrol.paths.pattern import CONTINUOUS, FLYBACK, JUMP, FunctionLayout, Layout, Pattern, Samples, check_seed
from scancontrol.paths.patterns.bresenham import polyline_pixels
from scancontrol.paths.patterns.walks import momentum_walk

__all__ = ["EdeGrid", "EdeSpiral"]

Array = NDArray[np.float64]


def _square(canvas: Canvas, pattern: str) -> int:
    side = round(canvas.height_px)
    if side != round(canvas.width_px) or side < 8:
        raise InvalidInput(
            f"{pattern} region",
            f"{canvas.height_px:g} x {canvas.width_px:g} px",
            "is not a square of 8 pixels or more",
            "give it a square frame or region, as published, or use archimedean or momentum_walk",
        )
    if side > 8192:
        raise InvalidInput(f"{pattern} region", f"{side} px", "is above 8192 px", "use archimedean or momentum_walk")
    return side


class EdeSpiral(Pattern, frozen=True, kw_only=True, tag="ede_spiral"):
    """His Archimedean spiral: 10 000 vertices even in angle on a √2 larger canvas, joined by one-pixel lines.

    ``one_in`` is what he calls the coverage, 1/``one_in`` px between turns; the mask really holds less or more.
    ``blurred`` smooths the mask with [1 2 1]⊗[1 2 1]/16, the poster's "scan path".
    """

    one_in: float = 20.0
    blurred: bool = False
    vertices: int = 10_000

    def __post_init__(self) -> None:
        _no_goal(self)
        finite("one_in", self.one_in)
        if not 1 <= self.one_in <= 1000:
            raise InvalidInput("one_in", self.one_in, "is outside 1 to 1000", "20 is the poster's")
        if not 100 <= self.vertices <= 10_000_000:
            raise InvalidInput("vertices", self.vertices, "is outside 100 to 10000000", "10000 is his")

    def geometric_coverage(self, canvas: Canvas) -> float:
        return 1 / self.one_in

    def lay(self, canvas: Canvas) -> Layout:
        side = _square(canvas, "ede_spiral")
        size = math.ceil(math.sqrt(2) * side)
        radius, growth = size / 2, self.one_in / (2 * math.pi)
        theta = np.arange(0, radius / growth, (radius / growth) / self.vertices)
        r = growth * theta
        drawn = polyline_pixels(np.stack([r * np.sin(theta) + radius, r * np.cos(theta) + radius], axis=1))
        drawn -= (size - side) // 2
        drawn = drawn[((drawn >= 0) & (drawn < side)).all(axis=1)]
        flat = drawn[:, 0] * side + drawn[:, 1]
        first = np.full(side * side, len(flat))
        np.minimum.at(first, flat, np.arange(len(flat)))
        order = first.reshape(side, side)
        mask = (order < len(flat)).astype(np.float64)
        if self.blurred:
            mask, order = _blurred(mask), _earliest_nearby(order)
        return _visited(mask, order)


class EdeGrid(Pattern, frozen=True, kw_only=True, tag="ede_grid"):
    """His jittered grid: a momentum walk along channels, and its own transpose.

    ``fraction`` is his parameter f, from which the channels' width is ``(2 + sqrt(4 − 16f))/2f`` px; he used 0.055,
    0.03, 0.013 for "1/10", "1/20" and "1/40". ``fraction_across`` crosses it with an independent walk instead (0.005
    with 0.008 for "1/100"). Dwell is the length of the path in a pixel; pixels in which it is below
    ``least_weight`` are left out.
    """

    fraction: float = 0.03
    fraction_across: float | None = None
    amplitude: float = 1.0
    least_weight: float = 0.0
    seed: int = 0
    seed_per_frame: bool = False

    def __post_init__(self) -> None:
        _no_goal(self)
        check_seed(self.seed)
        for name in ("fraction", "fraction_across"):
            value = getattr(self, name)
            if value is not None:
                finite(name, value)
                if not 0.001 <= value <= 0.25:
                    raise InvalidInput(name, value, "is outside 0.001 to 0.25", "0.03 is his grid of 1/20")
        for name, low, high in (("amplitude", 0.05, 100.0), ("least_weight", 0.0, 0.9)):
            within(name, getattr(self, name), low, high, "leave it out")

    def geometric_coverage(self, canvas: Canvas) -> float:
        across = self.fraction if self.fraction_across is None else self.fraction_across
        return 1 / _channel_px(self.fraction) + 1 / _channel_px(across)

    def lay(self, canvas: Canvas) -> Layout:
        side = _square(canvas, "ede_grid")
        along = self._walk(side, self.fraction, 0)
        across = along if self.fraction_across is None else self._walk(side, self.fraction_across, 1)
        column_by_column = np.arange(side * side).reshape(side, side).T
        parts = []
        for mask, fraction, transposed in ((along, self.fraction, False), (across, self.fraction_across, True)):
            mask = np.where(mask >= self.least_weight, mask, 0.0)
            channel = np.arange(side)[:, None] // max(1, round(_channel_px(fraction or self.fraction)))
            pixels, weight = _in_order(mask, column_by_column + channel * side * side)
            parts.append((pixels[:, ::-1] if transposed else pixels, weight))
        return _layout(np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]), side)

    def _walk(self, side: int, fraction: float, stream: int) -> Array:
        """Path length in each pixel (side, side), at most 1, of walks along the columns of a larger canvas, cropped."""
        size = math.floor(1.2 * side)
        pitch = _channel_px(fraction)
        channels = np.arange(math.ceil(size / pitch))
        offset = momentum_walk(channels, size, (pitch - 1) / 2, self.amplitude, self.seed, stream)
        centre = ((channels + 0.5) * pitch)[:, None]
        start = np.concatenate([centre, centre + offset[:, :-1]], axis=1)
        rise = centre + offset - start
        fine = math.ceil(5 * self.amplitude)
        mask = np.zeros((size + 2, size))
        columns = np.broadcast_to(np.arange(size), rise.shape)
        for part in range(fine):
            y = start + rise * (part + 0.5) / fine
            row = np.clip(np.floor(y).astype(np.int64), 0, size)
            share = y - np.floor(y)
            length = np.sqrt(1 + rise**2) / fine
            np.add.at(mask, (row, columns), length * (1 - share))
            np.add.at(mask, (row + 1, columns), length * share)
        margin = (size - side) // 2
        return np.minimum(mask[margin : margin + side, margin : margin + side], 1.0)


def _no_goal(pattern: Pattern) -> None:
    if pattern.coverage is not None:
        raise InvalidInput(
            "coverage",
            pattern.coverage.value,
            "cannot be asked of a published path",
            "leave coverage out, or use archimedean or momentum_walk",
        )


def _channel_px(fraction: float) -> float:
    return (2 + math.sqrt(4 - 16 * fraction)) / (2 * fraction)


def _blurred(mask: Array) -> Array:
    """[1 2 1]⊗[1 2 1]/16, reflected about the centres of the border pixels."""
    padded = np.pad(mask, 1, mode="reflect")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16


def _earliest_nearby(order: NDArray[np.int64]) -> NDArray[np.int64]:
    padded = np.pad(order, 1, mode="edge")
    side = len(order)
    nearby = [padded[dy : dy + side, dx : dx + side] for dy in range(3) for dx in range(3)]
    earliest: NDArray[np.int64] = np.minimum.reduce(nearby)
    return earliest


def _in_order(mask: Array, order: NDArray[np.int64]) -> tuple[NDArray[np.int64], Array]:
    """The pixels (n, 2) that the mask holds, by rising ``order``, and their weights (n,)."""
    flat = np.flatnonzero(mask.ravel() > 0)
    flat = flat[np.argsort(order.ravel()[flat], kind="stable")]
    return np.stack(np.divmod(flat, mask.shape[1]), axis=1), mask.ravel()[flat]


def _visited(mask: Array, order: NDArray[np.int64]) -> Layout:
    return _layout(*_in_order(mask, order), len(mask))


def _layout(pixels: NDArray[np.int64], weight: Array, side: int) -> Layout:
    fractions = (pixels + 0.5) / side
    far = np.hypot(*np.diff(pixels, axis=0, prepend=pixels[:1]).T) > 1.5
    move = np.where(far, JUMP, CONTINUOUS).astype(np.uint8)
    move[:1] = FLYBACK

    def stretch(first: int, count: int) -> Samples:
        part = slice(first, first + count)
        return Samples(fractions[part], weight[part], move[part])

    return FunctionLayout(len(pixels), stretch)
