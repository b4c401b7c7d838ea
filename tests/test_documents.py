"""What is written is complete: keys of a plan, extras, and what containers are made of."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from scancontrol.cli import build_parser
from scancontrol.dose.limits import DoseLimits
from scancontrol.plan.plan import MAX_NAME, ScanPlan, SettleRule

ROOT = Path(__file__).parents[1]


def test_every_key_of_a_plan_is_explained() -> None:
    text = (ROOT / "docs/reference/plan.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert explained == [field.name for field in msgspec.structs.fields(ScanPlan)]
    for part in (DoseLimits, SettleRule):
        assert {field.name for field in msgspec.structs.fields(part)} <= set(re.findall(r"\w+", text))
    assert f"at most {MAX_NAME} characters" in text


def test_every_extra_for_users_is_named_where_one_installs() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
    text = (ROOT / "docs/how-to/install.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `scancontrol\[(\w+)\]`", text, re.MULTILINE)) == extras - {"dev", "docs"}


@pytest.mark.parametrize("file", sorted((ROOT / "containers").glob("*.Dockerfile")), ids=lambda file: file.stem)
def test_a_container_is_made_of_what_there_is_and_its_command_is_one(file: Path) -> None:
    text = file.read_text()
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for line in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE) for name in line.split()}
    assert copied == {name for name in let_in if name in copied}
    assert all((ROOT / name).exists() for name in copied)
    assert {"scancontrol", "restore", "simulators", "config", "pyproject.toml", "README.md"} <= copied
    words = [re.findall(r'"([^"]*)"', line) for line in re.findall(r"^(?:ENTRYPOINT|CMD) (.+)$", text, re.MULTILINE)]
    command = [word for line in words for word in line]
    if command[0] == "scancontrol":
        assert build_parser().parse_args(command[1:]).command == "daemon"


_PAGES = (ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md")))


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_picture_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```|`[^`\n]+`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http:", "https:", "#")):
            assert (page.parent / target.split("#")[0]).exists(), target
