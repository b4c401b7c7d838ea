"""Lines of pixels as Pillow draws them, many at once.

Bresenham, IBM Systems J. 4, 25 (1965). In closed form the minor axis has moved ``(2·d·i + n) // 2n`` pixels after ``i``
of the ``n`` steps of the major one, which is where the error term of the incremental form changes sign.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["polyline_pixels"]


def polyline_pixels(vertices: NDArray[np.float64]) -> NDArray[np.int64]:
    """Pixels (m, 2) as (row, column) of the line through ``vertices`` (n, 2) as (y, x), in drawing order.

    Vertices are cut to whole pixels. A pixel that is drawn on more than once comes more than once.
    """
    whole = np.trunc(vertices).astype(np.int64)
    start, change = whole[:-1], np.diff(whole, axis=0)
    size = np.abs(change)
    steps = size.max(axis=1)
    of = np.repeat(np.arange(len(steps)), steps)
    at = np.arange(len(of)) - np.repeat(np.cumsum(steps) - steps, steps)
    n = steps[of][:, None]
    moved = (2 * size[of] * at[:, None] + n) // (2 * n)
    # The major axis moves by one at each step, whatever the rounding.
    pixels = start[of] + np.sign(change[of]) * moved
    return np.concatenate([pixels, whole[-1:]])
