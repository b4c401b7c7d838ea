"""What README and the how-to show of scripts is run as written, against a dry run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), flags=re.S | re.M)


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/script-a-session.md"])
def test_every_block_runs_in_its_order(
    page: str, dry_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").symlink_to(dry_run)
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}
    for number, block in enumerate(blocks(page)):
        code = compile(block, f"{page}, block {number}", "exec")
        exec(code, known)  # noqa: S102 - our own documents
        assert capsys.readouterr().out, f"block {number} of {page} shows nothing"
