"""The command line as a whole: its version, its completion, its words."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import scancontrol
from scancontrol.cli import build_parser, main

ROOT = Path(__file__).parents[1]


def test_the_version_is_said_in_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"scancontrol {scancontrol.__version__}\n"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dynamic"] == ["version"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", shell])
    assert ended.value.code == 0
    script = capsys.readouterr().out
    commands = re.search(r"\{(.+?)\}", build_parser().format_usage()) or re.search(r"(configs)", script)
    assert commands is not None
    for word in ("daemon", "configs", "restore", "export"):
        assert word in script


def test_bash_completes_commands_and_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    with pytest.raises(SystemExit):
        main(["--print-completion", "bash"])
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    ask = f'source {script}; COMP_WORDS=(scancontrol conf); COMP_CWORD=1; {_function(script)}; echo "${{COMPREPLY[@]}}"'
    found = subprocess.run([bash, "-c", ask], capture_output=True, text=True, timeout=20, check=True)
    assert found.stdout.split() == ["configs"]


def _function(script: Path) -> str:
    found = re.search(r"complete .*-F (\w+) scancontrol", script.read_text())
    assert found is not None
    return found.group(1)
