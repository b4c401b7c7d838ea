"""Random numbers that are a function of their index, so that any stretch of a random path can be computed alone.

The mixing function is the finaliser of SplitMix64: Steele, Lea and Flood, OOPSLA 2014, doi 10.1145/2660193.2660195.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["uniform"]

_GOLDEN = 0x9E3779B97F4A7C15


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def uniform(seed: int, index: NDArray[np.int64], stream: int = 0) -> NDArray[np.float64]:
    """Numbers (n,) in [0, 1) for each ``index`` (n,); independent for each ``seed`` and ``stream``."""
    start = np.array([(seed * 0xD1342543DE82EF95 + stream + 1) * _GOLDEN & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64)
    bits = _mixed(_mixed(start) + (index.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
