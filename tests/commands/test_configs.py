"""The configurations that ship are listed, and copied to be changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from scancontrol.cli import main
from scancontrol.files import config_folder
from scancontrol.plan.plan import load_plan


def test_every_configuration_is_listed_with_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines[:-1]]
    assert names == sorted(file.name for file in config_folder().glob("*.yaml"))
    assert all(len(line.split()) > 2 for line in lines)


def test_a_copy_is_whole_and_works_where_it_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "--copy", str(tmp_path / "a" / "config")]) == 0
    for file in config_folder().glob("*.yaml"):
        assert (tmp_path / "a" / "config" / file.name).read_bytes() == file.read_bytes()
    assert load_plan(tmp_path / "a" / "config" / "plan-jittered-1-20.yaml").frames > 0
    assert "configurations in" in capsys.readouterr().out


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "simulator.yaml").write_text("mine: true\n")
    assert main(["configs", "--copy", str(tmp_path)]) == 2
    assert "holds simulator.yaml already" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["simulator.yaml"]
    assert (tmp_path / "simulator.yaml").read_text() == "mine: true\n"


def test_a_place_that_is_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["configs", "--copy", str(tmp_path / "file")]) == 2
    assert "name a folder that can be written to" in capsys.readouterr().err
