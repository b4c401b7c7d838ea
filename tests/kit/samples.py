"""The commands and the code that README, documents and comments of configurations show."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Sample", "blocks", "commands"]

ROOT = Path(__file__).parents[2]
_PAGES = (ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md")))
_BEGINS = r"(?:\.venv/bin/)?(?:scancontrol|python -m|make|torchrun)\s"
_IN_COMMENT = re.compile(rf"(?:^#\s+|: |and )({_BEGINS}[^#(]*)")


@dataclass(frozen=True)
class Sample:
    """A command or a piece of code, and where it stands; ``whole`` if it is meant to be typed as it is."""

    page: str
    line: int
    text: str
    whole: bool = True

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(kind: str) -> list[Sample]:
    """All fenced blocks of a language; with an empty one, those of none."""
    found = []
    for page in _PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            if match[1] == kind:
                found.append(Sample(str(page.relative_to(ROOT)), text[: match.start()].count("\n") + 2, match[2]))
    return found


def commands() -> list[Sample]:
    """All command lines of ours: in fenced blocks, in running text, and in comments of configurations."""
    found = []
    for block in [*blocks(""), *blocks("console"), *blocks("bash")]:
        joined = re.sub(r"\\\n\s*", " ", block.text)
        for offset, line in enumerate(joined.splitlines()):
            command = re.sub(r"\s+#.*", "", line.removeprefix("$ "))
            if re.match(_BEGINS, command):
                found.append(Sample(block.page, block.line + offset, command))
    for page in _PAGES:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            for text in re.findall(rf"`({_BEGINS}[^`]+)`", line):
                found.append(Sample(str(page.relative_to(ROOT)), number, text.replace("\\|", "|"), whole=False))
    for file in sorted((ROOT / "config").glob("*.yaml")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            match = _IN_COMMENT.search(line[line.index("#") :]) if "#" in line else None
            if match:
                text = match[1].rstrip(" .,;")
                found.append(Sample(str(file.relative_to(ROOT)), number, text, whole=".yaml" in text))
    return found
