"""Takes a detector's afterglow out of its readings: what one that does not remember would have given.

What each sample gave is estimated from nothing but the readings' own mean and spread. Where that leaves more unknown
than the readings' noise, and than any picture could tell, it is estimated once more about what a picture restored from
it expects at each sample, as far as withheld samples say it can be trusted.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import nnls

from restore.estimate.readings import Judged
from restore.fills.restorer import FillRestorer
from restore.gridding import FrameGeometry
from scancontrol.afterglow import Afterglow

__all__ = ["without_afterglow"]

_LEAST_NOISE = 0.004  # of the readings' spread, standard deviation: converters round
_BANDS = 24
_AS_GOOD = 1.05  # times the readings' own noise: what is left unknown then is that noise, and no picture takes it off
_BELOW_PICTURES = 0.03  # of the readings' spread: a picture of few samples is known no better than ten times that
_BROADER = 2.0  # times the variance of its withheld samples that a picture is doubted: they are fewer than its pixels


def without_afterglow(
    judged: Judged,
    geometry: FrameGeometry,
    afterglow: Afterglow,
    dark: float,
    noise_variance: float | None,
    longer: Afterglow | None = None,
) -> tuple[Judged, float]:
    """Judged readings (n,) with the detector's afterglow explained away, and the standard deviation that this adds.

    Args:
        geometry: of the readings that are believed.
        dark: what the detector reads without any light, in the samples' units.
        noise_variance: of a reading, in the judged values' units squared; None if it is not known.
        longer: an afterglow that lasts one standard deviation longer, where that is known.
    """
    zero = (dark - judged.centre) / judged.scale
    values = judged.values.double().numpy() - zero  # light adds up from darkness
    spread = float(values[judged.weights.numpy() > 0].std())
    if spread == 0:
        return judged, 0.0
    stated = _noise_floor(values, afterglow) if noise_variance is None else noise_variance
    noise = max(stated, (_LEAST_NOISE * spread) ** 2)
    noises = np.where(judged.weights.numpy() > 0, noise, np.inf)  # one that is not believed leaves no trail either
    expected, doubt = np.full_like(values, values.mean()), 2 * spread**2
    found, unsure = afterglow.specimen(values, expected, noises, doubt), _doubt(afterglow, noise, doubt, len(values))
    if unsure > max(_AS_GOOD * math.sqrt(noise), _BELOW_PICTURES * spread):
        picture = FillRestorer("spectral_fast").restore(
            torch.from_numpy(found + zero).float().to(geometry.device), geometry
        )
        error = picture.made_by.withheld_rmse
        if error is not None:
            expected = picture.estimate.flatten()[geometry.index].double().cpu().numpy() - zero
            doubt = _BROADER * max(error, _LEAST_NOISE * spread) ** 2
            found = afterglow.specimen(values, expected, noises, doubt)
            unsure = _doubt(afterglow, noise, doubt, len(values))
    if longer is not None:
        apart = longer.specimen(values, expected, noises, doubt) - found
        unsure = math.hypot(unsure, float(np.sqrt(np.mean(apart**2))))
    # Noise that readings have without an afterglow, too, whoever restores knows from them.
    return replace(judged, values=torch.from_numpy(found + zero).float()), math.sqrt(max(0.0, unsure**2 - noise))


def _passed(afterglow: Afterglow, count: int) -> np.ndarray:
    """Power that the afterglow lets through at each frequency along the path."""
    impulse = np.zeros(count)
    impulse[count // 2] = 1.0
    return np.asarray(np.abs(np.fft.rfft(afterglow.read(impulse))) ** 2)


def _doubt(afterglow: Afterglow, noise_variance: float, doubt_variance: float, count: int) -> float:
    """Standard deviation of the posterior mean, over all frequencies along the path."""
    known = 1 / doubt_variance + _passed(afterglow, count) / noise_variance
    return float(np.sqrt(np.mean(1 / known)))


def _noise_floor(values: np.ndarray, afterglow: Afterglow) -> float:
    """Variance of white noise on readings (n,): what of their fast half no specimen explains through the afterglow."""
    count = len(values)
    power = np.abs(np.fft.rfft(values - values.mean())) ** 2 / count
    passed = _passed(afterglow, count)
    fast = slice(len(power) // 2, None)
    bands = [
        (float(p.mean()), float(h.mean()))
        for p, h in zip(*(np.array_split(x[fast], _BANDS) for x in (power, passed)), strict=True)
    ]
    seen, gain = np.array(bands).T
    found, _ = nnls(np.stack([gain, np.ones_like(gain)], 1) / seen[:, None], np.ones_like(seen))
    return float(found[1])
