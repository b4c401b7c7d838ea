"""Layouts computed in blocks, for patterns whose samples cannot be told from their index alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scancontrol.paths.pattern import Samples

__all__ = ["BlockLayout"]

KEEP = 1 << 22
"""Layouts of up to this many samples keep what they computed (96 MiB at most); longer ones the last few blocks."""


class BlockLayout:
    """Samples in blocks of known sizes ``counts`` (m,); ``block(k)`` computes one of them."""

    def __init__(self, counts: NDArray[np.int64], block: Callable[[int], Samples]) -> None:
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self.count = int(self._starts[-1])
        self._block = lru_cache(maxsize=None if self.count <= KEEP else 12)(block)

    def samples(self, first: int, count: int) -> Samples:
        """See :class:`~scancontrol.paths.pattern.Layout`."""
        low = max(int(np.searchsorted(self._starts, first, side="right")) - 1, 0)
        high = int(np.searchsorted(self._starts, first + count, side="left"))
        parts = []
        for k in range(low, min(max(high, low + 1), len(self._starts) - 1)):
            whole = self._block(k)
            start = int(self._starts[k])
            part = slice(max(first - start, 0), min(first + count - start, len(whole.move)))
            weight = None if whole.weight is None else whole.weight[part]
            parts.append(Samples(whole.fractions[part], weight, whole.move[part]))
        if len(parts) == 1:
            return parts[0]
        weights = [part.weight for part in parts if part.weight is not None]
        return Samples(
            np.concatenate([part.fractions for part in parts]),
            np.concatenate(weights) if weights else None,
            np.concatenate([part.move for part in parts]),
        )
