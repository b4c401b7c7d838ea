"""A baseline that wanders, a gain that drifts and the mains: what an amplifier adds along time, found and taken off.

    reading(t) = specimen · (1 + gain(t)) + baseline(t) + amplitude · sin(2π f t + phase)

``baseline`` and ``gain`` are smooth over a frame and none at its beginning, where the detector was set right. On a path
that does not cross itself they look like the specimen, so they are asked of crossings alone. The mains go up and down
many times in a long frame: of them neighbouring lines tell too. Nothing is taken off unless readings that were withheld
are foretold better with it, by more than chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray
from torch.utils.weak import WeakIdKeyDictionary

from restore.estimate.readings import Judged
from restore.estimate.revisits import Visits, beside, chance, crossings, explained, foretold
from restore.gridding import FrameGeometry

__all__ = ["Wandering", "is_crossed", "prepare_wandering", "wandering"]

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
    """What may have wandered: columns of time and their prior; the last ``gain`` are a gain's.

    Those are of its logarithm, which the ratio of two readings' difference to their mean is, to the second order.

    Attributes:
        at: the columns (m, k) at times (m,).
        differences: of the columns between the two visits of each pair, (p, k).
    """

    at: Callable[[Array], Array]
    differences: Array
    prior: Array
    gain: int = 0
    hz: float = 0.0

    def between(self, visits: Visits, used: NDArray[np.bool_], values: Array) -> Array:
        """The columns of those pairs that are ``used``, (p, k); a gain's go with what both visits read."""
        found = self.differences[used]
        if self.gain:
            found[:, -self.gain :] *= 0.5 * (values[visits.one] + values[visits.other])[:, None]
        return found


class _Causes:
    """One path's pairs, and what may wander along it, the simplest first.

    Args:
        whole: of the beginning of a path, the same of all of it, whose pairs are taken.
    """

    def __init__(self, geometry: FrameGeometry, time_us: Array, whole: _Causes | None = None) -> None:
        self.time_us = time_us
        if whole is None:
            self.visits = crossings(geometry, time_us)
        else:
            first = np.maximum(whole.visits.one, whole.visits.other) < len(time_us)
            self.visits = whole.visits.where(first)
        self.crossed: bool = len(self.visits) >= _FEWEST and (whole is None or whole.crossed)
        crossed = self.crossed
        seconds = 1e-6 * float(time_us[-1] - time_us[0])
        hums = seconds * _MAINS_HZ[0] >= (_PERIODS if crossed else _PERIODS_UNCROSSED)
        if hums and not crossed and whole is None:
            self.visits = beside(geometry, time_us)
        self.mains: list[_Cause] = []
        self.smooth: list[_Cause] = []
        self.both: _Cause | None = None
        order = np.arange(1, _TERMS + 1)
        if crossed:
            few = order[:_GAIN_TERMS]
            drift_prior = np.concatenate([_BASELINE_SD / few**2, _GAIN_SD / few**2])
            self.both = self._cause(self._smooth, _BASELINE_SD / order**2)
            self.smooth = [self.both, self._cause(self._drifting, drift_prior, _GAIN_TERMS)]
        for nominal in _MAINS_HZ if hums else ():
            steps = min(_STEPS, int(_WANDERS * nominal * seconds / _STEP))
            for step in range(-steps, steps + 1):
                hz = nominal + step * _STEP / seconds
                self.mains.append(self._cause(partial(_hum, hz), np.full(2, _MAINS_SD), hz=hz))

    def _cause(self, at: Callable[[Array], Array], prior: Array, gain: int = 0, hz: float = 0.0) -> _Cause:
        # Of a long path every column at every sample would fill the memory: there are eighty causes.
        one, other = (at(self.time_us[visit]) for visit in (self.visits.one, self.visits.other))
        return _Cause(at, one - other, prior, gain, hz)

    def _smooth(self, time_us: Array) -> Array:
        part = (time_us - self.time_us[0]) / (self.time_us[-1] - self.time_us[0])
        return np.asarray(legvander(2 * part - 1, _TERMS)[:, 1:] - legvander(np.array([-1.0]), _TERMS)[:, 1:])

    def _drifting(self, time_us: Array) -> Array:
        smooth = self._smooth(time_us)[:, :_GAIN_TERMS]
        return np.concatenate([smooth, smooth], 1)


