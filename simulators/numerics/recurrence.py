"""First-order recurrences over a block of samples, without a loop in Python over the samples.

Coils, scintillator and flicker remember linearly (:func:`linger`). Where steps are equal, as along a line or a spiral,
a run of samples is a product with a small triangular matrix, and only what is carried from run to run is left to
solve; otherwise the recurrence is a bidiagonal system, which LAPACK solves in one pass. Hysteresis is not linear, but
its steps compose, so a block is cut into segments that advance side by side (:func:`play`).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import ctbtrs, dtbtrs, stbtrs, ztbtrs

__all__ = ["linger", "play", "solve"]

_SOLVE = {"f": stbtrs, "d": dtbtrs, "F": ctbtrs, "D": ztbtrs}
_SEGMENT = 32  # steps of hysteresis in a segment
_RUN = 32  # samples that one product of matrices takes along
_FEW = 64  # blanked moves in a block that are still treated one by one, where more than two systems would be solved


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
        state: (modes, c) complex or real, what the block before left; its precision is that of the work.
        forcing: (c, n).
        weight, rate: (modes,), or weight (modes, n) where dwells differ; of complex modes the real part counts.
        dwell_us: (1,) where all dwells are equal, else (n,).
        move_us: (n,), or None without any move.

    Returns:
        ``Re Σ weight·q`` as (c, n), and the state that is left, (modes, c).
    """
    n = forcing.shape[1]
    moved = np.zeros(0, np.intp) if move_us is None else np.flatnonzero(move_us > 0)
    chains = len(rate) * len(forcing)
    if len(dwell_us) > 1 or n < 2 * _RUN or len(moved) > (_FEW if chains > 2 else 0):
        return _uneven(state, forcing, weight, rate, dwell_us, move_us)
    body = n - n % _RUN
    inside = moved[moved < body]
    moves_us = None if move_us is None or not len(inside) else move_us[inside]
    seen, state = _even(state, forcing[:, :body], weight, rate, float(dwell_us[0]), inside, moves_us)
    if body == n:
        return seen, state
    rest = None if move_us is None else move_us[body:]
    last, state = _uneven(state, forcing[:, body:], weight, rate, dwell_us, rest)
    return np.concatenate((seen, last), axis=1), state


def solve(keep: NDArray[np.inexact], right: NDArray[np.inexact]) -> NDArray[np.inexact]:
    """``x[k] = keep[k−1]·x[k−1] + right[k]`` (n, c), in the precision of ``right``; ``keep`` is (n − 1,) or (1,)."""
    n = len(right)
    band = np.empty((2, n), right.dtype, order="F")  # LAPACK's storage: the diagonal of ones above the one below it
    band[0], band[1, -1] = 1, 0
    np.negative(keep, out=band[1, :-1])
    solved, problem = _SOLVE[band.dtype.char](band, right, uplo="L", diag="U", overwrite_b=1)
    if problem:
        raise FloatingPointError(f"the recurrence cannot be solved (LAPACK says {problem})")
    return np.asarray(solved)


def _uneven(
    state: NDArray[np.inexact],
    forcing: NDArray[np.floating],
    weight: NDArray[np.inexact],
    rate: NDArray[np.inexact],
    dwell_us: NDArray[np.float64],
    move_us: NDArray[np.float64] | None,
) -> tuple[NDArray[np.floating], NDArray[np.inexact]]:
    """Mode by mode, each as a bidiagonal system."""
    kind = state.dtype.type
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


