"""How well scans of one place agree, for a trial lag, delay and afterglow: each predicted from what the others make.

Positions follow from lag and delay, each scan is compared with the image of all others, read as the detector with its
afterglow would read it. What is compared has no part in its own prediction: agreement is that of withheld readings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from scancontrol.afterglow import Afterglow
from scancontrol.capabilities import CoilModel
from scancontrol.errors import InvalidInput
from scancontrol.paths.coils import seen

__all__ = ["Agreement", "CalibrationScan"]

Array = NDArray[np.float64]

_SPLINES_PX2 = 0.5  # of a width's square: a quadratic spline to spread, another to look up, wherever between nodes
_SOFTER_PX = 0.8
_EDGE = 2  # nodes around the field
_SWEEP_CELLS = 2.0


@dataclass(frozen=True, eq=False)
class CalibrationScan:
    """One scan: nominal ``positions`` (n, 2) as (y, x) fractions, ``dwell_us``, ``move_us`` and ``values`` (n,).

    Raises:
        InvalidInput: it cannot be a scan.
    """

    positions: Array
    dwell_us: Array
    move_us: Array
    values: Array

    def __post_init__(self) -> None:
        n = len(self.positions)
        if n < 100 or not (len(self.dwell_us) == len(self.move_us) == len(self.values) == n):
            raise InvalidInput("samples of a calibration scan", n, "are too few, or unequal in length", "scan more")
        if not np.all(np.isfinite(self.values)):
            raise InvalidInput("samples of a calibration scan", "NaN", "are not numbers", "check the detector")


class Agreement:
    """Residuals of every scan against the image of the others, for a vector (τ, delay[, damping], decay)."""

    def __init__(self, scans: Sequence[CalibrationScan], shape: tuple[int, int], order: int) -> None:
        self.scans, self.shape, self.order = scans, shape, order
        values = np.concatenate([scan.values for scan in scans])
        self._mean, spread = float(values.mean()), float(values.std())
        self.scale = spread or 1.0
        self.samples = len(values)
        self._used = [np.ones(len(scan.values)) for scan in scans]

    def vector(self, tau_us: float, delay_us: float) -> Array:
        return np.array([*[tau_us, delay_us, 1.0][: 1 + self.order], 0.0])

    def coil(self, theta: Array) -> CoilModel:
        damping = float(np.clip(theta[2], 0.1, 5)) if self.order == 2 else 1.0
        order: Literal[1, 2] = 2 if self.order == 2 else 1
        return CoilModel(
            order=order, time_constant_us=max(float(theta[0]), 0.0), damping=damping, delay_us=float(theta[1])
        )

    def _pixels(self, scan: CalibrationScan, theta: Array | None) -> Array:
        p = scan.positions
        if theta is not None:
            p = seen(p, scan.dwell_us, scan.move_us, self.coil(theta))
        return np.clip(p, 0, 1) * self.shape + (_EDGE - 0.5)

    def choose(self, theta: Array) -> None:
        """Leave out samples that swept over several cells: one value and one position do not describe them.

        Chosen once for each refinement, so that the choice cannot be what is minimised.
        """
        self._used = []
        for scan in self.scans:
            step = np.hypot(*np.diff(self._pixels(scan, theta), axis=0, prepend=np.nan).T)
            swept = step >= max(_SWEEP_CELLS, 2 * float(np.nanmedian(step)))
            self._used.append((~swept).astype(np.float64))

    def residuals(self, theta: Array | None, sigma_px: float) -> Array:
        """(samples,) weighted differences in units of the values' spread; None takes the nominal positions."""
        values, predicted = self.compare(theta, sigma_px)
        return values - predicted

    def compare(self, theta: Array | None, sigma_px: float) -> tuple[Array, Array]:
        """Weighted values and what the other scans predict for them, both (samples,)."""
        rows, cols = self.shape[0] + 2 * _EDGE, self.shape[1] + 2 * _EDGE
        width = math.sqrt(max(sigma_px**2 - _SPLINES_PX2, 0))
        at, parts = [], []
        decay_us = 0.0 if theta is None else float(theta[-1])
        glows = [Afterglow(decay_us, one.dwell_us, one.move_us) if decay_us > 0 else None for one in self.scans]
        for scan, used, glow in zip(self.scans, self._used, glows, strict=True):
            pixels = self._pixels(scan, theta)
            at.append(pixels)
            values = (scan.values - self._mean) / self.scale
            parts.append(_splat(pixels, values if glow is None else glow.undone(values), used, rows, cols))
        total = sum(parts[1:], parts[0])
        out = []
        for scan, pixels, part, used, glow in zip(self.scans, at, parts, self._used, glows, strict=True):
            signal, weight = (gaussian_filter(layer, width, mode="nearest", truncate=3) for layer in total - part)
            image = signal / np.maximum(weight, 1e-9)
            softer = gaussian_filter(image, _SOFTER_PX, mode="nearest", truncate=3)
            density, predicted, soft = (
                map_coordinates(layer, pixels.T, order=2, mode="nearest", prefilter=False)
                for layer in (weight, image, softer)
            )
            if glow is not None:  # readings are foretold as the detector would give them: their noise is as it was
                predicted, soft = glow.read(predicted), glow.read(soft)
            trust = used * np.sqrt(density / (density + 0.3))  # a prediction from few samples counts less
            values = trust * (scan.values - self._mean) / self.scale
            out.append(np.stack([values, _sharpened(trust * predicted, trust * (predicted - soft), values)]))
        values, predicted = np.concatenate(out, axis=1)
        return values, predicted


def _sharpened(predicted: Array, detail: Array, values: Array) -> Array:
    """Predictions (n,) with as much of their detail as makes them agree best: others' images are softer than a sample.

    Else an afterglow, whose undoing sharpens them too, would be found where there is none.
    """
    return predicted + detail * (detail @ (values - predicted)) / max(float(detail @ detail), 1e-12)


def _splat(pixels: Array, values: Array, used: Array, rows: int, cols: int) -> Array:
    """Sums of the used values and of their number, spread over 3 × 3 nodes by the quadratic spline: (2, rows, cols).

    Its width is the same wherever a sample lies. A bilinear one is sharpest on the nodes, where a raster's nominal
    positions are, and would so speak for having no lag at all.
    """
    nearest = np.rint(pixels)
    offset = pixels - nearest
    base = (nearest[:, 0] * cols + nearest[:, 1]).astype(np.int64)
    shares = (0.5 * (0.5 - offset) ** 2, 0.75 - offset**2, 0.5 * (0.5 + offset) ** 2)
    sums = np.zeros((2, rows * cols))
    for down, share_y in zip((-cols, 0, cols), shares, strict=True):
        for right, share_x in zip((-1, 0, 1), shares, strict=True):
            share = used * share_y[:, 0] * share_x[:, 1]
            sums[0] += np.bincount(base + (down + right), share * values, rows * cols)
            sums[1] += np.bincount(base + (down + right), share, rows * cols)
    return sums.reshape(2, rows, cols)
