"""Keep freed memory in the process: a resident restorer wants the same large blocks again for the next frame.

glibc hands blocks above some megabytes back to the kernel as soon as they are freed, and gets every page anew, zeroed,
with the next frame. That is 5 to 10 % of a frame's time on two processor cores. A frame of 4096² wants some 5 GB again,
so what is free at the end of the heap is never handed back either.
"""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_NEVER = -1
_ALL_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Let this process keep what it frees; False where its C library has no such setting (it is glibc's)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, _NEVER) and mallopt(_M_MMAP_THRESHOLD, _ALL_BYTES))
