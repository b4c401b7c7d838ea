"""First-order recurrences over a block of samples, without a loop in Python over the samples.

Coils, scintillator and flicker remember linearly (:func:`linger`): each of their modes is a bidiagonal system, which
LAPACK solves in one pass, whether steps are equal or not. Hysteresis is not linear, but its steps compose, so a block
is cut into segments that advance side by side (:func:`play`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dtbtrs, ztbtrs

__all__ = ["linger", "play", "solve"]

_SEGMENT = 32  # steps of hysteresis in a segment


def linger(
    state: NDArray[np.inexact],
    forcing: NDArray[np.floating],
    weight: NDArray[np.inexact],
    rate: NDArray[np.inexact],
    dwell_us: NDArray[np.float64],
    move_us: NDArray[np.float64] | None,
) -> tuple[NDArray[np.floating], NDArray[np.inexact]]:
    """What is left of each sample's forcing while it fades, seen during later dwells.

    Each mode has ``q[k] = across[k]·(keep[k−1]·q[k−1] + forcing[k])`` with ``keep = exp(−rate·dwell)`` and ``across =
    exp(−rate·move)``, a blanked move before each dwell; before the first sample, ``state`` stands for ``keep·q``.

    Args:
        state: (modes, c) complex or real, what the block before left; the results are of its precision.
        forcing: (c, n).
        weight, rate: (modes,), or weight (modes, n) where dwells differ; of complex modes the real part counts.
        dwell_us: (1,) where all dwells are equal, else (n,).
        move_us: (n,), or None without any move.

    Returns:
        ``Re Σ weight·q`` as (c, n), and the state that is left, (modes, c).
    """
    kind = np.complex128 if np.iscomplexobj(state) else np.float64  # one rounding of ``keep`` is felt at every step
    out = np.zeros(forcing.shape, state.real.dtype)
    after = np.empty_like(state)
    for mode, decay in enumerate(rate):
        keep = np.exp((dwell_us * -decay).astype(kind))
        right = np.array(forcing.T, kind, order="F")
        right[0] += state[mode]
        below = keep[:-1] if len(keep) > 1 else keep
        if move_us is not None:
            across = np.exp((move_us * -decay).astype(kind))
            right *= across[:, None]
            below = across[1:] * below
        left = solve(below, right)
        after[mode] = left[-1] * keep[-1]
        out += (left.T * np.asarray(weight[mode], kind)).real
    return out, after


def solve(keep: NDArray[np.inexact], right: NDArray[np.inexact]) -> NDArray[np.inexact]:
    """``x[k] = keep[k−1]·x[k−1] + right[k]`` (n, c) in double precision; ``keep`` is (n − 1,) or (1,)."""
    n = len(right)
    band = np.empty((2, n), right.dtype, order="F")  # LAPACK's storage: the diagonal of ones above the one below it
    band[0], band[1, -1] = 1, 0
    np.negative(keep, out=band[1, :-1])
    system = ztbtrs if np.iscomplexobj(band) else dtbtrs
    solved, problem = system(band, right, uplo="L", diag="U", overwrite_b=1)
    if problem:
        raise FloatingPointError(f"the recurrence cannot be solved (LAPACK says {problem})")
    return np.asarray(solved)


def play(start: NDArray[np.floating], command: NDArray[np.floating], width: float) -> NDArray[np.floating]:
    """The play (backlash) operator ``p[k] = clip(p[k−1], command[k] − width, command[k] + width)``.

    ``command`` is (n, m), each column by itself, ``start`` (m,). The elementary rate-independent hysteresis (Brokate &
    Sprekels, Hysteresis and Phase Transitions, 1996, section 2.1). Each step clamps, and clamps compose to clamps.
    """
    half = command.dtype.type(width)
    steps = _by_step(command.T)
    played = _clamped(np.asarray(start, command.dtype), steps - half, steps + half)
    return np.asarray(_in_order(played)[:, : len(command)].T)


def _clamped(
    start: NDArray[np.floating], low: NDArray[np.floating], high: NDArray[np.floating]
) -> NDArray[np.floating]:
    """``p[k] = clip(p[k−1], low[k], high[k])`` from ``start`` (columns,) on, laid out as :func:`_by_step` does.

    What a segment as a whole does is a clamp again, so where the segments begin is the same problem, smaller.
    """
    size, columns, rows = low.shape
    clamp = np.empty((size, 2, columns, rows), low.dtype)  # least and most that steps 0…k of each segment leave
    clamp[0, 0], clamp[0, 1] = low[0], high[0]
    for before, here, least, most in zip(clamp, clamp[1:], low[1:], high[1:], strict=False):
        np.maximum(before, least, out=here)
        np.minimum(here, most, out=here)
    begun = np.empty((columns, rows), low.dtype)
    begun[:, 0] = start
    if rows > 1:
        ends = _clamped(start, _by_step(clamp[-1, 0]), _by_step(clamp[-1, 1]))
        begun[:, 1:] = _in_order(ends)[:, : rows - 1]
    played = np.maximum(begun, clamp[:, 0])
    return np.minimum(played, clamp[:, 1], out=played)


def _by_step(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """(columns, n) as (steps, columns, segments): one step of every segment after the other, the last one repeated."""
    columns, n = values.shape
    size = min(_SEGMENT, n)
    rows = -(-n // size)
    if n < rows * size:
        values = np.concatenate((values, np.repeat(values[:, -1:], rows * size - n, axis=1)), axis=1)
    return np.ascontiguousarray(values.reshape(columns, rows, size).transpose(2, 0, 1))


def _in_order(by_step: NDArray[np.floating]) -> NDArray[np.floating]:
    """The reverse, (columns, steps · segments)."""
    return by_step.transpose(1, 2, 0).reshape(by_step.shape[1], -1)
