"""The documents and the reference of the API are built without a warning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_the_site_is_built_and_the_reference_says_what_the_docstrings_say(tmp_path: Path) -> None:
    docs = Path(__file__).parents[1] / "docs"
    command = [sys.executable, "-m", "sphinx", "--quiet", "-W", "--keep-going", str(docs), str(tmp_path / "site")]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    reference = (tmp_path / "site" / "reference" / "api.html").read_text()
    for said in ("scancontrol.connect", "Wait until the scan of that number", "restore_samples", "DoseLimitPassed"):
        assert said in reference
    assert "A region of interest" in (tmp_path / "site" / "how-to" / "script-a-session.html").read_text()
