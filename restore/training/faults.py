"""What detectors do to readings, mildly: what is left of their faults when they have been told and undone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

__all__ = ["MILD_FAULTS", "mildly_faulty"]


def _baseline(values: Tensor, spread: float, rng: np.random.Generator) -> Tensor:
    """Drifts by up to a tenth of the readings' spread along the path."""
    time = torch.linspace(0, 1, len(values), device=values.device)
    slope, bow = rng.uniform(-0.1, 0.1, 2) * spread
    return values + slope * (time - 0.5) + bow * torch.sin(math.pi * time)


def _mains(values: Tensor, spread: float, rng: np.random.Generator) -> Tensor:
    """A sine of 1 to 200 periods a frame, up to a tenth of the readings' spread."""
    periods = math.exp(rng.uniform(0, math.log(200)))
    phase = torch.linspace(0, 2 * math.pi * periods, len(values), device=values.device) + rng.uniform(0, 2 * math.pi)
    return values + rng.uniform(0, 0.1) * spread * torch.sin(phase)


def _spikes(values: Tensor, spread: float, rng: np.random.Generator) -> Tensor:
    """Up to two in a thousand readings are off by up to three spreads: too little to be judged outliers."""
    hit = torch.from_numpy(rng.random(len(values)) < rng.uniform(0, 0.002)).to(values.device)
    size = torch.from_numpy(rng.uniform(-3, 3, len(values)).astype(np.float32)).to(values.device)
    return torch.where(hit, values + size * spread, values)


def _saturation(values: Tensor, spread: float, rng: np.random.Generator) -> Tensor:
    """The brightest readings, up to one in a hundred, are told too low."""
    return values.clamp(max=float(torch.quantile(values[:100_000], 1 - rng.uniform(0, 0.01))))


MILD_FAULTS: tuple[Callable[[Tensor, float, np.random.Generator], Tensor], ...] = (
    _baseline,
    _mains,
    _spikes,
    _saturation,
)


def mildly_faulty(values: Tensor, rng: np.random.Generator) -> Tensor:
    """Readings (n,) in the order of the scan with one of the faults, drawn at random."""
    fault = MILD_FAULTS[int(rng.integers(len(MILD_FAULTS)))]
    return fault(values, float(values.std()), rng)