def _hum(hz: float, time_us: Array) -> Array:
    phase = 2e-6 * np.pi * hz * time_us
    return np.stack([np.sin(phase), np.cos(phase)], 1)


_causes = WeakIdKeyDictionary()  # geometry → causes


def prepare_wandering(geometry: FrameGeometry, time_us: Array) -> _Causes:
    """What may wander along a path, made once; see :func:`wandering`."""
    if geometry not in _causes:
        whole = geometry.whole
        known = _causes[whole] if whole is not None and whole in _causes else None
        _causes[geometry] = _Causes(geometry, time_us, known)
    found: _Causes = _causes[geometry]
    return found


def is_crossed(geometry: FrameGeometry, time_us: Array) -> bool:
    """Whether the path crosses itself often enough to tell of a baseline; arguments as of :func:`wandering`."""
    return prepare_wandering(geometry, time_us).crossed


def wandering(judged: Judged, geometry: FrameGeometry, time_us: Array) -> Wandering | None:
    """What wandered while these readings were taken; None where nothing is told, which is usual.

    Args:
        geometry: of the path, with all of its samples.
        time_us: of each sample, from the frame's beginning, (n,).
    """
    causes = prepare_wandering(geometry, time_us)
    values = judged.values.double().numpy()
    used = judged.weights.numpy() > 0
    pairs = used[causes.visits.one] & used[causes.visits.other]
    visits = causes.visits.where(pairs)
    if len(visits) < _FEWEST or not (causes.smooth or causes.mains):
        return None
    centre, spread = float(values[used].mean()), float(values[used].std())
    if spread == 0:
        return None
    values = (values - centre) / spread
    chosen = _chosen(values, visits, pairs, causes)
    if chosen is None:
        return None
    found = explained(visits, visits.difference(values), chosen.between(visits, pairs, values), chosen.prior)
    at_samples = chosen.at(time_us)
    plain = len(chosen.prior) - chosen.gain
    hum = 2 if chosen.hz else 0
    mains = at_samples[:, :hum] @ found.coefficients[:hum]
    smooth = at_samples[:, hum:plain] @ found.coefficients[hum:plain]
    gain = np.exp((at_samples[:, plain:] @ found.coefficients[plain:]).clip(-2, 2))
    if chosen.gain:  # what is added later is amplified less from then on
        smooth = gain * np.cumsum(np.diff(smooth, prepend=smooth[0]) / gain)
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


def _chosen(values: Array, visits: Visits, pairs: NDArray[np.bool_], causes: _Causes) -> _Cause | None:
    """The cause that foretells withheld readings best, if it surely does; ``visits`` are those ``pairs`` of them."""
    differences = visits.difference(values)

    def left_by(cause: _Cause) -> Array:
        return foretold(visits, differences, cause.between(visits, pairs, values), cause.prior)

    tried = [(cause, left_by(cause)) for cause in causes.mains]
    if tried:
        tried = [max(tried, key=lambda one: chance(visits, differences, one[1]))]
    candidates = tried + [(cause, left_by(cause)) for cause in causes.smooth]
    if tried and causes.both is not None:
        both = _together(tried[0][0], causes.both)
        candidates.append((both, left_by(both)))
    sure = [one for one in candidates if chance(visits, differences, one[1]) > _SURE]
    if not sure:
        return None
    best, best_left = sure[0]
    for cause, left in sure[1:]:
        if chance(visits, best_left, left) > _BETTER:
            best, best_left = cause, left
    return best


def _together(mains: _Cause, smooth: _Cause) -> _Cause:
    return _Cause(
        lambda time_us: np.concatenate([mains.at(time_us), smooth.at(time_us)], 1),
        np.concatenate([mains.differences, smooth.differences], 1),
        np.concatenate([mains.prior, smooth.prior]),
        hz=mains.hz,
    )
