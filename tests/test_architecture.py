"""The page about the rooms says what the imports say, and names what is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_rooms_are_drawn_as_they_are() -> None:
    script = [sys.executable, str(ROOT / "docs" / "generate_architecture.py"), "--check"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
