"""Where the specimen was in each remembered frame, from what each new frame says of its movement: a Kalman smoother.

A new frame tells its place against the last estimate, that is against the mean of the frames the estimate was made
from, each where it was taken to be. With a rate that changes little from frame to frame, each such measurement also
says more of the frames before it, so that these are put where they fit best now. By how much the rate is unsteady is
learnt from how far measurements fall from what was foretold, beyond their own uncertainty: a still or evenly drifting
specimen is soon followed along a line, a vibrating one by its samples alone. What is foretold is shrunk towards no
movement at first, and a leap is followed at once (see :mod:`restore.estimate.drift`).

References:
    Kalman, J. Basic Eng. 82 (1960) 35; Rauch, Tung & Striebel, AIAA J. 3 (1965) 1445 (smoothing).
    James & Stein, Proc. 4th Berkeley Symp. 1 (1961) 361 (shrinking by a variance learnt from the data).
    Mehra, IEEE Trans. Autom. Control 15 (1970) 175 (the process's noise from the innovations).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from restore.estimate.drift import LEAP_PX, Drift, Foretold

__all__ = ["Way"]

Array = NDArray[np.float64]

_RATE_PX = 1.5  # standard deviation of a rate of which nothing is known, px a frame
_UNSTEADY_PX = 0.3  # by which a step differs from the rate, before anything was measured
_STEADIEST_PX = 0.03
_RATE_CHANGES = 0.3  # of the unsteadiness, by which the rate itself changes from one frame to the next
_FRAMES_TOLD = 4.0  # as many frames as the unsteadiness at the start counts for
_FORGETS = 0.9  # a frame, of what earlier ones said of the unsteadiness
_OLDEST = 16  # times as many frames ago as are kept: of frames that were overtaken none is there
_FARTHEST = 16.0  # squared standard deviations that one frame can say of it at most


@dataclass(frozen=True)
class Way:
    """Places of frames, (y, x) in pixels from the first one's, and the rate in pixels a frame.

    Attributes:
        numbers: of the frames, rising.
        state: (frames + 1, 2): the places, and the rate last.
        covariance: of the state, flattened, (2 · (frames + 1))².
        unsteady: (sum of variances that frames told, weighted; sum of the weights).
    """

    numbers: tuple[int, ...]
    state: Array
    covariance: Array
    unsteady: tuple[float, float] = (_FRAMES_TOLD * _UNSTEADY_PX**2, _FRAMES_TOLD)

    @classmethod
    def begun(cls, number: int) -> Way:
        """With one frame, of which nothing else is known."""
        covariance = np.zeros((4, 4))
        covariance[2, 2] = covariance[3, 3] = _RATE_PX**2
        return cls((number,), np.zeros((2, 2)), covariance)

    @property
    def variance(self) -> float:
        """Of a step about the rate, px², a frame."""
        return max(self.unsteady[0] / self.unsteady[1], _STEADIEST_PX**2)

    def offsets(self) -> Array:
        """(y, x) from each frame's place to the newest one's, (frames, 2)."""
        return self.state[-2] - self.state[:-1]

    def step_from(self, before: Way, moved: Drift) -> Drift:
        """``moved`` as from the newest place of the way before this frame to that of this one."""
        newest = len(self.numbers) - 1
        weights = np.zeros(len(self.state))
        weights[newest], weights[max(newest - 1, 0)] = 1, -1
        by = _by(weights)
        worst = float(np.linalg.eigvalsh(by @ self.covariance @ by.T)[-1])
        y, x = self.state[-2] - before.state[-2]
        sd_px = math.sqrt(max(worst, 0.0))
        return replace(moved, y_px=float(y), x_px=float(x), sd_px=sd_px, covariance=None)

    def _ahead(self, number: int) -> Way:
        """With a frame that is foretold."""
        gap, rows = number - self.numbers[-1], len(self.state)
        onward = np.zeros((rows + 1, rows))
        onward[: rows - 1, : rows - 1] = np.eye(rows - 1)
        onward[-2, -2:] = 1, gap
        onward[-1, -1] = 1
        spread = np.kron(onward, np.eye(2))
        covariance = spread @ self.covariance @ spread.T
        added = np.zeros(rows + 1)
        added[-2:] = self.variance * gap, self.variance * gap * _RATE_CHANGES**2
        covariance += np.diag(np.repeat(added, 2))
        return Way((*self.numbers, number), onward @ self.state, covariance, self.unsteady)

    def foretold(self, number: int) -> Foretold:
        """How far the last estimate will have moved in frame ``number``."""
        ahead, taken = self._ahead(number), self.state[:-1]
        weights = _told(ahead)
        y, x = weights @ ahead.state - (taken[-1] - taken.mean(0))
        by = _by(weights)
        (yy, yx), (_, xx) = by @ ahead.covariance @ by.T
        return Foretold(float(y), float(x), (float(yy), float(yx), float(xx)))

    def then(self, number: int, moved: Drift, frames: int) -> Way:
        """With a frame to which the last estimate has moved; of the newest ``frames`` that are not much older."""
        before, ahead = self.foretold(number), self._ahead(number)
        by = _by(_told(ahead))
        covariance = ahead.covariance.copy()
        if moved.leaps:
            newest = slice(-4, -2)
            covariance[newest, newest] += LEAP_PX**2 * np.eye(2)
        prior = by @ covariance @ by.T
        missed = np.array([moved.y_px - before.y_px, moved.x_px - before.x_px])
        posterior = moved.matrix()
        gain = np.linalg.solve(prior, by @ covariance).T
        state = ahead.state + (gain @ missed).reshape(-1, 2)
        covariance = covariance + gain @ (posterior - prior) @ gain.T
        first = max(0, len(ahead.numbers) - frames)
        kept = [row for row, each in enumerate(ahead.numbers) if row >= first and number - each < _OLDEST * frames]
        rows = [*kept, len(state) - 1]
        flat = np.ravel([(2 * row, 2 * row + 1) for row in rows])
        return Way(
            tuple(ahead.numbers[row] for row in kept),
            state[rows],
            covariance[np.ix_(flat, flat)],
            self._learnt(number - self.numbers[-1], before.matrix(), missed, moved),
        )

    def _learnt(self, gap: int, prior: Array, missed: Array, moved: Drift) -> tuple[float, float]:
        """The unsteadiness, with what one more frame tells of it: a step of Fisher scoring from its innovation.

        With ``prior`` the covariance of what was foretold, the innovation ν has the covariance S of that and of the
        measurement; S⁻¹ν and S⁻¹ follow from what the two make together, however little the measurement says.
        """
        posterior = moved.matrix()
        if moved.leaps:
            inverse = np.linalg.inv(prior + posterior)
            scaled = inverse @ missed
        else:
            known = np.linalg.inv(prior)
            inverse = known - known @ posterior @ known
            scaled = known @ missed
        information = float(np.square(inverse).sum())
        excess = min(float(scaled @ scaled), _FARTHEST * float(np.trace(inverse)) / 2) - float(np.trace(inverse))
        weight = 0.5 * self.variance**2 * information
        told = self.variance * weight + 0.5 * self.variance**2 * excess / gap
        return _FORGETS * self.unsteady[0] + told, _FORGETS * self.unsteady[1] + weight


def _told(way: Way) -> Array:
    """What a movement of the last estimate to the newest frame is of the state, as weights of its rows."""
    frames = len(way.numbers) - 1
    weights = np.zeros(frames + 2)
    weights[:frames] = -1 / frames  # an estimate is where its frames are on average
    weights[frames] = 1
    return weights


def _by(weights: Array) -> Array:
    """(2, 2 · rows): the sum of rows of the state by ``weights``."""
    by: Array = np.kron(weights, np.eye(2)).astype(np.float64)
    return by
