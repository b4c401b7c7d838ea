"""The daemon's command line over its configuration file."""

from __future__ import annotations

from pathlib import Path

import pytest

from scancontrol.cli import build_parser
from scancontrol.commands.daemon import configuration


def test_paths_of_the_command_line_are_from_where_it_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "daemon.yaml").write_text("microscope: tcp://127.0.0.1:5555\nrestorer: {weights: a.safetensors}\n")
    monkeypatch.chdir(tmp_path)
    words = ["daemon", "--config", "config/daemon.yaml"]
    config, base = configuration(build_parser("daemon").parse_args(words))
    assert (base / (config.restorer.weights or "")).resolve() == folder / "a.safetensors"
    config, base = configuration(build_parser("daemon").parse_args([*words, "--weights", "mine.safetensors"]))
    assert base / (config.restorer.weights or "") == tmp_path / "mine.safetensors"
