"""A baseline that wanders, a gain that drifts and the mains: what an amplifier adds along time, found and taken off.

    reading(t) = specimen · (1 + gain(t)) + baseline(t) + amplitude · sin(2π f t + phase)

``baseline`` and ``gain`` are smooth over a frame and none at its beginning, where the detector was set right. On a path
that does not cross itself they look like the specimen, so they are asked of crossings alone. The mains go up and down
many times in a long frame: of them neighbouring lines tell too. Nothing is taken off unless readings that were withheld
are foretold better with it, by more than chance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray
from torch.utils.weak import WeakIdKeyDictionary

from restore.estimate.readings import Judged
from restore.estimate.revisits import Visits, beside, chance, crossings, explained, foretold
from restore.gridding import FrameGeometry

__all__ = ["Wandering", "wandering"]

Array = NDArray[np.float64]

_TERMS = 5  # polynomials of a baseline
_GAIN_TERMS = 2
_BASELINE_SD, _GAIN_SD, _MAINS_SD = 1.0, 0.5, 1.0  # of the readings' spread, and of 1; of later terms less
_FEWEST = 48  # pairs, below which nothing is asked
_PLAIN = 2.0  # times its own doubt that what is taken off must be, root mean square
_SURE = 1.8  # standard deviations by which withheld readings must be foretold better
_BETTER = 1.5  # … by a less simple cause than by the simpler one
_MAINS_HZ = (50.0, 60.0)
_WANDERS = 0.002  # of its frequency that the mains wander
_STEP = 0.25  # of a period over the frame, between two frequencies that are tried
_STEPS = 20
_PERIODS = 1.0  # of the mains in a frame, from which on they are not a baseline
_PERIODS_UNCROSSED = 12.0  # … where the path does not cross itself


@dataclass(frozen=True)
class Wandering:
    """What was found in one frame, in the units of the judged readings.

    Attributes:
        added: baseline and mains at each sample, (n,).
        gain: factor at each sample, (n,), 1 at the frame's beginning.
        doubt: standard deviation of what is taken off, over the frame.
        baseline, amplitude, hz: how far the baseline wandered, and of the mains; 0 where it is none.
    """

    added: Array
    gain: Array
    doubt: float
    baseline: float
    amplitude: float
    hz: float

    def taken_off(self, judged: Judged) -> Judged:
        """The readings as they would have been without it."""
        values = (judged.values.double().numpy() - self.added) / self.gain
        return replace(judged, values=torch.from_numpy(values).float())

    def notices(self, unit: float) -> tuple[str, ...]:
        """What to tell of it, where a judged unit is ``unit`` of the samples' units."""
        found = []
        if self.baseline:
            size = f"{self.baseline * unit:.3g}"
            found.append(f"the baseline wandered by {size} over the frame, as crossings of the path show: taken off")
        if (drift := 100 * float(self.gain[-1] - 1)) != 0:
            found.append(f"the gain drifted by {drift:+.0f} % over the frame, as crossings of the path show: corrected")
        if self.hz:
            found.append(f"mains of {self.hz:.1f} Hz and amplitude {self.amplitude * unit:.3g} were taken off")
        return tuple(found)


@dataclass(frozen=True)
class _Cause:
    """What may have wandered: its columns at the samples (n, k) and their prior; the last ``gain`` are a gain's.

    Those are of its logarithm, which the ratio of two readings' difference to their mean is, to the second order.
    """

    columns: Array
    prior: Array
    gain: int = 0
    hz: float = 0.0

    def between(self, visits: Visits, values: Array) -> Array:
        """The columns of pairs, (p, k); a gain's go with what both visits read."""
        found = visits.difference(self.columns)
        if self.gain:
            found[:, -self.gain :] *= 0.5 * (values[visits.one] + values[visits.other])[:, None]
        return found


