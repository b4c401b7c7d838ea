"""The page about the rooms says what the imports say, and every module keeps the habits of the house."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_rooms_are_drawn_as_they_are() -> None:
    script = [sys.executable, str(ROOT / "docs" / "generate_architecture.py"), "--check"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


MODULES = [
    path for package in ("scancontrol", "restore", "simulators") for path in sorted((ROOT / package).rglob("*.py"))
]
LONGEST = 400
OTHER_FORMS = re.compile(
    r"^\s*(:(param|raises|returns?)\b|Arguments:)|^_?(logger|LOG|_log) = |def check\(self\) -> None", re.M
)
OUTSIDE = {"scancontrol/transport/keys.py"}  # its checks look at files, which may change after the value was made


def test_no_module_is_longer_than_one_can_hold_in_mind() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_every_module_says_in_its_first_sentence_what_is_in_it() -> None:
    said = {str(path.relative_to(ROOT)): ast.get_docstring(ast.parse(path.read_text())) or "" for path in MODULES}
    assert [name for name, text in said.items() if len(text.split("\n\n")[0]) < 20] == []
    first = Counter(text.split("\n\n")[0] for text in said.values())
    assert [text for text, times in first.items() if times > 1] == []


def test_docstrings_loggers_and_checks_of_values_have_one_form() -> None:
    found = {
        str(path.relative_to(ROOT)): match.group(0).strip()
        for path in MODULES
        if (match := OTHER_FORMS.search(path.read_text()))
    }
    assert {name: form for name, form in found.items() if name not in OUTSIDE} == {}
