"""What the daemon is told in a file: paths are from the file's folder, and what cannot be is refused there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scancontrol.daemon.config import DaemonConfig, RestorerConfig
from scancontrol.errors import InvalidInput
from scancontrol.files import load_yaml, to_yaml

TEXT = """
microscope: tcp://127.0.0.1:5555
plans: [plans/a.yaml, ~/b.yaml]
output: ../runs
ledger: /var/ledgers
keys: {secret_key: keys/mine.secret, microscope_key: keys/theirs.key}
page: {tls_certificate: tls/page.pem, tls_key: tls/page.key}
restorer: {weights: ../mine.safetensors}
"""


def test_every_path_is_from_the_folder_of_the_file_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "daemon.yaml").write_text(TEXT)
    config = load_yaml(Path("config/daemon.yaml"), DaemonConfig)
    assert config.keys is not None
    assert config.plans == (folder / "plans" / "a.yaml", Path("/home/somebody/b.yaml"))
    assert os.path.normpath(config.output) == str(tmp_path / "runs")
    assert config.ledger == Path("/var/ledgers")
    assert (config.keys.secret_key, config.page.tls_key) == (folder / "keys/mine.secret", folder / "tls/page.key")
    assert os.path.normpath(config.restorer.weights or "") == str(tmp_path / "mine.safetensors")


def test_a_configuration_survives_yaml(tmp_path: Path) -> None:
    (tmp_path / "daemon.yaml").write_text(TEXT)
    config = load_yaml(tmp_path / "daemon.yaml", DaemonConfig)
    (tmp_path / "again.yaml").write_text(to_yaml(config))
    assert load_yaml(tmp_path / "again.yaml", DaemonConfig) == config


def test_a_path_that_is_no_text_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "daemon.yaml").write_text("microscope: tcp://127.0.0.1:5555\noutput: 3\n")
    with pytest.raises(InvalidInput, match=r"\$\.output.*Expected `path`, got `int`"):
        load_yaml(tmp_path / "daemon.yaml", DaemonConfig)


@pytest.mark.parametrize("memory", [0, -1, 65])
def test_a_memory_of_no_or_too_many_frames_is_refused(memory: int) -> None:
    with pytest.raises(InvalidInput, match=rf"restorer\.memory = {memory} is outside 1 to 64 frames"):
        RestorerConfig(memory=memory)
