"""Poisson numbers, fast whether there are few electrons or many.

Means below :data:`LARGE` are drawn exactly: a Poisson number of mean λ is the sum of two of means a + b = λ. For a, the
next lower one of a ladder of means, there is a table (Walker's alias method with Marsaglia's square histogram: G.
Marsaglia, W. W. Tsang & J. Wang, J. Stat. Software 11 (3), 2004); b is so small that it is mostly 0, and otherwise its
distribution is summed up. Above, a normal number is bent into a Poisson one by the Cornish–Fisher expansion to third
order in 1/√mean (Abramowitz & Stegun 26.2.49), whose cumulative probabilities are right to a few parts in 10⁴, and mean
and variance to less than that.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from simulators.numerics.randomness import normal, words

__all__ = ["LARGE", "poisson"]

LARGE = 50.0

_PER_UNIT = 8  # rungs of the ladder from one mean to the next whole one
_COLUMNS = 128  # numbers that a table can give: below 1e-17 is cut off above 127 at a mean of 50
_MOST_REST = 8  # of the rest, whose mean is below 1/8: P(more) < 1e-13


def poisson(mean: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Poisson numbers (n,) of the given means (n,), as float32; whole numbers up to 2²⁴."""
    large = mean >= np.float32(LARGE)
    count = int(np.count_nonzero(large))
    if count == len(mean):
        return _many(mean, generator)
    if count == 0:
        return _few(mean, generator)
    out = np.empty(len(mean), np.float32)
    out[large] = _many(mean[large], generator)
    np.logical_not(large, out=large)
    out[large] = _few(mean[large], generator)
    return out


def _few(mean: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    threshold, other = _tables()
    rung = (mean * np.float32(_PER_UNIT)).astype(np.int32)
    both = words(2 * len(mean), generator)
    drawn, second = both[: len(mean)], both[len(mean) :]
    column = drawn & np.uint32(_COLUMNS - 1)
    at = rung * np.int32(_COLUMNS)
    at += column.view(np.int32)
    drawn >>= np.uint32(7)
    own = (drawn < threshold.take(at)).view(np.uint8)
    number = other.take(at)
    number += (column.astype(np.uint8) - number) * own  # a choice without branches; it may wrap, and wraps back
    out = number.astype(np.float32)
    # the rest, mean − rung/8, is 0 for certain below the smallest chance of a 0 that there is
    some = np.flatnonzero(second > np.uint32(2**32 * np.exp(-1 / _PER_UNIT)))
    rest = (mean[some] - rung[some] * np.float32(1 / _PER_UNIT)).astype(np.float64)
    below = second[some] * 2.0**-32
    term = np.exp(-rest)
    total = term.copy()
    more = np.zeros(len(some), np.float32)
    for count in range(1, _MOST_REST + 1):
        above = below > total
        if not above.any():
            break
        more += above
        term *= rest / count
        total += term
    out[some] += more
    return out


@lru_cache(maxsize=1)
def _tables() -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Of every rung: below which of 2²⁵ a column gives its own number, and what it gives otherwise; both flat."""
    means = np.arange(int(LARGE) * _PER_UNIT + 1) / _PER_UNIT
    number = np.arange(_COLUMNS)
    logarithm = np.log(np.maximum(means, 1e-300))[:, None] * number - means[:, None] - gammaln(number + 1.0)
    left = np.exp(logarithm)
    left[0] = number == 0
    left *= _COLUMNS / left.sum(axis=1, keepdims=True)  # each column is to hold 1
    own, other = np.ones(left.shape), np.tile(number.astype(np.uint8), (len(means), 1))
    rows, open_ = np.arange(len(means)), np.ones(left.shape, bool)
    for _ in range(_COLUMNS - 1):  # the poorest column is filled up by the richest, and is done
        poor = np.where(open_, left, np.inf).argmin(axis=1)
        rich = np.where(open_, left, -np.inf).argmax(axis=1)
        own[rows, poor], other[rows, poor] = left[rows, poor], rich
        left[rows, rich] -= 1 - left[rows, poor]
        open_[rows, poor] = False
    threshold = np.rint(np.clip(own, 0, 1) * (1 << 25)).astype(np.uint32)
    return threshold.reshape(-1), other.reshape(-1)


def _many(mean: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    z = normal(len(mean), 1.0, generator)
    square = z * z
    root = np.sqrt(mean)
    # λ + √λ·z + (z² − 1)/6 + (z − z³)/(72·√λ), rounded
    bent = (square - np.float32(1)) * (np.float32(1 / 6) - z / (root * np.float32(72)))
    bent += root * z
    bent += mean
    bent += np.float32(0.5)
    return np.maximum(np.floor(bent, out=bent), 0)
