"""``python docs/generate_cpu_lock.py``: requirements.lock without torch and CUDA, for machines without a GPU.

There torch is installed by itself, from the index that holds its builds for processors; see docs/how-to/install.md.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["main", "without_cuda"]

_ROOT = Path(__file__).parents[1]
_LEFT_OUT = re.compile(r"(torch|triton|nvidia-|cuda-)")
_HEADER = """\
# As requirements.lock, without torch and what its CUDA build needs: for machines without a GPU. `make lock` writes it.
#     pip install --index-url https://download.pytorch.org/whl/cpu torch==2.13.0
#     pip install --require-hashes -r requirements-cpu.lock && pip install --no-deps .
"""


def without_cuda(lock: str) -> str:
    """The lock file's text with its own header, and without torch, Triton and NVIDIA's libraries."""
    entries = re.split(r"\n(?=[A-Za-z0-9])", lock)
    return _HEADER + "\n".join(entry.rstrip() for entry in entries[1:] if not _LEFT_OUT.match(entry)) + "\n"


def main() -> None:
    """Write requirements-cpu.lock."""
    (_ROOT / "requirements-cpu.lock").write_text(without_cuda((_ROOT / "requirements.lock").read_text()))


if __name__ == "__main__":
    main()
