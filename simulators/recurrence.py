"""First-order recurrences over a block of samples, without a loop in Python over the samples.

Coils, scintillator and hysteresis all remember. Each is a recurrence whose steps compose, so a block is cut into
segments that advance side by side, and the segments are joined afterwards by the same means. Where the step is the
same throughout (no blanked moves, one dwell) :func:`scipy.signal.lfilter` is faster still.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

__all__ = ["play", "relax", "through"]

_SHORT = 16


def relax(start: NDArray[np.generic], forcing: NDArray[np.generic], keep: NDArray[np.generic]) -> NDArray[np.generic]:
    """``x[k] = keep[k]·x[k−1] + forcing[k]`` with ``x[−1] = start``; (n, m), (n, m) and (m,), each column by itself."""
    n, columns = forcing.shape
    kind = np.result_type(start, forcing, keep)
    if n <= _SHORT:
        out = np.empty((n, columns), kind)
        x = start
        for k in range(n):
            x = keep[k] * x + forcing[k]
            out[k] = x
        return out
    size = max(_SHORT, math.isqrt(n) // 2)
    rows = -(-n // size)
    gain, x = np.ones((rows * size, columns), keep.dtype), np.zeros((rows * size, columns), kind)
    gain[:n], x[:n] = keep, forcing
    gain = np.ascontiguousarray(gain.reshape(rows, size, columns).swapaxes(0, 1))
    x = np.ascontiguousarray(x.reshape(rows, size, columns).swapaxes(0, 1))
    for k in range(1, size):  # x: the answer of each segment from a start of 0; gain: the product of its steps so far
        x[k] += gain[k] * x[k - 1]
        gain[k] *= gain[k - 1]
    ends = relax(start, x[-1], gain[-1])
    x += gain * np.concatenate((np.asarray(start, kind)[None], ends[:-1]))
    return np.asarray(x.swapaxes(0, 1).reshape(-1, columns)[:n])


def through(
    start: complex, u: NDArray[np.generic], keep: complex, take: complex, direct: complex, carried: complex
) -> tuple[NDArray[np.generic], complex]:
    """One memory in series: ``y[k] = direct·u[k] + carried·x[k−1]`` with ``x[k] = keep·x[k−1] + take·u[k]``.

    Returns ``y`` (n,) in the precision of ``u``, and the last ``x``. The same step throughout: one pass of a filter.
    """
    if keep == 0:  # nothing outlasts one step
        before = np.concatenate((np.array([start], u.dtype), take * u[:-1]))
        return np.asarray(direct * u + carried * before, u.dtype), take * u[-1]
    kind = np.result_type(u, np.complex64 if isinstance(keep, complex) else np.float32)
    numerator = np.array([direct, carried * take - keep * direct], kind)
    y, state = lfilter(numerator, np.array([1.0, -keep], kind), u, zi=np.array([carried * start], kind))
    return y, state[0] / carried


def play(start: NDArray[np.float64], command: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """The play (backlash) operator ``p[k] = clip(p[k−1], command[k] − width, command[k] + width)``.

    ``command`` is (n, m), each column by itself, ``start`` (m,). The elementary rate-independent hysteresis (Brokate &
    Sprekels, Hysteresis and Phase Transitions, 1996, section 2.1). Each step clamps, and clamps compose to clamps.
    """
    n, columns = command.shape
    size = max(1, math.isqrt(n))
    rows = -(-n // size)
    padding = np.broadcast_to(command[-1], (rows * size - n, columns))
    padded = np.concatenate((command, padding)).reshape(rows, size, columns).swapaxes(0, 1)
    low, high = padded - width, padded + width
    for k in range(1, size):  # the clamp of steps 0…k of each segment
        at_least, at_most = low[k].copy(), high[k].copy()
        np.clip(low[k - 1], at_least, at_most, out=low[k])
        np.clip(high[k - 1], at_least, at_most, out=high[k])
    begin = np.empty((rows, columns))
    carried = np.asarray(start, np.float64)
    for row in range(rows):
        begin[row] = carried
        carried = np.minimum(np.maximum(carried, low[-1, row]), high[-1, row])
    return np.asarray(np.clip(begin, low, high).swapaxes(0, 1).reshape(-1, columns)[:n])
