"""First-order recurrences over a block of samples, without a loop in Python over the samples.

Coils, scintillator and flicker remember linearly: their recurrence is a bidiagonal system, which LAPACK solves in one
pass however unequal the steps are. Hysteresis is not linear, but its steps compose, so a block is cut into segments
that advance side by side.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dtbtrs, ztbtrs

__all__ = ["play", "relax"]


def relax(
    start: NDArray[np.generic], forcing: NDArray[np.generic], keep: NDArray[np.generic] | complex
) -> NDArray[np.generic]:
    """``x[k] = keep[k]·x[k−1] + forcing[k]`` with ``x[−1] = start``.

    ``forcing`` is (n, m), each column by itself, ``start`` (m,), ``keep`` (n,) or one number; real or complex, in
    double precision.
    """
    is_complex = any(np.iscomplexobj(part) for part in (start, forcing, keep))
    kind = np.complex128 if is_complex else np.float64
    n = len(forcing)
    steps = np.broadcast_to(np.asarray(keep, kind), n)
    band = np.empty((2, n), kind, order="F")  # LAPACK's storage: the diagonal of ones above the one below it
    band[0] = 1
    np.negative(steps[1:], out=band[1, :-1])
    band[1, -1] = 0
    right = np.array(forcing, kind, order="F")
    right[0] += steps[0] * np.asarray(start)
    solved, problem = (ztbtrs if is_complex else dtbtrs)(band, right, uplo="L", diag="U", overwrite_b=1)
    if problem:
        raise FloatingPointError(f"the recurrence cannot be solved (LAPACK says {problem})")
    return np.asarray(solved)


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