class _Causes:
    """One path's pairs, and what may wander along it, the simplest first."""

    def __init__(self, geometry: FrameGeometry, time_us: Array) -> None:
        self.visits = crossings(geometry, time_us)
        crossed = len(self.visits) >= _FEWEST
        part = (time_us - time_us[0]) / (time_us[-1] - time_us[0])
        smooth = legvander(2 * part - 1, _TERMS)[:, 1:] - legvander(np.array([-1.0]), _TERMS)[:, 1:]
        order = np.arange(1, _TERMS + 1)
        self.mains: list[_Cause] = []
        self.smooth: list[_Cause] = []
        self.both: _Cause | None = None
        if crossed:
            few = order[:_GAIN_TERMS]
            drifting = np.concatenate([smooth[:, :_GAIN_TERMS], smooth[:, :_GAIN_TERMS]], 1)
            drift_prior = np.concatenate([_BASELINE_SD / few**2, _GAIN_SD / few**2])
            self.both = _Cause(smooth, _BASELINE_SD / order**2)
            self.smooth = [self.both, _Cause(drifting, drift_prior, _GAIN_TERMS)]
        seconds = 1e-6 * float(time_us[-1] - time_us[0])
        if seconds * _MAINS_HZ[0] < (_PERIODS if crossed else _PERIODS_UNCROSSED):
            return
        if not crossed:
            self.visits = beside(geometry, time_us)
        for nominal in _MAINS_HZ:
            steps = min(_STEPS, int(_WANDERS * nominal * seconds / _STEP))
            for step in range(-steps, steps + 1):
                hz = nominal + step * _STEP / seconds
                phase = 2e-6 * np.pi * hz * time_us
                columns = np.stack([np.sin(phase), np.cos(phase)], 1)
                self.mains.append(_Cause(columns, np.full(2, _MAINS_SD), hz=hz))


_causes = WeakIdKeyDictionary()  # geometry → causes


def wandering(judged: Judged, geometry: FrameGeometry, time_us: Array) -> Wandering | None:
    """What wandered while these readings were taken; None where nothing is told, which is usual.

    Args:
        geometry: of the path, with all of its samples.
        time_us: of each sample, from the frame's beginning, (n,).
    """
    if geometry not in _causes:
        _causes[geometry] = _Causes(geometry, time_us)
    causes: _Causes = _causes[geometry]
    values = judged.values.double().numpy()
    used = judged.weights.numpy() > 0
    visits = _of_used(causes.visits, used)
    if len(visits) < _FEWEST or not (causes.smooth or causes.mains):
        return None
    centre, spread = float(values[used].mean()), float(values[used].std())
    if spread == 0:
        return None
    values = (values - centre) / spread
    chosen = _chosen(values, visits, causes)
    if chosen is None:
        return None
    found = explained(visits, visits.difference(values), chosen.between(visits, values), chosen.prior)
    plain = len(chosen.prior) - chosen.gain
    hum = 2 if chosen.hz else 0
    mains = chosen.columns[:, :hum] @ found.coefficients[:hum]
    smooth = chosen.columns[:, hum:plain] @ found.coefficients[hum:plain]
    gain = np.exp((chosen.columns[:, plain:] @ found.coefficients[plain:]).clip(-2, 2))
    if chosen.gain:  # what is added later is amplified less from then on
        smooth = gain * np.cumsum(np.diff(smooth, prepend=smooth[0]) / gain)
    at_samples = chosen.columns.copy()
    at_samples[:, plain:] *= values[:, None]
    variance = float(((at_samples @ found.covariance) * at_samples).sum(1).mean())
    taken = at_samples @ found.coefficients
    if float((taken**2).mean()) < _PLAIN**2 * variance:
        return None
    return Wandering(
        spread * (smooth + mains) + centre * (1 - gain),
        gain,
        spread * variance**0.5,
        spread * float(np.ptp(smooth)) if not chosen.gain else 0.0,
        spread * float(np.hypot(*found.coefficients[:2])) if hum else 0.0,
        chosen.hz,
    )


def _of_used(visits: Visits, used: NDArray[np.bool_]) -> Visits:
    both = used[visits.one] & used[visits.other]
    if both.all():
        return visits
    return Visits(visits.one[both], visits.other[both], visits.say[both], visits.piece[both])


def _chosen(values: Array, visits: Visits, causes: _Causes) -> _Cause | None:
    """The cause that foretells withheld readings best, if it surely does."""
    differences = visits.difference(values)

    def left_by(cause: _Cause) -> Array:
        return foretold(visits, differences, cause.between(visits, values), cause.prior)

    tried = [(cause, left_by(cause)) for cause in causes.mains]
    if tried:
        tried = [max(tried, key=lambda one: chance(visits, differences, one[1]))]
    candidates = tried + [(cause, left_by(cause)) for cause in causes.smooth]
    if tried and causes.both is not None:
        mains = tried[0][0]
        both = _Cause(
            np.concatenate([mains.columns, causes.both.columns], 1),
            np.concatenate([mains.prior, causes.both.prior]),
            hz=mains.hz,
        )
        candidates.append((both, left_by(both)))
    sure = [one for one in candidates if chance(visits, differences, one[1]) > _SURE]
    if not sure:
        return None
    best, best_left = sure[0]
    for cause, left in sure[1:]:
        if chance(visits, best_left, left) > _BETTER:
            best, best_left = cause, left
    return best