def _even(
    state: NDArray[np.inexact],
    forcing: NDArray[np.floating],
    weight: NDArray[np.inexact],
    rate: NDArray[np.inexact],
    dwell_us: float,
    moved: NDArray[np.intp],
    moves_us: NDArray[np.float64] | None,
) -> tuple[NDArray[np.floating], NDArray[np.inexact]]:
    """Equal dwells, a whole number of runs, and a few moves ``moves_us`` (m,) before the samples ``moved`` (m,)."""
    channels, n = forcing.shape
    steps = rate * dwell_us
    gathered, spread, tail = _matrices(tuple(steps.tolist()), tuple(weight.tolist()), state.real.dtype.char)
    runs = np.ascontiguousarray(forcing, state.real.dtype).reshape(channels, n // _RUN, _RUN)
    ends = (runs @ gathered).view(state.dtype)  # (channels, runs, modes): what each run by itself leaves to the next
    begun = _carried(state, ends, steps)
    seen = runs @ spread
    if moves_us is not None:
        run, at = np.divmod(moved, _RUN)
        struck = _struck(runs[:, run], begun[:, run], steps, moved, at, np.multiply.outer(rate, moves_us))
        fading = _powers(steps, np.arange(_RUN) - at[:, None])  # (modes, m, samples of the run)
        more = np.einsum("vcm,v,vms->cms", struck, weight, fading).real.astype(seen.dtype)
        left = np.einsum("vcm,vm->cmv", struck, _powers(steps, _RUN - at)).astype(ends.dtype)
        if len(run) == 1 or (np.diff(run) > 0).all():
            seen[:, run] += more
            ends[:, run] += left
        else:
            for number, here in enumerate(run):  # several are in one run
                seen[:, here] += more[:, number]
                ends[:, here] += left[:, number]
        begun = _carried(state, ends, steps)
    seen += begun.view(seen.dtype) @ tail
    after = begun[:, -1] * np.exp(-_RUN * steps) + ends[:, -1]
    return seen.reshape(channels, n), after.T.astype(state.dtype)


@lru_cache(maxsize=32)
def _matrices(
    steps: tuple[complex, ...], weight: tuple[complex, ...], kind: str
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
    """For one run: samples → what is left after it, samples → seen, what was left before → seen.

    Real and imaginary parts of complex modes stand in turn.
    """
    rates, weights = np.array(steps), np.array(weight)
    index = np.arange(_RUN)
    left = _powers(rates, _RUN - index).T  # (samples, modes)
    seen = np.tensordot(weights, _powers(rates, index[None, :] - index[:, None]), 1).real
    later = weights[:, None] * _powers(rates, index)
    if np.iscomplexobj(rates):
        left = np.stack((left.real, left.imag), axis=-1).reshape(_RUN, -1)
        later = np.stack((later.real, -later.imag), axis=1).reshape(-1, _RUN)
    return left.astype(kind), seen.astype(kind), later.astype(kind)


def _powers(steps: NDArray[np.inexact], exponent: NDArray[np.intp]) -> NDArray[np.inexact]:
    """``exp(−steps·exponent)``, and 0 for exponents below 0."""
    return np.asarray(np.exp(-np.multiply.outer(steps, np.maximum(exponent, 0))) * (exponent >= 0))


def _carried(state: NDArray[np.inexact], ends: NDArray[np.inexact], steps: NDArray[np.inexact]) -> NDArray[np.inexact]:
    """What stands before each run, (channels, runs, modes)."""
    begun = np.empty_like(ends)
    fades = np.exp(-_RUN * steps).astype(ends.dtype)
    for mode, fade in enumerate(fades):
        right = np.empty((ends.shape[1], len(ends)), ends.dtype, order="F")
        right[0], right[1:] = state[mode], ends[:, :-1, mode].T
        begun[..., mode] = solve(fade[None], right).T
    return begun


def _struck(
    runs: NDArray[np.floating],
    begun: NDArray[np.inexact],
    steps: NDArray[np.inexact],
    moved: NDArray[np.intp],
    at: NDArray[np.intp],
    decays: NDArray[np.inexact],
) -> NDArray[np.inexact]:
    """What each move takes away from each mode at its sample, (modes, channels, m).

    ``runs`` (channels, m, samples) and ``begun`` (channels, m, modes) are those of the run that each move is in, ``at``
    (m,) its place there, ``decays`` (modes, m). A move acts on what earlier ones have left: a small triangular system.
    """
    before = _powers(steps, at[:, None] - np.arange(_RUN))
    without = np.einsum("vms,cms->vmc", before, runs) + np.einsum("vm,cmv->vmc", _powers(steps, at), begun)
    lost = -np.expm1(-decays)
    earlier = _powers(steps, moved[:, None] - moved[None, :]) * (moved[:, None] > moved[None, :])
    system = np.eye(len(moved)) + earlier * lost[:, None, :]
    return np.asarray(-(lost[..., None] * np.linalg.solve(system, without)).swapaxes(1, 2))


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
