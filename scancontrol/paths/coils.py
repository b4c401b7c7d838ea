"""What the scan coils make of a commanded path.

The coils answer linearly (:class:`~scancontrol.capabilities.CoilModel`), and the command is constant from one sample
to the next, so the state at each step follows from the one before it by a matrix exponential, exactly, however
unequal the steps are. Of order 1 the recurrence is a banded triangular system; of order 2 it is solved by doubling
(Hillis and Steele, CACM 29, 1986), which needs only as many passes as it takes the coils to forget.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dtbtrs

from scancontrol.capabilities import CoilModel
from scancontrol.paths.path import ScanPath

__all__ = ["Lag", "achieved_positions", "lagged", "seen"]

BLOCK = 1 << 15
FORGOTTEN = 1e-18
"""Influence of an earlier state below which it cannot change a position in double precision."""

Array = NDArray[np.float64]


def achieved_positions(path: ScanPath, coil: CoilModel) -> Array:
    """Where the beam was, averaged over each dwell: (N, 2) as (y, x) in fractions of the field; may leave [0, 1).

    The command of a sample begins with its blanked move. The beam starts settled on the first sample. Where the
    signal is sampled with a delay, this is where the beam was when the signal arose.
    """
    return seen(path.positions, path.dwell_us, path.move_us, coil)


def seen(positions: Array, dwell_us: Array, move_us: Array, coil: CoilModel) -> Array:
    """Mean position (n, 2) while the signal of each sample arose: lag, and the delay of ``coil`` before sampling.

    A delay shorter than every dwell is exact: each dwell is cut where the next sample's signal begins. A longer one
    is linear between the samples' middles. During a blanked move nothing shines.
    """
    delay_us = coil.delay_us
    if delay_us == 0 or len(positions) == 0:
        return lagged(positions, dwell_us, move_us, coil)
    if abs(delay_us) >= float(dwell_us.min()):
        achieved = lagged(positions, dwell_us, move_us, coil)
        middle = np.cumsum(dwell_us + move_us) - dwell_us / 2
        back = np.stack([np.interp(middle - delay_us, middle, achieved[:, axis]) for axis in (0, 1)], axis=1)
        back[move_us > 0] = achieved[move_us > 0]
        return back
    cut = dwell_us - delay_us if delay_us > 0 else np.full(len(dwell_us), -delay_us)
    halves = lagged(
        np.repeat(positions, 2, axis=0),
        np.stack([cut, dwell_us - cut], axis=1).ravel(),
        np.stack([move_us, np.zeros(len(move_us))], axis=1).ravel(),
        coil,
    )
    early, late = halves[0::2], halves[1::2]
    if delay_us > 0:  # the end of the dwell before, and the beginning of this one
        own, other, share = early, np.concatenate([early[:1], late[:-1]]), delay_us / dwell_us
        alone = move_us > 0
    else:  # the end of this dwell, and the beginning of the next
        own, other, share = late, np.concatenate([early[1:], late[-1:]]), -delay_us / dwell_us
        alone = np.append(move_us[1:] > 0, False)
    mixed = own + (other - own) * np.where(alone, 0.0, share)[:, None]
    return np.asarray(mixed)


def lagged(positions: Array, dwell_us: Array, move_us: Array, coil: CoilModel, start: Array | None = None) -> Array:
    """Mean position (n, 2) over each dwell for commanded ``positions`` (n, 2), ``dwell_us`` (n,), ``move_us`` (n,).

    ``start`` (2,) is where the beam is at rest before the first command; on the first position where None.
    """
    return Lag(coil, start).follow(positions, dwell_us, move_us)


class Lag:
    """Coils that follow a path given chunk by chunk, at rest on ``start`` (2,) or on the first position."""

    def __init__(self, coil: CoilModel, start: Array | None = None) -> None:
        self._coil = coil
        # The state is the deviation from the command, with its velocity in second order; one column for each axis.
        self._state = np.zeros((coil.order, 2))
        self._command = None if start is None else np.asarray(start, dtype=np.float64)

    def follow(self, positions: Array, dwell_us: Array, move_us: Array) -> Array:
        """Mean position (n, 2) over each dwell of the next commands."""
        if self._coil.time_constant_us == 0 or len(positions) == 0:
            return positions.copy()
        command = positions[0] if self._command is None else self._command
        achieved = np.empty_like(positions)
        for first in range(0, len(positions), BLOCK):
            part = slice(first, first + BLOCK)
            self._state, command = _block(
                positions[part], dwell_us[part], move_us[part], self._coil, self._state, command, achieved[part]
            )
        self._command = command
        return achieved


def _block(
    commands: Array, dwell_us: Array, move_us: Array, coil: CoilModel, state: Array, command: Array, out: Array
) -> tuple[Array, Array]:
    """Solve one block into ``out``; return the state at its end and the command that the state is relative to."""
    n = len(commands)
    steps = np.diff(commands, axis=0, prepend=command[None])
    forcing = np.zeros((n, coil.order, 2))
    forcing[:, 0] = -steps  # a step of the command changes the deviation by as much, and no velocity
    forcing[0] += state
    transition = _transition(move_us + dwell_us, coil)
    z = _recurred(transition, forcing)
    at_dwell = _transition(move_us, coil) @ z
    out[:] = commands + (_mean_weights(dwell_us, coil)[:, None, :] @ at_dwell)[:, 0]
    return transition[-1] @ z[-1], commands[-1]


def _recurred(transition: Array, forcing: Array) -> Array:
    """z[k] = transition[k−1] z[k−1] + forcing[k]: (n, order, 2) for (n, order, order) and (n, order, 2)."""
    if forcing.shape[1] == 1:  # a banded system
        bands = np.stack([np.ones(len(forcing)), np.append(-transition[:-1, 0, 0], 0.0)])
        found, _ = dtbtrs(bands, forcing[:, 0], uplo="L", trans="N")
        return np.asarray(found)[:, None]
    z = forcing
    gain = np.concatenate([np.zeros((1, *transition.shape[1:])), transition[:-1]])
    reach = 1
    while reach < len(z) and np.abs(gain[reach:]).max() > FORGOTTEN:
        z = np.concatenate([z[:reach], gain[reach:] @ z[:-reach] + z[reach:]])
        gain = np.concatenate([np.zeros((reach, *gain.shape[1:])), gain[reach:] @ gain[:-reach]])
        reach *= 2
    return z


def _transition(time_us: Array, coil: CoilModel) -> Array:
    """Matrix exponentials (n, order, order) of the free motion during ``time_us`` (n,). Velocities are per τ."""
    s = time_us / coil.time_constant_us
    if coil.order == 1:
        return np.exp(-s)[:, None, None]
    zeta = coil.damping
    if zeta < 1:
        rate = np.sqrt(1 - zeta * zeta)
        even, odd = np.exp(-zeta * s) * np.cos(rate * s), np.exp(-zeta * s) * np.sin(rate * s) / rate
    elif zeta == 1:
        even, odd = np.exp(-s), s * np.exp(-s)
    else:
        rate = np.sqrt(zeta * zeta - 1)
        slow, fast = np.exp(-(zeta - rate) * s), np.exp(-(zeta + rate) * s)
        even, odd = (slow + fast) / 2, (slow - fast) / (2 * rate)
    matrix = np.empty((len(s), 2, 2))
    matrix[:, 0, 0], matrix[:, 0, 1] = even + zeta * odd, odd
    matrix[:, 1, 0], matrix[:, 1, 1] = -odd, even - zeta * odd
    return matrix


def _mean_weights(dwell_us: Array, coil: CoilModel) -> Array:
    """Weights (n, order) that give the mean deviation over a dwell from the state at its start."""
    s = dwell_us / coil.time_constant_us
    if coil.order == 1:
        return (-np.expm1(-s) / s)[:, None]
    # The mean of exp(Ms) is M⁻¹(exp(Ms) − 1)/s; the first row of M⁻¹ is (−2ζ, −1).
    change = _transition(dwell_us, coil) - np.eye(2)
    weights: Array = (np.array([-2 * coil.damping, -1.0]) @ change) / s[:, None]
    return weights
