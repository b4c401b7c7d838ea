"""What a restorer frees stays with it: the next frame's blocks cost no pages."""

from __future__ import annotations

import subprocess
import sys

import pytest

FRAMES = """
import ctypes, resource, sys
from restore.process.memory import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def frame():
    blocks = [libc.malloc(size) for size in (40 << 20, 8 << 20)]
    for block in blocks:
        ctypes.memset(block, 1, 8 << 20)
        libc.free(block)

frame()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    frame()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _frames(how: str) -> tuple[bool, int]:
    done = subprocess.run([sys.executable, "-c", FRAMES, how], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the setting is glibc's")
def test_a_frame_after_the_first_gets_no_new_pages_from_the_kernel() -> None:
    kept, faults = _frames("keep")
    if not kept:
        pytest.skip("this C library has no such setting")
    _, otherwise = _frames("do not")
    pages = 5 * 2 * (8 << 20) // 4096
    assert faults < 0.02 * pages < 0.5 * otherwise
