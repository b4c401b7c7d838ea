"""First-order recurrences over a block of samples, without a loop in Python over the samples.

Coils, scintillator and hysteresis all remember. Each is a recurrence whose steps compose, so a block is cut into
segments that advance side by side, and the segments are joined afterwards. Where the step is the same throughout
(no blanked moves, one dwell) :func:`scipy.signal.lfilter` is faster still.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

__all__ = ["play", "relax", "through"]


def relax(
    start: complex, forcing: NDArray[np.generic], keep: NDArray[np.float64] | NDArray[np.complex128]
) -> NDArray[np.generic]:
    """``x[k] = keep[k]·x[k−1] + forcing[k]`` with ``x[−1] = start``; all of shape (n,), real or complex."""
    n = len(forcing)
    same = np.flatnonzero(keep[1:] != keep[:-1]) + 1
    if same.size * 160 < n:  # a few runs of equal steps: rows of a raster, or a whole spiral
        out = np.empty(n, np.result_type(forcing, keep, np.asarray(start)))
        edges = [0, *same.tolist(), n]
        x = start
        for first, last in zip(edges[:-1], edges[1:], strict=True):
            a = keep[first]
            out[first:last], _ = lfilter([1.0], [1.0, -a], forcing[first:last], zi=np.array([a * x]))
            x = out[last - 1]
        return out
    width = max(1, math.isqrt(n))
    rows = -(-n // width)
    pad = rows * width - n
    a = np.concatenate((keep, np.ones(pad, keep.dtype))).reshape(rows, width).T.copy()
    x = (
        np.concatenate((forcing, np.zeros(pad, forcing.dtype)))
        .reshape(rows, width)
        .T.astype(np.result_type(forcing, keep))
    )
    gain = a  # becomes the product of the steps so far, x the answer from a start of 0
    for k in range(1, width):
        x[k] += a[k] * x[k - 1]
        gain[k] *= gain[k - 1]
    begin = np.empty(rows, x.dtype)
    carried = start
    for row in range(rows):
        begin[row] = carried
        carried = x[-1, row] + gain[-1, row] * carried
    x += gain * begin
    return np.asarray(x.T.reshape(-1)[:n])


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
