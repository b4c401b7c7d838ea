"""Every command and every piece of code that is shown exists: commands, options, files, imports, keys.

What of them is run as written, from the wheel, is in test_wheel.py.
"""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import shlex
import sys
from functools import cache

import pytest
import yaml
from samples import ROOT, Sample, blocks, commands

from scancontrol.cli import build_parser

# Of a synopsis, in which not all words are meant as they are:
_SYNTAX = re.compile(r"[\[\]…|]|\.\.\.|FILE$| COMMAND")
_GLOBAL = {"--log-json", "--verbose"}
COMMANDS = list(dict.fromkeys(commands()))
OURS = [sample for sample in COMMANDS if "scancontrol" in sample.text.split()[0]]
MODULES = [sample for sample in COMMANDS if sample.text.startswith(("python -m", "torchrun"))]


def test_samples_are_found_everywhere() -> None:
    pages = {sample.page for sample in COMMANDS}
    assert {"README.md", "docs/tutorial/quick-start.md", "docs/how-to/retrain.md", "config/simulator.yaml"} <= pages
    assert len(COMMANDS) > 80


@pytest.mark.parametrize("sample", OURS, ids=str)
def test_a_command_of_ours_is_one(sample: Sample, capsys: pytest.CaptureFixture[str]) -> None:
    text = sample.text.split("#")[0].split(" > ")[0]
    words = shlex.split(text.replace("…", "..."))[1:]
    if words[0] in ("--version", "--print-completion"):
        return
    at = 2 if words[0] == "--log-json" else 0
    parser = build_parser()
    if not sample.whole or _SYNTAX.search(text):  # a name or a synopsis: its command and options exist
        with pytest.raises(SystemExit):
            parser.parse_args([words[at], "--help"])
        assert options_of(sample.text) - _GLOBAL <= options_of(capsys.readouterr().out)
    else:
        assert parser.parse_args(words).command == words[at]


def options_of(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))


@cache
def _help(module: str) -> str:
    import contextlib
    import io

    said, argv = io.StringIO(), sys.argv
    sys.argv = [module, "--help"]
    try:
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        sys.argv = argv
    return said.getvalue()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("sample", MODULES, ids=str)
def test_a_module_that_is_run_knows_its_options(sample: Sample) -> None:
    words = sample.text.split()
    module = words[words.index("-m") + 1]
    if module == "pytest":
        return
    after = sample.text.split(module, 1)[1].split("#")[0]
    assert options_of(after) <= options_of(_help(module)), module


@pytest.mark.parametrize("sample", [s for s in COMMANDS if s.text.startswith("make ")], ids=str)
def test_a_target_of_make_is_one(sample: Sample) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert sample.text.split()[1] in targets


@pytest.mark.parametrize("sample", COMMANDS, ids=str)
def test_the_files_that_a_command_names_ship(sample: Sample) -> None:
    for name in re.findall(r"\bconfig/[\w.-]+\.yaml", sample.text):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("sample", blocks("python"), ids=str)
def test_code_that_is_shown_is_python_and_imports_what_there_is(sample: Sample) -> None:
    for node in ast.walk(ast.parse(sample.text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("scancontrol", "restore"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


@pytest.mark.parametrize("sample", blocks("yaml"), ids=str)
def test_yaml_that_is_shown_is_yaml(sample: Sample) -> None:
    assert isinstance(yaml.safe_load(sample.text), dict)
