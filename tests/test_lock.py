"""What a release installs is named with its hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def locked(file: str = "requirements.lock") -> dict[str, list[str]]:
    """Requirement → its lines; one may be there more than once, for different Pythons."""
    entries: dict[str, list[str]] = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / file).read_text()):
        name = re.match(r"([A-Za-z0-9_.-]+)==\S+", entry)
        if name:
            entries.setdefault(name.group(1).lower(), []).append(entry)
    return entries


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[<>=!~\[; ]", each)[0].lower() for each in project["dependencies"]}
    assert wanted <= set(locked())


def test_everything_that_is_locked_has_hashes() -> None:
    for entries in locked().values():
        for entry in entries:
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_a_machine_without_a_gpu_installs_the_same_without_torch_and_cuda() -> None:
    whole, processor = locked(), locked("requirements-cpu.lock")
    left_out = whole.keys() - processor.keys()
    assert "torch" in left_out
    assert all(re.match(r"torch|triton|nvidia-|cuda-", name) for name in left_out)
    assert {name: whole[name] for name in processor} == processor
